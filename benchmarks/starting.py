"""From the command to the first answer, against the start of what the service consists of."""

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
from benchmarks.measuring import Bench, Row, ratios, rounds, seed, surroundings
from benchmarks.reading import PAGE
from service import embedded_postgres
from service.db import migrations
from tests.support.haproxy import free_port

PATIENCE = 60.0
CLIENT = httpx.Client(trust_env=False, verify=False, headers={"connection": "close"})  # noqa: S501
LOOK_AGAIN = 0.002
BARE = """
import sys, uvicorn
from litestar import Litestar, get
@get("/", sync_to_thread=False)
def bare() -> str:
    return "bare"
uvicorn.run(Litestar([bare]), port=int(sys.argv[1]), log_config=None)
"""


def start(bench: Bench) -> Iterator[Row]:
    """The service on an embedded PostgreSQL that has data, against PostgreSQL and Litestar."""
    folder = bench.folder / "start"
    with embedded_postgres.server(folder) as url:
        migrations.apply(url)
        seed(url, 1000)
    # once, as an image has it; Python does not where PYTHONDONTWRITEBYTECODE is set
    subprocess.run([sys.executable, "-m", "compileall", "-q", service.__path__[0]], check=True)  # noqa: S603 - ours
    ours, postgresql, litestar = rounds(
        "start", partial(_service, folder), partial(_postgresql, folder / "postgres"), _litestar
    )
    bare = tuple(map(sum, zip(postgresql, litestar, strict=True)))
    yield Row(
        measure="start: command to first answered `/results`, embedded, existing data",
        against="bare PostgreSQL start + bare Litestar start",
        seen=ratios(ours, bare),
        at_most=1.5,
        detail=f"{median(ours):.2f} s against"
        f" {median(postgresql):.2f} s + {median(litestar):.2f} s",
    )


def _service(folder: Path) -> float:
    port = free_port()
    environment = {"ARXIV_DATA_DIR": str(folder), "ARXIV_PORT": str(port)}
    command = [sys.executable, "-m", "service", "serve"]
    return _taken(command, partial(_get, port, PAGE), env=surroundings() | environment)


def _litestar() -> float:
    port = free_port()
    return _taken([sys.executable, "-c", BARE, str(port)], partial(_get, port, "/"))


def _postgresql(cluster: Path) -> float:
    """Until it answers a query; under root as the user to whom the files belong."""
    owner = cluster.stat()
    user = {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={cluster}"]
    command = [str(embedded_postgres.program("postgres")), "-D", str(cluster), *options]

    def ask() -> None:
        with psycopg.connect(host=str(cluster), user=embedded_postgres.SUPERUSER) as conn:
            conn.execute("select")

    return _taken(command, ask, cwd="/", **user)


def _get(port: int, path: str) -> None:
    # httpx takes a quarter of a core to be refused every 2 ms
    socket.create_connection(("127.0.0.1", port)).close()
    CLIENT.get(f"http://127.0.0.1:{port}{path}").raise_for_status()


def _taken(command: list[str], ask: Callable[[], None], **options: Any) -> float:  # noqa: ANN401
    """Seconds from the command to the first answer of what it starts."""
    began = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    ) as running:
        try:
            while running.poll() is None and time.perf_counter() < began + PATIENCE:
                with suppress(ConnectionRefusedError, psycopg.OperationalError):
                    ask()
                    return time.perf_counter() - began
                time.sleep(LOOK_AGAIN)
            raise RuntimeError(f"this does not start: {command}")
        finally:
            running.terminate()
