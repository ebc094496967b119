"""The RabbitMQ queue in which recorded searches wait for PostgreSQL. Only this module uses AMQP.

It is a quorum queue: a message is safe once the broker confirms that a majority of nodes have
written it to disk. Messages that cannot be stored are moved to a second queue, where an operator
can inspect them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

from msgspec import Struct

from ..backoff import Backoff
from ..errors import ConfigurationError, QueueUnavailable
from ..logging import NOTICE

try:
    import aiormq
    from aiormq import exceptions
    from aiormq.abc import AbstractChannel, DeliveredMessage
    from yarl import URL
except ImportError as error:  # pragma: no cover - without a queue the client is not needed
    raise ConfigurationError(
        "ARXIV_QUEUE_URL is set, but the extra `queue` is not installed: install it, or unset that"
    ) from error

logger = logging.getLogger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # this module logs the same errors

Message = DeliveredMessage
QUEUE = "arxiv-gateway"
PARKED = f"{QUEUE}.parked"
ARGUMENTS: dict[str, Any] = {
    # do not change: the broker refuses to declare an existing queue with other arguments; operators
    # can set policies instead
    "x-queue-type": "quorum",
    # then a message is parked: it must not crash workers forever; but those that a worker holds
    # during restarts are redelivered too
    "x-delivery-limit": 100,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": PARKED,
    # so that parked messages cannot be lost; requires reject-publish
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
# RabbitMQ 4 drops a message that was inspected and requeued 20 times; 3 has no "unlimited"
PARKED_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 10**9}
CONNECT_TIMEOUT = 5.0
"""Seconds to connect and declare the queues."""
PUBLISH_TIMEOUT = 3.0
"""Seconds to wait for the broker's confirmation."""
BACKLOG_TIMEOUT = 1.0
"""Seconds to count the messages."""
RETRY_PAUSES = 0.5, 5.0
"""Seconds between attempts while the broker or PostgreSQL is unavailable: shortest and longest."""
HEARTBEAT = 10
"""Seconds, unless the URL sets it. A broker that misses three heartbeats is considered lost."""
PREFETCH = 50
"""Messages held by one worker. The largest have 4 MiB, and a crash returns all of them."""
_CLIENT_ERRORS = exceptions.AMQPError, RuntimeError, OSError, EOFError, ValueError, LookupError
"""All that aiormq raises, including for unexpected frames and invalid URLs."""


class _QueueFull(QueueUnavailable):
    pass


class Backlog(Struct, frozen=True):
    """Messages ready for delivery, connected workers, and parked messages."""

    waiting: int
    writers: int
    parked: int


class RecordQueue:
    """Publishes messages. Reconnects in the background while its context is entered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._channel: AbstractChannel | None = None
        self._backlog_channel: AbstractChannel | None = None
        self._backoff = Backoff(*RETRY_PAUSES)
        self._full_logged = False
        self._lost_logged = False

    async def __aenter__(self) -> Self:
        self._connecting = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connecting.cancel()
        await asyncio.gather(self._connecting, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._channel is not None

    async def put(self, message: bytes) -> None:
        """Publish a message; it is safe on disk once this returns.

        Raises QueueUnavailable; the message may be in the queue nevertheless. The connection is
        closed, unless the queue is full, so that other callers do not wait for the broker.
        """
        if self._channel is None:
            raise QueueUnavailable("RabbitMQ is not connected")
        channel, lost = self._channel, self._lost
        try:
            await _publish(channel, QUEUE, message)
        except _QueueFull:
            if not self._full_logged:
                logger.warning("the queue is full: searches are written directly")
            self._full_logged = True
            raise
        except QueueUnavailable as error:
            if not lost.done():
                self._channel = None
                lost.set_result(error.detail)
            raise
        self._full_logged = False
        self._backoff.reset()

    async def fetch_backlog(self) -> Backlog | None:
        """Count the messages in both queues; None if the broker does not respond at once."""
        if self._channel is None:
            return None
        try:
            async with _map_errors(), asyncio.timeout(BACKLOG_TIMEOUT):
                # on a separate channel: the broker closes it if a queue does not exist
                if self._backlog_channel is None or self._backlog_channel.is_closed:
                    connection = self._channel.connection
                    self._backlog_channel = await connection.channel(publisher_confirms=False)
                queue = await self._backlog_channel.queue_declare(QUEUE, passive=True)
                parked = await self._backlog_channel.queue_declare(PARKED, passive=True)
        except QueueUnavailable:
            self._backlog_channel = None
            return None
        counts = queue.message_count, queue.consumer_count, parked.message_count
        return Backlog(*(count or 0 for count in counts))

    async def _keep_connected(self) -> None:
        while True:
            reason = await self._connect()
            if not self._lost_logged:
                logger.warning("no connection to the queue: %s; writing searches directly", reason)
            self._lost_logged = True
            await asyncio.sleep(self._backoff.next_pause())

    async def _connect(self) -> str:
        """Connect, wait until the connection is lost, and return the reason."""
        try:
            async with _open_channel(self._url) as channel:
                self._lost = lost = asyncio.Future[str]()
                channel.closing.add_done_callback(partial(self._connection_lost, lost))
                self._channel = channel
                logger.log(NOTICE, "connected to the queue")
                self._lost_logged = False
                return await lost
        except QueueUnavailable as error:
            return error.detail
        finally:
            self._channel = self._backlog_channel = None

    def _connection_lost(self, lost: asyncio.Future[str], closing: asyncio.Future[Any]) -> None:
        if not lost.done():
            self._channel = None
            error = None if closing.cancelled() else closing.exception()
            lost.set_result(_describe(error) if error else "the broker closed the connection")


class Consumer:
    """Receives messages in batches. A message that is not acknowledged is delivered again."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._left_over: Message | None = None

    async def start(self) -> None:
        """Subscribe to the queue. `None` marks the end of the messages."""
        await self._channel.basic_qos(prefetch_count=PREFETCH)
        self._channel.closing.add_done_callback(lambda _: self._arrived.put_nowait(None))
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self._arrived.put_nowait(None))
        await self._channel.basic_consume(QUEUE, self._arrived.put)

    async def fetch_batch(self, max_messages: int, max_bytes: int) -> list[Message]:
        """Wait for a message and return all received so far; empty once the subscription ends."""
        message = self._left_over or await self._arrived.get()
        self._left_over = None
        batch: list[Message] = []
        size = 0
        while message is not None:
            size += len(message.body)
            if batch and size > max_bytes:
                self._left_over = message
                break
            batch.append(message)
            if len(batch) == max_messages or self._arrived.empty():
                break
            message = self._arrived.get_nowait()
        else:
            self._arrived.put_nowait(None)  # for the next call
        return batch

    async def acknowledge(self, message: Message, *, multiple: bool = False) -> None:
        """Acknowledge a message, or all up to it. Raises QueueUnavailable."""
        assert message.delivery_tag is not None  # noqa: S101 - only basic.get may lack it
        async with _map_errors():
            await self._channel.basic_ack(message.delivery_tag, multiple=multiple)

    async def park(self, message: Message, reason: str) -> None:
        """Copy a message to the parked queue with the reason as header. Raises QueueUnavailable."""
        await _publish(self._channel, PARKED, message.body, {"x-reason": reason[:1000]})


