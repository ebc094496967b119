"""Compare the cost of the service with the cost of its components, and print a table."""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import shorten

from benchmarks import (
    image,
    importing,
    pages,
    paper_search,
    parsing,
    proxying,
    queueing,
    reading,
    recording,
    routing,
    searching,
    starting,
    workers,
)
from benchmarks.measuring import (
    ROUNDS,
    STARTED,
    Bench,
    NotAvailable,
    Row,
    get_load_generator,
    print_progress,
    serve_app,
)
from demo.arxiv import StandIn
from demo.papers import generate
from service import embedded_postgres

PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "record": recording.measure_searches,
    "trips": recording.count_round_trips,
    "parse": parsing.measure_parsing,
    "memory": searching.measure_cache_hits,
    "api": searching.measure_api_hits,
    "miss": searching.measure_cache_misses,
    "page": reading.measure_page,
    "depth": reading.measure_depth,
    "export": reading.measure_export,
    "proxy": proxying.measure_proxies,
    "start": starting.measure_start,
    "image": image.measure_size,
    "queue": queueing.measure_rates,
    "readers": routing.measure_readers,
    "papers": paper_search.measure_paper_search,
    "pages": pages.measure_pages,
    "import": importing.measure_import,
    "workers": workers.measure_workers,
}
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
"""The lines between which a document contains the table."""


def main(arguments: list[str] | None = None) -> None:
    """Run the parts, print the table, and save it if requested."""
    options = _parse_arguments(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres.run_server(Path(folder) / "data") as url,
        serve_app(StandIn(generate(2000))) as arxiv_url,
    ):
        bench = Bench(url, f"{arxiv_url}/api/query", Path(folder))
        names = options.parts or PARTS
        rows = [row for name in names for row in run_part(name, PARTS[name], bench)]
    table = format_table(rows)
    sys.stdout.write(table)
    if options.save:
        save_table(table, options.save)


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"run only these parts of: {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="also save the table to FILE; if FILE contains a table between"
        f" {' and '.join(mark.strip() for mark in MARKS)}, replace only that",
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"unknown part: {', '.join(unknown)}")
    return options


def run_part(name: str, part: Callable[[Bench], Iterator[Row]], bench: Bench) -> Iterator[Row]:
    """Yield the rows of a part. If it fails, the last row contains the reason."""
    try:
        yield from part(bench)
    except NotAvailable as error:
        yield Row(measure=name, detail=f"not available: {error}")
    except Exception as error:  # noqa: BLE001 - the other parts must run nevertheless
        print_progress(f"{name}: {error!r}")
        yield Row(measure=name, detail=f"failed: {shorten(repr(error), 200)}".replace("|", " "))


def format_table(rows: list[Row]) -> str:
    """Format the rows as a Markdown table, preceded by the conditions of the run."""
    minutes = (time.monotonic() - STARTED) / 60
    conditions = (
        time.strftime("%Y-%m-%d", time.gmtime()),
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{os.cpu_count()} cores",
        f"load from {get_load_generator()}",
        f"median of {ROUNDS} rounds",
        f"{minutes:.1f} minutes",
    )
    lines = [
        ", ".join(conditions),
        "",
        "| measure | against | target | seen | spread | detail |",
        "|---|---|---|---|---|---|",
        *map(str, rows),
        "",
    ]
    return "\n".join(lines)


def save_table(table: str, path: Path) -> None:
    """Write the table to a file, or replace the table between the marks of a document."""
    text = path.read_text() if path.exists() else ""
    begin, end = MARKS
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        table = f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}"
    path.write_text(table)


if __name__ == "__main__":
    main()
