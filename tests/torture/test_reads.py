"""Clients that request expensive reads, disconnect at once, or never read the response."""

import re
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep

import httpx
import psycopg

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


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end
        sleep(0.02)


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
