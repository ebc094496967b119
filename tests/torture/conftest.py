"""Duration of the torture tests and the table of their results.

`make torture` sets `TORTURE=long`; otherwise each test repeats its fault only a few times.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.settings import Settings
from tests.torture import postgres
from tests.torture.load import Verdict

IS_LONG = os.environ.get("TORTURE") == "long"
BEGUN, LONGEST = monotonic(), 360.0
"""Seconds after which no further round starts, so that the run ends within ten minutes."""
HEAD = ("fault", "tried", "lost", "duplicated", "partial", "longest outage")

Tally = Callable[[str, int, Verdict, float], None]
Environment = Callable[..., dict[str, str]]


def times(short: int, long: int) -> int:
    """Return the number for the short or the long form."""
    return long if IS_LONG else short


def rounds(short: int, long: int) -> Iterator[int]:
    """Yield round numbers; fewer than in the long form if the time is over."""
    for number in range(1, times(short, long) + 1):
        if number > short and monotonic() > BEGUN + LONGEST:
            break
        yield number


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """Add a line to the table, and check that nothing was lost."""

    def note(fault: str, tried: int, found: Verdict, outage: float) -> None:
        record_property("torture", (fault, tried, *found, outage))
        assert found == Verdict(0, 0, 0)

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show the table with one line per fault."""
    lines: dict[str, list[tuple[int, int, int, int, float]]] = defaultdict(list)
    notes = []
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "torture" and report.when == "call":
                lines[value[0]].append(value[1:])
            elif name == "note" and report.when == "call":
                notes.append(value)
    if not lines:
        return
    terminalreporter.section("torture")
    row = "{:<52}{:>7}{:>7}{:>12}{:>9}{:>16}"
    terminalreporter.write_line(row.format(*HEAD))
    for fault, found in lines.items():
        *numbers, outages = zip(*found, strict=True)
        totals = *map(sum, numbers), f"{max(outages):.2f} s"
        terminalreporter.write_line(row.format(fault, *totals))
    for note in notes:
        terminalreporter.write_line(note)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """A thread with an event loop for background tasks."""
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture(scope="session")
def files(quick_path: Path) -> Path:
    """Data folder of a PostgreSQL with all migrations applied."""
    return postgres.make(quick_path / "torture")


@pytest.fixture
def own(files: Path, quick_path: Path) -> Iterator[postgres.PostgreSQL]:
    """A PostgreSQL server for one test."""
    with (
        TemporaryDirectory(dir=quick_path) as folder,
        postgres.running(files, Path(folder)) as server,
    ):
        yield server


@pytest.fixture
def environment(arxiv: StandIn, arxiv_server: tuple[StandIn, str]) -> Environment:
    """Factory of environment variables for a service with a database and the stand-in."""
    del arxiv  # reset

    def make(database: str, **settings: str | float) -> dict[str, str]:
        names = {
            "database_url": make_conninfo(database, user="arxiv_rw"),
            "database_ro_url": make_conninfo(database, user="arxiv_ro"),
            "api_url": arxiv_server[1],
            "interval": 0,
            **settings,
        }
        assert names.keys() <= set(Settings.__struct_fields__)
        return {f"ARXIV_{name.upper()}": str(value) for name, value in names.items()}

    return make
