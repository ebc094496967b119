"""The queue at RabbitMQ in which recorded searches wait for PostgreSQL: the one user of AMQP.

It is a quorum queue, and a message counts as taken once the broker has confirmed that it is on the
disks of a majority. Messages that cannot be stored are parked in a queue beside it, for a person to
look at.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

from msgspec import Struct

from ..errors import ConfigurationError, QueueUnavailable
from ..logging import NOTICE

try:
    import aiormq
    from aiormq.abc import AbstractChannel
    from aiormq.abc import DeliveredMessage as Message
    from aiormq.exceptions import (
        AMQPError,
        ConnectionClosed,
        DeliveryError,
        InvalidFrameError,
        PublishError,
    )
    from yarl import URL
except ImportError as error:  # pragma: no cover - whoever has no queue needs no client
    raise ConfigurationError(
        "ARXIV_QUEUE_URL is set, but the extra `queue` is not installed: install it, or unset that"
    ) from error

logger = logging.getLogger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it means is said here

QUEUE = "arxiv-gateway"
PARKED = f"{QUEUE}.parked"
DELIVERIES = 100
"""How often a message is handed out again, when a writer ends without a word, before the broker
parks it: one that kills writers must not do so for ever, and one in their hands at a restart is
innocent."""
QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
ARGUMENTS = QUORUM | {
    # never to be changed: the broker would refuse the queue that is there. A policy can do more
    "x-delivery-limit": DELIVERIES,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": PARKED,
    # else what the broker parks could be lost on its way; it takes this only with the next
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
KEPT: dict[str, Any] = {
    # RabbitMQ 4 throws away what was looked at and put back twenty times; 3 knows no "never"
    "x-delivery-limit": 10**9,
}
CONNECTION_PATIENCE = 5.0
"""Seconds that it may take until the queues are there."""
PATIENCE = 3.0
"""Seconds that the broker may take to confirm a message."""
PAUSES = 0.5, 5.0
"""Seconds before the next try when the queue or PostgreSQL is away: the first, doubled each time,
and the longest."""
HEARTBEAT = 10
"""Seconds, unless the URL says otherwise: after three of them a silent broker is gone."""
LOOK_PATIENCE = 1.0
"""Seconds that it may take to count what waits."""
HELD = 50
"""Messages that one writer has in hand: the largest are 4 MiB, and each dies with a writer."""
PERSISTENT = 2
"""AMQP's number for messages that outlive the broker."""
MOST_REASON = 1000
"""Characters."""
_AWAY = AMQPError, RuntimeError, OSError, EOFError, ValueError, LookupError
"""What the client raises: of a state that does not fit, and of a wrong URL, too."""


__all__ = ["Backlog", "Message", "Messages", "Pauses", "RecordQueue", "messages"]


