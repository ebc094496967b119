"""How deploy/haproxy.cfg treats requests for the pages for browsers."""

import json
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from uuid import uuid4

import httpx
import pytest

from tests.support.haproxy import POOLS, Router, haproxy, run_in_thread

FORMS = ("/", "/abs/hep-th/9901001", "/searches/1/runs", "/sign-in", "/sign-out")


class Instance(ThreadingHTTPServer):
    """An instance that is ready, and that fails before it responds to any other request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Instance

    def do_GET(self) -> None:
        if self.path == "/health/ready":
            self.send_response(200)
            self.end_headers()
        else:
            self.server.received.append(self.path)

    def do_POST(self) -> None:
        self.do_GET()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def running_instance() -> Iterator[Instance]:
    server = Instance()
    with run_in_thread(server):
        yield server


@pytest.fixture(scope="module")
def router(
    tmp_path_factory: pytest.TempPathFactory, running_instance: Instance
) -> Iterator[Router]:
    pools = dict.fromkeys(POOLS, f"127.0.0.1:{running_instance.server_port}")
    with haproxy(tmp_path_factory.mktemp("haproxy"), pools) as running:
        yield running


@pytest.fixture
def instance(running_instance: Instance) -> Instance:
    running_instance.received.clear()
    return running_instance


def find_pool(router: Router, method: str, path: str) -> str:
    """Send a request, and return the pool that HAProxy logs for it."""
    name = uuid4().hex
    httpx.request(method, router.outside + path, headers={"x-request-id": name}, timeout=20)
    end = monotonic() + 60
    while not (lines := [line for line in router.log.read_text().splitlines() if name in line]):
        assert monotonic() < end
        sleep(0.05)
    return str(json.loads(lines[0])["pool"])


@pytest.mark.parametrize("path", FORMS)
def test_form_is_sent_once(router: Router, instance: Instance, path: str) -> None:
    response = httpx.post(router.outside + path, data={"q": "testing"}, timeout=20)

    assert (response.status_code, instance.received) == (502, [path])


@pytest.mark.parametrize("path", ["/", "/search", "/abs/2101.00001", "/static/style.css"])
def test_reading_a_page_is_retried(router: Router, instance: Instance, path: str) -> None:
    httpx.get(router.outside + path, timeout=20)

    assert instance.received == [path] * 2


def test_only_forms_that_search_have_the_time_of_a_search(router: Router) -> None:
    requests = [*(("POST", path) for path in FORMS), ("GET", "/"), ("HEAD", "/abs/2101.00001")]
    pools = {request: find_pool(router, *request) for request in requests}

    searching = {request for request, pool in pools.items() if pool == "frontends_search"}
    assert searching == {("POST", path) for path in FORMS if not path.startswith("/sign")}
    assert {*pools.values()} == {"frontends_search", "frontends_pages"}
