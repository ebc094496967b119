"""The other end of the queue: `python -m service writer` stores what waits there, many at once.

A message is settled once it is stored, so one may come again after any fault; PostgreSQL knows it
by its number and its key, and it changes nothing. What can never be stored is parked, with the
reason; it takes nothing else with it.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from time import monotonic, time
from typing import TypeVar

import msgspec

from ..context import create_pools
from ..db.records import RecordStore
from ..errors import DatabaseUnavailable, QueueUnavailable, RecordRejected, ServiceError
from ..logging import NOTICE
from ..models.records import Record
from ..settings import Settings
from .rabbitmq import Message, Messages, Pauses, messages

logger = logging.getLogger(__name__)

BATCH = 50
"""Searches of one transaction."""
BATCH_BYTES = 5 * 2**20
"""As many papers as PostgreSQL takes a second for, if all are new."""
T = TypeVar("T")
Unfit = tuple[Message, str]
"""A message that is parked, and why."""
_decode = msgspec.json.Decoder(Record).decode


async def work(settings: Settings) -> None:
    """Run a writer until SIGTERM or SIGINT."""
    assert settings.queue_url  # noqa: S101 - the command line has looked
    connections = create_pools(settings)
    writer = Writer(settings.queue_url, RecordStore(connections))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, writer.stop)
    async with connections:
        await writer.run()


class Writer:
    """Moves searches from the queue into PostgreSQL until it is told to stop."""

    def __init__(self, queue_url: str, store: RecordStore) -> None:
        """Take from there, store here."""
        self._queue_url = queue_url
        self._store = store
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End after the batch under way; what is not stored stays in the queue."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`, through any absence of the queue or PostgreSQL."""
        pauses = Pauses()
        with suppress(_Stopped):
            while not self._stopping.is_set():
                try:
                    async with messages(self._queue_url) as taken:
                        logger.log(NOTICE, "taking searches from the queue")
                        pauses = Pauses()
                        await self._work(taken)
                except QueueUnavailable as error:
                    await self._rest(pauses, error)

    async def _work(self, taken: Messages) -> None:
        while batch := await self._unless_stopped(taken.take(BATCH, BATCH_BYTES)):
            began, records, unfit = monotonic(), [], []
            for message in batch:
                try:
                    records.append((message, _read(message.body)))
                except msgspec.MsgspecError as error:
                    unfit.append((message, f"it cannot be read: {error}"))
            unfit += await self._store_all(records)
            parked = [message for message, _ in unfit]
            stored = [record for message, record in records if message not in parked]
            if unfit:
                # first: a broker that is short of memory takes nothing that would be parked
                for message in batch:
                    if message not in parked:
                        await taken.settle(message)
                for message, reason in unfit:
                    await taken.park(message, reason)
                    await taken.settle(message)
                    logger.error("a search is parked: %s", reason)
            else:
                await taken.settle(batch[-1], all_before=True)
            if stored:
                logger.log(
                    NOTICE,
                    "stored %d searches with %d results in %.0f ms; the oldest waited %d s",
                    len(stored),
                    sum(record.num_entries for record in stored),
                    (monotonic() - began) * 1000,
                    max(0, int(time()) - min(record.acknowledged for record in stored)),
                )

    async def _store_all(self, batch: Sequence[tuple[Message, Record]]) -> list[Unfit]:
        """Store a batch, by halves where that fails; those of it that cannot be, and why.

        So what PostgreSQL refuses is found, and what takes it too long as a whole goes in parts.
        """
        pauses = Pauses()
        while batch:
            try:
                refused = await self._store.insert_batch([record for _, record in batch])
                break
            except DatabaseUnavailable as error:
                await self._rest(pauses, error)
            except RecordRejected as error:
                if len(batch) == 1:
                    return [(batch[0][0], error.detail)]
            if middle := len(batch) // 2:
                unfit = await self._store_all(batch[:middle])
                return unfit + await self._store_all(batch[middle:])
        else:
            return []
        return [
            (message, f"something else is recorded under its number {record.query_id}")
            for message, record in batch
            if record.write_key in refused
        ]

    async def _rest(self, pauses: Pauses, error: ServiceError) -> None:
        pause = pauses.next()
        logger.warning("nothing is stored: %s; trying again in %g s", error.detail, pause)
        await self._unless_stopped(asyncio.sleep(pause))

    async def _unless_stopped(self, waiting: Awaitable[T]) -> T:
        """What it gives. Raises _Stopped if told to stop before or meanwhile."""
        stopped = asyncio.ensure_future(self._stopping.wait())
        wanted = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait([stopped, wanted], return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                raise _Stopped
            return wanted.result()
        finally:
            stopped.cancel()
            wanted.cancel()


class _Stopped(Exception):
    """The writer has been told to stop."""


def _read(body: bytes) -> Record:
    """What a message says. Raises msgspec.MsgspecError."""
    record = _decode(body)
    if len(record.results) != record.num_entries:
        raise msgspec.ValidationError(
            f"search {record.query_id} has {len(record.results)} results, not {record.num_entries}"
        )
    return record
