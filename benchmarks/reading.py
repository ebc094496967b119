"""The cost of reading from a million results: pages at any depth, and an export of all."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Event, Thread

import httpx

from benchmarks.measuring import (
    RESULTS,
    ROUNDS,
    Bench,
    Row,
    compare_with_bare_handler,
    compute_ratios,
    measure_time,
    print_progress,
    run_rounds,
    run_service,
    serve_app,
)
from service import embedded_postgres
from service.app import create_app
from service.models.responses import Result

DEPTH = 900_000
# the service computes the URL
COLUMNS = ", ".join(name for name in Result.__struct_fields__ if name != "url")
PAGE = "/results?items_per_page=10"
CURSOR_REQUESTS = 400
PAGE_REQUESTS = 20
"""Requests per round; fewer by `page`, since PostgreSQL reads all rows before that page."""


def measure_depth(bench: Bench) -> Iterator[Row]:
    """Compare a page far from the first, by its number and by its cursor, with the first."""
    with (
        serve_app(create_app(bench.million)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        path = f"{PAGE}&page={DEPTH // 10}"
        previous = client.get(f"{PAGE}&page={DEPTH // 10 - 1}").raise_for_status()
        cursor_path = previous.links["next"]["url"]
        yield _compare_pages(client, "`page`", path, PAGE_REQUESTS, at_most=None)
        yield _compare_pages(client, "`after`", cursor_path, CURSOR_REQUESTS, at_most=1.2)


def _compare_pages(
    client: httpx.Client, parameter: str, path: str, requests: int, at_most: float | None
) -> Row:
    ratios, times = [], []
    for number in range(ROUNDS):
        print_progress(f"depth by {parameter}: round {number + 1} of {ROUNDS}")
        # alternately, so that other load on the machine affects both alike
        pairs = [(_measure_get(client, path), _measure_get(client, PAGE)) for _ in range(requests)]
        deep, first = (median(seconds) * 1000 for seconds in zip(*pairs, strict=True))
        ratios.append(deep / first)
        times.append((deep, first))
    deep, first = (median(milliseconds) for milliseconds in zip(*times, strict=True))
    return Row(
        measure=f"page at depth {DEPTH:,} of {RESULTS:,}, by {parameter}",
        against="page 0",
        seen=ratios,
        at_most=at_most,
        detail=f"{deep:.2f} ms against {first:.2f} ms",
    )


def _measure_get(client: httpx.Client, path: str) -> float:
    return measure_time(lambda: client.get(path).raise_for_status())


def measure_page(bench: Bench) -> Iterator[Row]:
    """Compare pages per second with a bare handler that returns the same bytes."""
    yield from compare_with_bare_handler("`/results` page of 10", bench.million, PAGE, at_least=0.3)


def measure_export(bench: Bench) -> Iterator[Row]:
    """Compare an export as NDJSON with psql copying the same columns: time, first byte, memory."""
    settings, psql = bench.million, str(embedded_postgres.find_program("psql"))
    copy = f"copy (select {COLUMNS} from results) to stdout"  # noqa: S608 - our own columns
    first_bytes, growth = [], []

    def measure_copy() -> float:
        command = [psql, "-X", str(settings.database_ro_url), "-c", copy]
        return measure_time(
            lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own arguments
        )

    with run_service(settings) as (address, pid):
        httpx.get(address + PAGE).raise_for_status()

        def measure_service() -> float:
            with _sample_memory(pid) as sizes:
                first_byte, whole = _measure_download(f"{address}/results?format=ndjson")
            first_bytes.append(first_byte)
            growth.append((max(sizes) - sizes[0]) / 2**20)
            return whole

        exports, copies = run_rounds("export", measure_service, measure_copy)
    yield Row(
        measure=f"export of {RESULTS:,} results as NDJSON, time",
        against="psql COPY of the same columns",
        seen=compute_ratios(exports, copies),
        at_most=2.5,
        detail=f"{median(exports):.2f} s against {median(copies):.2f} s",
    )
    yield Row(
        measure="time to its first byte, ms",
        seen=[seconds * 1000 for seconds in first_bytes],
        detail=f"of {median(exports):.2f} s",
    )
    yield Row(
        measure="growth of the service's memory during the export, MiB",
        seen=growth,
        at_most=32,
        detail="resident, the maximum of each round",
    )


def _measure_download(url: str) -> tuple[float, float]:
    """Return the seconds until the first and the last byte, as measured by curl."""
    output_format = "%{time_starttransfer} %{time_total} %{http_code}"
    process = subprocess.run(  # noqa: S603 - our own arguments
        ["curl", "-sf", "-o", os.devnull, "-w", output_format, url],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    first_byte, whole, status = process.stdout.split()
    assert status == "200"  # noqa: S101
    return float(first_byte), float(whole)


@contextmanager
def _sample_memory(pid: int) -> Iterator[list[int]]:
    """Sample the resident memory of a process in bytes, every 10 milliseconds."""
    statm = Path(f"/proc/{pid}/statm")
    stopped = Event()
    sizes: list[int] = []

    def sample() -> None:
        while True:
            sizes.append(int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            if stopped.wait(0.01):
                return

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield sizes
    finally:
        stopped.set()
        sampler.join()
