"""A frontend without a database behaves like a single service, through a backend over HTTP."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from inspect import signature
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from demo.arxiv import StandIn
from service import api_keys
from service.api_keys import ApiKey, Rate
from service.app import create_app
from service.backend import client as backend_client
from service.backend.client import RemoteReader
from service.cli.common import require_database, require_primary
from service.cli.search import print_search
from service.context import create_pools
from service.db import pool
from service.db.api_keys import ApiKeyStore
from service.db.reader import RecordReader
from service.errors import ConfigurationError
from service.handlers import papers, queries, results
from service.handlers.arxiv import search_arxiv
from service.handlers.params import get_parameters
from service.lists import encode_cursor
from service.settings import ENDPOINTS, Settings
from tests.api.test_cache import (  # noqa: F401 - run with a frontend and a backend
    _short_pauses,
    test_concurrent_identical_searches_are_coalesced,
    test_expired_record_is_not_served,
    test_first_zero_is_fresh_for_an_hour,
    test_include_results_adds_the_papers,
    test_no_cache_sends_the_search_again,
    test_response_is_fresh_until_arxiv_publishes_new_papers,
    test_same_search_is_sent_once,
    test_search_after_a_shared_failure_is_sent,
    test_zero_after_results_is_suspect,
)
from tests.api.test_categories import (  # noqa: F401 - run with a frontend and a backend
    cases,
    test_empty_search_has_the_same_warnings_when_it_is_cached,
    test_facets_count_each_category_once_under_its_present_name,
    test_first_page_of_papers_warns_if_nothing_was_found,
)
from tests.api.test_exports import EXPORT, PLAIN, ROWS, filled, large  # noqa: F401 - fixtures
from tests.api.test_http_semantics import client_of, served
from tests.api.test_invalid_input import BAD_BODIES, BAD_QUERIES
from tests.api.test_openapi_contract import ODD_HEADERS
from tests.api.test_rejections import (  # noqa: F401 - run with a frontend and a backend
    test_tsquery_that_is_too_large_is_rejected,
)
from tests.conftest import Gateway, Serve, listening, make_app
from tests.pages.test_paper import (  # noqa: F401 - run with a frontend and a backend
    test_everything_that_is_known_is_shown,
    test_searches_that_found_a_paper_are_listed_latest_first,
    test_unknown_paper_can_be_retrieved_from_arxiv,
)
from tests.support.indexing import papers_are_indexed
from tests.support.pages import KEY_COOKIE, parse, read_form
from tests.support.process import service

TOKEN = "the token of the tests"  # noqa: S105
SEARCH = "/arxiv?title=testing"
WRITTEN = {
    "timestamp": 1_600_000_000,
    "status": 200,
    "num_results": 3,
    "num_entries": 3,
    "query": "search_query=ti:old",
}
Make = Callable[..., Settings]


def frontend(url: str, **changes: Any) -> Settings:
    """Return settings of a frontend for this backend."""
    defaults: dict[str, Any] = {"backend_url": url, "backend_token": TOKEN}
    return Settings(**(defaults | changes))


@asynccontextmanager
async def backend(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[str]:
    async with served(make_app(settings, transport)) as url:
        yield url


@pytest.fixture
def backend_settings(settings: Make) -> Callable[..., Settings]:
    """Factory of settings of a backend; keywords override them."""

    def make(**changes: Any) -> Settings:
        return settings(**({"endpoints": "backend", "backend_token": TOKEN} | changes))

    return make


@pytest.fixture
def gateway(backend_settings: Make) -> Serve:
    """Run a frontend and a backend instead of a single service, for the imported tests."""

    @asynccontextmanager
    async def serve(
        transport: httpx.AsyncBaseTransport | None = None, **changes: Any
    ) -> AsyncIterator[Gateway]:
        behind = backend_settings(**changes)
        same = {"api_url": behind.api_url, "interval": behind.interval}
        async with (
            backend(behind, transport) as url,
            client_of(
                make_app(frontend(url, **same)), indexed=None if behind.settle else behind
            ) as client,
        ):
            client.event_hooks = {"request": [partial(wait_for_index, behind)]}
            yield client

    return serve


async def wait_for_index(settings: Settings, request: httpx.Request) -> None:
    """Delay a request for papers until the index of the backend has all of them."""
    if request.url.path.startswith("/papers"):
        await papers_are_indexed(settings.database_ro_url or "", settings.index_path)


FORMATS = ("json", "ndjson", "csv", "bibtex", "ris", "atom")
LISTS = ("/queries", "/results", "/papers")
WORDS = "/papers?q=title:test*+OR+%22unit+test%22"
PATHS: dict[str, list[str]] = {
    "searches": [
        *("/queries/1", "/queries/3", "/queries/1/changes", "/queries/3/changes"),
        *("/queries/1/feed", "/queries/3/feed", "/queries/900/changes", "/queries/900/feed"),
        *("/queries/901", "/queries/901/changes", "/queries/901/feed"),
        *(SEARCH, f"{SEARCH}&include=results", f"{SEARCH}&max_results=3&include=results"),
    ],
    "formats": [f"{path}?format={name}" for path in LISTS for name in FORMATS]
    + [f"{path}?format={name}&items_per_page=3&page=1" for path in LISTS for name in FORMATS]
    + [f"/papers/{{paper}}?format={name}" for name in FORMATS]
    + [f"{WORDS}&format={name}" for name in FORMATS],
    "filters": [
        *("/queries?text=ti:&order=newest&items_per_page=1", "/queries?status=0&format=json"),
        "/queries?start_timestamp=2001-01-01&end_timestamp=2100-01-01",
        *("/results?order=newest&author=a", "/results?title=no+such+words", "/results?query_id=9"),
        "/results?query_id=1&category=cs.*&title=testing&fields=title,timestamp",
        "/results?journal=Phys&format=csv&fields=journal,arxiv_id",
        "/results?since=2001-01-01&until=2100-01-01T00:00:00&category=cs.SE&category=math.*",
        *("/papers?author=a", "/papers?title=testing&items_per_page=30", "/papers?journal=phys"),
        *("/papers?category=cs.SE", "/papers?category=cs.*&category=math.ST&order=oldest"),
        "/papers?since=2010-01-01&until=2020-06-30&format=csv",
        *("/papers?order=oldest&versions=all&items_per_page=2", "/papers?versions=all&format=ris"),
        *("/papers/{paper}", "/papers/{paper}v1", "/papers/https://arxiv.org/abs/{paper}"),
    ],
    "words": [
        *(WORDS, f"{WORDS}&page=1&items_per_page=4", f"{WORDS}&fields=title,highlights"),
        *(f"{WORDS}&order=newest", f"{WORDS}&title=test&category=cs.*", "/papers?q=zyxw"),
        "/papers?q=author:and*+-abstract:zyxw&fields=title",
        *("/papers?q=title:tesitng", "/papers/suggest?q=test", "/papers/suggest?q=unit+te"),
        *("/papers/suggest", "/papers/{paper}/similar", "/papers/{paper}v1/similar?author=a"),
        "/papers/{paper}/similar?versions=all&items_per_page=30&format=ris",
    ],
    "announcements": [
        *("/announcements", "/announcements?category=cs", "/announcements?category=stat.ML"),
        *("/announcements?type=new&type=cross", "/announcements?date=2026-04-26"),
        *("/announcements?items_per_page=2", "/announcements?items_per_page=2&page=1"),
        *(f"/announcements?format={name}" for name in FORMATS),
        *("/announcements/feed", "/announcements/feed?category=cs.LG", "/papers/2604.00001"),
    ],
    "unknown": [
        *("/queries/7777", "/queries/0", "/queries/7777/changes", f"/queries/{2**70}/feed"),
        *("/papers/2101.00001/similar", "/papers/{paper}v99/similar", "/papers/none/similar"),
        *("/papers/2101.00001", "/papers/{paper}v99", "/papers/none", "/nowhere"),
        *("/read-archive", "/read-results", "/get-sequence", "/health/live"),
    ],
    "feeds": [
        "/api/query?search_query=ti:%22testing%22&max_results=10",
        "/api/query?search_query=all:a&max_results=210",
        "/api/query?search_query=au:li+AND+ti:testing&start=2&sortBy=submittedDate",
        *("/api/query?search_query=&id_list={paper},{paper}v1", "/api/query?search_query=ti:zyxw"),
    ],
    "rejected": [
        *("/api/query", "/api/query?search_query=ti:x&sortBy=date", "/api/query?id_list=none"),
        *(
            f"/api/query?search_query=ti:x&max_results={count}"
            for count in ("0", "-1", "2001", "x")
        ),
        *("/api/query?search_query=(ti:x", "/api/query?search_query=ti:x&start=10000"),
    ],
    "wrong": [
        *(f"{path}?{query}" for path, query, _ in BAD_QUERIES if path[1:] in ENDPOINTS["frontend"]),
        *(f"{path}?format=none" for path in LISTS),
        *(f"{path}?after=none" for path in LISTS),
        *("/results?after=x&page=1", "/results?fields=none", "/results?author=%21"),
        *("/results?category=%21", "/papers?withdrawn=true", "/papers?q=(", "/papers?q=-x"),
        *("/papers/suggest?q=" + 201 * "x", "/papers/suggest?x=1", "/papers/{paper}/similar?q=x"),
        *("/papers?order=relevance", f"{WORDS}&format=ris&order=relevance", "/papers?versions=1"),
        *("/results?format=bibtex&fields=title", "/arxiv?query=ti:(a", "/arxiv?id_list=none"),
    ],
}
RequestParts = tuple[str, str, dict[str, str], Any]
"""Method, path, headers, and a body."""


def announce_papers(conn: psycopg.Connection) -> None:
    """Store six papers that were announced on two days."""
    for number, kind in enumerate(("new", "cross", "replace", "replace-cross", "new", "new")):
        arxiv_id, day = f"2604.{number:05}", f"2026-04-{27 - number % 2 * 3}"
        conn.execute(
            "insert into papers (arxiv_id, version, timestamp, title, authors, source)"
            " values (%s, 1, 1, 'Title', array['A. Author'], 'rss')",
            (arxiv_id,),
        )
        conn.execute(
            "insert into announcements values (%s, %s, 1, %s, 'cs.LG', array['stat.ML'])",
            (day, arxiv_id, kind),
        )


@pytest.fixture(scope="module")
def filled_database(server: str, template: str, arxiv_server: tuple[StandIn, str]) -> Iterator[str]:
    """A database with several runs of a search, a failed search and old results."""
    name = f"filled_{uuid4().hex}"
    new = Identifier(name)

    async def fill() -> None:
        url = make_conninfo(server, dbname=name)
        settings = Settings(database_url=url, api_url=arxiv_server[1], interval=0)
        async with client_of(create_app(settings)) as client:
            for path in (SEARCH, "/arxiv?query=all:a&max_results=210", SEARCH):
                headers = {"cache-control": "no-cache"}
                assert (await client.get(path, headers=headers)).status_code == 200
            for query_id, outcome in ((900, "ok"), (901, "timeout")):
                await client.post(
                    "/write-queries", json=WRITTEN | {"query_id": query_id, "outcome": outcome}
                )
            old = [
                {"authors": "A. N. Other, B", "title": f"Old & <{n}>", "journal": "Phys"}
                for n in range(3)
            ]
            results = {"query_id": 900, "timestamp": WRITTEN["timestamp"], "results": old}
            assert (await client.post("/write-results", json=results)).status_code == 201
        with psycopg.connect(url) as conn:
            announce_papers(conn)

    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("create database {} template {}").format(new, Identifier(template)))
        asyncio.run(fill())
        yield make_conninfo(server, dbname=name)
        admin.execute(SQL("drop database {} with (force)").format(new))


@pytest.fixture
async def both(
    filled_database: str, settings: Make, backend_settings: Make
) -> AsyncIterator[list[Gateway]]:
    """Clients of a single service and a split one on the same database, in another time zone."""
    same = {"database_url": filled_database, "database_ro_url": None}
    options = {"timezone": "+05:30", "items_per_page": 7}
    async with (
        client_of(make_app(settings(**same, **options, endpoints="frontend"))) as alone,
        backend(backend_settings(**same)) as url,
        client_of(make_app(frontend(url, api_url=settings().api_url, **options))) as split,
    ):
        await papers_are_indexed(filled_database, settings().index_path)
        yield [alone, split]


async def compare(both: list[Gateway], request: RequestParts) -> httpx.Response:
    """Assert that status, headers and body are equal; the response."""
    method, path, headers, body = request
    headers = {"x-request-id": "same"} | headers

    async def fetch(client: Gateway) -> tuple[httpx.Response, tuple[Any, ...]]:
        got = await client.request(method, path, headers=headers, json=body)
        for name in {"age", "cache-status", "cache-control"} & got.headers.keys():
            got.headers[name] = re.sub("[0-9]+", "n", got.headers[name])  # seconds
        return got, (got.status_code, got.headers, got.content)

    for _ in range(3):  # some feeds contain the time
        (expected, alone), (response, split) = [await fetch(client) for client in both]
        if split == alone:
            return response
    assert (response.status_code, response.content) == (expected.status_code, expected.content), (
        request
    )
    assert response.headers == expected.headers, request
    return response


async def test_frontend_is_ready_like_a_single_service_but_has_no_index(
    both: list[Gateway],
) -> None:
    alone, split = [(await client.get("/health/ready")).json() for client in both]
    assert (alone.pop("index")["state"], split.pop("index")) == ("ready", None)
    assert split == alone


@pytest.mark.parametrize("what", PATHS)
async def test_split_responses_equal_single_service(both: list[Gateway], what: str) -> None:
    first = await both[0].get("/papers?versions=all&order=oldest&items_per_page=1")
    paper = first.json()["papers"][0]["arxiv_id"]
    good = {"unknown": {200, 404, 400}, "wrong": {400}, "rejected": {400}}.get(what, {200, 409})
    for template in PATHS[what]:
        path = template.replace("{paper}", paper)
        response = await compare(both, ("GET", path, {}, None))
        assert response.status_code in good, (path, response.text)
        await compare(both, ("HEAD", path, {}, None))
        if tag := response.headers.get("etag"):
            known = await compare(both, ("GET", path, {"if-none-match": tag}, None))
            assert known.status_code == 304 or "atom" in path  # it contains the time


async def test_frontend_is_ready_like_single_service_but_without_an_index(
    both: list[Gateway],
) -> None:
    headers = {"x-request-id": "same"}
    alone, split = [await each.get("/health/ready", headers=headers) for each in both]

    assert alone.json()["index"]["state"] == "ready"
    assert split.json() == alone.json() | {"index": None}
    for response in alone, split:
        del response.headers["content-length"]
    assert (split.status_code, split.headers) == (alone.status_code, alone.headers)


async def test_split_handles_headers_and_bodies_like_single_service(both: list[Gateway]) -> None:
    requests: list[RequestParts] = [
        *(("GET", path, headers, None) for path in LISTS for headers in ODD_HEADERS),
        *(("POST", path, {}, body) for path, body, _ in BAD_BODIES if path == "/queries"),
        *(("POST", "/queries", {}, body) for body in ({}, {"text": "ti:", "order": "newest"})),
        ("GET", "/results", {"request-timeout": "soon"}, None),
        ("DELETE", "/results", {}, None),
        ("OPTIONS", "/queries", {}, None),
    ]
    statuses = {(await compare(both, request)).status_code for request in requests}
    assert statuses == {200, 204, 400, 405, 406}


@pytest.mark.parametrize(
    ("path", "pages"),
    [
        ("/results?items_per_page=60", 4),
        ("/queries?items_per_page=1&order=newest", 5),
        ("/papers?items_per_page=60", 4),
        ("/papers?q=test*&items_per_page=9", 3),
        ("/results?format=csv&items_per_page=90", 3),
        ("/announcements?items_per_page=1", 3),
    ],
)
async def test_split_cursors_equal_single_service(
    both: list[Gateway], path: str, pages: int
) -> None:
    response, followed = await compare(both, ("GET", path, {}, None)), 1
    while "next" in response.links:
        response, followed = (
            await compare(both, ("GET", response.links["next"]["url"], {}, None)),
            followed + 1,
        )
        if "prev" in response.links:
            await compare(both, ("GET", response.links["prev"]["url"], {}, None))
    assert followed >= pages


HOSTILE = (
    *(
        "",
        " ",
        "a" * 501,
        "a" * 5000,
        "a" * 40_000,
        "%",
        "\\",
        "\ufffe",
        "\u202e",
        "\x01",
        "\U0001f600",
    ),
    *("-1", "1e400", "NaN", "inf", "null", "[]", "*", "cs.*.*", "!&|()", ":*", "'", "9" * 20),
    *("2021-13-45", "0001-01-01", str(2**63 - 1), str(2**63), "32768", "1000000001"),
)


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/queries", queries.download_queries),
        ("/results", results.list_results),
        ("/papers", papers.list_papers),
        ("/arxiv", search_arxiv),
    ],
)
async def test_split_rejects_hostile_parameters_like_single_service(
    both: list[Gateway], path: str, handler: Any
) -> None:
    await both[0].get(f"{path}?x=1")  # collects the parameters of the handler
    for name in get_parameters(handler):
        for value in HOSTILE:
            replies = [await client.get(path, params={name: value}) for client in both]
            statuses = {reply.status_code for reply in replies}
            assert len(statuses) == 1, (name, value[:50], [reply.text for reply in replies])
            assert statuses <= {200, 400}, (name, value[:50])
            if statuses == {400}:
                assert len({reply.json()["detail"] for reply in replies}) == 1


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/papers?q=test", (float("nan"), "x", 1)),
        ("/papers?q=test", (float("inf"), "x", 1)),
        ("/papers?q=test", (-float("inf"), "x", 1)),
        ("/papers?q=test", (0.0, "\0", 1)),
        ("/papers?q=test", (0.0, "x", 40_000)),
        ("/results?", (2**63, 1, 1)),
        ("/results?", (1.5, 1, 1)),
        ("/queries?", (float("nan"), 1)),
    ],
)
async def test_split_rejects_forged_cursors_like_single_service(
    both: list[Gateway], path: str, key: tuple[Any, ...]
) -> None:
    separator = "" if path.endswith("?") else "&"
    cursor = encode_cursor(key, path)
    response = await compare(both, ("GET", f"{path}{separator}after={cursor}", {}, None))

    assert response.status_code == 400
    assert response.json()["detail"].startswith("after: is not a valid cursor")


def test_remote_reader_overrides_every_method() -> None:
    methods = {
        name: method for name, method in vars(RecordReader).items() if not name.startswith("_")
    }

    for name in methods.keys() - {"stream_batches"}:  # composed of pages
        assert signature(vars(RemoteReader)[name]) == signature(methods[name])


async def test_frontends_and_backends_share_requests_and_rate_limiter(
    backend_settings: Make, arxiv: StandIn
) -> None:
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            url = await stack.enter_async_context(backend(backend_settings(interval=0.2)))
            app = make_app(frontend(url, interval=0.2, api_url=backend_settings().api_url))
            clients.append(await stack.enter_async_context(client_of(app)))
        arxiv.min_interval, arxiv.delay = 0.2, 0.1
        responses = await asyncio.gather(
            *(clients[n % 2].get(SEARCH) for n in range(6)),
            *(clients[n % 2].get(f"/arxiv?title=x{n}") for n in range(2)),
        )

    assert [response.status_code for response in responses] == [200] * 8
    assert len({response.json()["query_id"] for response in responses[:6]}) == 1
    assert len(arxiv.requests) == 3
    assert {request.status for request in arxiv.requests} == {200}


async def test_frontend_and_command_line_work_without_database(
    backend_settings: Make, tmp_path: Path, arxiv: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    del arxiv  # reset
    async with backend(backend_settings()) as url:
        environment = {
            "ARXIV_BACKEND_URL": url,
            "ARXIV_BACKEND_TOKEN": TOKEN,
            "ARXIV_DATA_DIR": str(tmp_path / "data"),
        }

        def run_and_search() -> tuple[dict[str, Any], int]:
            with service(environment) as process:
                found = process.get("/arxiv", title="testing").json()
            return found, process.process.returncode

        found, status = await asyncio.to_thread(run_and_search)
        parameters = {"title": "testing"}
        await print_search(parameters, frontend(url), source=None, bypass_cache=False, as_json=True)

    assert found["num_entries"] == 10
    assert json.loads(capsys.readouterr().out)["query_id"] == found["query_id"]
    assert status == 0
    assert not (tmp_path / "data").exists()


# Failures


async def test_unavailable_backend_is_reported_with_retry_after(
    backend_settings: Make, arxiv: StandIn
) -> None:
    del arxiv  # reset
    async with backend(backend_settings()) as url, client_of(make_app(frontend(url))) as client:
        assert (await client.get("/health/ready")).json()["status"] == "ready"
        port = urlsplit(url).port
    async with client_of(make_app(frontend(f"http://127.0.0.1:{port}"))) as client:
        for path in (SEARCH, "/results", EXPORT, "/papers?q=x", "/queries/1"):
            response = await client.get(path)
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"] == "5"
            assert response.json()["title"] == "Backend unavailable"
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["detail"]) == (
            503,
            "backend: the backend is unavailable",
        )
        assert (await client.get("/health/live")).status_code == 200


async def test_backend_without_database_is_not_ready(
    backend_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CHECKOUT_TIMEOUT", 0.2)
    cut_off = backend_settings(database_url="host=127.0.0.1 port=9", database_ro_url=None)
    async with backend(cut_off) as url, client_of(make_app(frontend(url))) as client:
        ready, results = await asyncio.gather(client.get("/health/ready"), client.get("/results"))

    assert ready.status_code == 503
    assert results.status_code == 503
    assert results.json()["title"] == "Database unavailable"


async def test_token_is_required_and_never_exposed(
    backend_settings: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    other = "another token of theirs"
    async with backend(backend_settings()) as url:
        async with httpx.AsyncClient(base_url=url) as stranger:
            for name in ("find-answer", "find-results", "read-archive"):
                assert name in ENDPOINTS["backend"]
                response = await stranger.post(f"/{name}", json={})
                assert response.status_code == 401
        async with client_of(make_app(frontend(url, backend_token=other))) as client:
            refused = await client.get("/results")
            ready = await client.get("/health/ready")
        async with client_of(make_app(frontend(url))) as client:
            assert (await client.get("/results")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200

    assert refused.status_code == ready.status_code == 503
    assert "ARXIV_BACKEND_TOKEN" in ready.json()["detail"]
    assert "ARXIV_BACKEND_TOKEN" in refused.json()["detail"]
    for secret in (TOKEN, other):
        assert secret not in refused.text
        assert secret not in caplog.text


async def test_frontend_looks_up_api_keys_through_backend(
    backend_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = backend_settings(allowed_hosts="example.org")
    key = api_keys.generate_key()
    async with create_pools(behind) as pools:
        await ApiKeyStore(pools).add(ApiKey("team-a", Rate(7, 60)), api_keys.hash_key(key), "")
    monkeypatch.setattr(api_keys, "FRESH_SECONDS", 0)
    async with AsyncExitStack() as running:
        url = await running.enter_async_context(backend(behind))
        settings = frontend(url, api_keys="required")
        async with client_of(make_app(settings)) as client:

            async def get(path: str, text: str) -> httpx.Response:
                return await client.get(path, headers={"authorization": f"Bearer {text}"})

            responses = [
                await get("/results", text) for text in (key, api_keys.generate_key(), "none")
            ]
            assert [response.status_code for response in responses] == [200, 401, 401]
            assert responses[0].headers["ratelimit"] == '"default";r=6;t=60'
            await running.aclose()
            assert (await get("/nowhere", key)).status_code == 404
            assert (await get("/nowhere", api_keys.generate_key())).status_code == 503


async def test_backend_problems_are_passed_on(
    gateway: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, content=b"oops")

    async with gateway(httpx.MockTransport(respond)) as client:
        problem = await client.get(SEARCH, headers={"x-request-id": "job-7"})

    assert problem.status_code == 502
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json() == {
        "title": "Unusable response from arXiv",
        "status": 502,
        "detail": "arXiv responded with status 500",
        "request_id": "job-7",
        "query_id": 3,
        "upstream_status": 500,
    }
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1  # logged by the backend


async def test_cookies_of_backend_are_not_kept() -> None:
    heads = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head.lower())
            cookies = b"set-cookie: c%d=x; path=/\r\n" % len(heads)
            body = b'{"status":"ready"}'
            writer.write(b"HTTP/1.1 200 OK\r\n" + cookies)
            writer.write(b"content-type: application/json\r\ncontent-length: 18\r\n\r\n" + body)

    async with listening(respond) as url, client_of(make_app(frontend(url))) as client:
        for _ in range(3):
            await client.get("/queries/1")

    assert len(heads) >= 3
    assert not any(b"cookie:" in head for head in heads)


PROBLEM = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n"
UNKNOWN = json.dumps(
    {"title": "", "status": 400, "detail": "body: has no", "request_id": "", "parameter": "body"}
).encode()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno", "(status 503)"),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "(status 404)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", "same release"),
        (
            b"HTTP/1.1 500 Oh\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
            "does not serve /read-archive (status 500)",
        ),
        (PROBLEM + b"content-length: 6\r\n\r\n<html>", "same release"),
        (
            PROBLEM + b"content-length: %d\r\n\r\n%s" % (len(UNKNOWN), UNKNOWN),
            "rejects a request to /read-archive (body: has no",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n[", "is unavailable"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b" " * 5000, "exceeds 4,096"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "is unavailable"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n[]",
            "is unavailable",
        ),
        (b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "(status 302)"),
        (b"", "is unavailable"),
        (b"SSH-2.0\r\n", "is unavailable"),
    ],
)
async def test_invalid_backend_response_is_unavailable(
    content: bytes, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_client, "MAX_RESPONSE_BYTES", 4096)

    async def send_content(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()

    async with listening(send_content) as url, client_of(make_app(frontend(url))) as client:
        response = await client.get("/results")

    assert response.status_code == 503
    assert detail in response.json()["detail"]


async def test_pipelined_request_does_not_inherit_deadline() -> None:
    heads = []

    async def backend(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with listening(backend) as url:
        with service({"ARXIV_BACKEND_URL": url}) as running:
            address = urlsplit(await asyncio.to_thread(running.url))
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(
                b"GET /health/live HTTP/1.1\r\nhost: x\r\nrequest-timeout: 1\r\n\r\n"
                b"GET /results HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            )
            await reader.read()
            writer.close()

    timeout = re.search(rb"request-timeout: ([0-9.]+)", heads[0])
    assert timeout
    assert float(timeout[1]) > 5


class Silent:
    """A backend that does not respond."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.gone = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        await reader.read()
        self.gone.set()


