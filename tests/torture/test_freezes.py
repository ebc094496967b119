"""PostgreSQL is frozen (SIGSTOP): it does not respond, but connections stay open."""

import signal
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import httpx
from anyio.from_thread import BlockingPortal

from service.db.pool import CALL_TIMEOUT
from tests.support.process import service
from tests.torture import postgres
from tests.torture.conftest import Environment, Tally, rounds
from tests.torture.load import searching

MAX_WAIT, TIMEOUT = 2.0, 1.0


def test_frozen_postgresql_delays_no_request_beyond_its_timeout(
    own: postgres.PostgreSQL, environment: Environment, portal: BlockingPortal, tally: Tally
) -> None:
    with service(environment(own.url, max_wait=MAX_WAIT, timeout=TIMEOUT)) as running:
        with searching(portal, running.url()) as load:

            def read(page: int) -> tuple[int, float]:
                begun = monotonic()
                response = httpx.get(f"{running.url()}/results?page={page}", timeout=60)
                return response.status_code, monotonic() - begun

            for freezes in rounds(1, 4):
                load.wait_for_success(number=5)
                whole = freezes % 2 == 1
                with ThreadPoolExecutor(4) as pool, own.frozen(whole=whole):
                    reads = list(pool.map(read, range(4)))
                    sleep(1)
                assert max(taken for _, taken in reads) < CALL_TIMEOUT + 1
                assert {status for status, _ in reads} <= ({503} if whole else {200, 503})
                load.wait_for_success()
                assert read(0)[0] == 200
        assert running.end(signal.SIGTERM) == 0
    # rate limiter, request, retried save, and up to three attempts to release the lease
    assert load.slowest < MAX_WAIT + TIMEOUT + 4 * CALL_TIMEOUT
    assert "Traceback" not in running.output
    with own.connect() as db:
        tally("PostgreSQL frozen for 11 seconds", freezes, load.judged(db), load.outage)
