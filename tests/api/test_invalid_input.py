"""Invalid input: 400 with the name of the parameter, and nothing is recorded."""

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest
from litestar.handlers import HTTPRouteHandler

from service.app import HANDLERS
from tests.conftest import Gateway, Serve

NO_TERM = (
    "author, title, journal, abstract, comment, any, category, id_list, query,"
    " submitted_from, submitted_to"
)
BAD_QUERIES = [
    ("/arxiv", "", NO_TERM),
    ("/arxiv", "title=", NO_TERM),
    ("/arxiv", "title=%20%09", NO_TERM),
    ("/arxiv", "max_results=5", NO_TERM),
    ("/arxiv", "title=%22%22", "title"),
    ("/arxiv", "author=x&title=_", "title"),
    ("/arxiv", "title=x&max_results=0", "max_results"),
    ("/arxiv", "title=x&max_results=-1", "max_results"),
    ("/arxiv", "title=x&max_results=2001", "max_results"),
    ("/arxiv", "title=x&max_results=ten", "max_results"),
    ("/arxiv", "title=x&max_results=", "max_results"),
    ("/arxiv", "title=x&max_results=1.5", "max_results"),
    ("/arxiv", "title=x&max_results=99999999999999999999", "max_results"),
    ("/arxiv", "title=x&titel=y", "titel"),
    ("/arxiv", "title=x&store=y", "store"),
    ("/arxiv", "title=x&title=y", "title"),
    ("/arxiv", "title=a%00b", "title"),
    ("/arxiv", "title=%ff%fe", "query string"),
    ("/arxiv", "title=%ED%A0%80", "query string"),
    ("/arxiv", "title=" + "x" * 501, "title"),
    ("/arxiv", "author=" + "%C3%A9" * 501, "author"),
    ("/arxiv-api", "", NO_TERM),
    ("/arxiv-api", "title=x&max_results=2001", "max_results"),
    ("/queries", "start_timestamp=2026-02-30", "start_timestamp"),
    ("/queries", "start_timestamp=yesterday", "start_timestamp"),
    ("/queries", "start_timestamp=", "start_timestamp"),
    ("/queries", "end_timestamp=2026-11-23T25:00:00", "end_timestamp"),
    ("/queries", "end_timestamp=2026-11-23T20:15:00%2B25:00", "end_timestamp"),
    ("/queries", "end_timestamp=0000-01-01", "end_timestamp"),
    ("/queries", "start_timestamp=2026-11-24&end_timestamp=2026-11-23", "end_timestamp"),
    ("/queries", "start_timestamp=" + "2" * 65, "start_timestamp"),
    ("/queries", "pages=1", "pages"),
    ("/results", "page=-1", "page"),
    ("/results", "page=x", "page"),
    ("/results", "page=1000000001", "page"),
    ("/results", "items_per_page=0", "items_per_page"),
    ("/results", "items_per_page=1001", "items_per_page"),
    ("/results", "pages=1", "pages"),
    ("/read-results", "items_per_page=1001", "items_per_page"),
    ("/read-queries", "start_timestamp=2026-11-23", "start_timestamp"),
    ("/read-queries", "start_timestamp=5&end_timestamp=4", "end_timestamp"),
    ("/read-queries", "start_timestamp=99999999999999999999", "start_timestamp"),
    ("/get-sequence", "x=1", "x"),
    ("/health/live", "x=1", "x"),
]


@pytest.mark.parametrize(("path", "query", "name"), BAD_QUERIES)
async def test_invalid_parameter_is_named_and_nothing_recorded(
    client: Gateway, db: psycopg.Connection, path: str, query: str, name: str
) -> None:
    response = await client.get(f"{path}?{query}")

    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == 400
    assert problem["detail"].startswith(f"{name}: ")
    assert problem["parameter"] == name
    assert problem["request_id"] == response.headers["x-request-id"]
    assert db.execute("select count(*) from queries").fetchone() == (0,)


