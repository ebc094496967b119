"""Tools for benchmarks, which alternate in several rounds; the result is the median of ratios."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 9
ROUND_SECONDS = 1
WRK_SCRIPT = Path(__file__).with_name("numbered.lua")
STARTED = time.monotonic()
RESULTS = 1_000_000
SEED_SQL = """
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


class NotAvailable(Exception):
    """A requirement of a measurement is missing. The message names it."""


class ServiceExited(Exception):
    """The service exited instead of listening. The message is its output."""


class Row(Struct, kw_only=True):
    """One row of the table."""

    measure: str
    against: str = ""
    seen: list[float] = []
    """The value of each round; empty if nothing was measured, for the reason in `detail`."""
    detail: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        seen, spread = "-", ""
        if self.seen:
            value = median(self.seen)
            seen, spread = f"{value:.3g}", f"{min(self.seen):.3g} to {max(self.seen):.3g}"
            if self._target:
                seen += ", met" if self._meets_target(value) else ", **missed**"
        cells = (self.measure, self.against, self._target, seen, spread, self.detail)
        return f"| {' | '.join(cells)} |"

    @property
    def _target(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def _meets_target(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


class Bench:
    """The environment of measurements: PostgreSQL, a stand-in for arXiv, a temporary folder."""

    def __init__(self, url: str, api_url: str, folder: Path) -> None:
        """Set the environment. `url` is the connection string of the superuser."""
        self.folder = folder
        self._url = url
        self._api_url = api_url

    def create_database(self, name: str, results: int = 0) -> Settings:
        """Create a database with this number of results and return settings for it."""
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(f"create database {name}".encode())
        url = self.get_owner_url(name)
        migrations.apply(url)
        if results:
            seed_results(url, results)
        return Settings(
            database_url=make_conninfo(url, user="arxiv_rw"),
            database_ro_url=make_conninfo(url, user="arxiv_ro"),
            api_url=self._api_url,
            interval=0,
        )

    def get_owner_url(self, name: str) -> str:
        """Return the connection string of the superuser for a database."""
        return make_conninfo(self._url, dbname=name)

    @cached_property
    def million(self) -> Settings:
        """A database with a million results, for measurements that only read."""
        print_progress(f"storing {RESULTS:,} results")
        return self.create_database("million", RESULTS)


def seed_results(url: str, results: int) -> None:
    """Store this number of results, ten per search."""
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = psycopg.ClientCursor(conn)
        for statement in filter(str.strip, SEED_SQL.split(";\n")):
            cursor.execute(statement.encode(), {"searches": results // 10})
        conn.execute("vacuum (analyze)")


def run_rounds(name: str, *measurements: Callable[[], float]) -> list[tuple[float, ...]]:
    """Return the values of each measurement.

    Each round runs all of them, so that other load on the machine affects all of them alike.
    """
    values = []
    for number in range(ROUNDS):
        print_progress(f"{name}: round {number + 1} of {ROUNDS}")
        values.append([measure() for measure in measurements])
    return list(zip(*values, strict=True))


def compute_ratios(numerators: tuple[float, ...], denominators: tuple[float, ...]) -> list[float]:
    """Divide the values of each round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def measure_time(
    call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the duration of a call in seconds."""
    started = clock()
    call()
    return clock() - started


def print_progress(message: str) -> None:
    """Print what is being measured, and the time since the start."""
    sys.stderr.write(f"{time.monotonic() - STARTED:4.0f} s  {message}\n")


@contextmanager
def serve_app(app: object, config: uvicorn.Config | None = None) -> Iterator[str]:
    """Serve an application with uvicorn in a thread, and yield its address."""
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
def run_service(
    settings: Settings, more_settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, int]]:
    """Run the service as a process that logs to a file, and yield its address and process id."""
    environment = {
        "ARXIV_DATABASE_URL": str(settings.database_url),
        "ARXIV_DATABASE_RO_URL": str(settings.database_ro_url),
        "ARXIV_API_URL": settings.api_url,
        "ARXIV_INTERVAL": f"{settings.interval:g}",
        "ARXIV_PORT": "0",
        **(more_settings or {}),
    }
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env=copy_environment() | environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            path = Path(log.name)
            while not (match := re.search(r"listening on (\S+)", path.read_text())):
                if process.poll() is not None:
                    raise ServiceExited(path.read_text().strip())
                time.sleep(0.02)
            yield match[1], process.pid
        finally:
            process.terminate()


def copy_environment() -> dict[str, str]:
    """Return the environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ARXIV_")}


def create_bare_handler(content: bytes) -> HTTPRouteHandler:
    """Create a handler that only returns these bytes."""

    @get("/bare", sync_to_thread=False)
    def bare() -> Response[bytes]:
        return Response(content, media_type="application/json")

    return bare


def compare_with_bare_handler(
    name: str, settings: Settings, path: str, at_least: float
) -> Iterator[Row]:
    """Compare the requests per second of a path with a handler that only returns the same bytes.

    That handler is measured twice: in an application of its own, and as a route of the service.
    """
    app = create_app(settings)
    with serve_app(app, server.create_config(app, settings)) as address:
        handler = create_bare_handler(
            httpx.get(address + path, timeout=30).raise_for_status().content
        )
        app.register(handler)
        # with a logging configuration, Litestar would make the service log each of its responses
        with serve_app(
            Litestar([handler], openapi_config=None, logging_config=None)
        ) as bare_address:
            ours, bare, in_service = run_rounds(
                name,
                partial(measure_rate, address + path),
                partial(measure_rate, f"{bare_address}/bare"),
                partial(measure_rate, f"{address}/bare"),
            )
    for against, rates, target in (
        ("bare Litestar handler, same bytes, same process", bare, at_least),
        ("the same handler in the service, with its logs, metrics and headers", in_service, None),
    ):
        yield Row(
            measure=f"{name}, requests per second",
            against=against,
            seen=compute_ratios(ours, rates),
            at_least=target,
            detail=f"{median(ours):,.0f} against {median(rates):,.0f}",
        )


def measure_rate(url: str, connections: int = 8) -> float:
    """Return the requests per second over this number of connections.

    `{number}` in the URL is another number for each request, `{number%10}` the same modulo 10.
    """
    script_arguments = [url, str(time.time_ns() // 1000)]
    if wrk := shutil.which("wrk"):
        options = ["-t1", f"-c{connections}", f"-d{ROUND_SECONDS}s", "-s", str(WRK_SCRIPT)]
        output = _run_command(wrk, *options, url, "--", *script_arguments)
        assert "Non-2xx" not in output, output  # noqa: S101
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0])
    limits = [str(connections), str(ROUND_SECONDS)]
    return float(_run_command(sys.executable, "-c", CLIENT, *script_arguments, *limits))


def _run_command(*command: str) -> str:
    return subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, check=True
    ).stdout


CLIENT = """
import asyncio, re, sys, time
from urllib.parse import urlsplit
url, seconds = urlsplit(sys.argv[1]), float(sys.argv[4])
number, connections = int(sys.argv[2]), int(sys.argv[3])
end, count = time.monotonic() + seconds, 0
def format_number(match):
    return str(number + count if not match[1] else (number + count) % int(match[1]))
async def client():
    global count
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    while time.monotonic() < end:
        count += 1
        path = re.sub(r"{number%?(\\d*)}", format_number, f"{url.path}?{url.query}")
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


def get_load_generator() -> str:
    """Return the name of the program that `measure_rate` uses."""
    return "wrk" if shutil.which("wrk") else "the bundled client (wrk is not installed)"