@pytest.mark.parametrize("path", [SEARCH, "/results", EXPORT])
async def test_request_id_and_deadline_are_passed_on(path: str) -> None:
    silent = Silent()
    async with listening(silent) as url, client_of(make_app(frontend(url))) as client:
        begun = monotonic()
        headers = {"request-timeout": "1.5", "x-request-id": "job-7"}
        response = await client.get(path, headers=headers)
        taken = monotonic() - begun
        await asyncio.wait_for(silent.gone.wait(), 20)  # the call was cancelled with the request

    assert response.status_code == 504
    assert response.json()["detail"] == "the request took longer than its Request-Timeout of 1.5 s"
    assert 1.4 < taken < 25  # below the timeout of the backend
    [head] = silent.heads
    assert "\r\nx-request-id: job-7\r\n" in head
    assert f"\r\nauthorization: bearer {TOKEN}\r\n" in head
    [seconds] = re.findall(r"\r\nrequest-timeout: ([0-9.]+)\r\n", head)
    # searches are shared with clients that may wait longer
    assert float(seconds) > 60 if path == SEARCH else 0 < float(seconds) <= 1.5


async def test_silent_backend_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend_client, "READ_TIMEOUT", 0.2)

    async def send_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    for slow in (Silent(), send_slowly):
        async with listening(slow) as url, client_of(make_app(frontend(url))) as client:
            response = await client.get("/results")

        assert response.status_code == 503
        assert response.json()["detail"] == "the backend does not respond in time"


