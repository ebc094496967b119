"""Clients that request expensive reads, disconnect at once, or never read the response."""

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep

import httpx
import psycopg
import pytest

from service.db.reader import MAX_SLOW_READS
from tests.support.process import Service, service
from tests.torture.conftest import Environment, times

MAX_RESIDENT_MIB = 256
ROWS = 3000
FILL = f"""
    insert into results (query_id, timestamp, result_number, author, title, arxiv_id, version)
    select n, n, 0, 'Ada Example, Bo Example', repeat('long title ' || n || ' ', 60),
        '2001.' || lpad(n::text, 5, '0'), 1
    from generate_series(1, {ROWS}) as n;
    insert into queries (query_id, timestamp, status, num_results, num_entries, query)
    select n, n, 200, 1, 1, repeat('search_query=ti:word' || n, 10)
    from generate_series(1, {ROWS}) as n;
    insert into papers (
        arxiv_id, version, timestamp, first_timestamp, title, authors, abstract, published
    )
    select '2001.' || lpad(n::text, 5, '0'), 1, n, n, 'Title ' || n, array['Ada Example'],
        repeat('long abstract ' || n || ' ', 100), n
    from generate_series(1, {ROWS}) as n
""".encode()
EXPORTS = [
    f"{path}?format={name}"
    for name in ("ndjson", "csv", "bibtex", "ris", "atom")
    for path in ("/results", "/papers", "/queries", "/read-results")
] + [
    "/queries",
    "/papers?items_per_page=1000",
    "/results?items_per_page=1000",
]
CODINGS = ("identity", "gzip", "zstd")


def resident(running: Service) -> dict[str, float]:
    """Return the resident memory of a service in MiB: the current and the highest value."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE)
    return {name: int(size) / 1024 for name, size in found}


def connect(url: str, path: str, coding: str = "identity") -> socket.socket:
    """Send a request without reading its response."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.connect(("127.0.0.1", httpx.URL(url).port or 0))
    wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {coding}\r\n\r\n".encode())
    return wire


ACTIVE = """
    select count(*) from pg_stat_activity
    where datname = current_database() and usename like 'arxiv%' and state = 'active'
        and query !~ 'changed|pg_snapshot_xmin' -- the indexer reads, too
"""


def count_active(db: psycopg.Connection) -> int:
    """Return how many statements of the service PostgreSQL is executing."""
    db.execute("select pg_stat_clear_snapshot()")
    [(count,)] = db.execute(ACTIVE).fetchall()
    return int(count)


@contextmanager
def locked(db: psycopg.Connection, table: str) -> Iterator[None]:
    """Block every statement on a table."""
    with db.transaction():
        db.execute(f"lock table {table} in access exclusive mode".encode())
        yield


def wait_until(condition: Callable[[], object], what: str = "", seconds: float = 60) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, what
        sleep(0.02)


@pytest.mark.thorough
def test_unread_exports_hold_little_memory_which_is_released(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    record_property: Callable[[str, object], None],
) -> None:
    number = times(150, 600)
    db.execute(FILL)
    requests = [(path, coding) for path in EXPORTS for coding in CODINGS]
    with service(environment(database)) as running:
        url = running.url()
        for path in EXPORTS:  # fills caches
            assert httpx.get(url + path, timeout=60).status_code == 200
        before = resident(running)["VmRSS"]
        with ExitStack() as stack:
            wires = [
                stack.enter_context(connect(url, *request))
                for request in islice(cycle(requests), number)
            ]
            statuses = Counter(wire.recv(12)[-3:].decode() for wire in wires)
            page = httpx.get(f"{url}/results", timeout=60)
            highest = resident(running)["VmHWM"]
        wait_until(lambda: resident(running)["VmRSS"] < before + 32)
        after = resident(running)["VmRSS"]
        export = httpx.get(f"{url}/results?format=ndjson", timeout=60)

    record_property(
        "note",
        f"{number} unread exports: {dict(statuses)}; MiB resident: {before:.0f} before,"
        f" {highest:.0f} at most, {after:.0f} afterwards",
    )
    assert page.status_code == 200
    assert export.text.count("\n") == ROWS
    assert statuses.keys() == {"200", "503"}
    assert statuses["200"] > 50
    assert highest < MAX_RESIDENT_MIB


LONG_AUTHOR_LISTS = """
    insert into papers (arxiv_id, version, timestamp, first_timestamp, title, authors, published)
    select '2002.' || lpad(n::text, 5, '0'), 1, n, n, 'Title', array(
        select 'A. ' || substr(md5(author::text), 1, 10) from generate_series(1, 3000) as author
    ), n
    from generate_series(1, %s) as n
"""


@pytest.mark.thorough
def test_unread_exports_of_long_author_lists_hold_little_memory(
    database: str, db: psycopg.Connection, environment: Environment
) -> None:
    papers = times(60, 200)  # the first batch of an export has 50
    db.execute(LONG_AUTHOR_LISTS, [papers])
    paths = [f"/papers?format={name}" for name in ("bibtex", "ris", "atom", "ndjson", "csv")]
    with service(environment(database)) as running:
        url = running.url()
        with ExitStack() as stack:
            wires = [
                stack.enter_context(connect(url, path, coding))
                for coding in (*CODINGS, *CODINGS)
                for path in paths
            ]
            statuses = Counter(wire.recv(12)[-3:].decode() for wire in wires)
            highest = resident(running)["VmHWM"]
        export = httpx.get(f"{url}/papers?format=bibtex", timeout=60)

    assert statuses.keys() == {"200", "503"}
    assert export.text.count("@") == papers
    assert highest < MAX_RESIDENT_MIB


