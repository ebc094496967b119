"""Programs that are written for arXiv's API work with `/api/query` instead."""

import asyncio
import gzip
import re
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import permutations
from time import monotonic
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

import feedparser
import httpx
import hypothesis
import psycopg
import pytest
from hypothesis import given
from hypothesis.strategies import lists
from msgspec import structs

from demo import feed as demo_feed
from demo.arxiv import StandIn
from demo.papers import generate
from service import feeds as feeds_module
from service import search as search_module
from service.app import add_outer_middleware
from service.arxiv_xml import parse_feed
from service.context import LocalContext
from service.db.records import create_record
from service.feeds import FeedService
from service.formats import arxiv_feed
from service.middleware import response_budget
from service.models.arxiv import ArxivResponse, Entry, Feed
from service.settings import Settings
from tests.api.test_http_semantics import DECODED
from tests.conftest import Gateway, Serve, make_app, running, served
from tests.support.captures import captured
from tests.support.cases import case_transport
from tests.unit.test_arxiv_feed import ENTRIES

PATH = "/api/query"
TESTING = {"search_query": "ti:testing"}
PAPERS = generate(40)
NAMES = [paper.arxiv_id for paper in generate(1000)[:40]]
"""Identifiers of papers that the stand-in has."""
ATOM = "application/atom+xml; charset=utf-8"
_UPDATED = re.compile(rb"<updated>[^<]*</updated>")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "RETRY_PAUSE", 0.01)


class Upstream:
    """A transport that returns the given responses in order, and repeats the last one."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses = list(responses)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        response = self.responses[min(len(self.requests), len(self.responses) - 1)]
        self.requests.append(request)
        if isinstance(response, Exception):
            raise response
        content, headers = response.content, response.headers
        return httpx.Response(response.status_code, content=content, headers=headers)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


def good(number: int = 3, **options: Any) -> httpx.Response:
    return httpx.Response(200, content=demo_feed.render(PAPERS[:number], **options))


def without_time(body: bytes) -> bytes:
    """Return a feed without the time of the response, which its first element has, or an error."""
    number = 2 if b"<title>Error</title>" in body else 1
    return _UPDATED.sub(b"<updated/>", body, count=number)


def parsed(body: bytes) -> Feed:
    return structs.replace(parse_feed(body), updated=None)


def check_error(response: httpx.Response, status: int, message: str | None = None) -> str:
    """Check that a response is arXiv's error feed, and return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == ATOM
    if "content-encoding" not in response.headers:
        assert response.headers["content-length"] == str(len(response.content))
    tree = feedparser.parse(response.content)
    assert not tree.bozo
    [entry] = tree.entries
    assert entry.title == "Error"
    assert entry.author == "arXiv api core"
    assert entry.id.startswith("https://arxiv.org/")
    assert tree.feed.opensearch_totalresults == "1"
    found = parse_feed(response.content)
    assert found.error == (message or found.error)
    return str(found.error)


# Equality with arXiv


@pytest.mark.parametrize(
    "params",
    [
        TESTING,
        {"search_query": "all:electron", "start": "3", "max_results": "7"},
        {"search_query": "cat:hep-th", "sortBy": "submittedDate", "sortOrder": "ascending"},
        {"search_query": "au:nobody_at_all"},
        {"search_query": "ti:a b AND au:c OR all:d"},
        {"search_query": "abs:model ANDNOT ti:testing", "max_results": "200"},
        {"id_list": ",".join(NAMES)},
        {"id_list": ",".join(NAMES), "max_results": "40"},
        {"id_list": f"{NAMES[0]}v1,{NAMES[0]},9912.99999"},
        {"id_list": NAMES[1], "search_query": "all:the"},
        {"search_query": "ti:testing", "start": "9000"},
    ],
)
async def test_response_has_the_bytes_that_arxiv_sends(
    gateway: Serve, arxiv: StandIn, params: dict[str, str]
) -> None:
    async with gateway() as client:
        fresh = await client.get(PATH, params=params)
        cached = await client.get(PATH, params=params)
    async with gateway() as other:
        recorded = await other.get(PATH, params=params)

    status, body = arxiv.answer(params)
    assert fresh.status_code == status
    assert fresh.headers["content-type"] == ATOM
    assert without_time(fresh.content) == without_time(body)
    assert cached.content == recorded.content == fresh.content
    assert len(arxiv.requests) == 1


@captured
async def test_captured_feed_is_returned_as_arxiv_sent_it(gateway: Serve, path: Any) -> None:
    body = path.read_bytes()
    sent = parse_feed(body)
    if sent.error:
        pytest.skip("an error")
    params = {
        "search_query": "x",
        "start": str(sent.start or 0),
        "max_results": str(sent.items_per_page or 10),
    }
    upstream = Upstream(httpx.Response(200, content=body))
    async with gateway(upstream.transport) as client:
        fresh = await client.get(PATH, params=params)
    async with gateway(upstream.transport) as other:
        recorded = await other.get(PATH, params=params)

    assert recorded.content == fresh.content
    assert len(upstream.requests) == 1
    if path.name.startswith("new"):
        assert without_time(fresh.content).rstrip() == without_time(body).rstrip()
    found = parsed(fresh.content)
    assert found == structs.replace(sent, updated=None, query=sent.query or found.query)


