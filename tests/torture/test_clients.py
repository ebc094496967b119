"""Many concurrent clients, and clients that disconnect."""

import re
import signal
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from random import Random
from time import monotonic, sleep
from urllib.parse import urlencode

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from demo.arxiv import StandIn
from tests.support.process import service
from tests.torture.conftest import Environment, Tally, rounds
from tests.torture.load import Load, search, searching

pytestmark = pytest.mark.thorough

RUNNING = """
    select usename, state, query from pg_stat_activity
    where datname = current_database() and usename like 'arxiv%' and state <> 'idle'
"""
ROWS = 6000
WIDE = f"""
    insert into results (query_id, timestamp, result_number, author, title)
    select -n, n, 0, 'A', repeat('long title ', 90) from generate_series(1, {ROWS}) as n
""".encode()
"""Results for an export larger than socket buffers. They have no search and are deleted later."""


@contextmanager
def locked(db: psycopg.Connection, table: str) -> Iterator[None]:
    """Block every statement on a table."""
    with db.transaction():
        db.execute(f"lock table {table} in access exclusive mode".encode())
        yield


def test_exhausted_pool_rejects_requests_in_time_and_recovers(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    portal: BlockingPortal,
    tally: Tally,
) -> None:
    callers = 40
    with service(environment(database)) as running:
        with searching(portal, running.url(), clients=2) as load:

            def read(page: int) -> tuple[httpx.Response, float]:
                begun = monotonic()
                # different pages, because identical reads are coalesced
                params = {"page": page, "items_per_page": 5}
                response = client.get("/results", params=params)
                return response, monotonic() - begun

            with (
                httpx.Client(base_url=running.url(), timeout=60) as client,
                ThreadPoolExecutor(callers) as pool,
            ):
                for crowds in rounds(1, 10):
                    load.wait_for_success(number=5)
                    with locked(db, "results"):
                        reads = [pool.submit(read, page) for page in range(callers)]
                        while sum(each.done() for each in reads) < callers // 2:
                            sleep(0.05)
                    found = [each.result() for each in reads]
                    assert read(0)[0].status_code == 200

                    refused = [response for response, _ in found if response.status_code != 200]
                    assert len(refused) >= callers // 2
                    for response in refused:
                        assert response.status_code == 503
                        assert int(response.headers["retry-after"]) > 0
                    # three seconds per connection; a page uses two in sequence
                    assert max(taken for _, taken in found) < 30
            load.wait_for_success()
        assert running.end(signal.SIGTERM) == 0
    tally("connection pool exhausted", crowds, load.judged(db), load.outage)


def vanish(wire: socket.socket, *, politely: bool) -> None:
    """Close the connection with a FIN or an RST."""
    if not politely:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


def test_disconnecting_clients_leave_clean_connections_and_complete_records(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    portal: BlockingPortal,
    tally: Tally,
) -> None:
    dice = Random(1)
    db.execute(WIDE)
    with service(environment(database)) as running:
        port = httpx.URL(running.url()).port or 0
        with searching(portal, running.url(), clients=2) as load:
            load.wait_for_success()
            for number in rounds(20, 2000):
                wire = socket.socket()
                if number % 2:
                    path = f"/arxiv?{urlencode(search())}"
                else:
                    path = "/results?format=ndjson"
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                wire.connect(("127.0.0.1", port))
                wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                if not number % 2 and dice.random() < 0.7:
                    wire.recv(1000)
                sleep(dice.uniform(0, 0.03))
                vanish(wire, politely=dice.random() < 0.5)
            load.wait_for_success()
        _settled(db)
        db.execute("delete from results where query_id < 0")
        _answers_are_right(running.url(), load)
        [(connections,)] = db.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and usename like 'arxiv%'"
        )
        assert connections <= 20
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.output
    # every request to arXiv is recorded, even if its client has disconnected
    sent = {request.raw_query for request in arxiv.requests}
    [(recorded,)] = db.execute("select count(distinct search_key) from queries")
    assert recorded == len(sent)
    tally(
        "client disconnects (FIN or RST) in a search or export",
        number,
        load.judged(db),
        load.outage,
    )


def _settled(db: psycopg.Connection) -> None:
    """Wait until the service runs no statement."""
    end = monotonic() + 60
    while found := db.execute(RUNNING).fetchall():
        assert monotonic() < end, found
        sleep(0.05)


def _answers_are_right(url: str, load: Load) -> None:
    """Check on all connections of the pools that each search returns its own results."""
    with httpx.Client(base_url=url) as client, ThreadPoolExecutor(20) as pool:
        responses = load.acknowledged[-40:]
        paths = [f"/queries/{query_id}" for query_id, _ in responses]
        for (query_id, entries), response in zip(
            responses, pool.map(client.get, paths), strict=True
        ):
            found = response.json()
            assert found["query_id"] == query_id
            assert [row["result_number"] for row in found["results"]] == list(range(entries))


@pytest.mark.parametrize("interval", [0.0, 0.2], ids=["busy", "queued"])
def test_sigterm_finishes_started_requests_and_rejects_new_ones(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    arxiv: StandIn,
    portal: BlockingPortal,
    tally: Tally,
    interval: float,
) -> None:
    dice = Random(1)
    arxiv.delay = 0.05
    db.execute(WIDE)
    loads = []
    for _ in rounds(1, 15):
        with service(environment(database, interval=interval)) as running:
            port = httpx.URL(running.url()).port or 0
            exports = [_export(port) for _ in range(3)]
            with searching(portal, running.url()) as load:
                loads.append(load)
                load.wait_for_success(number=3)
                sleep(dice.uniform(0, 0.2))
                load.ended = True
                running.process.send_signal(signal.SIGTERM)
                begun = monotonic()
            # requests sent to arXiv are completed, waiting ones get 503
            assert set(load.statuses) <= {200, 503}, load.statuses
            assert monotonic() - begun < 30
            _wait_for_refusal(port)
            assert running.process.poll() is None
            for wire in exports:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
                with closing(wire):
                    response = b"".join(iter(partial(wire.recv, 2**20), b""))
                assert response.endswith(b"\r\n0\r\n\r\n")
                assert (
                    response.count(b"\n{") >= ROWS - 1
                )  # the first row may have been read already
            assert running.wait(60) == 0
            assert "Traceback" not in running.output
    db.execute("delete from results where query_id < 0")
    for load in loads:
        tally("SIGTERM under load with open exports", 1, load.judged(db), 0)


def _wait_for_refusal(port: int) -> None:
    """Wait until new connections are refused; uvicorn looks for signals every 0.1 seconds."""
    end = monotonic() + 20
    with suppress(ConnectionRefusedError):
        while monotonic() < end:
            with socket.create_connection(("127.0.0.1", port)):
                sleep(0.05)
        pytest.fail("the service still accepts connections")


def _export(port: int) -> socket.socket:
    """Request an export and read only its first bytes."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.settimeout(30)
    wire.connect(("127.0.0.1", port))
    wire.sendall(b"GET /results?format=ndjson HTTP/1.1\r\nHost: x\r\n\r\n")
    assert re.match(rb"HTTP/1.1 200 ", wire.recv(100))
    return wire