@pytest.mark.parametrize(
    ("path", "headers", "status", "calls"),
    [
        ("/results", {}, 200, 3),
        (SEARCH, {}, 503, 3),  # the response is invalid; the call was retried nevertheless
        (SEARCH, {"cache-control": "no-cache"}, 503, 2),
    ],
)
async def test_lost_call_is_retried_once_unless_cache_is_bypassed(
    path: str, headers: dict[str, str], status: int, calls: int
) -> None:
    """As when a backend restarts."""
    heads: list[bytes] = []

    async def respond_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for responds in (True, False):
            heads.append(head := (await reader.readuntil(b"\r\n\r\n")).lower())
            [length] = re.findall(rb"content-length: ([0-9]+)", head)
            await reader.readexactly(int(length))
            await asyncio.sleep(0.05)
            if responds:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    async with listening(respond_once) as url, client_of(make_app(frontend(url))) as client:
        assert (await client.get("/results")).json() == []
        response = await client.get(path, headers=headers)

    assert response.status_code == status
    assert len(heads) == calls
    # HAProxy must not retry it either
    assert (b"\r\ncache-control: no-cache\r\n" in heads[1]) == bool(headers)
    left = [re.findall(rb"request-timeout: ([0-9.]+)", head) for head in heads[1:]]
    seconds = [float(each) for [each] in left]
    assert all(later <= earlier - 0.04 for earlier, later in pairwise(seconds))


