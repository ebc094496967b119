"""PostgreSQL is frozen (SIGSTOP): it does not respond, but connections stay open."""

import signal
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from service import api_keys
from service.db.pool import CALL_TIMEOUT
from tests.support.process import service
from tests.torture import postgres
from tests.torture.conftest import Environment, Tally, rounds
from tests.torture.load import searching

MAX_WAIT, TIMEOUT = 2.0, 1.0


@pytest.mark.thorough
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
                assert max(taken for _, taken in reads) < CALL_TIMEOUT + 20
                assert {status for status, _ in reads} <= ({503} if whole else {200, 503})
                load.wait_for_success()
                assert read(0)[0] == 200
        assert running.end(signal.SIGTERM) == 0
    # rate limiter, request, retried save, and up to three attempts to release the lease
    assert load.slowest < 2 * (MAX_WAIT + TIMEOUT + 4 * CALL_TIMEOUT)
    assert "Traceback" not in running.output
    with own.connect() as db:
        tally("PostgreSQL frozen for 11 seconds", freezes, load.judged(db), load.outage)


def test_request_timeout_includes_the_check_of_the_api_key(
    own: postgres.PostgreSQL, environment: Environment
) -> None:
    with service(environment(own.url, api_keys="required")) as running:
        for whole in (True, False):
            headers = {"authorization": f"Bearer {api_keys.generate_key()}"}
            assert httpx.get(f"{running.url()}/results", headers=headers).status_code == 401
            headers["authorization"] = f"Bearer {api_keys.generate_key()}"  # not known yet
            headers["request-timeout"] = "0.5"
            with own.frozen(whole=whole):
                begun = monotonic()
                late = httpx.get(f"{running.url()}/results", headers=headers, timeout=60)
                taken = monotonic() - begun
            assert late.status_code == 504
            assert late.json()["title"] == "Request timed out"
            assert taken > 0.4
        metrics = httpx.get(f"{running.url()}/metrics").text
        assert 'arxiv_gateway_refused_total{status="504"} 2.0' in metrics
        assert running.end(signal.SIGTERM) == 0
    assert running.output.count("GET /results 504 in") == 2
    assert "Traceback" not in running.output
