"""A PostgreSQL that may be stopped, killed and frozen, and that nobody else starts again."""

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

from service import embedded_postgres
from service.db import migrations


def make(folder: Path) -> Path:
    """The files of a server with all migrations."""
    with embedded_postgres.server(folder) as url:
        migrations.apply(url)
    return folder / "postgres"


class PostgreSQL:
    """The server on a copy of these files."""

    def __init__(self, files: Path, folder: Path) -> None:
        self.files = folder / "postgres"
        folder.chmod(0o711)  # for the user who runs it, where we are root
        subprocess.run(["cp", "-a", str(files), str(self.files)], check=True)
        self.url = f"host={self.files} port=5432 user=postgres dbname=postgres"
        owner = self.files.stat()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        self.log = folder.with_suffix(".log")  # beside it: a full disk takes no lines
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start, and wait until it answers; after a kill, its children may have to die first."""
        end = monotonic() + 20
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
        command = [str(embedded_postgres.program("postgres")), "-D", str(self.files), "-p", "5432"]
        options = {"listen_addresses": "", "unix_socket_directories": str(self.files)}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._identity
            )

    def connect(self) -> psycopg.Connection:
        """A connection of the superuser's."""
        return psycopg.connect(self.url, autocommit=True)

    def end(self, how: int) -> None:
        """SIGINT is the fast way to stop, SIGQUIT the immediate one, SIGKILL none at all."""
        self.process.send_signal(how)
        self.process.wait(60)

    def backends(self) -> list[int]:
        """The processes that serve the service."""
        with self.connect() as db:
            rows = db.execute("select pid from pg_stat_activity where usename like 'arxiv%'")
            return [pid for (pid,) in rows]

    @contextmanager
    def frozen(self, *, whole: bool) -> Iterator[None]:
        """Let the connections of the service, or all of the server, do nothing."""
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
    """A server that is gone afterwards, with its files."""
    server = PostgreSQL(files, folder)
    try:
        server.start()
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGQUIT)
        shutil.rmtree(server.files)
