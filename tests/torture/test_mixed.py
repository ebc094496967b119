"""Mixed load while arXiv misbehaves: memory, descriptors and tasks must not grow."""

import asyncio
import gzip
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import sleep
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from demo.arxiv import StandIn
from tests.conftest import listening
from tests.support.process import Service, service
from tests.torture.conftest import Environment, Tally, rounds, times
from tests.torture.load import Load

pytestmark = pytest.mark.thorough

FATES = {"good": 940, "refuses": 10, "busy": 10, "garbage": 10, "cut": 15, "bomb": 10, "drips": 5}
BOMB = gzip.compress(bytes(64 * 2**20))
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/atom+xml\r\n"
READS = (
    "/results?page={n}&items_per_page=50",
    "/results?order=newest&fields=title,arxiv_id",
    "/results?author=zajac",
    "/results?format=csv&title=the",
    "/queries?order=newest&items_per_page=20",
    "/queries?format=ndjson",
    "/papers?q=testing+OR+neutrino",
    "/papers?category=cs.*&items_per_page=5",
    "/read-results?items_per_page=10&page={n}",
    "/queries/{n}",
    "/queries/{n}/changes",
    "/arxiv?title=testing",
    "/arxiv?id_list=2101.00001&include=results",
    "/arxiv?query=ti:(",
    "/results?page=-1",
    "/nothing",
    "/metrics",
    "/health/ready",
)
EXPECTED = {200, 400, 404, 409, 502, 503, 504}


class FaultyArxiv:
    """An arXiv that sometimes misbehaves."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._dice = Random(1)
        self.requests: Counter[str] = Counter()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one request."""
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        [fate] = self._dice.choices([*FATES], [*FATES.values()])
        self.requests[fate] += 1
        _, feed = self._stand_in.answer(dict(parse_qsl(urlsplit(path).query)))
        head = HEAD + b"Content-Length: %d\r\n\r\n" % len(feed)
        match fate:
            case "good":
                writer.write(head + feed)
            case "refuses":
                writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            case "busy":
                writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            case "garbage":
                writer.write(head + self._dice.randbytes(len(feed)))
            case "cut":
                writer.write((head + feed)[: self._dice.randrange(len(feed))])
            case "bomb":
                writer.write(HEAD + b"Content-Encoding: gzip\r\n\r\n" + BOMB)
            case "drips":
                while True:
                    writer.write(head[:1])
                    head = head[1:]
                    await writer.drain()
                    await asyncio.sleep(0.05)
        await writer.drain()


class Mixed(Load):
    """Clients that use all endpoints and sometimes disconnect early."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._dice = Random(1)

    async def send(self, requests: int) -> None:
        """Send this number of requests from sixteen clients."""
        left = iter(range(requests))
        await asyncio.gather(*(self._send(left) for _ in range(16)))

    async def _send(self, left: Iterator[int]) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            for _ in left:
                if self._dice.random() < 0.2:
                    await self.one(client)
                else:
                    await self._read(client)

    async def _read(self, client: httpx.AsyncClient) -> None:
        path = self._dice.choice(READS).format(n=self._dice.randrange(20))
        async with client.stream("GET", path) as response:
            self.statuses[response.status_code] += 1
            pieces = response.aiter_raw()
            if self._dice.random() < 0.1:
                await anext(pieces, None)
            else:
                async for _ in pieces:
                    pass


class Size(NamedTuple):
    """Resources of an idle process."""

    memory: float
    """MiB, with a proportional part of shared memory."""
    descriptors: int
    threads: int
    tasks: int


def size_of(running: Service) -> Size:
    """Measure the idle process."""
    process = Path(f"/proc/{running.process.pid}")
    sizes: list[Size] = []
    for _ in range(3):
        sleep(0.5)
        reports = running.output.count("tasks: ")
        running.process.send_signal(signal.SIGUSR1)
        while running.output.count("tasks: ") == reports:
            sleep(0.01)
        tasks = int(re.findall(r"tasks: (\d+)", running.output)[-1])
        memory = re.search(r"^Pss: +(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
        assert memory
        descriptors, threads = (len([*(process / kind).iterdir()]) for kind in ("fd", "task"))
        sizes.append(Size(int(memory[1]) / 1024, descriptors, threads, tasks))
    return Size(*map(min, zip(*sizes, strict=True)))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_mixed_load_leaks_no_memory_descriptors_or_tasks(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    portal: BlockingPortal,
    tally: Tally,
    record_property: Callable[[str, object], None],
) -> None:
    faulty = FaultyArxiv(arxiv)
    requests = times(150, 500)
    with portal.wrap_async_context_manager(listening(faulty.handle)) as url:
        settings = environment(database, api_url=url, timeout=1, cooldown=0.05)
        with service(settings, ("tests.torture.counted", "serve")) as running:
            load = Mixed(running.url())
            sizes: list[Size] = []
            for _ in rounds(1, 6):
                portal.call(load.send, requests)
                sizes.append(size_of(running))
            while sizes[-1].threads < 3 and len(sizes) < 10:
                # the thread that parses large responses has not started; it keeps some memory
                portal.call(load.send, requests)
                sizes.append(size_of(running))
            # the memory of an idle process varies by ten percent
            before = sizes[-1]._replace(memory=max(size.memory for size in sizes))
            for _ in rounds(1, 12):
                portal.call(load.send, requests)
            after = size_of(running)
            statuses = sorted(load.statuses.items())
            record_property(
                "note", f"mixed load: {before} -> {after}, {statuses}, {faulty.requests}"
            )
            assert running.end(signal.SIGTERM) == 0
    assert load.statuses.keys() <= EXPECTED
    # the last commits of the search index keep some memory until the next one
    assert after.memory < before.memory * 1.1 + 28
    # each pool may grow to ten connections
    assert after.descriptors <= before.descriptors + times(20, 5)
    assert after.threads <= before.threads + 2
    assert after.tasks <= before.tasks + 2
    assert "Traceback" not in running.output
    tally(
        "arXiv misbehaves under mixed load",
        faulty.requests.total() - faulty.requests["good"],
        load.judged(db),
        load.outage,
    )
