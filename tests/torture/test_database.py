"""PostgreSQL is stopped, killed, disconnected, or out of disk space while the service runs."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic, sleep

import httpx
import psycopg
import pytest
from anyio.from_thread import BlockingPortal

from tests.support.process import service
from tests.support.proxy import proxied
from tests.torture import postgres
from tests.torture.conftest import Environment, Tally, rounds, times
from tests.torture.load import searching

pytestmark = pytest.mark.thorough

STOPS = {
    "stopped (fast) and started": signal.SIGINT,
    "stopped (immediate) and started": signal.SIGQUIT,
    "killed (SIGKILL) and started": signal.SIGKILL,
}


def test_restarted_postgresql_has_all_acknowledged_searches(
    own: postgres.PostgreSQL, environment: Environment, portal: BlockingPortal, tally: Tally
) -> None:
    dice = Random(1)
    with service(environment(own.url)) as running:
        for what, how in STOPS.items():
            with searching(portal, running.url()) as load:
                for stops in rounds(1, 10):
                    load.wait_for_success(number=5)
                    sleep(dice.uniform(0, 0.1))
                    own.end(how)
                    sleep(dice.uniform(0, 0.5))
                    own.start()
                    load.wait_for_success()
            with own.connect() as db:
                tally(f"PostgreSQL {what}", stops, load.judged(db), load.outage)
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.output


def test_connections_terminated_by_server_lose_nothing(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    portal: BlockingPortal,
    tally: Tally,
) -> None:
    dice = Random(1)
    end = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where usename = 'arxiv_rw' and datname = current_database()"
    )
    with service(environment(database)) as running:
        with searching(portal, running.url()) as load:
            load.wait_for_success()
            for cuts in rounds(12, 1000):
                sleep(dice.uniform(0, 0.05))
                db.execute(end)
            load.wait_for_success()
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.output
    tally("connections terminated by PostgreSQL", cuts, load.judged(db), load.outage)


def test_connections_cut_at_any_byte_lose_nothing(
    database: str,
    db: psycopg.Connection,
    environment: Environment,
    portal: BlockingPortal,
    tally: Tally,
) -> None:
    dice = Random(1)
    with (
        portal.wrap_async_context_manager(proxied(database)) as (proxy, url),
        service(environment(url)) as running,
    ):
        with searching(portal, running.url()) as load:
            load.wait_for_success()
            for cuts in rounds(12, 1000):
                # a search sends about 50 kB; once the server responds, it has received all of it
                if dice.random() < 0.7:
                    proxy.cut_after = dice.randrange(100_000)
                else:
                    proxy.cut_before_answer = True
                while proxy.cut_after is not None or proxy.cut_before_answer:
                    sleep(0.001)
            load.wait_for_success()
        assert running.end(signal.SIGTERM) == 0
    assert "Traceback" not in running.output
    tally("connections cut at any byte", cuts, load.judged(db), load.outage)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system in memory that barely fits a database."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk)]
    mounted = subprocess.run(["mount", *options], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        disk.rmdir()


@contextmanager
def _filled(ballast: Path) -> Iterator[None]:
    """Fill the file system."""
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**20))
        yield
    finally:
        ballast.unlink()


def test_full_disk_allows_reads_and_searches_recover(
    files: Path, quick_path: Path, environment: Environment, portal: BlockingPortal, tally: Tally
) -> None:
    with (
        small_disk(quick_path) as disk,
        postgres.running(files, disk) as server,
        service(environment(server.url)) as running,
    ):
        ballast = disk / "ballast"
        with searching(portal, running.url()) as load:
            for fills in rounds(1, 5):
                load.wait_for_success(number=5)
                failed = server.log.read_text().count("No space left")
                with _filled(ballast):
                    end = monotonic() + 60
                    while server.log.read_text().count("No space left") == failed:
                        assert monotonic() < end, load.statuses
                        sleep(0.02)
                    for _ in range(times(5, 20)):
                        read = httpx.get(running.url() + "/results?page=0", timeout=60)
                        assert read.status_code == 200
                        sleep(0.1)
                load.wait_for_success()
        assert running.end(signal.SIGTERM) == 0
        with server.connect() as db:
            tally("disk full", fills, load.judged(db), load.outage)
    assert "Traceback" not in running.output
