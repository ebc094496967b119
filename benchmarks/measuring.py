"""How things are measured: side by side, several rounds, the median of their ratios."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from statistics import median

import httpx
import psycopg
import uvicorn
from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct
from psycopg.conninfo import make_conninfo

from service import server
from service.app import create_app
from service.db import migrations
from service.settings import Settings

ROUNDS = 9
SECONDS = 1
NUMBERED = Path(__file__).with_name("numbered.lua")
BEGAN = time.monotonic()
RESULTS = 1_000_000
SEED = """
insert into queries (query_id, timestamp, status, num_results, num_entries, query)
select nextval('arxiv_sequence'), 1600000000 + n * 60, 200, 1000, 10,
    'search_query=ti:"word' || n || '"&id_list=&start=0&max_results=10'
from generate_series(1, %(searches)s) as n;
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    query_id, timestamp, i, 'Emmy Noether, Author' || p || ' Surname, Felix Klein',
    'Invariants of the differential expression ' || p || ' of order ' || i,
    case when p %% 3 = 0 then 'Phys. Rev. D ' || p %% 100 end,
    '20' || lpad((p %% 12 + 1)::text, 2, '0') || '.' || lpad(p::text, 5, '0'), 1
from queries, generate_series(0, 9) as i,
    lateral (select (query_id * 7 + i * 1999) %% 20000 as p) as paper
where timestamp between 1600000000 and 1700000000;
"""


class NotHere(Exception):
    """Something that a measurement needs is not installed; the message says what."""


class Row(Struct, kw_only=True):
    """One line of the table."""

    measure: str
    against: str = ""
    seen: list[float] = []
    """What each round gave; nothing where nothing was measured, as `detail` explains."""
    detail: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        seen, spread = "-", ""
        if self.seen:
            middle = median(self.seen)
            seen, spread = f"{middle:.3g}", f"{min(self.seen):.3g} to {max(self.seen):.3g}"
            if self._target:
                seen += ", met" if self._meets(middle) else ", **missed**"
        cells = (self.measure, self.against, self._target, seen, spread, self.detail)
        return f"| {' | '.join(cells)} |"

    @property
    def _target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def _meets(self, seen: float) -> bool:
        if self.at_least is not None:
            return seen >= self.at_least
        return self.at_most is not None and seen <= self.at_most


class Bench:
    """What measurements stand on: a PostgreSQL, a stand-in for arXiv, a folder."""

    def __init__(self, url: str, api_url: str, folder: Path) -> None:
        """Use these; the URL is the superuser's."""
        self.folder = folder
        self._url = url
        self._api_url = api_url

    def database(self, name: str, results: int = 0) -> Settings:
        """A database of its own, with so many results in it."""
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(f"create database {name}".encode())
        url = make_conninfo(self._url, dbname=name)
        migrations.apply(url)
        if results:
            seed(url, results)
        return Settings(
            database_url=make_conninfo(url, user="arxiv_rw"),
            database_ro_url=make_conninfo(url, user="arxiv_ro"),
            api_url=self._api_url,
            interval=0,
        )

    @cached_property
    def million(self) -> Settings:
        """A database with a million results, for those who only read."""
        progress(f"storing {RESULTS:,} results")
        return self.database("million", RESULTS)