class Pauses:
    """Between tries of the same: each twice as long as the one before."""

    def __init__(self) -> None:
        """Begin with the shortest."""
        self._next, self._longest = PAUSES

    def next(self) -> float:
        """Seconds."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause


class Backlog(Struct, frozen=True):
    """How many messages wait, beside those in the hands of writers, and how many are parked."""

    waiting: int
    writers: int
    parked: int


class RecordQueue:
    """The way into the queue; it heals in the background while its context is entered."""

    def __init__(self, url: str) -> None:
        """`url` is amqp:// or amqps://, with its password."""
        self._url = url
        self._channel: AbstractChannel | None = None
        self._look: AbstractChannel | None = None
        self._pauses = Pauses()
        self._is_full = False
        self._is_told = False

    async def __aenter__(self) -> Self:
        self._life = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._life.cancel()
        await asyncio.gather(self._life, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as is known."""
        return self._channel is not None

    async def put(self, message: bytes) -> None:
        """Hand a message over; it is safe once this returns.

        Raises QueueUnavailable; then nobody knows whether it is in the queue. A broker that did not
        answer is left alone for a while: others need not wait for it as well.
        """
        if self._channel is None:
            raise QueueUnavailable("there is no connection")
        channel, lost = self._channel, self._lost
        try:
            await _publish(channel, QUEUE, message)
        except DeliveryError as error:
            if not self._is_full:
                logger.warning("the queue takes nothing more: searches are written directly")
            self._is_full = True
            raise QueueUnavailable("the queue takes nothing more") from error
        except QueueUnavailable as error:
            if not lost.done():
                self._channel = None
                lost.set_result(error.detail)
            raise
        self._is_full = False
        self._pauses = Pauses()

    async def backlog(self) -> Backlog | None:
        """What is in the queues; None where that cannot be told at once."""
        if self._channel is None:
            return None
        try:
            async with _answering(), asyncio.timeout(LOOK_PATIENCE):
                # on a channel of its own: a queue that is missing closes it
                if self._look is None or self._look.is_closed:
                    connection = self._channel.connection
                    self._look = await connection.channel(publisher_confirms=False)
                waiting = await self._look.queue_declare(QUEUE, passive=True)
                parked = await self._look.queue_declare(PARKED, passive=True)
        except QueueUnavailable:
            self._look = None
            return None
        return Backlog(
            waiting.message_count or 0, waiting.consumer_count or 0, parked.message_count or 0
        )

    async def _live(self) -> None:
        """Connect, whenever there is no connection."""
        while True:
            reason = await self._stay()
            if not self._is_told:
                logger.warning("no queue: %s; searches are written directly", reason)
            self._is_told = True
            await asyncio.sleep(self._pauses.next())

    async def _stay(self) -> str:
        """Connect and stay connected; why that has an end."""
        try:
            async with _opened(self._url) as channel:
                self._lost = lost = asyncio.Future[str]()
                channel.closing.add_done_callback(partial(self._hung_up, lost))
                self._channel = channel
                logger.log(NOTICE, "connected to the queue")
                self._is_told = False
                return await lost
        except QueueUnavailable as error:
            return error.detail
        finally:
            self._channel = self._look = None

    def _hung_up(self, lost: asyncio.Future[str], closing: asyncio.Future[Any]) -> None:
        if not lost.done():
            self._channel = None
            reason = None if closing.cancelled() else closing.exception()
            lost.set_result(_reason(reason) if reason else "the broker hung up")


class Messages:
    """What comes out of the queue, one batch after the other; each is ours until it is settled."""

    def __init__(self, channel: AbstractChannel) -> None:
        """Take from this channel."""
        self._channel = channel
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._spare: Message | None = None

    async def begin(self) -> None:
        """Let them come."""
        await self._channel.basic_qos(prefetch_count=HELD)
        self._channel.closing.add_done_callback(lambda _: self.end())
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self.end())
        await self._channel.basic_consume(QUEUE, self._arrived.put)

    def end(self) -> None:
        """Let no further batch be taken."""
        self._arrived.put_nowait(None)

    async def take(self, most: int, most_bytes: int) -> list[Message]:
        """Wait for one, and take with it what else is there; none at the end."""
        first = self._spare or await self._arrived.get()
        self._spare = None
        taken: list[Message] = []
        size = 0
        while first is not None:
            size += len(first.body)
            if taken and size > most_bytes:
                self._spare = first
                break
            taken.append(first)
            if len(taken) == most or self._arrived.empty():
                break
            first = self._arrived.get_nowait()
        else:
            self.end()  # after these
        return taken

    async def settle(self, message: Message, *, all_before: bool = False) -> None:
        """Let the broker forget this one, or all up to it. Raises QueueUnavailable."""
        async with _answering():
            await self._channel.basic_ack(_tag(message), multiple=all_before)

    async def park(self, message: Message, reason: str) -> None:
        """Put a copy aside, with the reason as a header. Raises QueueUnavailable."""
        headers = {"x-reason": reason[:MOST_REASON]}
        try:
            await _publish(self._channel, PARKED, message.body, headers)
        except DeliveryError as error:
            raise QueueUnavailable("the queue of what is parked takes nothing more") from error


@asynccontextmanager
async def messages(url: str) -> AsyncIterator[Messages]:
    """What comes out of the queue. Raises QueueUnavailable, also when the connection ends."""
    async with _opened(url) as channel:
        taken = Messages(channel)
        async with _answering(), asyncio.timeout(CONNECTION_PATIENCE):
            await taken.begin()
        yield taken
        if channel.is_closed:
            raise QueueUnavailable("the broker hung up")


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel on a connection of its own, with the queues there. Raises QueueUnavailable."""
    async with AsyncExitStack() as stack:
        async with _answering(), asyncio.timeout(CONNECTION_PATIENCE):
            connection = await aiormq.connect(
                _with_heartbeat(url), client_properties={"connection_name": "arxiv-gateway"}
            )
            stack.push_async_callback(_close, connection)
            channel = await connection.channel(publisher_confirms=True)
            await _declare(channel)
        yield channel


def _with_heartbeat(url: str) -> URL:
    given = URL(url)
    return given if "heartbeat" in given.query else given % {"heartbeat": HEARTBEAT}


async def _close(connection: Any) -> None:  # noqa: ANN401 - aiormq's own type is abstract
    # whoever waits for an answer must not take this for a cancellation of his own
    with suppress(*_AWAY):
        async with asyncio.timeout(PATIENCE):
            await connection.close(ConnectionClosed(0, "closed by us"))


async def _declare(channel: AbstractChannel) -> None:
    await channel.queue_declare(PARKED, durable=True, arguments=QUORUM | KEPT)
    await channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)


async def _publish(
    channel: AbstractChannel, queue: str, body: bytes, headers: dict[str, Any] | None = None
) -> None:
    properties = aiormq.spec.Basic.Properties(
        content_type="application/json", delivery_mode=PERSISTENT, headers=headers
    )
    async with _answering(), asyncio.timeout(PATIENCE):
        try:
            await channel.basic_publish(
                body, routing_key=queue, properties=properties, mandatory=True
            )
        except PublishError as error:
            raise QueueUnavailable("the queue has been deleted") from error


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """Turn the client's errors into one; they name neither the URL nor its password."""
    try:
        yield
    except DeliveryError:
        raise
    except _AWAY as error:
        raise QueueUnavailable(_reason(error)) from error
    except asyncio.CancelledError as error:
        # the client ends so what waits for a connection that is lost
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise QueueUnavailable("the broker hung up") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the broker does not answer"
    if isinstance(error, InvalidFrameError):
        return "the broker has no such virtual host, or this user may not use it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"


def _tag(message: Message) -> int:
    tag = message.delivery_tag
    assert tag is not None  # noqa: S101 - only an answer to basic.get may lack it
    return tag
