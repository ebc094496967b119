"""What reading costs among a million results: pages at any depth, and all of them at once."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import psycopg

from benchmarks.measuring import ROUNDS, Row, bare_handler, progress, rate, row, served
from service import embedded
from service.app import create_app
from service.handlers.results import EXAMPLE
from service.settings import Settings

RESULTS = 1_000_000
DEPTH = 900_000
COLUMNS = ", ".join(EXAMPLE.__struct_fields__)
PAGE = "/results?items_per_page=10"
REQUESTS = 400
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


def seed(url: str) -> None:
    """Store a million results more, ten a search."""
    sys.stderr.write(f"storing {RESULTS:,} results\n")
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = psycopg.ClientCursor(conn)
        for statement in filter(str.strip, SEED.split(";\n")):
            cursor.execute(statement.encode(), {"searches": RESULTS // 10})
        conn.execute("vacuum (analyze)")


def depth(settings: Settings) -> Iterator[Row]:
    """A page far from the first, by its number and by its cursor, against the first."""
    with served(create_app(settings)) as address, httpx.Client(base_url=address) as client:
        far = f"{PAGE}&page={DEPTH // 10}"
        link = client.get(f"{PAGE}&page={DEPTH // 10 - 1}").raise_for_status().links["next"]["url"]
        for what, path in (("by `page`", far), ("by `after`", link)):
            ratios, times = [], []
            for round_number in range(ROUNDS):
                progress(f"depth {what}", round_number)
                # in turn, so that both see the same machine
                both = [(_timed(client, path), _timed(client, PAGE)) for _ in range(REQUESTS)]
                deep, first = (statistics.median(each) for each in zip(*both, strict=True))
                ratios.append(deep / first)
                times.append((deep, first))
            deep, first = (statistics.median(each) for each in zip(*times, strict=True))
            yield row(
                f"page at depth {DEPTH:,}, {what}",
                "page 0",
                ratios,
                f"{deep:.2f} ms against {first:.2f} ms",
            )


def _timed(client: httpx.Client, path: str) -> float:
    began = time.perf_counter()
    client.get(path).raise_for_status()
    return (time.perf_counter() - began) * 1000


def page(settings: Settings) -> Row:
    """Pages a second, against a handler that does nothing but answer the same bytes."""
    app = create_app(settings)
    with served(app) as address:
        app.register(bare_handler(httpx.get(address + PAGE).raise_for_status().content))
        ratios, rates = [], []
        for round_number in range(ROUNDS):
            progress("pages", round_number)
            pages, bare = rate(address + PAGE), rate(address + "/bare")
            ratios.append(pages / bare)
            rates.append((pages, bare))
    pages, bare = (statistics.median(each) for each in zip(*rates, strict=True))
    return row(
        "`/results` page of 10, requests a second",
        "bare Litestar handler, same bytes, same process",
        ratios,
        f"{pages:,.0f} against {bare:,.0f}",
    )


def export(settings: Settings, url: str) -> Iterator[Row]:
    """All results as NDJSON, against psql copying the same columns: time, first byte, memory."""
    psql = str(embedded.program("psql"))
    copy = f"copy (select {COLUMNS} from results) to stdout"  # noqa: S608 - our own columns
    ratios, shares, times, growths = [], [], [], []
    with process(settings) as (address, pid):
        httpx.get(address + PAGE).raise_for_status()
        for round_number in range(ROUNDS):
            progress("export", round_number)
            began = time.perf_counter()
            subprocess.run(  # noqa: S603 - our own arguments
                [psql, "-X", url, "-c", copy], stdout=subprocess.DEVNULL, check=True
            )
            copied = time.perf_counter() - began
            with _watched(pid) as sizes:
                first, whole = _fetch(f"{address}/results?format=ndjson")
            ratios.append(whole / copied)
            shares.append(first / whole)
            times.append((whole, copied, first))
            growths.append((max(sizes) - sizes[0]) / 2**20)
    whole, copied, first = (statistics.median(each) for each in zip(*times, strict=True))
    yield row(
        f"export of {RESULTS:,} results as NDJSON",
        "psql COPY of the same columns",
        ratios,
        f"{whole:.2f} s against {copied:.2f} s",
    )
    yield row("its first byte", "the whole", shares, f"{first * 1000:.1f} ms of {whole:.2f} s")
    yield row("growth of the service's memory, MiB", "1", growths, "resident, at most")


def _fetch(url: str) -> tuple[float, float]:
    """Seconds to the first byte and to the last, by curl."""
    what = "%{time_starttransfer} %{time_total} %{http_code}"
    ran = subprocess.run(  # noqa: S603 - our own arguments
        ["curl", "-sf", "-o", os.devnull, "-w", what, url],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    first, whole, status = ran.stdout.split()
    assert status == "200"  # noqa: S101
    return float(first), float(whole)


@contextmanager
def process(settings: Settings) -> Iterator[tuple[str, int]]:
    """The service as a process of its own; its address and its number."""
    environment = {
        "ARXIV_DATABASE_URL": str(settings.database_url),
        "ARXIV_DATABASE_RO_URL": str(settings.database_ro_url),
        "ARXIV_PORT": "0",
    }
    command = [sys.executable, "-m", "service", "serve"]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout  # noqa: S101
        lines = (re.search(r"listening on (\S+)", line) for line in process.stdout)
        address = next(found[1] for found in lines if found)
        try:
            yield address, process.pid
        finally:
            process.terminate()


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """The resident memory of a process, in bytes, every few milliseconds."""
    status = Path(f"/proc/{pid}/statm")
    ended = Event()
    sizes: list[int] = []

    def look() -> None:
        while True:
            sizes.append(int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            if ended.wait(0.01):
                return

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield sizes
    finally:
        ended.set()
        watcher.join()