QUERY = {
    "query_id": 7,
    "timestamp": 1_795_464_900,
    "status": 200,
    "num_results": 1,
    "num_entries": 1,
    "query": "search_query=x",
}
RESULT = {"authors": ["A"], "title": "T", "journal": None}
RESULTS = {"query_id": 7, "timestamp": 1_795_464_900, "results": [RESULT]}
BAD_BODIES = [
    ("/queries", {"start_timestamp": "2026-02-30"}, "start_timestamp"),
    ("/queries", {"start_timestamp": 5}, "start_timestamp"),
    ("/queries", {"start": "2026-02-03"}, "start"),
    ("/queries", [], "body"),
    (
        "/queries",
        {"start_timestamp": "2026-11-24", "end_timestamp": "2026-11-23"},
        "end_timestamp",
    ),
    ("/write-queries", {}, "query_id"),
    ("/write-queries", QUERY | {"query_id": 0}, "query_id"),
    ("/write-queries", QUERY | {"query_id": 2**63}, "query_id"),
    ("/write-queries", QUERY | {"status": 40_000}, "status"),
    ("/write-queries", QUERY | {"num_results": 2**31}, "num_results"),
    ("/write-queries", QUERY | {"num_results": -1}, "num_results"),
    ("/write-queries", QUERY | {"num_entries": 2001}, "num_entries"),
    ("/write-queries", QUERY | {"timestamp": "2026-11-23T20:15:00"}, "timestamp"),
    ("/write-queries", QUERY | {"timestamp": 10**15}, "timestamp"),
    ("/write-queries", QUERY | {"query": "a\0b"}, "query"),
    ("/write-queries", QUERY | {"query": "x" * 100_001}, "query"),
    ("/write-queries", QUERY | {"extra": 1}, "extra"),
    ("/write-results", RESULTS | {"results": [RESULT] * 2001}, "results"),
    ("/write-results", RESULTS | {"results": [{"title": "T"}]}, "results"),
    ("/write-results", RESULTS | {"results": [RESULT | {"title": "a\0b"}]}, "results"),
    ("/write-results", RESULTS | {"results": [RESULT | {"authors": ["a\0b"]}]}, "results"),
    ("/write-results", RESULTS | {"results": [RESULT | {"journal": 5}]}, "results"),
]


@pytest.mark.parametrize(("path", "body", "name"), BAD_BODIES)
async def test_invalid_body_is_rejected_and_nothing_recorded(
    client: Gateway, db: psycopg.Connection, path: str, body: Any, name: str
) -> None:
    response = await client.post(path, json=body)

    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert name in response.json()["detail"]
    assert db.execute("select count(*) from queries").fetchone() == (0,)
    assert db.execute("select count(*) from results").fetchone() == (0,)


JSON = {"content-type": "application/json"}
BODIES: dict[str, dict[str, Any]] = {
    "/queries": {"text": "x"},
    "/write-queries": QUERY,
    "/write-results": RESULTS,
    "/find-answer": {"asked": {"title": "x"}},
    "/find-results": {"query_id": 7},
    "/find-entries": {"query_id": 7},
    "/read-archive": {"type": "versions", "arxiv_id": "2101.00001"},
    "/find-keys": {"digests": ["0" * 64]},
}
"""A valid body of each endpoint that takes JSON."""


