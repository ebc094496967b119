"""The queue worker: stores queued searches in PostgreSQL, many in one transaction.

Messages are acknowledged after they are stored, so a message may be delivered again after a
failure; PostgreSQL recognizes its number and write key and ignores it. A message that can never be
stored is parked with the reason, and the rest of its batch is stored.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from time import monotonic, time
from typing import TypeVar

import msgspec

from ..backoff import Backoff
from ..context import create_pools
from ..db.records import RecordStore
from ..errors import DatabaseUnavailable, QueueUnavailable, RecordRejected, ServiceError
from ..logging import NOTICE
from ..models.records import Record
from ..settings import Settings
from .rabbitmq import RETRY_PAUSES, Consumer, Message, consume

logger = logging.getLogger(__name__)

MAX_BATCH, MAX_BATCH_BYTES = 50, 5 * 2**20
"""Searches and bytes per transaction: PostgreSQL needs a second for as many bytes of new papers."""
T = TypeVar("T")
Rejected = tuple[Message, str]
"""A message that cannot be stored, and the reason."""


class _Stopped(Exception):
    pass


async def run_worker(settings: Settings, queue_url: str) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    pools = create_pools(settings)
    worker = QueueWorker(queue_url, RecordStore(pools))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    async with pools:
        await worker.run()


class QueueWorker:
    """Moves records from the queue to PostgreSQL until `stop` is called."""

    def __init__(self, queue_url: str, records: RecordStore) -> None:
        self._queue_url = queue_url
        self._records = records
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Stop after the current batch. Messages that are not stored remain in the queue."""
        self._stopping.set()

    async def run(self) -> None:
        """Process messages until stopped; retry while the queue or PostgreSQL is unavailable."""
        backoff = Backoff(*RETRY_PAUSES)
        with suppress(_Stopped):
            while not self._stopping.is_set():
                try:
                    async with consume(self._queue_url) as consumer:
                        logger.log(NOTICE, "receiving searches from the queue")
                        backoff.reset()
                        await self._process_messages(consumer)
                except QueueUnavailable as error:
                    await self._pause(backoff, error)

    async def _process_messages(self, consumer: Consumer) -> None:
        while batch := await self._unless_stopped(consumer.fetch_batch(MAX_BATCH, MAX_BATCH_BYTES)):
            start = monotonic()
            records, rejected = _decode_batch(batch)
            rejected += await self._store_batch(records)
            await _settle_batch(consumer, batch, rejected)
            rejected_messages = [message for message, _ in rejected]
            stored = [record for message, record in records if message not in rejected_messages]
            if stored:
                _log_stored(stored, monotonic() - start)

    async def _store_batch(self, batch: Sequence[tuple[Message, Record]]) -> list[Rejected]:
        """Store a batch and return the rejected messages. If that fails, store each half."""
        # this finds the record that is rejected, and divides a batch that takes too long
        backoff = Backoff(*RETRY_PAUSES)
        while batch:
            try:
                conflicts = await self._records.insert_batch([record for _, record in batch])
                break
            except DatabaseUnavailable as error:
                await self._pause(backoff, error)
            except RecordRejected as error:
                if len(batch) == 1:
                    return [(batch[0][0], error.detail)]
            if middle := len(batch) // 2:
                rejected = await self._store_batch(batch[:middle])
                return rejected + await self._store_batch(batch[middle:])
        else:
            return []
        return [
            (message, f"something else is recorded under its query_id {record.query_id}")
            for message, record in batch
            if record.write_key in conflicts
        ]

    async def _pause(self, backoff: Backoff, error: ServiceError) -> None:
        pause = backoff.next_pause()
        logger.warning("could not store searches: %s; retrying in %.1f s", error.detail, pause)
        await self._unless_stopped(asyncio.sleep(pause))

    async def _unless_stopped(self, awaitable: Awaitable[T]) -> T:
        """Return the awaitable's result. Raises _Stopped if the worker is stopped before that."""
        stopped = asyncio.ensure_future(self._stopping.wait())
        result = asyncio.ensure_future(awaitable)
        try:
            await asyncio.wait([stopped, result], return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                raise _Stopped
            return result.result()
        finally:
            stopped.cancel()
            result.cancel()


async def _settle_batch(consumer: Consumer, batch: list[Message], rejected: list[Rejected]) -> None:
    """Acknowledge the stored messages and park the rejected ones."""
    if not rejected:
        await consumer.acknowledge(batch[-1], multiple=True)
        return
    rejected_messages = [message for message, _ in rejected]
    # stored messages first: a broker that is short of memory blocks publishing
    for message in batch:
        if message not in rejected_messages:
            await consumer.acknowledge(message)
    for message, reason in rejected:
        await consumer.park(message, reason)
        await consumer.acknowledge(message)
        logger.error("could not store a search, it is parked: %s", reason)


def _log_stored(records: list[Record], seconds: float) -> None:
    results = sum(record.num_entries for record in records)
    waited = max(0, int(time()) - min(record.acknowledged for record in records))
    text = "stored %d searches with %d results in %.0f ms; the oldest waited %d s"
    logger.log(NOTICE, text, len(records), results, seconds * 1000, waited)


def _decode_batch(batch: list[Message]) -> tuple[list[tuple[Message, Record]], list[Rejected]]:
    records: list[tuple[Message, Record]] = []
    rejected: list[Rejected] = []
    for message in batch:
        try:
            record = msgspec.json.decode(message.body, type=Record)
        except msgspec.MsgspecError as error:
            rejected.append((message, f"the message cannot be read: {error}"))
            continue
        if (number := len(record.results)) == record.num_entries:
            records.append((message, record))
        else:
            counts = f"{number} results, not {record.num_entries}"
            rejected.append((message, f"search {record.query_id} has {counts}"))
    return records, rejected
