"""Invalid input: 400 with the name of the parameter, and nothing is recorded."""

from typing import Any

import psycopg
import pytest

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


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_body_not_declared_as_json_is_rejected(client: Gateway, kind: str) -> None:
    response = await client.post(
        "/write-queries", json=QUERY, headers={"content-type": kind, "origin": "http://elsewhere"}
    )

    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"


async def test_oversized_body_is_rejected(client: Gateway) -> None:
    response = await client.post("/write-results", content=b" " * (17 * 2**20), headers=JSON)

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
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
    assert without.headers["www-authenticate"] == "Bearer"
    assert frontend.status_code == 200
