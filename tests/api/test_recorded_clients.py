"""Requests of real clients, byte by byte as they send them, get what arXiv answers."""

import asyncio
import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import feedparser
import pytest

from demo.arxiv import Request, StandIn
from tests.support.captures import TEST_DATA
from tests.support.clients import serve_gateway

RECORDED = TEST_DATA / "data" / "clients" / "recorded_requests.json"

DEFAULTS = {"start": "0", "max_results": "10", "sortBy": "relevance", "sortOrder": "descending"}


@pytest.fixture
def arxiv_url(arxiv_server: tuple[StandIn, str]) -> str:
    """Base URL of the stand-in for arXiv."""
    return arxiv_server[1].removesuffix("/api/query")


@dataclass(frozen=True)
class ClientRequest:
    """A request line and the headers of a client."""

    client: str
    target: str
    headers: dict[str, str]
    method: str = "GET"


# Clients that were read but not recorded, and what is peculiar about them.
OTHERS = [
    ClientRequest(client, target, {})
    for client, target in {
        "raw quotation marks (arXiv.jl)": '/api/query?search_query=ti:"test%20testing"&start=0'
        "&max_results=5",
        "encoded plus signs (agentic)": "/api/query?start=0&max_results=5&search_query="
        "all%3Atesting%2BAND%2Ball%3Ascaling",
        "raw colon and comma (cyanheads)": "/api/query?search_query=cat:cs.LG%20AND%20all:testing"
        "&start=0&max_results=5&sortBy=submittedDate&sortOrder=descending",
        "ids in brackets (orijtech)": "/api/query?id_list=%5B0704.0001+0704.0002%5D&max_results=5",
        "prefixed id (pubs)": "/api/query?id_list=arXiv:0704.0001",
        "raw old id (org-ref)": "/api/query?id_list=hep-ph/9409201",
        "unusual order (arxiv-api-rs)": "/api/query?sortOrder=ascending&max_results=3"
        "&search_query=all%3Atesting&start=2&sortBy=lastUpdatedDate",
        "literal operators (arxiv-api)": "/api/query?search_query=all:testing+ANDNOT+ti:%22a%20b%22"
        "&start=0&max_results=10",
        "double encoding (papis)": "/api/query?search_query=all%3Aquantum%2520field&id_list="
        "&sortBy=relevance&sortOrder=descending&start=0&max_results=30",
        "invalid UTF-8": "/api/query?search_query=au:Erd%F6s",
        "absolute target (http_proxy)": "http://export.arxiv.org/api/query?search_query=all:testing",
        "sort that arXiv lacks": "/api/query?search_query=all:testing&sortBy=title",
        "no parameters": "/api/query",
    }.items()
]


def read_recorded() -> list[ClientRequest]:
    if not RECORDED.exists():
        pytest.skip(f"the recorded requests are missing: {RECORDED}")
    return list(map(parse_record, json.loads(RECORDED.read_text())))


def parse_record(record: dict[str, Any]) -> ClientRequest:
    target = record.get("path") or "/" + record["uri"].split("/", 3)[3]
    headers = {
        name: value if isinstance(value, str) else value[0]
        for name, value in record.get("headers", {}).items()
    }
    return ClientRequest(record["client"], target, headers, record["method"])


async def send(url: str, request: ClientRequest) -> tuple[int, str, bytes]:
    """Send a request over a connection of its own; status, content type and content."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port)
    headers = {"Host": f"{host}:{port}"} | request.headers | {"Connection": "close"}
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *rest = head.decode("latin-1").split("\r\n")
    received = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
    if received.get("content-encoding") == "gzip":
        content = gzip.decompress(content)
    return int(first.split()[1]), received["content-type"], content


def read_feed(content: bytes) -> Any:
    """The parsed feed, without the time of the response."""
    feed = feedparser.parse(content)
    for part in (feed.feed, *(entry for entry in feed.entries if entry.title == "Error")):
        part.pop("updated", None)
        part.pop("updated_parsed", None)
    return feed.feed, feed.entries


def read_parameters(requests: Iterable[Request]) -> list[dict[str, str]]:
    """The parameters of requests as arXiv reads them; empty ones are as good as missing."""
    return [
        DEFAULTS | {name: value for name, value in each.params.items() if value}
        for each in requests
    ]


async def replay(
    requests: list[ClientRequest], arxiv: StandIn, arxiv_url: str, database: str
) -> None:
    """Compare the response to each request, and what of it reaches arXiv, with arXiv's own."""
    sent: list[dict[str, str]] = []
    with serve_gateway(database, arxiv_url) as url:
        for request in requests:
            status, content_type, content = await send(arxiv_url, request)
            expected = read_parameters(arxiv.requests)
            arxiv.requests.clear()
            got = await send(url, request)
            assert status in (200, 400)
            assert got[:2] == (status, content_type), (request, got)
            assert read_feed(got[2]) == read_feed(content), request
            reached = read_parameters(arxiv.requests)
            assert reached in ([], expected)  # none if cached or invalid
            arxiv.requests.clear()
            sent += reached
    assert len(sent) > len(requests) / 2


async def test_recorded_requests_get_what_arxiv_answers(
    arxiv: StandIn, arxiv_url: str, database: str
) -> None:
    await replay(read_recorded(), arxiv, arxiv_url, database)


async def test_unusually_encoded_requests_get_what_arxiv_answers(
    arxiv: StandIn, arxiv_url: str, database: str
) -> None:
    await replay(OTHERS, arxiv, arxiv_url, database)
