"""Several worker processes: one port, one database, one rate limiter, one set of metrics."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from tests.support.process import Service, service

INTERVAL = 0.3


@pytest.fixture
def environment(database: str, arxiv_server: tuple[StandIn, str]) -> dict[str, str]:
    return {
        "ARXIV_WORKERS": "2",
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
    }


def find_children(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children]


def find_workers(running: Service) -> list[int]:
    """The worker processes, without multiprocessing's resource tracker."""
    return [
        pid
        for pid in find_children(running.process.pid)
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], timeout: float = 60) -> None:
    end = monotonic() + timeout
    while not condition():
        assert monotonic() < end, "timeout"
        sleep(0.05)


def wait_for_workers(running: Service, number: int = 2) -> list[int]:
    """Wait until so many workers have started since the beginning."""
    running.url()
    wait_until(lambda: running.output.count(" has started") >= number)
    return find_workers(running)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def connected(running: Service, other: int) -> Iterator[httpx.Client]:
    """A client with one connection, which is accepted by the worker that is not `other`."""
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(base_url=running.url(), limits=limits, timeout=60) as client:
        with stopped(other):
            client.get("/health/live").raise_for_status()
        yield client


def read_metrics(running: Service) -> dict[str, float]:
    lines = running.get("/metrics").text.splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if not line.startswith("#")
    }


