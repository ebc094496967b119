"""Records that are published to the queue; the queue worker moves them to PostgreSQL."""

from weakref import WeakSet

import msgspec
from cachetools import LRUCache
from msgspec.structs import asdict

from ..errors import QueueUnavailable
from ..models.arxiv import Entry
from ..models.records import Harvest, Record, ResultRow
from ..queue.rabbitmq import RecordQueue
from .pool import DatabasePools
from .records import BeforeRetry, RecordStore, create_entry, do_nothing

MAX_CACHED_BYTES = 32 * 2**20
"""Size of the messages kept in memory because PostgreSQL may not have their results yet."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class QueuedRecordStore(RecordStore):
    """Publishes records to the queue; writes to PostgreSQL directly if the queue is unavailable."""

    def __init__(self, pools: DatabasePools, queue: RecordQueue) -> None:
        super().__init__(pools)
        self._queue = queue
        self._direct: WeakSet[Record] = WeakSet()
        """Records that PostgreSQL may have, under a query_id that is not known here."""
        self._cache: LRUCache[int, bytes] = LRUCache(MAX_CACHED_BYTES, getsizeof=len)
        """Published messages by query_id."""

    async def insert(
        self,
        record: Record,
        harvest: Harvest | None = None,
        before_retry: BeforeRetry = do_nothing,
    ) -> int:
        """Publish a record under a query_id taken for it; if that fails, write it.

        A message that was not confirmed may be in the queue all the same. It has the same query_id
        and write_key, so PostgreSQL stores it once. A record that was written directly is never
        published, because PostgreSQL may have given it another query_id. A page of a harvest is
        always written, because it updates the harvest.
        """
        may_publish = record.query_id or self._queue.connected
        if harvest or record in self._direct or not may_publish:
            return await self._insert_directly(record, harvest, before_retry)
        if not record.query_id:
            record.query_id, _ = await self._take_free_query_id()
        message = _encode(record)
        try:
            await self._queue.put(message)
        except QueueUnavailable:
            await before_retry()
            return await self._insert_directly(record, None, before_retry)
        if record.results and len(message) <= MAX_CACHED_BYTES:
            self._cache[record.query_id] = message
        return record.query_id

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, which may still be in the queue."""
        message = self._cache.get(query_id)
        return _decode_results(message) if message else await super().fetch_results(query_id)

    async def fetch_entries(self, query_id: int) -> list[Entry]:
        """The entries of one search, which may still be in the queue."""
        message = self._cache.get(query_id)
        if message is None:
            return await super().fetch_entries(query_id)
        return list(map(create_entry, _decode(message).papers))

    async def _insert_directly(
        self, record: Record, harvest: Harvest | None, before_retry: BeforeRetry
    ) -> int:
        self._direct.add(record)
        return await super().insert(record, harvest, before_retry)


def _decode_results(message: bytes) -> list[ResultRow]:
    record = _decode(message)
    return [
        ResultRow(
            **asdict(result),
            query_id=record.query_id,
            timestamp=record.timestamp,
            result_number=number,
        )
        for number, result in enumerate(record.results)
    ]
