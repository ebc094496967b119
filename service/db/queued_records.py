"""Records that are published to the queue; the queue worker moves them to PostgreSQL."""

from typing import NamedTuple
from weakref import WeakSet

import msgspec
from cachetools import LRUCache

from ..errors import QueueUnavailable
from ..models.records import Harvest, Record, ResultRow
from ..queue.rabbitmq import RecordQueue
from .pool import DatabasePools
from .records import RecordStore

MAX_CACHED_BYTES = 32 * 2**20
"""Size of the records whose results are kept in memory because PostgreSQL may not have them yet."""
_encode = msgspec.json.Encoder().encode


class _CachedResults(NamedTuple):
    rows: list[ResultRow]
    size: int


class QueuedRecordStore(RecordStore):
    """Publishes records to the queue; writes to PostgreSQL directly if the queue is unavailable."""

    def __init__(self, pools: DatabasePools, queue: RecordQueue) -> None:
        super().__init__(pools)
        self._queue = queue
        self._direct: WeakSet[Record] = WeakSet()
        """Records that PostgreSQL may have, under a query_id that is not known here."""
        self._cache: LRUCache[int, _CachedResults] = LRUCache(
            MAX_CACHED_BYTES, getsizeof=lambda cached: cached.size
        )

    async def insert(self, record: Record, harvest: Harvest | None = None) -> int:
        """Publish a record under a query_id taken for it; if that fails, write it.

        A message that was not confirmed may be in the queue all the same. It has the same query_id
        and write_key, so PostgreSQL stores it once. A record that was written directly is never
        published, because PostgreSQL may have given it another query_id. A page of a harvest is
        always written, because it updates the harvest.
        """
        may_publish = record.query_id or self._queue.connected
        if harvest or record in self._direct or not may_publish:
            return await self._insert_directly(record, harvest)
        record.query_id = record.query_id or await self._take_free_query_id()
        message = _encode(record)
        try:
            await self._queue.put(message)
        except QueueUnavailable:
            return await self._insert_directly(record, None)
        if record.results:
            self._cache_results(record, len(message))
        return record.query_id

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, which may still be in the queue."""
        cached = self._cache.get(query_id)
        return cached.rows if cached else await super().fetch_results(query_id)

    async def _insert_directly(self, record: Record, harvest: Harvest | None) -> int:
        self._direct.add(record)
        return await super().insert(record, harvest)

    def _cache_results(self, record: Record, size: int) -> None:
        if size > MAX_CACHED_BYTES:
            return
        rows = [
            ResultRow(
                result.author,
                result.title,
                result.journal,
                record.query_id,
                record.timestamp,
                number,
                result.arxiv_id,
                result.version,
            )
            for number, result in enumerate(record.results)
        ]
        self._cache[record.query_id] = _CachedResults(rows, size)