def test_workers_share_port_rate_limiter_and_metrics(
    environment: dict[str, str], arxiv: StandIn
) -> None:
    with (
        service(environment | {"ARXIV_INTERVAL": str(INTERVAL)}) as running,
        ExitStack() as stack,
    ):
        first, second = wait_for_workers(running)
        clients = [stack.enter_context(connected(running, pid)) for pid in (first, second)]
        statuses = []

        def search(number: int) -> None:
            for word in ("one", "two", "three"):
                response = clients[number].get("/arxiv", params={"any": f"{word} {number}"})
                statuses.append(response.status_code)

        threads = [Thread(target=search, args=[number]) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = read_metrics(running)

    assert statuses == [200] * 6
    requests = sorted(arxiv.requests, key=lambda request: request.started)
    assert len(requests) == 6
    for previous, following in pairwise(requests):
        assert following.started - previous.ended >= INTERVAL - 0.01
    labels = 'app_name="arxiv-gateway",method="GET",path="{}",status_code="200"'
    assert metrics[f"http_requests_total{{{labels.format('/arxiv')}}}"] == 6
    assert metrics[f"http_requests_total{{{labels.format('/health/live')}}}"] == 2
    assert metrics["arxiv_gateway_gate_wait_seconds_count"] == 6
    assert metrics['arxiv_gateway_rows_written_total{table="queries"}'] == 6
    assert metrics['arxiv_gateway_pool_connections_max{pool="queries"}'] == 2 * 10
    assert metrics["process_resident_memory_bytes"] > 2 * 30e6
    assert metrics["process_open_fds"] < metrics["process_max_fds"]


@pytest.mark.usefixtures("arxiv")
def test_killed_worker_is_replaced(environment: dict[str, str]) -> None:
    with service(environment) as running:
        killed, survivor = wait_for_workers(running)
        with connected(running, survivor) as client:  # a connection to the worker to be killed
            assert client.get("/arxiv?title=testing").status_code == 200
            pools = read_metrics(running)['arxiv_gateway_pool_connections_max{pool="queries"}']
            os.kill(killed, signal.SIGKILL)
        assert running.get("/arxiv", title="testing").status_code == 200
        replaced = wait_for_workers(running, 3)
        wait_until(lambda: not is_running(killed))
        connections = 'arxiv_gateway_pool_connections_max{pool="queries"}'
        # workers update the metrics of their pools from time to time
        wait_until(lambda: read_metrics(running)[connections] == pools)
        metrics = read_metrics(running)
        assert running.end(signal.SIGTERM) == 0

    assert len(replaced) == 2
    assert survivor in replaced
    assert killed not in replaced
    assert metrics['arxiv_gateway_searches_total{answered_by="arxiv",outcome="ok"}'] == 1
    assert metrics['arxiv_gateway_pool_connections_max{pool="queries"}'] == pools == 20


def test_sigterm_drains_all_workers_and_stops_postgresql(
    tmp_path: Path, arxiv: StandIn, arxiv_server: tuple[StandIn, str]
) -> None:
    arxiv.delay = 2.0
    environment = {
        "ARXIV_WORKERS": "2",
        "ARXIV_DATA_DIR": str(tmp_path / "data"),
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
    }
    with service(environment) as running:
        workers = wait_for_workers(running)
        urls = [running.url() + path for path in ("/arxiv?title=testing", "/arxiv?title=neutrino")]
        requests = []
        for url in urls:
            requests.append(subprocess.Popen(["curl", "-si", url], stdout=subprocess.PIPE))
            wait_until(lambda: len(arxiv.requests) == 1)
        wait_until(lambda: running.get("/health/ready").json()["arxiv"]["waiting"] == 1)
        children = find_children(running.process.pid)
        assert running.end(signal.SIGTERM) == 0
        sent, waiting = (request.communicate(timeout=60)[0] for request in requests)

    assert b'"num_entries":10' in sent
    assert b"503 Service Unavailable" in waiting
    assert b"the service is stopping" in waiting
    assert len(children) > len(workers) == 2  # PostgreSQL among them
    wait_until(lambda: not any(is_running(pid) for pid in children))


@pytest.mark.usefixtures("arxiv")
def test_ctrl_c_lets_running_requests_finish(environment: dict[str, str], arxiv: StandIn) -> None:
    arxiv.delay = 2.0
    with service(environment) as running:
        workers = wait_for_workers(running)
        command = ["curl", "-si", running.url() + "/arxiv?title=testing"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as request:
            wait_until(lambda: len(arxiv.requests) == 1)
            for pid in (running.process.pid, *workers):  # as a terminal does
                os.kill(pid, signal.SIGINT)
            assert running.wait() == 0
            response, _ = request.communicate(timeout=60)

    assert b'"num_entries":10' in response


@pytest.mark.usefixtures("arxiv")
def test_sighup_replaces_workers_one_by_one(environment: dict[str, str]) -> None:
    with service(environment) as running:
        before = wait_for_workers(running)
        running.process.send_signal(signal.SIGHUP)
        wait_for_workers(running, 4)
        wait_until(lambda: len(find_workers(running)) == 2)
        after = find_workers(running)
        assert running.get("/arxiv", title="testing").status_code == 200
        assert running.end(signal.SIGTERM) == 0

    assert not {*before} & {*after}


def test_workers_stop_if_their_supervisor_is_killed(environment: dict[str, str]) -> None:
    with service(environment) as running:
        workers = wait_for_workers(running)
        running.end(signal.SIGKILL)
        wait_until(lambda: not any(is_running(pid) for pid in workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_port_in_use_is_reported(environment: dict[str, str], workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        changes = {"ARXIV_PORT": port, "ARXIV_WORKERS": workers}
        with service(environment | changes) as running:
            assert running.wait() == 3

    assert f"cannot listen on 127.0.0.1 port {port}: address already in use" in running.output
    assert "listening on" not in running.output


def test_configuration_error_is_reported_once(environment: dict[str, str]) -> None:
    changes = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "ARXIV_ENDPOINTS": "nothing"}
    with service(environment | changes) as running:
        assert running.wait() == 2

    assert running.output.count("ARXIV_ENDPOINTS") == 1


def test_one_worker_runs_without_a_supervisor(
    environment: dict[str, str], db: psycopg.Connection
) -> None:
    del db
    with service(environment | {"ARXIV_WORKERS": "1"}) as running:
        running.url()
        assert find_children(running.process.pid) == []
        assert running.end(signal.SIGTERM) == 0
