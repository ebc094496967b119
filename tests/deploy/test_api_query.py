"""`/api/query` in a split deployment, and with instances of the previous release.

What succeeds is compared with a single service in `test_split.py`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import feedparser
import httpx
import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo import feed
from demo.arxiv import StandIn
from service import search as search_module
from service.app import create_app
from service.errors import ConfigurationError
from service.models.arxiv import Search
from service.models.requests import SearchRequest
from service.settings import Settings
from tests.api.test_cache import Upstream, good
from tests.api.test_http_semantics import client_of
from tests.conftest import Gateway, Serve, copied, listening, make_app
from tests.deploy.test_split import (
    PROBLEM,
    SEARCH,
    Make,
    backend,
    backend_settings,  # noqa: F401 - fixture
    frontend,
)

ATOM = "application/atom+xml; charset=utf-8"
PATH = "/api/query?search_query=ti:testing"
TIME = re.compile(rb"<updated>[^<]+</updated>")
SECONDS = re.compile("(?<='age': ')[0-9]+|(?<=ttl=)-[0-9]+")
HEADERS = {"x-request-id": "same", "accept-encoding": "identity"}
REJECTION = feed.error("Invalid query string: 'ti:testing'")
SERVER_ERROR = feed.error("The request could not be completed by the server.")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "RETRY_PAUSE", 0.01)


@pytest.fixture
def databases(server: str, template: str) -> Iterator[list[dict[str, Any]]]:
    """The settings of two empty databases."""
    with ExitStack() as stack:
        urls = [stack.enter_context(copied(server, template)) for _ in range(2)]
        yield [
            {"database_url": make_conninfo(url, user="arxiv_rw"), "database_ro_url": None}
            for url in urls
        ]


@asynccontextmanager
async def split(
    behind: Settings, transport: httpx.AsyncBaseTransport | None = None, **changes: Any
) -> AsyncIterator[Gateway]:
    """A client of a frontend with these changes, in front of a backend with these settings."""
    async with (
        backend(behind, transport) as url,
        client_of(make_app(frontend(url, api_url=behind.api_url, **changes))) as client,
    ):
        yield client


def describe(response: httpx.Response) -> tuple[Any, ...]:
    """Everything in a response that does not depend on the time."""
    headers = {name: value for name, value in response.headers.items() if name != "retry-after"}
    return response.status_code, headers, TIME.sub(b"", response.content)


# Failures


@pytest.mark.parametrize(
    ("response", "status", "text"),
    [
        (httpx.Response(400, content=REJECTION), 400, "Invalid query string: 'ti:testing'"),
        (httpx.Response(500, content=SERVER_ERROR), 500, "could not be completed by the server"),
        (httpx.Response(500, content=b"oops"), 500, "arXiv responded with status 500"),
        (httpx.Response(429, content=b"Rate exceeded."), 503, ""),
        (httpx.Response(503, headers={"retry-after": "20"}), 503, ""),
        (httpx.Response(200, content=b"<html>"), 502, ""),
        (httpx.ConnectError("no route"), 503, "cannot connect to arXiv"),
        (httpx.ReadTimeout("too late"), 504, ""),
    ],
)
async def test_failure_of_arxiv_is_the_same_feed_behind_a_frontend(
    response: Any,
    status: int,
    text: str,
    settings: Make,
    backend_settings: Make,  # noqa: F811
    databases: list[dict[str, Any]],
) -> None:
    alone = settings(**databases[0], endpoints="frontend")
    async with client_of(make_app(alone, Upstream(response).transport)) as client:
        expected = await client.get(PATH, headers=HEADERS)
    async with split(backend_settings(**databases[1]), Upstream(response).transport) as client:
        failed = await client.get(PATH, headers=HEADERS)

    assert describe(failed) == describe(expected)
    assert failed.status_code == status
    assert failed.headers["content-type"] == ATOM
    assert "<title>Error</title>" in failed.text
    assert text in failed.text
    waits = [int(each.headers.get("retry-after", 0)) for each in (failed, expected)]
    assert (min(waits) > 0) == (status == 503)
    assert max(waits) - min(waits) <= 1


async def test_stale_feed_is_the_same_behind_a_frontend(
    settings: Make,
    backend_settings: Make,  # noqa: F811
    age: Callable[[], None],
) -> None:
    unreachable = Upstream(httpx.ConnectError("no route")).transport
    async with split(backend_settings(), Upstream(good()).transport) as client:
        first = await client.get(PATH)
    age()
    async with client_of(make_app(settings(endpoints="frontend"), unreachable)) as client:
        expected = await client.get(PATH, headers=HEADERS)
    async with split(backend_settings(), unreachable) as client:
        stale = await client.get(PATH, headers=HEADERS)

    assert (stale.status_code, stale.content) == (200, first.content)
    assert stale.headers["cache-status"].endswith("; detail=stale")
    assert re.sub(SECONDS, "", str(stale.headers)) == re.sub(SECONDS, "", str(expected.headers))


async def test_unavailable_backend_is_reported_as_a_feed(backend_settings: Make) -> None:  # noqa: F811
    async with backend(backend_settings()) as url:
        pass
    async with client_of(make_app(frontend(url))) as client:
        response = await client.get(PATH)

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"] == ATOM
    assert "the backend is unavailable" in response.text


# Which instances serve it


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize(
    ("endpoints", "served"),
    [
        ("api/query", {PATH}),
        ("/api/query", {PATH}),
        ("arxiv,queries", {SEARCH}),
        ("frontend", {PATH, SEARCH}),
    ],
)
async def test_endpoint_is_served_if_it_is_named(
    gateway: Serve,
    backend_settings: Make,  # noqa: F811
    endpoints: str,
    served: set[str],
) -> None:
    statuses = {path: 200 if path in served else 404 for path in (PATH, SEARCH)}
    async with (
        gateway(endpoints=endpoints) as alone,
        split(backend_settings(), endpoints=endpoints) as behind,
    ):
        for client in (alone, behind):
            responses = {path: await client.get(path) for path in (PATH, SEARCH)}
            assert {path: each.status_code for path, each in responses.items()} == statuses
            assert responses[PATH].headers["content-type"] == ATOM


def test_instance_that_only_reads_does_not_serve_it(settings: Make) -> None:
    with pytest.raises(ConfigurationError, match="api/query"):
        create_app(settings(database_url=None, endpoints="api/query"))


# Instances of the previous release


def test_searches_of_other_endpoints_are_sent_as_before() -> None:
    """A backend of the previous release rejects names that it does not know."""
    search = SearchRequest.create(Search(title="testing"), bypass_cache=True)
    assert json.loads(msgspec.json.encode(search)).keys() == {"asked", "anew"}


UNKNOWN_FIELD = msgspec.json.encode(
    {
        "title": "Bad Request",
        "status": 400,
        "detail": "body: Object contains unknown field `api_query`",
        "request_id": "",
        "parameter": "body",
    }
)


async def test_backend_of_the_previous_release_is_reported_as_a_feed() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            PROBLEM + b"content-length: %d\r\n\r\n%s" % (len(UNKNOWN_FIELD), UNKNOWN_FIELD)
        )
        await writer.drain()

    async with listening(respond) as url, client_of(make_app(frontend(url))) as client:
        response = await client.get(PATH)

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"] == ATOM
    assert "check that it is of the same release" in response.text


async def test_feed_of_a_record_without_the_link_is_answered(
    backend_settings: Make,  # noqa: F811
    db: psycopg.Connection,
    arxiv: StandIn,
) -> None:
    """The previous release stores neither the link of a feed nor what arXiv sent."""
    async with split(backend_settings()) as client:
        first = await client.get(PATH)
    db.execute("update queries set feed_link = null")
    db.execute("update papers set sent = null")
    async with split(backend_settings()) as client:
        response = await client.get(PATH)

    assert len(arxiv.requests) == 1
    assert response.status_code == 200
    assert list_entries(response) == list_entries(first)


def list_entries(response: httpx.Response) -> list[tuple[str, str]]:
    return [(entry.id, entry.title) for entry in feedparser.parse(response.text).entries]
