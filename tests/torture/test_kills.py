"""The service killed (SIGKILL) while it records."""

import signal
from random import Random
from time import sleep

import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from tests.support.haproxy import free_port
from tests.support.process import service
from tests.torture.conftest import Environment, Tally, rounds
from tests.torture.load import searching


# in two halves, so that two processors have something to do
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_service_has_complete_records_of_all_acknowledged_searches(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    portal: BlockingPortal,
    tally: Tally,
    seed: int,
) -> None:
    dice = Random(seed)
    port = free_port()
    # the gate waits for a killed process until its request would have ended, and its queue ten
    # seconds for one that waited: so there is one client, whose searches are recorded all the time
    settings = environment(database, port=port, timeout=0.3)
    with searching(portal, f"http://127.0.0.1:{port}", clients=1) as load:
        for kills in rounds(3, 100):
            with service(settings) as running:
                load.wait_for_success()
                sleep(dice.uniform(0, 0.2))
                running.end(signal.SIGKILL)
        with service(settings) as running:
            load.wait_for_success()
            load.ended = True
            assert running.end(signal.SIGTERM) == 0

    tally("service killed while it records", kills, load.judged(db), load.outage)
