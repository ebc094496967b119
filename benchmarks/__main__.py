"""`make bench`: measure, print a table, keep it in docs/performance.md."""

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
    buffering,
    image,
    parsing,
    reading,
    recording,
    routing,
    searching,
    starting,
)
from benchmarks.measuring import BEGAN, ROUNDS, Bench, NotHere, Row, load_name, progress, served
from demo.arxiv import StandIn
from demo.papers import generate
from service import embedded_postgres

PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "record": recording.searches,
    "trips": recording.round_trips,
    "parse": parsing.parse,
    "memory": searching.memory_hits,
    "miss": searching.cost_of_a_miss,
    "page": reading.page,
    "depth": reading.depth,
    "export": reading.export,
    "start": starting.start,
    "image": image.size,
    "queue": buffering.rates,
    "readers": routing.readers,
}
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")


def main() -> None:
    """Measure, and print; all of it is kept as well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    chosen = parser.parse_args().parts
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_postgres.server(Path(folder) / "data") as url,
        served(StandIn(generate(2000))) as arxiv,
    ):
        bench = Bench(url, f"{arxiv}/api/query", Path(folder))
        rows = [row for name in chosen or PARTS for row in measured(name, PARTS[name], bench)]
    text = table(rows)
    if not chosen:
        keep(text, DOCUMENT)
    sys.stdout.write(text)


def measured(name: str, part: Callable[[Bench], Iterator[Row]], bench: Bench) -> Iterator[Row]:
    """The rows of one part, and what keeps it from giving more: the others go on."""
    try:
        yield from part(bench)
    except NotHere as absence:
        yield Row(measure=name, detail=f"not measured here: {absence}")
    except Exception as error:  # noqa: BLE001 - whatever is amiss with one part
        progress(f"{name}: {error!r}")
        yield Row(measure=name, detail=f"failed: {shorten(repr(error), 200)}".replace("|", " "))


def table(rows: list[Row]) -> str:
    """All rows, under what they were measured with."""
    minutes = (time.monotonic() - BEGAN) / 60
    head = (
        time.strftime("%Y-%m-%d", time.gmtime()),
        f"{platform.python_implementation()} {platform.python_version()}",
        f"{os.cpu_count()} cores",
        f"load from {load_name()}",
        f"median of {ROUNDS} rounds",
        f"{minutes:.1f} minutes",
    )
    lines = [
        ", ".join(head),
        "",
        "| measure | against | target | seen | spread | detail |",
        "|---|---|---|---|---|---|",
        *map(str, rows),
        "",
    ]
    return "\n".join(lines)


def keep(text: str, document: Path) -> None:
    """Put a table in the place of the one that a document has."""
    begin, end = MARKS
    before, rest = document.read_text().split(begin)
    document.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