async def test_cancelled_requests_release_connections(
    backend_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_client, "MAX_CONNECTIONS", 3)
    async with backend(backend_settings()) as url, client_of(make_app(frontend(url))) as client:
        for path in ("/results", "/papers", "/queries/1", EXPORT, SEARCH):
            hurried = [
                client.get(path, headers={"request-timeout": f"{n / 4000:.6f}"}) for n in range(40)
            ]
            responses = await asyncio.gather(*hurried)
            assert {response.status_code for response in responses} <= {200, 404, 504}
            assert (await client.get("/results")).status_code == 200


async def test_identical_pages_keep_their_own_deadlines() -> None:
    """Unlike in a single service, where concurrent identical reads are coalesced."""
    heads: list[bytes] = []
    hung_up = asyncio.Semaphore(0)

    async def respond_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            heads.append(head := (await reader.readuntil(b"\r\n\r\n")).lower())
            [length] = re.findall(rb"content-length: ([0-9]+)", head)
            await reader.readexactly(int(length))
            if len(heads) > 1:
                await reader.read()
                hung_up.release()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    async with listening(respond_once) as url, client_of(make_app(frontend(url))) as client:
        assert (await client.get("/results")).json() == []
        waiting = [
            asyncio.create_task(client.get("/results", headers={"request-timeout": seconds}))
            for seconds in ("1.5", "60")
        ]
        assert (await waiting[0]).status_code == 504
        await asyncio.wait_for(hung_up.acquire(), 20)
        assert not waiting[1].done()
        waiting[1].cancel()

    timeouts = [float(re.findall(rb"request-timeout: ([0-9.]+)", head)[0]) for head in heads[1:]]
    short, long = sorted(timeouts)
    assert 0 < short <= 1.5
    assert 5 < long <= 60