@pytest.mark.parametrize(
    "name", ["aut", "cat", "cjk", "ctrl", "doi", "ids", "jrn", "qqq", "ttl", "wdb", "wdr"]
)
async def test_unusual_feed_is_returned_as_arxiv_sent_it(gateway: Serve, name: str) -> None:
    transport = case_transport()
    params = {"search_query": f"case{name}", "max_results": "50"}
    async with gateway(transport) as client:
        fresh = await client.get(PATH, params=params)
    async with gateway(transport) as other:
        recorded = await other.get(PATH, params=params)

    request = httpx.Request("GET", "http://x/", params=params | {"start": 0, "id_list": ""})
    sent = parsed(transport.handle_request(request).read())
    assert recorded.content == fresh.content
    stored = [entry for entry in sent.entries if entry.arxiv_id]
    found = [entry for entry in parsed(fresh.content).entries if entry.arxiv_id]
    assert found == stored
    assert len(parsed(fresh.content).entries) == len(sent.entries)


ODD_ENTRY = """<entry>
  <id>http://arxiv.org/abs/math.GT/0309199v2</id>
  <title>  A\u00a0title\n  in\u0085two&#13; lines </title>
  <updated>2020-01-02T03:04:05.25-05:00</updated><published>0001-01-01T00:00:00Z</published>
  <summary>  Padded.\n</summary>
  <link href="http://arxiv.org/abs/math/0309199v2" rel="alternate" type="text/html"/>
  <link href="javascript:x" rel="other" title="a&#10;b"/>
  <arxiv:doi>doi:10.5555/a, 10.5555/B</arxiv:doi><arxiv:doi> 10.5555/c;</arxiv:doi>
  <arxiv:comment>a  b</arxiv:comment><arxiv:journal_ref> J\t1 </arxiv:journal_ref>
  <author><name> H1 Collaboration: Ada  Example</name>
  <arxiv:affiliation> Here </arxiv:affiliation><arxiv:affiliation>There</arxiv:affiliation></author>
  <author><name>:</name></author><author><name/></author>
  <category term="math.GT" scheme="x"/><arxiv:primary_category term="math.GT"/>
</entry>"""


def with_entries(*entries: str) -> httpx.Response:
    empty = demo_feed.render([], total=len(entries), max_results=10)
    body = empty.replace(b"</feed>", "".join(entries).encode() + b"</feed>")
    return httpx.Response(200, content=body)


async def test_what_other_endpoints_correct_is_returned_as_arxiv_sent_it(gateway: Serve) -> None:
    upstream = Upstream(with_entries(ODD_ENTRY))
    async with gateway(upstream.transport) as client:
        fresh = await client.get(PATH, params=TESTING)
    async with gateway(upstream.transport) as other:
        recorded = await other.get(PATH, params=TESTING)
        corrected = (await other.get("/papers/math/0309199")).json()

    assert recorded.content == fresh.content
    assert parsed(fresh.content).entries == parsed(upstream.responses[0].content).entries  # type: ignore[union-attr]
    assert corrected["title"] == "A title in two lines"


