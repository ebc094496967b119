"""Runs the service as a separate process."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, sleep

import httpx

ROOT = Path(__file__).resolve().parents[2]


def run_command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the service to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Service:
    """A running `python -m service serve` and its output."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=os.environ | {"ARXIV_PORT": "0"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def url(self, timeout: float = 60) -> str:
        """Wait until the service listens, and return its URL."""
        end = monotonic() + timeout
        while monotonic() < end:
            if found := re.search(r"listening on (http://\S+)", self.output):
                return found[1]
            if self.process.poll() is not None:
                break
            sleep(0.02)
        raise AssertionError(f"the service does not listen:\n{self.output}")

    def get(self, path: str, **parameters: str | int) -> httpx.Response:
        return httpx.get(self.url() + path, params=parameters, timeout=60)

    def end(self, how: int, timeout: float = 60) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(how)
        return self.wait(timeout)

    def wait(self, timeout: float = 60) -> int:
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status


@contextmanager
def service(
    environment: dict[str, str], command: tuple[str, ...] = ("service", "serve")
) -> Iterator[Service]:
    """Run a service and stop it afterwards. Its search index is in a directory of its own."""
    with TemporaryDirectory(prefix="index-", ignore_cleanup_errors=True) as folder:
        own = {} if "ARXIV_DATA_DIR" in environment else {"ARXIV_INDEX_DIR": folder}
        with _run(Service(list(command), own | environment)) as running:
            yield running


@contextmanager
def _run(running: Service) -> Iterator[Service]:
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.wait()
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.wait()
        assert running.process.stdout
        running.process.stdout.close()