def find_texts(value: Any) -> Iterator[str]:
    """Return all texts in a value, with the names in objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from find_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from find_texts(item)


def test_every_endpoint_that_takes_json_is_tested() -> None:
    paths = {
        path
        for handlers in HANDLERS.values()
        for handler in handlers
        if isinstance(handler, HTTPRouteHandler) and "POST" in handler.http_methods
        for path in handler.paths
    }
    assert paths - {"/api/query"} == BODIES.keys()  # which takes a form


ODD_TEXTS = (
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\\u0000",
    b"\\ud800",
    b"\\uDFFF\\n",
)


@pytest.mark.parametrize("path", BODIES)
async def test_bytes_that_no_text_may_contain_are_rejected_anywhere(
    client: Gateway, path: str
) -> None:
    whole = BODIES[path] | {"links": [{"href": "x", "rel": "y", "title": "z"}], "": [[["deep"]]]}
    for text, odd in product(set(find_texts(whole)), ODD_TEXTS):
        quoted = json.dumps(text).encode()
        for changed in (quoted[:-1] + odd + b'"', b'"' + odd + quoted[1:]):
            body = json.dumps(whole).encode().replace(quoted, changed, 1)
            problem = await check_rejection(client, path, body)
            assert re.search("NUL|lone surrogate|UTF-8", problem["detail"]), body


async def check_rejection(client: Gateway, path: str, body: bytes) -> dict[str, Any]:
    """Assert that the service responds with 400 and the name of a field; return the problem."""
    response = await client.post(path, content=body, headers=JSON)
    assert response.status_code == 400, (body, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["parameter"]
    assert problem["detail"].startswith(problem["parameter"])
    return problem


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"href": "a\0"}, "results[0].links[0].href"),
        ({"href": "a", "rel": "\0"}, "results[0].links[0].rel"),
        ({"href": "a", "title": "\ud800"}, "results[0].links[0].title"),
        ({"href": "a", "type": "\0"}, "results[0].links[0].type"),
        ({"href": "a", "other": ["x", {"y": "\0"}]}, "results[0].links[0].other[1].y"),
        ({"href": "a", "\0": 1}, "results[0].links[0]"),
    ],
)
async def test_field_with_an_invalid_text_is_named(
    client: Gateway, value: dict[str, Any], name: str
) -> None:
    body = RESULTS | {"results": [RESULT | {"summary": "x", "links": [value]}]}
    problem = await check_rejection(client, "/write-results", json.dumps(body).encode())

    assert problem["parameter"] == name


@pytest.mark.parametrize("before", ["[", '{"%s":' % ("a" * 100)])
async def test_name_of_a_deeply_nested_field_is_cut(client: Gateway, before: str) -> None:
    body = before * 400 + '"\\u0000"' + ("]" if before == "[" else "}") * 400
    problem = await check_rejection(client, "/queries", body.encode())

    assert 190 < len(problem["parameter"]) <= 200


UNUSUAL_JSON = (
    b'{"text": 1, "text": 2}',
    b'{"a": {"text": 1, "\\u0074ext": 2}}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
    b"{}{}",
    b"{} x",
    b'{"query_id": NaN}',
    b'{"query_id": -Infinity}',
    b'{"query_id": 1e999}',
    b'{"query_id": 9' + b"9" * 5000 + b"}",
    b'{"query_id": 9223372036854775808}',
    b'{"query_id": 01}',
    b'{"query_id": +1}',
    b'{"query_id": "\xd9\xa1"}',
    b'{"query_id": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"query_id": ' + b"[" * 30_000,
    b'{"a":' * 10_000,
    b'{"text": "a\nb"}',
    b"{'text': 1}",
    b'{"text": 1,}',
    b"null",
    b"[]",
    b'"x"',
    b"1",
)


@pytest.mark.parametrize("path", BODIES)
async def test_unusual_json_is_rejected_everywhere(client: Gateway, path: str) -> None:
    for body in UNUSUAL_JSON:
        await check_rejection(client, path, body)


@pytest.mark.parametrize("path", ["/queries", "/write-queries", "/write-results"])
@pytest.mark.parametrize(
    "body", [b"", b"not json", b"{", b'"\\ud800"', b"\xff\xfe", b"[" * 10_000, b"<a/>"]
)
async def test_malformed_json_is_rejected(client: Gateway, path: str, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = await client.post(path, content=body, headers=headers)

    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "body" in response.json()["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_body_not_declared_as_json_is_rejected(client: Gateway, kind: str) -> None:
    response = await client.post(
        "/write-queries", json=QUERY, headers={"content-type": kind, "origin": "http://elsewhere"}
    )

    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("coding", ["gzip", "br", "x", "identity, gzip", "gzip, identity"])
async def test_compressed_body_is_rejected(client: Gateway, coding: str) -> None:
    response = await client.post("/queries", json={}, headers={"content-encoding": coding})

    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    assert "Content-Encoding" in response.json()["detail"]


async def test_body_with_the_coding_identity_is_accepted(client: Gateway) -> None:
    headers = {"content-encoding": "Identity"}
    assert (await client.post("/queries", json={}, headers=headers)).status_code == 200


NUMBERS = ("\u0661", "\uff11", "0_1", "+1", "%2B1", "%201", "1%20", "%a01", "01", "-0", "0x1")


async def test_path_number_has_ascii_digits_only(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    for end, number in product(("", "/changes", "/feed"), (*NUMBERS, "\u00b9", "1" * 5000)):
        response = await client.get(f"/queries/{number}{end}")

        assert response.status_code in {400, 404}
        if response.status_code == 400:
            assert response.json()["parameter"] == "query_id"
        else:
            assert "no such path" in response.json()["detail"]
    assert (await client.get("/queries/1")).status_code == 200


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/results?", ("page", "items_per_page", "query_id")),
        ("/queries?", ("page", "status")),
        ("/papers?", ("page",)),
        ("/announcements?", ("page", "items_per_page")),
        ("/papers/2101.00001/similar?", ("items_per_page",)),
        ("/arxiv?title=x&", ("start", "max_results")),
        ("/read-queries?", ("start_timestamp", "end_timestamp")),
    ],
)
async def test_integer_parameter_has_ascii_digits_only(
    client: Gateway, path: str, names: tuple[str, ...]
) -> None:
    for name, number in product(names, (*NUMBERS, "1e0", "1.0", "1.", "", "1" * 5000)):
        response = await client.get(f"{path}{name}={number}")

        assert response.status_code == 400, (name, number)
        assert response.json()["parameter"] in {name, "query string"}


async def test_request_timeout_has_ascii_digits_only(client: Gateway) -> None:
    for text in ("\u0661".encode(), b"+1", b"1_0", b"1e1", b"-1", b"1.", b"\xa01"):
        response = await client.get("/results", headers=[(b"request-timeout", text)])

        assert response.status_code == 400
        assert response.json()["parameter"] == "Request-Timeout"


async def test_oversized_body_is_rejected(client: Gateway) -> None:
    response = await client.post("/write-results", content=b" " * (17 * 2**20), headers=JSON)

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("GET", "/arxiv/", 200),
        ("GET", "/arxiv/x", 404),
        ("GET", "/Arxiv", 404),
        ("POST", "/arxiv", 405),
        ("DELETE", "/queries", 405),
        ("GET", "/write-queries", 405),
        ("GET", "/schema/none", 404),
    ],
)
async def test_unknown_paths_and_methods_are_problems(
    client: Gateway, method: str, path: str, status: int
) -> None:
    response = await client.request(method, f"{path}?title=testing" if status == 200 else path)

    assert response.status_code == status
    if status != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    assert response.headers["x-request-id"]


async def test_details_for_unknown_paths_and_methods_name_the_remedy(client: Gateway) -> None:
    unknown = (await client.get("/nope")).json()["detail"]
    assert unknown == "there is no such path: see /schema for the paths"

    for path, allow in (
        ("/queries", "GET, HEAD, OPTIONS, POST"),
        ("/results", "GET, HEAD, OPTIONS"),
    ):
        response = await client.delete(path)
        detail = f"the path does not support this method: use one of {response.headers['allow']}"
        assert response.headers["allow"] == allow
        assert response.json()["detail"] == detail


async def test_endpoints_setting_limits_the_endpoints(gateway: Serve) -> None:
    async with gateway(endpoints="results,/get-sequence") as client:
        statuses = [
            (await client.get(path)).status_code
            for path in ("/results", "/get-sequence", "/queries", "/arxiv", "/read-results")
        ]

    assert statuses == [200, 200, 404, 404, 404]


async def test_backend_requires_its_token(gateway: Serve) -> None:
    token = "0123456789abcdef"  # noqa: S105 - of this test alone
    async with gateway(backend_token=token) as client:
        without = await client.get("/get-sequence")
        wrong = await client.get("/get-sequence", headers={"authorization": f"Bearer {token}x"})
        right = await client.get("/get-sequence", headers={"authorization": f"Bearer {token}"})
        frontend = await client.get("/results")

    assert [without.status_code, wrong.status_code, right.status_code] == [401, 401, 200]
    assert without.headers["content-type"] == "application/problem+json"
    assert "Bearer realm=" in without.headers["www-authenticate"]
    assert frontend.status_code == 200