@given(lists(ENTRIES, min_size=10, max_size=30))
@hypothesis.settings(
    max_examples=20, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_stored_entries_are_rendered_as_they_were_sent(
    settings: Callable[..., Settings], entries: list[str]
) -> None:
    numbered = [
        each.replace("<entry>", f"<entry><id>http://arxiv.org/abs/2101.{number:05}v1</id>")
        for number, each in enumerate(entries)
    ]
    sent = parse_feed(with_entries(*numbered).content).entries
    response = ArxivResponse(timestamp=0, status=200, num_results=1, query="", entries=sent)

    async def store() -> list[Entry]:
        async with LocalContext(settings()) as context:
            query_id = await context.records.insert(create_record(response))
            return await context.records.fetch_entries(query_id)

    assert arxiv_feed.render_entries(asyncio.run(store())) == arxiv_feed.render_entries(sent)


async def test_same_paper_twice_and_in_two_versions(gateway: Serve) -> None:
    one = ODD_ENTRY.replace("v2", "v1").replace("A\u00a0title", "First")
    upstream = Upstream(with_entries(ODD_ENTRY, one, ODD_ENTRY))
    async with gateway(upstream.transport) as client:
        response = await client.get(PATH, params=TESTING)

    sent = upstream.responses[0].content  # type: ignore[union-attr]
    assert parsed(response.content).entries == parsed(sent).entries


async def test_paper_that_a_later_search_changed_is_returned_changed(gateway: Serve) -> None:
    changed = (
        ODD_ENTRY.replace("  A\u00a0title", "Another title")
        .replace("  Padded.\n", "Not padded.")
        .replace("doi:10.5555/a, 10.5555/B", "10.5555/a")
    )
    upstream = Upstream(with_entries(ODD_ENTRY), with_entries(changed))
    async with gateway(upstream.transport) as client:
        await client.get(PATH, params=TESTING)
        await client.get(PATH, params={"search_query": "all:other"})
    async with gateway(upstream.transport) as other:
        recorded = await other.get(PATH, params=TESTING)

    assert len(upstream.requests) == 2
    sent = upstream.responses[1].content  # type: ignore[union-attr]
    assert parsed(recorded.content).entries == parsed(sent).entries


async def test_records_of_the_previous_release_are_rendered_from_their_fields(
    gateway: Serve, db: psycopg.Connection
) -> None:
    upstream = Upstream(good(5, max_results=10))
    async with gateway(upstream.transport) as client:
        fresh = await client.get(PATH, params=TESTING)
    db.execute("update papers set sent = null")
    db.execute("update queries set feed_link = null")
    async with gateway(upstream.transport) as other:
        recorded = await other.get(PATH, params=TESTING)

    assert recorded.status_code == 200
    expected = [structs.replace(entry, sent=None) for entry in parsed(fresh.content).entries]
    found = [structs.replace(entry, sent=None) for entry in parsed(recorded.content).entries]
    assert found == expected
    assert b'<link href="https://arxiv.org/api/query?' not in recorded.content


async def test_result_without_a_stored_paper_has_what_the_result_has(
    gateway: Serve, db: psycopg.Connection
) -> None:
    upstream = Upstream(good(2, max_results=10))
    async with gateway(upstream.transport) as client:
        fresh = parsed((await client.get(PATH, params=TESTING)).content).entries
    db.execute("delete from papers")
    async with gateway(upstream.transport) as other:
        response = await other.get(PATH, params=TESTING)

    recorded = parsed(response.content).entries
    assert [(entry.arxiv_id, entry.version, entry.title, entry.authors) for entry in recorded] == [
        (entry.arxiv_id, entry.version, entry.title, entry.authors) for entry in fresh
    ]
    assert not feedparser.parse(response.content).bozo


# What clients send


def exchange(address: str, target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    """Send a request with exactly this target, and return the whole response."""
    url = urlsplit(address)
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: x", b"Connection: close", *headers]
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(b"\r\n".join([*lines, b"", b""]))
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def address(settings: Callable[..., Settings], arxiv: StandIn) -> Iterator[str]:
    """Return the URL of a service that is reached through sockets."""
    assert not arxiv.requests
    with served(settings()) as url:
        yield url


QUERIES: dict[bytes, str] = {
    b"all:a+AND+all:b": "all:a AND all:b",
    b"all:a%20AND%20all:b": "all:a AND all:b",
    b"all%3Aa%2BAND%2Ball%3Ab": "all:a+AND+all:b",
    b"all%3Aquantum%2520field": "all:quantum%20field",
    b'ti:"a%20b"': 'ti:"a b"',
    b"ti:%22a+b%22": 'ti:"a b"',
    b"submittedDate:[202001010000+TO+202101010000]": "submittedDate:[202001010000 TO 202101010000]",
    b"(all:a+OR+all:b)+ANDNOT+(cat:c.D)": "(all:a OR all:b) ANDNOT (cat:c.D)",
    b"au:Erd%C5%91s": "au:Erd\u0151s",
    b"au:Erd%F6s": "au:Erd%F6s",
    b"au:%FF%FE": "au:%FF%FE",
    b"all:%F0%9F%98%80": "all:\U0001f600",
    b"all:%ED%A0%80": "all:%ED%A0%80",
    b"all:a%0D%0AX:%20b": "all:a\r\nX: b",
    b"all:a%7F%1B[0m": "all:a\x7f\x1b[0m",
    b"all:%zz%": "all:%zz%",
    b"all:a;b=c": "all:a;b=c",
    b"all:a=b?c/d:e@f": "all:a=b?c/d:e@f",
    b"all:a'b\\c|d^e`f{g}<h>": "all:a'b\\c|d^e`f{g}<h>",
    b"+": " ",
    b"%09+%C2%A0": "\t \u00a0",
    b"%EF%BB%BFall:a": "\ufeffall:a",
}


@pytest.mark.parametrize("written", QUERIES)
def test_arxiv_receives_what_the_client_wrote(address: str, arxiv: StandIn, written: bytes) -> None:
    response = exchange(address, b"/api/query?search_query=" + written)

    status = int(response.split()[1])
    request = arxiv.requests[0]  # an error of arXiv is sent again
    assert request.params == {
        "search_query": QUERIES[written],
        "id_list": "",
        "start": "0",
        "max_results": "10",
    }
    assert status == request.status or (status, request.status) == (502, 500)
    assert b"application/atom+xml" in response


@pytest.mark.parametrize("written", [b"au:Erd\xc5\x91s", b"au:Erd\xf6s", b"a b", b"a\tb"])
def test_what_a_url_must_not_contain_is_a_400(address: str, arxiv: StandIn, written: bytes) -> None:
    response = exchange(address, b"/api/query?search_query=" + written)

    assert response.startswith(b"HTTP/1.1 400 ")
    assert not arxiv.requests


@pytest.mark.parametrize(
    "body",
    [
        b"search_query=" + "\U0001f600".encode() * 9_000,
        b"search_query=" + b'"' * 9_000 + b"&id_list=" + b"2101.00001," * 4_000 + b"2101.00001",
        b"id_list=" + b"2101.00001," * 5_900 + b"2101.00001",
        b"id_list=" + b"hep-th/9901001," * 4_000 + b"hep-th/9901001",
    ],
)
async def test_form_that_is_too_long_for_the_url_to_arxiv_is_rejected(
    client: Gateway, arxiv: StandIn, body: bytes
) -> None:
    check_error(await client.post(PATH, content=body), 400)
    assert not arxiv.requests


@pytest.mark.parametrize(
    ("text", "status"),
    [("all:x" + "y" * 9_995, 200), ("all:x" + "y" * 9_996, 400), ("\u00e9" * 9_000, 200)],
)
async def test_queries_have_up_to_10000_characters(
    client: Gateway, arxiv: StandIn, text: str, status: int
) -> None:
    response = await client.get(PATH, params={"search_query": text})
    by_form = await client.post(PATH, content=urlencode({"search_query": text}))

    assert {response.status_code} == {status}
    assert by_form.status_code in {status, 413}
    assert [request.params["search_query"] for request in arxiv.requests] == [text] * (
        status == 200
    )


SIX = {
    "search_query": "ti:testing",
    "id_list": "",
    "sortBy": "relevance",
    "sortOrder": "descending",
    "start": "0",
    "max_results": "10",
}


async def test_order_empty_values_and_defaults_make_no_difference(
    client: Gateway, arxiv: StandIn
) -> None:
    first = await client.get(PATH, params=TESTING)
    orders = list(permutations(SIX.items()))[::40]
    for order in orders:
        response = await client.get(PATH, params=dict(order))
        assert response.content == first.content
    unknown = await client.get(PATH, params=SIX | {"skip": "5", "search_Query": "x"})
    repeated = await client.get(f"{PATH}?{urlencode(SIX)}&search_query=no&start=7&start=x")

    assert unknown.content == repeated.content == first.content
    assert len(arxiv.requests) == 1


async def test_empty_query_beside_ids_is_not_given(client: Gateway, arxiv: StandIn) -> None:
    name = NAMES[0]
    one = await client.get(PATH, params={"id_list": name})
    other = await client.get(PATH, params={"search_query": "", "id_list": name})

    assert one.content == other.content
    assert [entry.arxiv_id for entry in parsed(one.content).entries] == [name]
    assert len(arxiv.requests) == 1


@pytest.mark.parametrize("count", ["+5", " 5", "5 ", "0_5", "005", "\u0665"])
async def test_counts_are_read_as_python_reads_integers(
    client: Gateway, arxiv: StandIn, count: str
) -> None:
    response = await client.get(PATH, params=TESTING | {"start": count, "max_results": count})

    assert response.status_code == 200
    [request] = arxiv.requests
    assert (request.params["start"], request.params["max_results"]) == ("5", "5")


async def test_number_of_parameters_is_limited(client: Gateway, arxiv: StandIn) -> None:
    many = "&".join(f"p{number}=1" for number in range(99))
    allowed = await client.get(f"{PATH}?{many}&search_query=all:x")
    rejected = await client.get(f"{PATH}?{many}&a=1&search_query=all:x")

    assert allowed.status_code == 200
    check_error(rejected, 400, "there are more than 100 parameters")
    assert len(arxiv.requests) == 1


async def test_raw_1_is_passed_on_and_has_its_own_cache_entry(
    client: Gateway, arxiv: StandIn
) -> None:
    await client.get(PATH, params=TESTING)
    await client.get(PATH, params=TESTING | {"raw": "1"})

    assert [request.params.get("raw") for request in arxiv.requests] == [None, "1"]


def many_ids(number: int) -> str:
    return ",".join(f"2101.{index:05}v1" for index in range(number))


async def test_2000_ids_are_requested_by_get_and_by_form(
    gateway: Serve, settings: Callable[..., Settings], arxiv: StandIn
) -> None:
    ids = ",".join(f"{paper.arxiv_id}v1" for paper in generate(1000)) + "," + many_ids(1000)
    params = {"id_list": ids, "max_results": "2000"}
    with served(settings()) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            by_get = await client.get(f"{PATH}?{urlencode(params, safe=',')}")
            by_form = await client.post(PATH, data=params)
    async with gateway() as other:
        recorded = await other.post(PATH, data=params)

    assert by_get.status_code == 200
    assert by_form.content == by_get.content == recorded.content
    assert len(parsed(by_get.content).entries) == 1000
    [request] = arxiv.requests
    assert request.params["id_list"] == ids


@pytest.mark.parametrize(
    "ids",
    [
        *("hep-ph/9409201", "arXiv:2101.00001", "2101.00001v2", "[2101.00001 2101.00002]"),
        *("http://arxiv.org/abs/2101.00001", "math.GT/0309199", "MATH/0309199", "x2101.00001y"),
        *("2101.00001,hep-th/9901001", " 2101.00001"),
    ],
)
@pytest.mark.parametrize("encode", [quote, quote_plus, str], ids=["path", "form", "raw"])
async def test_ids_are_sent_as_written(
    gateway: Serve, ids: str, encode: Callable[[str], str]
) -> None:
    upstream = Upstream(good())
    async with gateway(upstream.transport) as client:
        response = await client.get(f"{PATH}?id_list={encode(ids)}")

    assert response.status_code == 200
    [request] = upstream.requests
    assert request.url.params["id_list"] == ids


# Forms


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-Form-Urlencoded ; charset=utf-8",
    ],
)
async def test_form_is_equal_to_the_query_of_a_url(
    client: Gateway, arxiv: StandIn, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    got = await client.get(PATH, params=SIX)
    posted = await client.post(PATH, content=urlencode(SIX), headers=headers)

    assert posted.content == got.content
    assert posted.headers["cache-status"].startswith("arxiv-gateway; hit")
    assert len(arxiv.requests) == 1


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"search_query": "ti:testing"}', "application/json"),
        (b"--b\r\n\r\n--b--", "multipart/form-data; boundary=b"),
        (b"<feed/>", "application/atom+xml"),
        (b"search_query=x", "text/plain"),
        (b"x", "\xff"),
    ],
)
async def test_other_bodies_are_rejected(
    client: Gateway, arxiv: StandIn, content: bytes, content_type: str
) -> None:
    headers = {"content-type": content_type.encode("latin-1")}
    response = await client.post(PATH, content=content, headers=headers)  # type: ignore[arg-type]

    check_error(response, 415)
    assert not arxiv.requests


