"""Failures of arXiv: documented status, bounded time and memory, and each is recorded."""

import asyncio
import gc
import gzip
import resource
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic

import httpx
import psycopg
import pytest

from demo import feed
from demo.papers import generate
from service import arxiv_query
from service import search as search_module
from service.arxiv_client import ArxivClient
from service.models.arxiv import Outcome, Search
from service.settings import Settings
from tests.conftest import Answering, Serve, listening
from tests.support.cases import case_transport


@pytest.fixture(autouse=True)
def _one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_ATTEMPTS", 1)


FEED = feed.render(generate(3), total=3)
ERROR_FEED = feed.error("incorrect id format for abc")


def responding(status: int, body: bytes, **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))


@pytest.mark.parametrize(
    ("status", "body", "status_code", "outcome"),
    [
        (400, ERROR_FEED, 400, "refused"),
        (200, ERROR_FEED, 400, "refused"),
        (400, b"Bad Request", 400, "refused"),
        (429, b"Rate exceeded.", 503, "busy"),
        (403, b"Access denied", 503, "busy"),
        (503, b"", 503, "busy"),
        (500, ERROR_FEED, 502, "broken"),
        (500, b"<html>oops</html>", 502, "broken"),
        (404, b"not found", 502, "broken"),
        (301, b"", 502, "broken"),
        (204, b"", 502, "broken"),
        (200, b"", 502, "broken"),
        (200, b"Rate exceeded.", 502, "broken"),
        (200, b"<!DOCTYPE html><html><body>Rate exceeded</body></html>", 502, "broken"),
        (200, b"<html><body>Rate exceeded</body></html>", 502, "broken"),
        (200, b"{}", 502, "broken"),
        (200, FEED[:-200], 502, "broken"),
        (200, b"\x00" * 1000, 502, "broken"),
        (200, b'<feed xmlns="http://www.w3.org/2005/Atom"/>', 502, "broken"),
        (200, FEED.replace(b">3<", b">-3<"), 502, "broken"),
        (200, FEED.replace(b">3<", b">99999999999<"), 502, "broken"),
    ],
)
async def test_failure_is_explained_and_recorded(
    gateway: Serve, db: psycopg.Connection, status: int, body: bytes, status_code: int, outcome: str
) -> None:
    async with gateway(transport=responding(status, body)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == status_code, response.text
    assert response.headers["content-type"] == "application/problem+json"
    rows = db.execute(
        "select query_id, status, outcome, num_results, num_entries, query from queries"
    )
    [(query_id, *recorded)] = rows.fetchall()
    query = 'search_query=ti:"x"&id_list=&start=0&max_results=10'
    assert recorded == [status, outcome, 0, 0, query]
    assert response.json()["query_id"] == query_id
    assert db.execute("select count(*) from results").fetchone() == (0,)
    assert ("retry-after" in response.headers) == (status_code == 503)


LAUGHS = b"".join(b'<!ENTITY l%d "%s">' % (n + 1, b"&l%d;" % n * 10) for n in range(9))
HOSTILE = {
    "billion laughs": b'<!DOCTYPE feed [<!ENTITY l0 "ha">%s]><feed>&l9;</feed>' % LAUGHS,
    "external entity": b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><f>&x;</f>',
    "external DTD": b'<!DOCTYPE feed SYSTEM "http://127.0.0.1:9/x.dtd">' + FEED.split(b"?>", 1)[1],
    "deep nesting": b"<a>" * 100_000,
    "wrong charset": FEED.replace(b"UTF-8", b"UTF-16", 1).replace(b"utf-8", b"utf-16", 1),
    "20 MB of title": FEED.replace(b"</title>", b"x" * 20_000_000 + b"</title>"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_document_is_a_bad_gateway(
    gateway: Serve, db: psycopg.Connection, name: str
) -> None:
    async with gateway(transport=responding(200, HOSTILE[name])) as client:
        started = monotonic()
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 502, response.text
    assert monotonic() - started < 20
    assert db.execute("select status, outcome from queries").fetchall() == [(200, "broken")]
    assert db.execute("select count(*) from results").fetchone() == (0,)


DAMAGED = {
    "not the charset": b"\xff\xfe</title>",
    "NUL": b"\x00</title>",
    "control character": b"\x08</title>",
    "reference to NUL": b"&#0;</title>",
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_damaged_characters_cause_a_warning_only(
    gateway: Serve, db: psycopg.Connection, name: str
) -> None:
    body = FEED.replace(b"</title>", DAMAGED[name])
    async with gateway(transport=responding(200, body)) as client:
        response = await client.get("/arxiv", params={"title": "x"})
        again = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 200, response.text
    assert response.json()["num_entries"] == 3
    assert "characters that XML or UTF-8 forbids" in response.json()["warnings"][-1]
    assert again.json() == response.json()
    assert db.execute("select outcome from queries").fetchall() == [("ok",)]


async def test_page_with_a_control_character_is_a_warning_and_a_result(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        response = await client.get("/arxiv", params={"title": "casectrl", "include": "results"})

    assert len(response.json()["warnings"]) == 1
    assert [row["title"] for row in response.json()["results"]] == ["caseCTRL ab"]


@pytest.mark.parametrize("expanded", [b"<entry/>", b"<entry><title>x</title></entry>"])
async def test_entries_that_were_not_requested_are_one_warning(
    gateway: Serve, caplog: pytest.LogCaptureFixture, expanded: bytes
) -> None:
    body = FEED.replace(b"</feed>", expanded * 20_000 + b"</feed>")
    async with gateway(transport=responding(200, body)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.json()["num_entries"] == 10
    warning = "arXiv sent 20003 papers instead of 10: the others are ignored"
    assert response.json()["warnings"].count(warning) == 1
    assert sum(record.levelname == "WARNING" for record in caplog.records) < 6


async def test_parsing_ends_at_the_timeout_while_other_requests_are_answered(
    gateway: Serve, db: psycopg.Connection
) -> None:
    body = gzip.compress(FEED.replace(b"</feed>", b"<entry/>" * 3_900_000 + b"</feed>"))
    transport = responding(200, body, **{"content-encoding": "gzip"})
    async with gateway(transport=transport, timeout=1.0) as client:
        search = asyncio.create_task(client.get("/arxiv", params={"title": "x"}))
        answered = 0
        while not search.done():
            await client.get("/health/live")
            answered += 1
            await asyncio.sleep(0.01)

    assert search.result().status_code == 504
    assert answered > 5
    assert db.execute("select status, outcome from queries").fetchall() == [(200, "timeout")]


async def test_names_of_elements_are_not_kept(gateway: Serve) -> None:
    numbers = count()

    def respond(_: httpx.Request) -> httpx.Response:
        names = (b"<x%d%s/>" % (next(numbers), b"y" * 40_000) for _ in range(200))
        entries = b"".join(b"<entry>%s</entry>" % name for name in names)
        return httpx.Response(200, content=FEED.replace(b"</feed>", entries + b"</feed>"))

    async with gateway(transport=httpx.MockTransport(respond)) as client:
        await client.get("/arxiv", params={"title": "first"})
        before = resident_mib()
        for number in range(20):
            await client.get("/arxiv", params={"title": f"x{number}"})
        grown = resident_mib() - before

    assert grown < 80  # all names have 160 MB


def resident_mib() -> float:
    gc.collect()  # responses and requests of httpx refer to each other
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def test_two_thousand_authors_of_one_paper_are_recorded(
    gateway: Serve, db: psycopg.Connection
) -> None:
    authors = b"<author><name>Ada B. Countess</name></author>" * 2000
    body = feed.render(generate(1), total=1).replace(b"</entry>", authors + b"</entry>")
    async with gateway(transport=responding(200, body)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 200
    [(author,)] = db.execute("select author from results").fetchall()
    assert author.count("Countess") == 2000


async def test_reason_given_by_arxiv_is_in_the_detail(gateway: Serve) -> None:
    async with gateway(transport=responding(400, ERROR_FEED)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert "incorrect id format for abc" in response.json()["detail"]


@pytest.mark.parametrize(("status", "reason"), [(500, "oops"), (429, "429"), (200, "valid feed")])
async def test_failure_is_logged_once_as_an_error(
    gateway: Serve, caplog: pytest.LogCaptureFixture, status: int, reason: str
) -> None:
    async with gateway(transport=responding(status, b"<x>oops</x>")) as client:
        await client.get("/arxiv", params={"title": "x"})

    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert reason in errors[0] or str(status) in errors[0]


@pytest.mark.parametrize(
    ("retry_after", "passed_on"),
    [("120", 120), ("99999999", 86_400), ("soon", 60), ("", 60), ("-5", 60)],
)
async def test_retry_after_of_arxiv_is_passed_on(
    gateway: Serve, retry_after: str, passed_on: int
) -> None:
    transport = responding(429, b"Rate exceeded.", **{"retry-after": retry_after})
    async with gateway(transport=transport) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.headers["retry-after"] == str(passed_on)
    assert response.json()["retry_after"] == passed_on


MOVED = "https://export.arxiv.org/api/query"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "said"),
    [
        (f"{MOVED}?x=1", f"set ARXIV_API_URL to '{MOVED}'"),
        ("http://elsewhere.example/", "'http://elsewhere.example/'"),
        ("/elsewhere", "'/elsewhere'"),
        ("https://[bad", "'https://[bad'"),
        ("http://[::1", "'http://[::1'"),
        ("http://x.example:port/", "'http://x.example:port/'"),
        ("javascript:alert(1)", "'javascript:alert(1)'"),
        ("", "no location"),
        ("https://x.example/" + "y" * 5000, "yyy'"),
        ("https://x.example/\x9b31m\u202e", r"\x9b31m"),
    ],
)
async def test_redirect_is_one_request_and_names_its_location(
    gateway: Serve, db: psycopg.Connection, status: int, location: str, said: str
) -> None:
    requests = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        headers = [(b"location", location.encode("latin-1", "replace"))]
        return httpx.Response(status, headers=headers, content=b"<html>Moved</html>")

    url = "http://export.arxiv.org/api/query"
    transport = httpx.MockTransport(respond)
    # unlike in the other tests of this file, further attempts would be made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "MAX_ATTEMPTS", 3)
        async with gateway(transport, api_url=url, interval=3.0) as client:
            response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 502
    assert len(requests) == 1
    detail = response.json()["detail"]
    assert said in detail
    assert ("ARXIV_API_URL" in detail) == (location.startswith(MOVED))
    assert len(detail) < 500
    assert detail.isprintable()
    assert db.execute("select status, outcome from queries").fetchall() == [(status, "broken")]


async def test_redirect_case_advises_the_new_address(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        response = await client.get("/arxiv", params={"title": "caseredirect"})

    assert response.status_code == 502
    assert f"{MOVED}?x=1" in response.json()["detail"]
    assert f"ARXIV_API_URL to '{MOVED}'" in response.json()["detail"]


async def test_cookies_of_arxiv_are_not_kept(gateway: Serve) -> None:
    received: list[str | None] = []
    cookies = [("set-cookie", f"c{number}={'x' * 200}; Path=/") for number in range(10)]

    def respond(request: httpx.Request) -> httpx.Response:
        received.append(request.headers.get("cookie"))
        unique = [(name, value.replace("c", f"c{len(received)}_", 1)) for name, value in cookies]
        return httpx.Response(200, headers=unique, content=FEED)

    async with gateway(httpx.MockTransport(respond)) as client:
        for number in range(5):
            await client.get("/arxiv", params={"title": f"x{number}"})

    assert received == [None] * 5


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
async def test_compressed_response_is_read(
    gateway: Serve, encode: Callable[[bytes], bytes]
) -> None:
    name = "gzip" if encode is gzip.compress else "deflate"
    transport = responding(200, encode(FEED), **{"content-encoding": name})
    async with gateway(transport=transport) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.json()["num_entries"] == 3


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (FEED, "gzip"),
        (gzip.compress(FEED)[:-20], "gzip"),
        (FEED, "br"),
        (gzip.compress(FEED), "gzip, gzip"),
    ],
)
async def test_invalid_encoding_is_a_bad_gateway(
    gateway: Serve, body: bytes, encoding: str
) -> None:
    transport = responding(200, body, **{"content-encoding": encoding})
    async with gateway(transport=transport) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 502


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


def speaking(text: bytes, pause: float = 0.0, rounds: int = 1) -> Answering:
    """A server that sends a text several times, with pauses, and then nothing."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(rounds):
            writer.write(text)
            await writer.drain()
            await asyncio.sleep(pause)
        await reader.read()

    return respond


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/atom+xml\r\n"


@pytest.mark.parametrize(
    ("respond", "status_code", "outcome", "status"),
    [
        (silent, 504, "timeout", 0),
        (hanging_up, 502, "broken", 0),
        (speaking(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, "broken", 0),
        (speaking(b"HTTP/1.1 200 OK\r\nx: "), 504, "timeout", 0),
        (speaking(HEAD + b"content-length: 5000\r\n\r\n<feed"), 504, "timeout", 200),
        # single bytes with pauses never exceed a timeout per read
        (speaking(b"H", 0.1, 1000), 504, "timeout", 0),
        (speaking(b"HTTP/1.1 200 " + b"O" * 2**20), 502, "broken", 0),
    ],
    ids=["silence", "hang-up", "no HTTP", "half a head", "half a body", "slow-loris", "long head"],
)
async def test_stall_in_any_phase_ends_at_the_timeout(
    gateway: Serve,
    db: psycopg.Connection,
    respond: Answering,
    status_code: int,
    outcome: str,
    status: int,
) -> None:
    async with listening(respond) as url, gateway(api_url=url, timeout=2.5) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == status_code, response.text
    rows = db.execute("select status, outcome from queries").fetchall()
    assert rows == [(status, outcome)]


async def test_slow_body_ends_at_the_timeout(gateway: Serve) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"content-length: 5000\r\n\r\n")
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    async with listening(respond) as url, gateway(api_url=url, timeout=1.0) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 504


async def test_truncated_body_is_a_bad_gateway(gateway: Serve) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"content-length: 500000\r\n\r\n" + FEED)
        await writer.drain()

    async with listening(respond) as url, gateway(api_url=url) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 502


async def test_refused_connection_is_unavailable(gateway: Serve, db: psycopg.Connection) -> None:
    async with gateway(api_url="http://127.0.0.1:9/api/query") as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert db.execute("select status, outcome from queries").fetchall() == [(0, "unreachable")]


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b"<x>" * 20_000)
        await writer.drain()


async def bomb(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a gigabyte of spaces in a megabyte of gzip."""
    packer = zlib.compressobj(1, wbits=31)
    packed = b"".join(packer.compress(b" " * 2**20) for _ in range(1024)) + packer.flush()
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"content-encoding: gzip\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(packed) + packed)
    await writer.drain()


@pytest.mark.parametrize("respond", [endless, bomb])
async def test_oversized_response_is_rejected_in_bounded_memory(
    gateway: Serve, respond: Answering
) -> None:
    async with listening(respond) as url, gateway(api_url=url, timeout=20) as client:
        await client.get("/health/live")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        response = await client.get("/arxiv", params={"title": "x"})
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert response.status_code == 502
    assert "larger" in response.json()["detail"]
    assert grown < 200 * 1024  # KiB


async def test_search_that_would_wait_too_long_fails(gateway: Serve) -> None:
    async with listening(speaking(b"", 9)) as url:
        settings = {"api_url": url, "timeout": 4, "max_wait": 0.3}
        async with gateway(**settings) as client:
            first = asyncio.create_task(client.get("/arxiv", params={"title": "x"}))
            await asyncio.sleep(0.2)
            second = await client.get("/arxiv", params={"title": "y"})
            await first

    assert second.status_code == 503
    assert second.headers["retry-after"]


async def test_search_that_may_not_wait_is_sent_if_the_rate_limiter_is_free(gateway: Serve) -> None:
    async with gateway(transport=responding(200, FEED), max_wait=0) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 200


async def test_timeouts_at_any_moment_leave_the_connection_free(
    settings: Callable[..., Settings],
) -> None:
    request = arxiv_query.encode_search(Search(title="x"), settings().api_url, 10)
    now = asyncio.get_running_loop().time
    outcomes = set()
    async with ArxivClient(settings()) as arxiv:
        for number in range(150):
            response = await arxiv.search(request, now() + number / 200_000)
            outcomes.add(response.outcome)
        response = await arxiv.search(request, now() + 5)

    assert Outcome.TIMEOUT in outcomes
    assert response.outcome == Outcome.OK