@asynccontextmanager
async def consume(url: str) -> AsyncIterator[Consumer]:
    """Connect and subscribe. Raises QueueUnavailable, also when the connection is lost."""
    async with _open_channel(url) as channel:
        consumer = Consumer(channel)
        async with _map_errors(), asyncio.timeout(CONNECT_TIMEOUT):
            await consumer.start()
        yield consumer
        if channel.is_closed:
            raise QueueUnavailable("the broker closed the connection")


@asynccontextmanager
async def _open_channel(url: str) -> AsyncIterator[AbstractChannel]:
    """Connect, open a channel and declare the queues. Raises QueueUnavailable."""
    async with AsyncExitStack() as stack:
        async with _map_errors(), asyncio.timeout(CONNECT_TIMEOUT):
            address = URL(url)
            connection = await aiormq.connect(
                address if "heartbeat" in address.query else address % {"heartbeat": HEARTBEAT},
                client_properties={"connection_name": "arxiv-gateway"},
            )
            stack.push_async_callback(_close, connection)
            channel = await connection.channel(publisher_confirms=True)
            await channel.queue_declare(PARKED, durable=True, arguments=PARKED_ARGUMENTS)
            await channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)
        yield channel


async def _close(connection: Any) -> None:  # noqa: ANN401 - aiormq's own type is abstract
    with suppress(*_CLIENT_ERRORS):
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            # pending calls must fail with this error: a plain close would cancel their tasks
            await connection.close(exceptions.ConnectionClosed(0, "closed by us"))


async def _publish(
    channel: AbstractChannel, queue: str, body: bytes, headers: dict[str, Any] | None = None
) -> None:
    properties = aiormq.spec.Basic.Properties("application/json", headers=headers)
    properties.delivery_mode = 2  # survives a restart of the broker
    options: dict[str, Any] = {"properties": properties, "mandatory": True}
    async with _map_errors(), asyncio.timeout(PUBLISH_TIMEOUT):
        try:
            await channel.basic_publish(body, routing_key=queue, **options)
        except exceptions.PublishError as error:
            raise QueueUnavailable("the queue has been deleted") from error
        except exceptions.DeliveryError as error:
            raise _QueueFull(f"the queue {queue} is full") from error


@asynccontextmanager
async def _map_errors() -> AsyncIterator[None]:
    """Raise aiormq's errors as QueueUnavailable, without the URL and its password."""
    try:
        yield
    except _CLIENT_ERRORS as error:
        raise QueueUnavailable(_describe(error)) from error
    except asyncio.CancelledError as error:
        # aiormq cancels pending calls when the connection is lost
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise QueueUnavailable("the broker closed the connection") from error


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the broker does not respond"
    if isinstance(error, exceptions.InvalidFrameError):
        return "the virtual host does not exist, or the user has no access to it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
