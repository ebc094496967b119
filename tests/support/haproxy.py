"""Runs HAProxy and PgBouncer with the configuration in deploy/ on free ports."""

import os
import pwd
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.process import ROOT

NOBODY = "127.0.0.1:1"
"""An address without a listener."""
POOLS = ("FRONTEND1", "FRONTEND2", "READ1", "READ2", "BACKEND1", "BACKEND2")


@contextmanager
def run_in_thread(server: ThreadingHTTPServer) -> Iterator[None]:
    """Run a server that stands for instances, and close it at the end."""
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is not installed."""
    if not (found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip(f"not installed: {name}")
    return found


def free_port() -> int:
    """Return a free port for a program that starts later.

    It is not one of the ephemeral ports, which clients could use until then.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 - not a secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass(frozen=True)
class Router:
    """A running HAProxy: its public and internal URL and its log file."""

    process: subprocess.Popen[bytes]
    outside: str
    inside: str
    log: Path


@contextmanager
def haproxy(
    folder: Path, pools: Mapping[str, str], changes: Mapping[str, str] | None = None
) -> Iterator[Router]:
    """Run HAProxy in front of these instances; `changes` are replaced in haproxy.cfg."""
    config, log = folder / "haproxy.cfg", folder / "haproxy.log"
    config.write_text(_changed("haproxy.cfg", changes or {}))
    doors = {name: f"127.0.0.1:{free_port()}" for name in ("OUTSIDE", "INSIDE")}
    environment = {**os.environ, **dict.fromkeys(POOLS, NOBODY), **pools, **doors}
    command = [program("haproxy"), "-f", str(config)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            _wait_for(doors["OUTSIDE"], process, log)
            yield Router(process, f"http://{doors['OUTSIDE']}", f"http://{doors['INSIDE']}", log)
        finally:
            process.kill()


@contextmanager
def pgbouncer(
    folder: Path, database: str, changes: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run PgBouncer in front of a database; its connection string without user.

    Its databases are `arxiv` and `arxiv_ro`. `changes` are replaced in pgbouncer.ini.
    """
    target = conninfo_to_dict(database)
    where = f"host={target['host']} port={target['port']} dbname={target['dbname']}"
    port = free_port()
    config, users, log = (folder / f"pgbouncer.{kind}" for kind in ("ini", "users", "log"))
    users.write_text('"arxiv_rw" ""\n"arxiv_ro" ""\n"postgres" ""\n')
    here = {
        "host=db port=5432 dbname=arxiv": where,
        "host=replica port=5432 dbname=arxiv": where,
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": f"listen_port = {port}",
        "auth_type = scram-sha-256": "auth_type = trust",
        "/etc/pgbouncer/userlist.txt": str(users),
    }
    config.write_text(_changed("pgbouncer.ini", here | dict(changes or {})))
    identity: dict[str, Any] = {}
    if (
        os.geteuid() == 0
    ):  # PgBouncer does not run as root; the socket is readable only by its owner
        user = pwd.getpwuid(Path(str(target["host"])).stat().st_uid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        for path in (config, users, folder, *folder.parents):
            path.chmod(path.stat().st_mode | 0o005)
    command = [program("pgbouncer"), str(config)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, **identity) as process,
    ):
        try:
            _wait_for(f"127.0.0.1:{port}", process, log)
            yield f"host=127.0.0.1 port={port} dbname=arxiv"
        finally:
            process.kill()


def _changed(name: str, changes: Mapping[str, str]) -> str:
    """Return a file of deploy/ with replacements."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = address.split(":")
    end = monotonic() + 60
    while True:
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert monotonic() < end, log.read_text()
            sleep(0.02)
        else:
            return