async def test_deadline_applies_in_single_service(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway() as client:
        arxiv.delay = 0.5
        late = await client.get(SEARCH, headers={"request-timeout": "0.1"})
        odd = await client.get(SEARCH, headers={"request-timeout": "soon"})
        two = [("request-timeout", "5"), ("request-timeout", "6")]
        doubtful = await client.get(SEARCH, headers=two)

    assert late.status_code == 504
    assert doubtful.status_code == 400
    assert (odd.status_code, odd.json()["parameter"]) == (400, "Request-Timeout")


async def test_client_disconnect_cancels_backend_call() -> None:
    silent = Silent()
    async with listening(silent) as url, served(make_app(frontend(url))) as address:
        with pytest.raises(httpx.ReadTimeout):
            async with httpx.AsyncClient(timeout=1.5) as client:
                await client.get(address + SEARCH)
        await asyncio.wait_for(silent.gone.wait(), 60)


async def test_identical_searches_share_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise waiting searches would use all connections."""
    monkeypatch.setattr(backend_client, "MAX_CONNECTIONS", 2)
    silent = Silent()
    async with listening(silent) as url, client_of(make_app(frontend(url))) as client:
        headers = {"request-timeout": "1.5"}
        await asyncio.gather(*(client.get(SEARCH, headers=headers) for _ in range(20)))

    assert len(silent.heads) == 1


async def test_frontend_suggests_what_its_backend_finds(both: list[Gateway]) -> None:
    paper = (await both[0].get("/papers?items_per_page=1")).json()["papers"][0]["arxiv_id"]
    for path, key in {
        "/papers/suggest?q=test": "terms",
        f"/papers/{paper}/similar": "papers",
        "/papers?q=title:tesitng": "did_you_mean",
    }.items():
        for client in both:
            assert (await client.get(path)).json()[key], path


async def test_invalid_read_request_is_rejected(backend_settings: Make) -> None:
    page = {"type": "page", "list": "results", "wanted": {"type": "results"}, "limit": 2}
    wrong: list[Any] = [
        {},
        {"type": "drop"},
        page,
        page | {"place": {"offset": -1}},
        page | {"place": {"key": ["a", 1, 2]}},
        page | {"place": {"key": [1]}},
        page | {"place": {}, "list": "papers"},
        page | {"place": {}, "wanted": {"type": "results", "words": "a &"}},
        page | {"place": {}, "wanted": {"type": "results", "words": "a\0"}},
        page | {"place": {}, "limit": 10**30},
        page | {"place": {}, "more": 1},
        {"type": "query", "query_id": "one"},
        {"type": "suggestions", "q": 201 * "x"},
        {"type": "similar", "paper": ["2101.00001"], "wanted": {"type": "papers"}, "limit": 1},
        {"type": "corrections", "wanted": {"type": "results"}},
    ]
    async with backend(backend_settings()) as url:
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            right = await client.post("/read-archive", json=page | {"place": {}})
            responses = [await client.post("/read-archive", json=body) for body in wrong]
            bad = await client.post("/find-answer", json={"asked": {"title": "x", "start": -1}})

    assert (right.status_code, right.json()) == (200, [])
    assert [response.status_code for response in responses] == [400] * len(wrong)
    assert (bad.status_code, bad.json()["parameter"]) == (400, "asked.start")


# Whole lists


async def test_whole_list_is_streamed(large: Settings) -> None:  # noqa: F811
    """Both run in this process; `tests/api/test_exports.py` measures memory."""
    async with (
        backend(large) as behind,
        served(make_app(frontend(behind))) as url,
        httpx.AsyncClient(base_url=url, headers=PLAIN) as client,
        client.stream("GET", EXPORT) as response,
    ):
        first = await anext(pieces := response.aiter_raw())
        size, lines = len(first), first.count(b"\n")
        async for piece in pieces:
            size, lines = size + len(piece), lines + piece.count(b"\n")

    assert lines == ROWS
    assert len(first) < size / 20


def of_process(settings: Settings) -> dict[str, str]:
    """Return the environment of a backend with these settings."""
    return {
        "ARXIV_DATABASE_URL": str(settings.database_url),
        "ARXIV_BACKEND_TOKEN": TOKEN,
        "ARXIV_ENDPOINTS": "backend",
    }


async def test_stream_survives_killed_backend_if_another_exists(
    large: Settings,  # noqa: F811
) -> None:
    with service(of_process(large)) as doomed, service(of_process(large)) as other:
        ports = [urlsplit(await asyncio.to_thread(each.url)).port for each in (doomed, other)]

        async def balance(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Forward a connection to the first of the two that is running."""
            for port in ports:
                try:
                    upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    continue
                await asyncio.gather(_carry(reader, upstream), _carry(upstream_reader, writer))
                return

        async def rows(url: str, kill: Any) -> int:
            lines = 0
            async with (
                served(make_app(frontend(url))) as address,
                httpx.AsyncClient(base_url=address, headers=PLAIN, timeout=20) as client,
                client.stream("GET", EXPORT) as response,
            ):
                async for piece in response.aiter_raw(2**16):
                    lines += piece.count(b"\n")
                    if lines > 200 and kill.process.poll() is None:
                        kill.process.kill()
                        kill.process.wait()
            return lines

        async with listening(balance) as url:
            assert await rows(url.removesuffix("/api/query"), doomed) == ROWS
        with pytest.raises(httpx.RemoteProtocolError):
            await rows(other.url(), other)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()


# Settings


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"database_url": "dbname=arxiv"}, "ARXIV_BACKEND_URL"),
        ({"database_ro_url": "dbname=arxiv"}, "ARXIV_BACKEND_URL"),
        ({"endpoints": "frontend,read-archive"}, "ARXIV_ENDPOINTS"),
        ({"endpoints": "backend"}, "ARXIV_ENDPOINTS"),
    ],
)
def test_frontend_rejects_database_settings(changes: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        frontend("http://backend", **changes)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        Settings.from_env(
            {"ARXIV_BACKEND_URL": "http://backend"}
            | {f"ARXIV_{field.upper()}": value for field, value in changes.items()}
        )


@pytest.mark.parametrize("check", [require_database, require_primary])
def test_database_commands_are_rejected_on_frontend(check: Callable[[Settings], None]) -> None:
    with pytest.raises(ConfigurationError, match="ARXIV_BACKEND_URL"):
        check(frontend("http://backend"))


def test_frontend_serves_frontend_endpoints() -> None:
    assert frontend("http://backend").served == set(ENDPOINTS["frontend"])


@pytest.mark.parametrize("endpoints", ["backend", "read-archive,find-keys,find-signing-key"])
async def test_frontend_has_sessions_with_the_signing_key_of_its_backend(
    backend_settings: Make, endpoints: str
) -> None:
    behind = backend_settings()
    key = api_keys.generate_key()
    async with create_pools(behind) as pools:
        await ApiKeyStore(pools).add(ApiKey("team-a", Rate(7, 60)), api_keys.hash_key(key), "")
    only_reads = endpoints != "backend"
    changes = {"database_url": None} if only_reads else {}
    async with backend(backend_settings(endpoints=endpoints, **changes)) as url:
        made = frontend(url, api_keys="required")
        async with client_of(make_app(made)) as client:
            form = read_form(await client.get("/sign-in"), "/sign-in")
            entered = await client.post("/sign-in", data=form | {"key": key})
            assert entered.status_code == 303
            cookie = f"{KEY_COOKIE}={client.cookies[KEY_COOKIE]}"
        async with client_of(make_app(made)) as other:
            page = await other.get("/", headers={"cookie": cookie})
            assert "team-a" in parse(page).text_content()
            left = await other.post(
                "/sign-out", data=read_form(page, "/sign-out"), headers={"cookie": cookie}
            )
            assert left.status_code == 303


async def test_sign_in_says_why_it_is_impossible(
    backend_settings: Make, db: psycopg.Connection
) -> None:
    db.execute("delete from signing_keys")
    async with backend(backend_settings()) as url:
        made = frontend(url, api_keys="required")
        async with client_of(make_app(made)) as client:
            response = await client.get("/sign-in")
    assert response.status_code == 503
    assert "the table signing_keys is empty" in parse(response).text_content()