@pytest.mark.parametrize(
    "body", [b"", b"&&&", b"\0", b"\xff\xfe=\xff", b"=", b"search_query", b"a=b=c&;", b"%"]
)
async def test_form_without_a_query_is_rejected(client: Gateway, body: bytes) -> None:
    response = await client.post(PATH, content=body)

    check_error(
        response, 400, "Either a search_query or id_list must be specified for the classic API."
    )


async def test_form_that_is_too_large_is_rejected(client: Gateway, arxiv: StandIn) -> None:
    response = await client.post(PATH, content=b"search_query=x&y=" + b"z" * 70_000)

    check_error(response, 413)
    assert not arxiv.requests


# HTTP


async def test_head_options_and_other_methods(client: Gateway, arxiv: StandIn) -> None:
    got = await client.get(PATH, params=TESTING)
    head = await client.head(PATH, params=TESTING)
    bad_head = await client.head(PATH, params={"start": "x"})
    bad_get = await client.get(PATH, params={"start": "x"})
    options = await client.options(PATH)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "content-length", "cache-control"):
        assert head.headers[name] == got.headers[name]
    assert (bad_head.status_code, bad_head.content) == (400, b"")
    assert bad_head.headers["content-length"] == bad_get.headers["content-length"]
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "UNKNOWN"):
        rejected = await client.request(method, PATH, params=TESTING)
        check_error(rejected, 405)
        assert rejected.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert len(arxiv.requests) == 1


