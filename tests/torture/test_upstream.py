"""arXiv is hostile: oversized feeds, fields that PostgreSQL cannot store, cookies."""

import asyncio
import gzip
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from demo import feed
from demo.arxiv import StandIn
from demo.papers import generate
from tests.conftest import listening
from tests.support.process import Service, service
from tests.torture.conftest import Environment, Tally, rounds, times
from tests.torture.load import Load

pytestmark = pytest.mark.thorough

MAX_MEMORY = 256
"""MiB."""
TIMEOUT = times(5, 15)
MAX_HEAD = 16_000
SIZE = 32 * 2**20 - 2**16
FEED = feed.render(generate(3), total=3)
START, END = FEED.rstrip().removesuffix(b"</feed>"), b"</feed>"


def fill(part: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[], bytes]:
    return lambda: START + before + part * (SIZE // len(part)) + after + END


def add_entry(part: str) -> Callable[[], bytes]:
    return lambda: START + f"<entry><title>odd</title>{part}</entry>".encode() + END


OVERSIZED: dict[str, Callable[[], bytes]] = {
    "entries": fill(b"<entry/>"),
    "titles": fill(b"<entry><title>x</title></entry>"),
    "elements": fill(b"<x/>"),
    "authors": fill(b"<author><name>a b</name></author>", b"<entry>", b"</entry>"),
    "papers": fill(b"<entry>" + b"<author><name>a b</name></author>" * 9_000 + b"</entry>"),
    "attributes": fill(b'b="1" ', b"<entry><a ", b"/></entry>"),
    "nesting": fill(b"<a>"),
    "text": fill(b"x" * 1024),
    "spaces": fill(b" " * 1024),
    "damaged": fill(b"<entry/>", b"\x01"),
    "title": lambda: FEED.replace(b"</title>", b"x" * 4_000_000 + b"</title>", 1),
}
UNSTORABLE: dict[str, Callable[[], bytes]] = {
    "id": add_entry(f"<id>http://arxiv.org/abs/{'1' * 6_000}</id>"),
    "category": add_entry(f'<category term="{"c" * 9_000}"/>'),
    "combining": add_entry(f"<summary>{chr(0x301) * 48_000}</summary>"),
    "long": add_entry(f"<summary>{'word ' * 500_000}</summary>"),
}


class HostileArxiv:
    """An arXiv whose response the first word of the search selects."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self.refused = self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one request; refuse it if its head is too large."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        parameters = {
            name: values[0]
            for name, values in parse_qs(urlsplit(head.split()[1].decode()).query).items()
        }
        if len(head) > MAX_HEAD:
            self.refused += 1
            writer.write(b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n")
            return
        name = re.sub("[^a-z]", "", parameters["search_query"].removeprefix("ti:"))
        if make := (OVERSIZED | UNSTORABLE).get(name):
            body = await asyncio.to_thread(lambda: gzip.compress(make(), 1))
            encoding = b"Content-Encoding: gzip\r\n"
        else:
            body, encoding = self._stand_in.answer(parameters)[1], b""
        cookies = b"".join(
            b"Set-Cookie: c%d_%d=%s; Path=/\r\n" % (self.requests, number, b"x" * 150)
            for number in range(10)
        )
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + encoding + cookies)
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


def read_peak_memory(running: Service) -> int:
    """MiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak
    return int(peak[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_hostile_arxiv_costs_bounded_memory_and_time(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    portal: BlockingPortal,
    tally: Tally,
    record_property: Callable[[str, object], None],
) -> None:
    hostile = HostileArxiv(arxiv)
    names = [*OVERSIZED, *UNSTORABLE]
    slowest = longest = 0.0
    tried = 0
    with portal.wrap_async_context_manager(listening(hostile.handle)) as url:
        settings = environment(database, api_url=url, timeout=TIMEOUT, max_wait=120)
        with service(settings) as running, ThreadPoolExecutor(2) as pool:
            load = Load(running.url())

            def search(name: str) -> httpx.Response:
                headers = {"cache-control": "no-cache"}
                return httpx.get(f"{load.url}/arxiv?title={name}", headers=headers, timeout=120)

            for _ in rounds(1, 5):
                for name in names[:: times(8, 1)]:
                    tried += 1
                    began = monotonic()
                    searching = pool.submit(search, name)
                    while not searching.done():
                        begun = monotonic()
                        assert httpx.get(f"{load.url}/health/live", timeout=60).status_code == 200
                        slowest = max(slowest, monotonic() - begun)
                    response = searching.result()
                    assert response.status_code in {200, 502, 504}, (name, response.text)
                    if name in UNSTORABLE:
                        assert response.status_code == 200, (name, response.text)
                        assert response.json()["num_entries"] == 4
                    longest = max(longest, monotonic() - began)
                    portal.call(send_unrelated_search, load)
            memory = read_peak_memory(running)
            assert running.end(signal.SIGTERM) == 0
    record_property(
        "note",
        f"hostile arXiv: peak {memory} MiB, slowest other request {slowest:.2f} s,"
        f" longest search {longest:.2f} s",
    )
    assert set(load.statuses) == {200}
    assert memory < MAX_MEMORY
    # three attempts, and the time of the stand-in to render and compress the feed
    assert longest < 3 * (TIMEOUT + 20)
    assert slowest < 15
    assert "Traceback" not in running.output
    tally("arXiv sends oversized or unstorable feeds", tried, load.judged(db), load.outage)


async def send_unrelated_search(load: Load) -> None:
    async with httpx.AsyncClient(base_url=load.url, timeout=120) as client:
        await load.one(client)


def test_cookies_of_arxiv_do_not_make_requests_too_large(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    portal: BlockingPortal,
    tally: Tally,
) -> None:
    hostile = HostileArxiv(arxiv)
    with (
        portal.wrap_async_context_manager(listening(hostile.handle)) as url,
        service(environment(database, api_url=url)) as running,
    ):
        load = Load(running.url())
        for _ in range(times(50, 200)):
            portal.call(send_unrelated_search, load)
        assert running.end(signal.SIGTERM) == 0
    assert set(load.statuses) == {200}
    assert (hostile.requests, hostile.refused) == (times(50, 200), 0)
    tally("arXiv sets ten cookies per response", hostile.requests, load.judged(db), load.outage)
