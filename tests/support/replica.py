"""Copies and standbys of a running PostgreSQL server that tests can kill and promote."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service import embedded_postgres
from service.db.conninfo import create_libpq_environment


class Replica:
    """A server on a copy of another server's files."""

    def __init__(self, origin: str, folder: Path, *arguments: str) -> None:
        run(origin, "pg_basebackup", "-D", folder, "-X", "stream", "-c", "fast", *arguments)
        # the lock file of the origin's socket, if it is in the data folder
        (folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        owner = Path(str(conninfo_to_dict(origin)["host"])).stat()
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
            for path in [folder, *folder.rglob("*")]:
                shutil.chown(path, owner.st_uid, owner.st_gid)
        self.folder = folder
        self._log = folder.with_suffix(".log")
        self.url = make_conninfo(origin, host=str(folder))
        options = {"listen_addresses": "", "unix_socket_directories": str(folder)}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(embedded_postgres.find_program("postgres")), "-D", str(folder), *words],
                stdout=log,
                stderr=log,
                cwd="/",
                **identity,
            )
        self.wait_for("select 1")

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def follows(self, primary: "Replica") -> None:
        """Wait until this server is a synchronous standby of the primary."""
        primary.run("alter system set synchronous_standby_names = '*'")
        primary.run("select pg_reload_conf()")
        primary.wait_for("select from pg_stat_replication where sync_state = 'sync'")

    def promote(self) -> None:
        self.run("select pg_promote()")

    def kill(self) -> None:
        """Kill the server and its sessions, like a machine that fails.

        Without /proc the sessions end a little later.
        """
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        sessions = children.read_text().split() if children.exists() else []
        self._process.kill()
        for session in sessions:
            with suppress(ProcessLookupError):
                os.kill(int(session), signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Stop the server immediately."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def wait_for(self, statement: str) -> None:
        """Wait until a statement returns a row."""
        end = monotonic() + 60
        while monotonic() < end:
            try:
                with psycopg.connect(self.url) as conn:
                    if conn.execute(statement.encode()).fetchone() is not None:
                        return
            except psycopg.OperationalError:
                pass
            sleep(0.02)
        log = self._log.read_text(errors="replace")
        raise AssertionError(f"no row: {statement}\n{log}")


def run(url: str, program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [str(embedded_postgres.find_program(program)), *map(str, arguments)],
        env=os.environ | create_libpq_environment(url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def copy_of(origin: str, folder: Path, *arguments: str) -> Iterator[Replica]:
    """Run a copy of a server, or with -R a standby."""
    replica = Replica(origin, folder, *arguments)
    try:
        yield replica
    finally:
        replica.stop()