async def test_unchanged_feed_is_not_sent_again(client: Gateway) -> None:
    first = await client.get(PATH, params=TESTING)
    again = await client.get(PATH, params=TESTING, headers={"if-none-match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("accept", ["application/json, text/plain, */*", "text/html", "x", ""])
async def test_feed_is_sent_whatever_the_client_accepts(client: Gateway, accept: str) -> None:
    response = await client.get(PATH, params=TESTING, headers={"accept": accept})
    error = await client.get(PATH, headers={"accept": accept})

    assert response.headers["content-type"] == ATOM
    check_error(error, 400)


async def test_feed_is_compressed_if_the_client_accepts_it(client: Gateway) -> None:
    bodies = {}
    for coding in ("identity", "gzip", "br", "zstd", "br, gzip;q=0.5, deflate"):
        request = client.build_request(
            "GET", PATH, params=TESTING, headers={"accept-encoding": coding}
        )
        response = await client.send(request, stream=True)
        body = b"".join([chunk async for chunk in response.aiter_raw()])
        used = response.headers.get("content-encoding", "identity")
        bodies[coding] = used, body
    plain = bodies["identity"][1]
    assert bodies["gzip"][0] == "gzip"
    assert gzip.decompress(bodies["gzip"][1]) == plain
    assert bodies["zstd"][0] == "zstd"
    assert DECODED["zstd"](bodies["zstd"][1]) == plain
    assert bodies["br"] == ("identity", plain)
    assert bodies["br, gzip;q=0.5, deflate"][0] == "gzip"
    assert zlib.decompress(bodies["br, gzip;q=0.5, deflate"][1], 31) == plain


@pytest.mark.parametrize("path", ["/api/query/", "/api//query", "/api/query?"])
async def test_other_spellings_of_the_path_have_feeds_as_errors_too(
    client: Gateway, path: str
) -> None:
    check_error(await client.get(path), 400)


@pytest.mark.parametrize("path", ["/api", "/api/query/x", "/api/queries", "/results?x=1"])
async def test_errors_of_other_paths_stay_problems(client: Gateway, path: str) -> None:
    response = await client.get(path)

    assert response.headers["content-type"] == "application/problem+json"


# One cache for all endpoints


@pytest.mark.parametrize("is_feed_first", [True, False])
async def test_search_shares_its_cache_entry_with_the_feed(
    client: Gateway, arxiv: StandIn, *, is_feed_first: bool
) -> None:
    requests = [("/arxiv", {"title": "testing"}), (PATH, {"search_query": 'ti:"testing"'})]
    paths = requests[::-1] if is_feed_first else requests
    responses = [await client.get(path, params=params) for path, params in paths]
    summary, feed = responses[::-1] if is_feed_first else responses

    assert len(arxiv.requests) == 1
    assert responses[1].headers["cache-status"].startswith("arxiv-gateway; hit")
    found = parsed(feed.content)
    assert summary.json()["num_results"] == found.total
    assert summary.json()["num_entries"] == len(found.entries)


@pytest.mark.parametrize("is_feed_first", [True, False])
async def test_search_warns_of_another_executed_query_after_the_feed_too(
    gateway: Serve, *, is_feed_first: bool
) -> None:
    upstream = Upstream(good(max_results=10, query="all:another"))
    async with gateway(upstream.transport) as client:
        if is_feed_first:
            await client.get(PATH, params={"search_query": 'ti:"testing"'})
        summary = await client.get("/arxiv", params={"title": "testing"})

    assert len(upstream.requests) == 1
    assert "arXiv searched 'all:another'" in summary.json()["warnings"][0]


# Errors

INVALID = [
    {},
    {"search_query": ""},
    {"id_list": ""},
    {"id_list": "abc"},
    {"id_list": NAMES[0] + ",abc,def"},
    {"id_list": ","},
    {"id_list": "2101.00001,"},
    {"id_list": "0305100v2"},
    {"id_list": "<&\"'>\u00f6"},
    *({**TESTING, "start": text} for text in ("x", "", "-1", "1.0", "1e3", "0x1", "9" * 5000)),
    *({**TESTING, "max_results": text} for text in ("x", "", "-1", "-0x", "ten", "\u221e")),
    *({**TESTING, "sortBy": text} for text in ("", "date", "RELEVANCE", "relevance ")),
    *({**TESTING, "sortOrder": text} for text in ("", "asc", "up")),
    {"id_list": "abc", "start": "x", "max_results": "x", "sortBy": "x", "sortOrder": "x"},
    {**TESTING, "start": "x", "max_results": "x", "sortBy": "x", "sortOrder": "x"},
    {**TESTING, "start": "x", "sortBy": "x", "sortOrder": "x"},
    {**TESTING, "sortBy": "x", "sortOrder": "x"},
    {"start": "x"},
]


@pytest.mark.parametrize("params", INVALID, ids=lambda params: urlencode(params)[:50])
async def test_invalid_parameter_has_arxivs_message_without_asking_arxiv(
    client: Gateway, arxiv: StandIn, db: psycopg.Connection, params: dict[str, str]
) -> None:
    response = await client.get(PATH, params=params)
    by_form = await client.post(PATH, data=params)

    status, body = arxiv.answer(params)
    check_error(response, status)
    assert without_time(response.content) == without_time(body)
    assert without_time(by_form.content) == without_time(body)
    assert response.headers["cache-control"] == "no-store"
    assert not arxiv.requests
    assert db.execute("select count(*) from queries").fetchone() == (0,)


@pytest.mark.parametrize(
    "params",
    [
        {"search_query": "all:\0"},
        {"id_list": "2101.00001\0"},
        {**TESTING, "raw": "\0"},
        {**TESTING, "raw": "1" * 101},
        {**TESTING, "max_results": "0"},
        {**TESTING, "max_results": "2001"},
        {**TESTING, "start": "9991"},
        {**TESTING, "start": "9" * 4000},
    ],
    ids=lambda params: urlencode(params)[:50],
)
async def test_what_arxiv_cannot_answer_is_rejected_without_asking_it(
    client: Gateway, arxiv: StandIn, params: dict[str, str]
) -> None:
    check_error(await client.get(PATH, params=params), 400)
    assert not arxiv.requests


@pytest.mark.parametrize("query", ["ti:foo AND", "(ti:foo", "ANDNOT", "()"])
async def test_query_that_arxiv_rejects_is_recorded(
    client: Gateway, arxiv: StandIn, db: psycopg.Connection, query: str
) -> None:
    response = await client.get(PATH, params={"search_query": query})

    status, body = arxiv.answer({"search_query": query})
    assert len(arxiv.requests) == 1
    assert db.execute("select status, outcome from queries").fetchall() == [(status, "refused")]
    check_error(response, status)
    assert without_time(response.content) == without_time(body)


async def test_error_feed_of_arxiv_with_status_200_is_a_400(gateway: Serve) -> None:
    body = demo_feed.error("incorrect id format for 2101.00001x")
    async with gateway(Upstream(httpx.Response(200, content=body)).transport) as client:
        response = await client.get(PATH, params={"id_list": "2101.00001x"})

    assert check_error(response, 400).endswith(" 2101.00001x")


FAILURES: list[tuple[httpx.Response | Exception, int, bool]] = [
    (httpx.Response(429, content=b"Rate exceeded."), 503, True),
    (httpx.Response(503, headers={"retry-after": "7"}), 503, True),
    (httpx.Response(403, content=b"<html/>"), 503, True),
    (httpx.Response(500, content=demo_feed.error("It failed.")), 500, False),
    (httpx.Response(500, content=b"<html>oops</html>"), 500, False),
    (httpx.Response(504, content=b"gateway"), 504, False),
    (httpx.Response(404, content=b"gone"), 502, False),
    (httpx.Response(301, headers={"location": "https://x/"}), 502, False),
    (httpx.Response(200, content=b"Rate exceeded."), 502, False),
    (httpx.Response(200, content=b""), 502, False),
    (httpx.ConnectError("refused"), 503, True),
    (httpx.ReadTimeout("slow"), 504, False),
]


@pytest.mark.parametrize(
    ("failure", "status", "is_retryable"),
    FAILURES,
    ids=[f"{failure!r} {number}"[:40] for number, (failure, *_) in enumerate(FAILURES)],
)
async def test_failure_of_arxiv_is_a_feed(
    gateway: Serve,
    db: psycopg.Connection,
    failure: httpx.Response | Exception,
    status: int,
    *,
    is_retryable: bool,
) -> None:
    async with gateway(Upstream(failure).transport, max_wait=0.5) as client:
        response = await client.get(PATH, params=TESTING)

    check_error(response, status)
    assert ("retry-after" in response.headers) == is_retryable
    assert response.headers["cache-control"] == "no-store"
    assert db.execute("select count(*) > 0 from queries where outcome != 'ok'").fetchone() == (
        True,
    )


async def test_rejections_before_the_search_are_feeds(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway(api_keys="required") as client:
        check_error(await client.get(PATH, params=TESTING), 401)
        wrong = {"authorization": "Bearer x"}
        denied = await client.post(PATH, content=b"search_query=x", headers=wrong)
        check_error(denied, 401)
        assert "www-authenticate" in denied.headers
    async with gateway(api_keys="optional", anonymous_rate="1/hour") as client:
        assert (await client.get(PATH, params=TESTING)).status_code == 200
        exceeded = await client.get(PATH, params=TESTING)
        check_error(exceeded, 429)
        assert int(exceeded.headers["retry-after"]) > 0
    async with gateway(allowed_hosts="example.org") as client:
        check_error(await client.get(PATH, params=TESTING), 400)
        ok = await client.get(PATH, params=TESTING, headers={"host": "example.org"})
        assert ok.status_code == 200
    async with gateway(endpoints="arxiv") as client:
        check_error(await client.get(PATH, params=TESTING), 404)
    assert len(arxiv.requests) == 1


async def test_request_that_takes_too_long_for_its_client_is_a_feed(
    gateway: Serve, arxiv: StandIn
) -> None:
    arxiv.delay = 1.0
    async with gateway() as client:
        headers = {"request-timeout": "0.2"}
        response = await client.get(PATH, params=TESTING, headers=headers)

    check_error(response, response.status_code)
    assert response.status_code in {503, 504}


async def test_unavailable_database_is_a_feed(gateway: Serve) -> None:
    gone = "postgresql://arxiv_rw@127.0.0.1:9/gone"
    async with gateway(database_url=gone, database_ro_url=gone) as client:
        check_error(await client.get(PATH, params=TESTING), 503)


async def test_unexpected_error_is_a_feed(client: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setattr(feeds_module, "render_entries", fail)
    response = await client.get(PATH, params=TESTING)

    assert "secret" not in check_error(response, 500)


def test_error_feeds_escape_what_they_repeat() -> None:
    message = "incorrect id format for <a> & \x00\x1b\ud800\"'"
    found = parse_feed(arxiv_feed.render_error(message, datetime(2026, 11, 30, tzinfo=UTC)))
    assert found.error == "incorrect id format for <a> & \"'"


# The cache, and failures of arXiv


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.Response(429), httpx.Response(500), httpx.Response(301)],
    ids=["down", "throttled", "broken", "moved"],
)
async def test_expired_feed_is_sent_while_arxiv_fails(
    gateway: Serve, age: Callable[[], None], failure: httpx.Response | Exception
) -> None:
    upstream = Upstream(good(max_results=10), failure)
    async with gateway(upstream.transport) as client:
        first = await client.get(PATH, params=TESTING)
    age()
    async with gateway(upstream.transport) as other:
        stale = await other.get(PATH, params=TESTING)

    assert stale.status_code == 200
    assert stale.content == first.content
    assert stale.headers["cache-status"].endswith("detail=stale")
    assert stale.headers["cache-control"] == "max-age=0"
    assert int(stale.headers["age"]) > 86_400


async def test_search_waits_for_its_turn_or_serves_what_expired(
    gateway: Serve, arxiv: StandIn, age: Callable[[], None]
) -> None:
    async with gateway() as client:
        first = await client.get(PATH, params=TESTING)
    age()
    async with gateway(interval=60.0, max_wait=0.3) as client:
        started = monotonic()
        waiting = await client.get(PATH, params={"search_query": "all:model"})
        again = await client.get(PATH, params={"search_query": "all:other"})
        stale = await client.get(PATH, params=TESTING)

    assert monotonic() - started < 50
    errors = [response for response in (waiting, again) if response.status_code != 200]
    assert errors
    for response in errors:
        check_error(response, 503)
        assert int(response.headers["retry-after"]) > 0
    assert stale.content == first.content
    assert stale.headers["cache-status"].endswith("detail=stale")
    assert len(arxiv.requests) <= 2


async def test_search_waits_up_to_max_wait(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway(interval=0.4, max_wait=20.0) as client:
        started = monotonic()
        queries = [{"search_query": f"all:word{number}"} for number in range(4)]
        responses = await asyncio.gather(*(client.get(PATH, params=each) for each in queries))

    assert [response.status_code for response in responses] == [200] * 4
    assert monotonic() - started >= 1.2
    assert len(arxiv.requests) == 4


async def test_false_zero_is_repeated_and_not_cached(
    gateway: Serve, age: Callable[[], None], db: psycopg.Connection
) -> None:
    zero = httpx.Response(200, content=demo_feed.render([], max_results=10))
    upstream = Upstream(good(max_results=10), zero)
    async with gateway(upstream.transport) as client:
        await client.get(PATH, params=TESTING)
    age()
    async with gateway(upstream.transport) as other:
        response = await other.get(PATH, params=TESTING)
        requests = len(upstream.requests)
        again = await other.get(PATH, params=TESTING)

    assert requests == 1 + search_module.MAX_ATTEMPTS
    assert len(upstream.requests) > requests
    assert response.status_code == again.status_code == 200
    assert parsed(response.content).total == 0
    assert response.headers["cache-control"] == "max-age=0"
    assert re.fullmatch(
        r'199 arxiv-gateway "arXiv found no papers, but 3 before \(search \d+\): [ -~]+"',
        response.headers["warning"],
    )
    assert db.execute("select count(*) from queries where outcome = 'ok'").fetchone() == (1,)


async def test_short_page_is_repeated_and_not_cached(gateway: Serve) -> None:
    short = good(3, total=30, max_results=10)
    upstream = Upstream(short, good(10, total=30, max_results=10))
    async with gateway(upstream.transport) as client:
        response = await client.get(PATH, params=TESTING)

    assert len(upstream.requests) == 2
    assert len(parsed(response.content).entries) == 10
    assert "warning" not in response.headers


async def test_first_zero_is_cached_for_an_hour_at_most(gateway: Serve) -> None:
    zero = httpx.Response(200, content=demo_feed.render([], max_results=10))
    upstream = Upstream(zero)
    async with gateway(upstream.transport) as client:
        response = await client.get(PATH, params=TESTING)
        await client.get(PATH, params=TESTING)

    assert len(upstream.requests) == 1
    assert "warning" not in response.headers
    max_age = int(response.headers["cache-control"].removeprefix("max-age="))
    assert 0 < max_age <= 3600


async def test_no_cache_asks_arxiv_again(client: Gateway, arxiv: StandIn) -> None:
    for _ in range(2):
        headers = {"cache-control": "no-cache"}
        assert (await client.get(PATH, params=TESTING, headers=headers)).status_code == 200
    assert len(arxiv.requests) == 2


async def test_damaged_characters_are_a_warning(gateway: Serve) -> None:
    body = good(max_results=10).content.replace(b"</title>", b"\x08</title>")
    async with gateway(Upstream(httpx.Response(200, content=body)).transport) as client:
        response = await client.get(PATH, params=TESTING)

    assert response.status_code == 200
    assert "characters that XML or UTF-8 forbids" in response.headers["warning"]
    assert not feedparser.parse(response.content).bozo


# Load


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that each rendering of a feed extends."""
    heads: list[Any] = []
    render_head = arxiv_feed.render_head

    def render_and_count(head: Any) -> bytes:
        heads.append(head)
        return render_head(head)

    monkeypatch.setattr(feeds_module, "render_head", render_and_count)
    return heads


async def test_50_identical_requests_are_one_request_and_one_rendering(
    gateway: Serve, arxiv: StandIn, rendered: list[Any]
) -> None:
    arxiv.delay = 0.3
    async with gateway() as client:
        responses = await asyncio.gather(*(client.get(PATH, params=TESTING) for _ in range(50)))
        responses.append(await client.get(PATH, params=TESTING))

    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert len(arxiv.requests) == 1
    assert len(rendered) == 1


LARGE = {"search_query": "all:large", "max_results": "2000"}


@pytest.fixture(scope="module")
def large() -> Upstream:
    """Return an arXiv with a feed of 2,000 entries."""
    return Upstream(httpx.Response(200, content=demo_feed.render(generate(2000), max_results=2000)))


async def test_large_feed_is_sent_to_many_clients_from_one_rendering(
    gateway: Serve, large: Upstream, rendered: list[Any]
) -> None:
    async with gateway(large.transport) as client:
        await client.get(PATH, params=LARGE)
    rendered.clear()
    async with gateway(large.transport) as other:
        responses = await asyncio.gather(*(other.get(PATH, params=LARGE) for _ in range(20)))

    assert [response.status_code for response in responses] == [200] * 20
    assert len(rendered) == 1
    assert len(parsed(responses[0].content).entries) == 2000


async def test_other_requests_run_while_a_large_feed_is_rendered(
    gateway: Serve, large: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    batches: list[tuple[int, int]] = []
    render = arxiv_feed.render_entries

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def render_and_note(entries: Iterable[Entry]) -> bytes:
        listed = list(entries)
        batches.append((len(listed), turns))
        return render(listed)

    async with gateway(large.transport) as client:
        await client.get(PATH, params=LARGE)
    monkeypatch.setattr(feeds_module, "render_entries", render_and_note)
    async with gateway(large.transport) as other:
        other_request = asyncio.create_task(take_turns())
        response = await other.head(PATH, params=LARGE)
        other_request.cancel()

    sizes, turns_before = zip(*batches, strict=True)
    assert response.status_code == 200
    assert (sum(sizes), max(sizes)) == (2000, 100)
    assert len({*turns_before}) == len(batches)  # the other request ran between any two


async def test_feeds_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch, gateway: Serve) -> None:
    services = []
    create = FeedService.__init__

    def create_and_keep(self: FeedService, entries: Any) -> None:
        create(self, entries)
        services.append(self)

    monkeypatch.setattr(FeedService, "__init__", create_and_keep)
    monkeypatch.setattr(feeds_module, "MAX_CACHED_BYTES", 30_000)
    upstream = Upstream(good(3, max_results=10))
    async with gateway(upstream.transport) as client:
        for number in range(20):
            query = {"search_query": f"all:x{number}"}
            assert (await client.get(PATH, params=query)).status_code == 200
    [feeds] = services
    assert 0 < feeds._cache.currsize <= 30_000  # noqa: SLF001


async def test_too_many_large_responses_are_rejected_with_a_feed(
    monkeypatch: pytest.MonkeyPatch, settings: Callable[..., Settings], large: Upstream
) -> None:
    app = make_app(settings(), large.transport)
    outer: Any = add_outer_middleware(app)
    is_sending, is_read = asyncio.Event(), asyncio.Event()

    async def serve_slow_reader(scope: Any, receive: Any, send: Any) -> None:
        async def send_slowly(message: Any) -> None:
            if message["type"] == "http.response.body":
                is_sending.set()
                await is_read.wait()
            await send(message)

        await outer(scope, receive, send_slowly)

    def connect(served_app: Any) -> httpx.AsyncClient:
        headers = {"accept-encoding": "identity"}
        wire = httpx.ASGITransport(served_app)
        return httpx.AsyncClient(transport=wire, base_url="http://gateway", headers=headers)

    async with running(app), connect(serve_slow_reader) as slow, connect(outer) as quick:
        whole = await quick.get(PATH, params=LARGE)
        monkeypatch.setattr(response_budget, "MAX_RESERVED_BYTES", len(whole.content) + 1000)
        reading = asyncio.create_task(slow.get(PATH, params=LARGE))
        await is_sending.wait()
        rejected = await quick.get(PATH, params=LARGE)
        is_read.set()
        read = await reading
        later = await quick.get(PATH, params=LARGE)

    check_error(rejected, 503)
    assert "retry-after" in rejected.headers
    assert read.content == later.content == whole.content


async def test_client_that_disconnects_while_it_waits_leaves_the_queue(
    settings: Callable[..., Settings], arxiv: StandIn, db: psycopg.Connection
) -> None:
    with served(settings(interval=20.0, max_wait=30.0)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get(PATH, params=TESTING)).status_code == 200
            with pytest.raises(httpx.ReadTimeout):
                await client.get(PATH, params={"search_query": "all:x"}, timeout=0.7)
            for _ in range(1000):
                row = db.execute("select count(*) from gate_queue").fetchone()
                if row == (0,):
                    break
                await asyncio.sleep(0.05)
            assert row == (0,)
            cached = await client.get(PATH, params=TESTING)
            assert cached.status_code == 200
    assert len(arxiv.requests) == 1


async def test_client_that_disconnects_during_rendering_does_not_disturb_others(
    gateway: Serve, large: Upstream
) -> None:
    async with gateway(large.transport) as client:
        await client.get(PATH, params=LARGE)
    async with gateway(large.transport) as other:
        leaving = asyncio.create_task(other.get(PATH, params=LARGE))
        staying = [asyncio.create_task(other.get(PATH, params=LARGE)) for _ in range(2)]
        await asyncio.sleep(0.1)
        leaving.cancel()
        responses = await asyncio.gather(*staying)
        later = await other.get(PATH, params=LARGE)

    assert [response.status_code for response in (*responses, later)] == [200] * 3
    assert len({response.content for response in (*responses, later)}) == 1


async def test_rendered_entries_are_those_of_the_search(client: Gateway) -> None:
    pages = [
        parsed(
            (await client.get(PATH, params=TESTING | {"start": start, "max_results": 5})).content
        )
        for start in ("0", "5")
    ]
    whole = parsed((await client.get(PATH, params=TESTING)).content)

    entries: list[Entry] = [entry for page in pages for entry in page.entries]
    assert entries == whole.entries
    assert {page.total for page in pages} == {whole.total}
    assert [page.start for page in pages] == [0, 5]
