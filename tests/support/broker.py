"""A RabbitMQ node that tests can kill, stop and start again."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import aiormq

from service.queue.rabbitmq import PARKED, QUEUE
from tests.support.haproxy import free_port

# not the script in /usr/sbin, which requires root or rabbitmq and uses system folders
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START = 60.0
"""Seconds; a start takes about five on an idle machine."""


class Broker:
    """A node with all of its files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.port, distribution, epmd = (free_port() for _ in range(3))
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._folder = folder
        (folder / "home").mkdir(mode=0o700)  # for the cookie
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        (folder / "plugins").write_text("[].\n")
        self._environment = os.environ | {
            "HOME": str(folder / "home"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_NODENAME": f"gateway{self.port}@localhost",
        }

        # started here because an epmd started by the node would outlive it
        self._names = subprocess.Popen(["epmd"], env=self._environment)

    def start(self) -> None:
        """Start the node without waiting until it listens."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the node listens."""
        end = monotonic() + START
        while monotonic() < end and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            sleep(0.05)
        raise AssertionError((self._folder / "output").read_text())

    def send(self, number: int) -> None:
        """Send a signal to all processes of the node."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """Kill the node, like a power failure."""
        with suppress(ProcessLookupError):  # already killed
            self.send(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Kill the node and epmd."""
        self.kill()
        self._names.kill()
        self._names.wait()

    async def purge(self) -> None:
        """Empty both queues if they exist."""
        for queue in (QUEUE, PARKED):
            async with aiormq.connect(self.url) as connection:
                channel = await connection.channel()
                with suppress(aiormq.exceptions.ChannelNotFoundEntity):
                    await channel.queue_purge(queue)

    async def publish(self, body: bytes) -> None:
        """Publish a message."""
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            await channel.basic_publish(body, routing_key=QUEUE, mandatory=True)

    async def waiting(self) -> int:
        """Count the messages that are not held by a worker."""
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            return (await channel.queue_declare(QUEUE, passive=True)).message_count or 0

    async def parked(self) -> list[tuple[bytes, Any]]:
        """Remove and return the parked messages: bodies and headers."""
        found = []
        async with aiormq.connect(self.url) as connection:
            channel = await connection.channel()
            while (message := await channel.basic_get(PARKED, no_ack=True)).body:
                found.append((message.body, message.header.properties.headers))
        return found


def is_there() -> bool:
    """Whether RabbitMQ is installed."""
    return PROGRAM.exists() and shutil.which("epmd") is not None


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """Run a node."""
    node = Broker(folder)
    node.start()
    try:
        node.wait()
        yield node
    finally:
        node.end()
