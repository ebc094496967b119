"""Steps the clock of the service (libfaketime), but not those of PostgreSQL and the test."""

import signal
from itertools import pairwise
from pathlib import Path
from time import sleep

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from demo.arxiv import StandIn
from tests.support.process import service
from tests.torture.conftest import Environment, Tally, rounds
from tests.torture.load import searching

pytestmark = pytest.mark.thorough

LIBRARY = "faketime/libfaketime.so.1"
STEPS = ("+1h", "-1h", "+1d", "-1d", "+0")
INTERVAL = 0.1
LONGEST_LIFE = 5 * 86_400
"""Seconds; announcements are at most four days apart."""


@pytest.fixture
def library() -> Path:
    found = [*Path("/usr/lib").glob(f"*/{LIBRARY}"), *Path("/usr/lib").glob(LIBRARY)]
    if not found:
        pytest.skip("not installed: libfaketime (Debian: faketime)")
    return found[0]


def test_clock_steps_affect_neither_rate_limit_nor_records(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    library: Path,
    portal: BlockingPortal,
    tally: Tally,
    tmp_path: Path,
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with service(environment(database, interval=INTERVAL) | faked) as running:
        with searching(portal, running.url(), clients=2) as load:
            for steps in rounds(5, 40):
                step = STEPS[steps % len(STEPS)]
                load.wait_for_success(number=2)
                clock.write_text(step)
                sleep(0.1)
                for _ in range(2):
                    known = httpx.get(f"{running.url()}/arxiv?title=testing", timeout=60)
                    assert known.status_code == 200
                    age = int(known.headers.get("age", 0))
                    life = int(known.headers["cache-control"].removeprefix("max-age="))
                    assert 0 <= age <= 2 * 86_400
                    assert 0 <= life <= LONGEST_LIFE
            load.wait_for_success(number=2)
        assert set(load.statuses) == {200}
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.output
    requests = sorted((request.started, request.ended) for request in arxiv.requests)
    assert min(later[0] - earlier[1] for earlier, later in pairwise(requests)) >= INTERVAL
    tally("clock of the service stepped by an hour or a day", steps, load.judged(db), load.outage)
