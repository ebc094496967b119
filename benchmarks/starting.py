"""The time from the command to the first response, against the start of its components."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg

import service
from benchmarks.measuring import (
    ROOT,
    Bench,
    Row,
    compute_ratios,
    copy_environment,
    run_rounds,
    seed_results,
)
from benchmarks.reading import PAGE
from service import embedded_postgres
from service.db import migrations
from tests.support.haproxy import free_port

START_TIMEOUT = 60.0
CLIENT = httpx.Client(trust_env=False, verify=False, headers={"connection": "close"})  # noqa: S501
POLL_SECONDS = 0.002
BARE_APPLICATION = """
import sys, uvicorn
from litestar import Litestar, get
@get("/", sync_to_thread=False)
def bare() -> str:
    return "bare"
uvicorn.run(Litestar([bare]), port=int(sys.argv[1]), log_config=None)
"""


def measure_start(bench: Bench) -> Iterator[Row]:
    """Compare the service on an embedded PostgreSQL with data with bare PostgreSQL and Litestar."""
    folder = bench.folder / "start"
    with embedded_postgres.server(folder) as url:
        migrations.apply(url)
        seed_results(url, 1000)
    # compile the modules as in the image, even if PYTHONDONTWRITEBYTECODE is set
    subprocess.run([sys.executable, "-m", "compileall", "-q", service.__path__[0]], check=True)  # noqa: S603 - our own arguments
    ours, postgresql, litestar = run_rounds(
        "start",
        partial(_start_service, folder),
        partial(_start_postgresql, folder / "postgres"),
        _start_litestar,
    )
    bare = tuple(map(sum, zip(postgresql, litestar, strict=True)))
    yield Row(
        measure="start-up: command to first response of `/results`, embedded PostgreSQL with data",
        against="bare PostgreSQL start + bare Litestar start",
        seen=compute_ratios(ours, bare),
        at_most=2,
        detail=f"{median(ours):.2f} s against"
        f" {median(postgresql):.2f} s + {median(litestar):.2f} s",
    )


def _start_service(folder: Path) -> float:
    port = free_port()
    environment = {"ARXIV_DATA_DIR": str(folder), "ARXIV_PORT": str(port)}
    command = [sys.executable, "-m", "service", "serve"]
    environment = copy_environment() | environment
    return _measure_start(command, partial(_send_get, port, PAGE), cwd=ROOT, env=environment)


def _start_litestar() -> float:
    port = free_port()
    command = [sys.executable, "-c", BARE_APPLICATION, str(port)]
    return _measure_start(command, partial(_send_get, port, "/"))


def _start_postgresql(cluster: Path) -> float:
    """Measure the start of PostgreSQL; as root, it runs as the owner of the cluster."""
    owner = cluster.stat()
    user = {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={cluster}"]
    command = [str(embedded_postgres.find_program("postgres")), "-D", str(cluster), *options]

    def send_query() -> None:
        with psycopg.connect(host=str(cluster), user=embedded_postgres.SUPERUSER) as conn:
            conn.execute("select")

    return _measure_start(command, send_query, cwd="/", **user)


def _send_get(port: int, path: str) -> None:
    # a plain connection first: polling with httpx every 2 ms would use a quarter of a core
    socket.create_connection(("127.0.0.1", port)).close()
    CLIENT.get(f"http://127.0.0.1:{port}{path}").raise_for_status()


def _measure_start(command: list[str], request: Callable[[], None], **options: Any) -> float:  # noqa: ANN401
    """Return the seconds from the start of a command to the first successful request."""
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    ) as process:
        try:
            while process.poll() is None and time.perf_counter() < started + START_TIMEOUT:
                with suppress(ConnectionRefusedError, psycopg.OperationalError):
                    request()
                    return time.perf_counter() - started
                time.sleep(POLL_SECONDS)
            raise RuntimeError(f"the command does not start: {command}")
        finally:
            process.terminate()
