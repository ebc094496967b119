"""A PostgreSQL server that tests can stop, kill and freeze."""

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
from psycopg.conninfo import make_conninfo

from service import embedded_postgres
from service.db import migrations


def make(folder: Path) -> Path:
    """Create the data folder of a server with all migrations applied."""
    with embedded_postgres.run_server(folder) as url:
        migrations.apply(url)
    return folder / "postgres"


class PostgreSQL:
    """A server on a copy of a data folder."""

    def __init__(self, files: Path, folder: Path) -> None:
        self.files = folder / "postgres"
        folder.chmod(0o711)  # accessible to the server's user if we are root
        subprocess.run(["cp", "-a", str(files), str(self.files)], check=True)
        self.url = make_conninfo(
            host=str(self.files), port=5432, user="postgres", dbname="postgres"
        )
        owner = self.files.stat()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        self.log = folder.with_suffix(".log")  # outside the folder, whose disk may be full
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start and wait for connections; after a kill, the old children must end first."""
        end = monotonic() + 60
        self._spawn()
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert monotonic() < end, self.log.read_text()[-1000:]
            else:
                return
            sleep(0.02)
            if self.process.poll() is not None:
                self._spawn()

    def _spawn(self) -> None:
        command = [
            str(embedded_postgres.find_program("postgres")),
            "-D",
            str(self.files),
            "-p",
            "5432",
        ]
        options = {"listen_addresses": "", "unix_socket_directories": str(self.files)}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._identity
            )

    def connect(self) -> psycopg.Connection:
        """Connect as superuser."""
        return psycopg.connect(self.url, autocommit=True)

    def end(self, how: int) -> None:
        """Stop the server: SIGINT is a fast, SIGQUIT an immediate shutdown, SIGKILL a crash."""
        self.process.send_signal(how)
        self.process.wait(60)

    def backends(self) -> list[int]:
        """Return the process ids of the service's connections."""
        with self.connect() as db:
            rows = db.execute("select pid from pg_stat_activity where usename like 'arxiv%'")
            return [pid for (pid,) in rows]

    @contextmanager
    def frozen(self, *, whole: bool) -> Iterator[None]:
        """Freeze the service's connections, or with `whole` also the server."""
        pids = self.backends() + ([self.process.pid] if whole else [])
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@contextmanager
def running(files: Path, folder: Path) -> Iterator[PostgreSQL]:
    """Run a server and delete its files afterwards."""
    server = PostgreSQL(files, folder)
    try:
        server.start()
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGQUIT)
        shutil.rmtree(server.files)
