"""What reading costs among a million results: pages at any depth, and all of them at once."""

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
    against_bare,
    process,
    progress,
    ratios,
    rounds,
    served,
    timed,
)
from service import embedded_postgres
from service.app import create_app
from service.models.responses import Result

DEPTH = 900_000
COLUMNS = ", ".join(Result.__struct_fields__)
PAGE = "/results?items_per_page=10"
REQUESTS = 400


def depth(bench: Bench) -> Iterator[Row]:
    """A page far from the first, by its number and by its cursor, against the first."""
    with served(create_app(bench.million)) as address, httpx.Client(base_url=address) as client:
        far = f"{PAGE}&page={DEPTH // 10}"
        link = client.get(f"{PAGE}&page={DEPTH // 10 - 1}").raise_for_status().links["next"]["url"]
        for what, path in (("by `page`", far), ("by `after`", link)):
            seen, times = [], []
            for number in range(ROUNDS):
                progress(f"depth {what}: round {number + 1} of {ROUNDS}")
                # in turn, so that both see the same machine
                both = [(_get(client, path), _get(client, PAGE)) for _ in range(REQUESTS)]
                deep, first = (median(each) * 1000 for each in zip(*both, strict=True))
                seen.append(deep / first)
                times.append((deep, first))
            deep, first = (median(each) for each in zip(*times, strict=True))
            yield Row(
                measure=f"page at depth {DEPTH:,} of {RESULTS:,}, {what}",
                against="page 0",
                seen=seen,
                at_most=1.2,
                detail=f"{deep:.2f} ms against {first:.2f} ms",
            )


def _get(client: httpx.Client, path: str) -> float:
    return timed(lambda: client.get(path).raise_for_status())


def page(bench: Bench) -> Iterator[Row]:
    """Pages a second, against a handler that does nothing but answer the same bytes."""
    yield from against_bare("`/results` page of 10", bench.million, PAGE, 0.4)


def export(bench: Bench) -> Iterator[Row]:
    """All results as NDJSON, against psql copying the same columns: time, first byte, memory."""
    settings, psql = bench.million, str(embedded_postgres.program("psql"))
    copy = f"copy (select {COLUMNS} from results) to stdout"  # noqa: S608 - our own columns
    first, growth = [], []

    def copied() -> float:
        command = [psql, "-X", str(settings.database_ro_url), "-c", copy]
        return timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))  # noqa: S603

    with process(settings) as (address, pid):
        httpx.get(address + PAGE).raise_for_status()

        def exported() -> float:
            with _watched(pid) as sizes:
                began, ended = _fetch(f"{address}/results?format=ndjson")
            first.append(began)
            growth.append((max(sizes) - sizes[0]) / 2**20)
            return ended

        whole, copies = rounds("export", exported, copied)
    yield Row(
        measure=f"export of {RESULTS:,} results as NDJSON, time",
        against="psql COPY of the same columns",
        seen=ratios(whole, copies),
        at_most=3,
        detail=f"{median(whole):.2f} s against {median(copies):.2f} s",
    )
    yield Row(
        measure="its first byte, ms",
        seen=[seconds * 1000 for seconds in first],
        detail=f"of {median(whole):.2f} s",
    )
    yield Row(
        measure="growth of the service's memory meanwhile, MiB",
        seen=growth,
        at_most=32,
        detail="resident, the most that was seen in each round",
    )


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