RUN: dict[str, object] = {
    "query_id": 1,
    "timestamp": 1,
    "status": 200,
    "num_results": 1,
    "num_entries": 1,
}
RUN |= {"query": "x", "outcome": "ok", "search_key": None}
PUBLIC_READS = [
    ("GET /queries", "queries"),
    ("GET /queries?text=word", "queries"),
    ("GET /queries?status=404&format=csv", "queries"),
    ("GET /queries?page=3", "queries"),
    ("POST /queries {}", "queries"),
    ("GET /queries/1", "queries"),
    ("GET /queries/1", "results"),
    ("GET /queries/1/changes", "queries"),
    ("GET /queries/1/changes", "results"),
    ("GET /queries/1/feed", "queries"),
    ("GET /queries/1/feed", "results"),
    ("GET /results", "results"),
    ("GET /results?author=ada", "results"),
    ("GET /results?category=cs.*", "papers"),
    ("GET /results?format=ndjson", "results"),
    ("GET /results?format=bibtex", "results"),
    ("GET /results?format=bibtex", "papers"),
    ("HEAD /results?format=csv", "results"),
    ("GET /papers", "papers"),
    ("GET /papers?q=title", "papers"),
    ("GET /papers?format=atom", "papers"),
    ("GET /papers/2001.00001", "papers"),
]
BACKEND_READS = [
    ("GET /read-queries", "queries"),
    ("GET /read-results?format=ndjson", "results"),
    ('POST /find-results {"query_id": 1}', "results"),
    ('POST /read-archive {"type": "query", "query_id": 1}', "queries"),
    ('POST /read-archive {"type": "versions", "arxiv_id": "2001.00001"}', "papers"),
    (f'POST /read-archive {{"type": "results", "run": {json.dumps(RUN)}}}', "results"),
]


def send(url: str, read: str) -> socket.socket:
    """Send a request such as `GET /path` or `POST /path {body}`."""
    method, path, body = (*read.split(" ", 2), "")[:3]
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    wire = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0))
    wire.sendall("\r\n".join([*head, "Content-Type: application/json", "", body]).encode())
    return wire


def check_cancellation(
    running: Service, db: psycopg.Connection, reads: list[tuple[str, str]]
) -> None:
    """Check that PostgreSQL executes each read until its client disconnects, and no longer."""
    url = running.url()
    wait_until(lambda: httpx.get(f"{url}/papers?q=title").status_code == 200, "papers are indexed")
    running.lines.clear()
    for read, table in reads:
        method, path = read.split(" ")[:2]
        line = f"{method} {path.partition('?')[0]} 499 in "
        running.lines.clear()
        with locked(db, table):
            wire = send(url, read)
            wait_until(lambda: count_active(db) >= 1, read)
            sleep(0.1)
            assert count_active(db) == 1, read
            wire.close()
            wait_until(lambda: count_active(db) == 0, read)
        wait_until(lambda: " 499 in " in running.output, read)
        assert running.output.count(line) == 1, read
        assert "Traceback" not in running.output, read


@pytest.mark.thorough
def test_every_read_ends_when_its_client_disconnects(
    database: str, db: psycopg.Connection, environment: Environment
) -> None:
    db.execute(FILL)
    with service(environment(database)) as running:
        check_cancellation(running, db, PUBLIC_READS + BACKEND_READS)


def test_read_ends_if_its_client_disconnects_before_it_is_watched(
    database: str, db: psycopg.Connection, environment: Environment
) -> None:
    db.execute(FILL)
    with service(environment(database)) as running, locked(db, "papers"):
        for number in range(10):
            with closing(send(running.url(), "GET /papers")):
                sleep(number / 500)
        wait_until(lambda: running.output.count(" 499 in ") == 10, "all are cancelled")
        assert count_active(db) == 0


@pytest.mark.thorough
def test_every_read_of_a_frontend_ends_when_its_client_disconnects(
    database: str, db: psycopg.Connection, environment: Environment
) -> None:
    db.execute(FILL)
    with service(environment(database)) as backend:
        with service({"ARXIV_BACKEND_URL": backend.url()}) as frontend:
            check_cancellation(frontend, db, PUBLIC_READS)
        assert backend.output.count(" 499 in ") == len(PUBLIC_READS)


@pytest.mark.thorough
def test_slow_filters_leave_connections_for_other_reads(
    database: str, db: psycopg.Connection, environment: Environment
) -> None:
    """The lock makes a slow filter endless; other lists are in other tables."""
    db.execute(FILL)
    slow = [
        "/queries?text={}",
        "/queries?status={}",
        "/queries?page=1{:05}",
        "/queries?page=2{:05}",
    ]
    with service(environment(database)) as running, ThreadPoolExecutor(1) as pool:
        url = running.url()
        for path in slow:
            with locked(db, "queries"), ExitStack() as stack:
                for number in range(20):
                    stack.enter_context(connect(url, path.format(number)))
                wait_until(lambda: count_active(db) == MAX_SLOW_READS, path)
                for page in range(5):
                    reply = pool.submit(httpx.get, f"{url}/results?page={page}", timeout=60).result(
                        60
                    )
                    assert reply.status_code == 200
                assert count_active(db) == MAX_SLOW_READS
            wait_until(lambda: count_active(db) == 0, path)
        # 503 for those who would wait too long
        with locked(db, "queries"):
            replies = ThreadPoolExecutor(MAX_SLOW_READS + 1).map(
                lambda number: httpx.get(f"{url}/queries?text={number}", timeout=60),
                range(MAX_SLOW_READS + 1),
            )
            details = [reply.json()["detail"] for reply in replies]
    assert "too many slow reads are in progress" in details
