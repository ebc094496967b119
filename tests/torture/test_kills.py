"""The service is killed (SIGKILL) while it records searches."""

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

pytestmark = pytest.mark.thorough


# two seeds, so that two CPUs are used
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
    # one client only: after a kill, the lease of a started request must expire, and a waiting
    # place in the queue of the rate limiter takes ten seconds to expire
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

    tally("service killed while recording", kills, load.judged(db), load.outage)