def seed(url: str, results: int) -> None:
    """Store so many results, ten a search."""
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = psycopg.ClientCursor(conn)
        for statement in filter(str.strip, SEED.split(";\n")):
            cursor.execute(statement.encode(), {"searches": results // 10})
        conn.execute("vacuum (analyze)")


def rounds(what: str, *ways: Callable[[], float]) -> list[tuple[float, ...]]:
    """What each way gives, round by round; in turn, so that all see the same machine."""
    seen = []
    for number in range(ROUNDS):
        progress(f"{what}: round {number + 1} of {ROUNDS}")
        seen.append([way() for way in ways])
    return list(zip(*seen, strict=True))


def ratios(these: tuple[float, ...], those: tuple[float, ...]) -> list[float]:
    """The first by the second, round by round."""
    return [this / that for this, that in zip(these, those, strict=True)]


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that it takes."""
    began = clock()
    call()
    return clock() - began


def progress(what: str) -> None:
    """Tell what is being measured."""
    sys.stderr.write(f"{time.monotonic() - BEGAN:4.0f} s  {what}\n")


@contextmanager
def served(app: object, config: uvicorn.Config | None = None) -> Iterator[str]:
    """An application behind uvicorn, in a thread; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    if config is None:
        config = uvicorn.Config(app, log_config=None, access_log=False)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def process(settings: Settings) -> Iterator[tuple[str, int]]:
    """The service as a process of its own, which logs into a file; its address and its number."""
    environment = {
        "ARXIV_DATABASE_URL": str(settings.database_url),
        "ARXIV_DATABASE_RO_URL": str(settings.database_ro_url),
        "ARXIV_API_URL": settings.api_url,
        "ARXIV_INTERVAL": f"{settings.interval:g}",
        "ARXIV_PORT": "0",
    }
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            env=surroundings() | environment,
            stdout=log,
        ) as running,
    ):
        try:
            while not (said := re.search(r"listening on (\S+)", Path(log.name).read_text())):
                assert running.poll() is None, "the service has ended"  # noqa: S101
                time.sleep(0.02)
            yield said[1], running.pid
        finally:
            running.terminate()


def surroundings() -> dict[str, str]:
    """The environment without anybody's settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ARXIV_")}


def bare_handler(content: bytes) -> HTTPRouteHandler:
    """A handler that answers these bytes, and does nothing else."""

    @get("/bare", sync_to_thread=False)
    def bare() -> Response[bytes]:
        return Response(content, media_type="application/json")

    return bare


def against_bare(what: str, settings: Settings, path: str, target: float) -> Iterator[Row]:
    """Answers a second, against a handler that does nothing but answer the same bytes.

    Once it is all there is to an application, in this process; once it has the service around it.
    """
    app = create_app(settings)
    with served(app, server.create_config(app, settings)) as address:
        handler = bare_handler(httpx.get(address + path, timeout=30).raise_for_status().content)
        app.register(handler)
        # a configuration of logs would have the service write a line for each of its answers
        with served(Litestar([handler], openapi_config=None, logging_config=None)) as alone:
            ours, bare, within = rounds(
                what,
                partial(rate, address + path),
                partial(rate, f"{alone}/bare"),
                partial(rate, f"{address}/bare"),
            )
    for against, theirs, least in (
        ("bare Litestar handler, same bytes, same process", bare, target),
        ("the same handler within the service: its log, metrics, ETags, headers", within, None),
    ):
        yield Row(
            measure=f"{what}, requests a second",
            against=against,
            seen=ratios(ours, theirs),
            at_least=least,
            detail=f"{median(ours):,.0f} against {median(theirs):,.0f}",
        )


def rate(url: str, connections: int = 8) -> float:
    """Requests a second over so many connections.

    `{number}` in the URL is another number each time, `{number%10}` the same modulo 10.
    """
    sent = [url, str(time.time_ns() // 1000)]
    if wrk := shutil.which("wrk"):
        options = ["-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(NUMBERED)]
        said = _printed(wrk, *options, url, "--", *sent)
        assert "Non-2xx" not in said, said  # noqa: S101
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])
    return float(_printed(sys.executable, "-c", LOAD, *sent, str(connections), str(SECONDS)))


def _printed(*command: str) -> str:
    return subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, check=True
    ).stdout


LOAD = """
import asyncio, re, sys, time
from urllib.parse import urlsplit
url, seconds = urlsplit(sys.argv[1]), float(sys.argv[4])
number, connections = int(sys.argv[2]), int(sys.argv[3])
end, count = time.monotonic() + seconds, 0
def put(found):
    return str(number + count if not found[1] else (number + count) % int(found[1]))
async def client():
    global count
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    while time.monotonic() < end:
        count += 1
        path = re.sub(r"{number%?(\\d*)}", put, f"{url.path}?{url.query}")
        writer.write(f"GET {path} HTTP/1.1\\r\\nhost: {url.netloc}\\r\\n\\r\\n".encode())
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
        await reader.readexactly(length)
async def main():
    await asyncio.gather(*(client() for _ in range(connections)))
asyncio.run(main())
print(count / seconds)
"""


def load_name() -> str:
    """What makes the load of `rate`."""
    return "wrk" if shutil.which("wrk") else "the bundled client (wrk is not installed)"
