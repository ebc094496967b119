"""The limits that deploy/haproxy.cfg sets for clients: sizes, counts, timeouts and connections."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from time import monotonic
from urllib.parse import urlsplit

import pytest

from tests.support.haproxy import POOLS, Router, haproxy, run_in_thread

REQUEST = b"GET /results HTTP/1.1\r\nhost: x\r\n\r\n"


class Instance(ThreadingHTTPServer):
    """An instance of the service that answers `/results` briefly and `/queries` without end."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.disconnected = Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Instance

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path != "/queries":
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
            return
        self.end_headers()
        try:
            while True:
                self.wfile.write(b" " * 2**16)
        except OSError:
            self.server.disconnected.set()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def handle(self) -> None:
        # HAProxy resets the connections of its health checks and of requests that time out
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def instance() -> Iterator[Instance]:
    server = Instance()
    with run_in_thread(server):
        yield server


@pytest.fixture
def pools(instance: Instance) -> dict[str, str]:
    return dict.fromkeys(POOLS, f"127.0.0.1:{instance.server_port}")


def connect(router: Router) -> socket.socket:
    address = urlsplit(router.outside)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def status(router: Router, request: bytes) -> int:
    with connect(router) as conn:
        conn.sendall(request)
        return int(conn.recv(100).split()[1])


def test_header_count_and_size_are_limited(tmp_path: Path, pools: dict[str, str]) -> None:
    def request(count: int, size: int) -> bytes:
        headers = [f"x-{number}: {'a' * size}\r\n" for number in range(count)]
        return f"GET /results HTTP/1.1\r\nhost: x\r\n{''.join(headers)}\r\n".encode()

    with haproxy(tmp_path, pools) as router:
        assert status(router, request(95, 10)) == 200
        assert status(router, request(97, 10)) == 400
        assert status(router, request(12, 1000)) == 200
        assert status(router, request(17, 1000)) == 400


def test_slow_body_is_rejected(tmp_path: Path, pools: dict[str, str]) -> None:
    changes = {"timeout http-request 10s": "timeout http-request 300ms"}
    head = b"POST /results HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"
    with haproxy(tmp_path, pools, changes) as router:
        assert status(router, head + b" " * 10) == 200
        assert status(router, head + b" ") == 408


def test_large_body_that_stalls_is_rejected(tmp_path: Path, pools: dict[str, str]) -> None:
    changes = {"timeout server 30s": "timeout server 2s"}
    head = b"POST /results HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n"
    with haproxy(tmp_path, pools, changes) as router:
        assert status(router, head + b" " * 60_000) == 200
        assert status(router, head + b" " * 30_000) == 504


def test_client_that_reads_nothing_is_disconnected(
    tmp_path: Path, pools: dict[str, str], instance: Instance
) -> None:
    changes = {"timeout client 60s": "timeout client 300ms"}
    with haproxy(tmp_path, pools, changes) as router, connect(router) as conn:
        conn.sendall(REQUEST.replace(b"/results", b"/queries"))
        assert instance.disconnected.wait(60)


def test_connections_beyond_the_limit_wait(tmp_path: Path, pools: dict[str, str]) -> None:
    with (
        haproxy(tmp_path, pools, {"maxconn 3500": "maxconn 2"}) as router,
        ExitStack() as stack,
    ):
        first, _, third = (stack.enter_context(connect(router)) for _ in range(3))
        third.sendall(REQUEST)
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.recv(100)
        first.close()
        third.settimeout(60)
        assert third.recv(100).startswith(b"HTTP/1.1 200")


def open_accepted_connection(router: Router) -> socket.socket:
    """Connect until HAProxy accepts, since it may not have noticed yet that others were closed."""
    end = monotonic() + 60
    while True:
        conn = connect(router)
        with suppress(ConnectionError):
            conn.sendall(REQUEST)
            if conn.recv(100):
                return conn
        conn.close()
        assert monotonic() < end


def test_connections_per_client_can_be_limited(tmp_path: Path, pools: dict[str, str]) -> None:
    changes = {"#stick-table": "stick-table", "#tcp-request": "tcp-request", "gt 100 }": "gt 2 }"}
    with haproxy(tmp_path, pools, changes) as router, ExitStack() as stack:
        first, _ = (stack.enter_context(open_accepted_connection(router)) for _ in range(2))
        with pytest.raises((ConnectionError, IndexError)):
            status(router, REQUEST)
        first.close()
        stack.enter_context(open_accepted_connection(router))
