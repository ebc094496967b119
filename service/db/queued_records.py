"""Searches that go into a queue first: they are recorded once that has them."""

from collections import OrderedDict
from itertools import count
from uuid import UUID

import msgspec

from ..errors import DatabaseUnavailable, QueueUnavailable
from ..models.arxiv import ArxivResponse
from ..models.records import Harvest, Record, ResultRow
from ..queue.rabbitmq import RecordQueue
from .pool import DatabasePools
from .records import NUMBERS_TAKEN, WRITE_TRIES, RecordStore, record_of

AT_HAND = 32 * 2**20
"""Bytes, as messages, of the results kept in the process until PostgreSQL has them, and longer."""
_encode = msgspec.json.Encoder().encode


class QueuedRecordStore(RecordStore):
    """A store whose searches wait in a queue for the writer; without the queue it writes itself."""

    def __init__(self, connections: DatabasePools, buffer: RecordQueue) -> None:
        """Hand searches to this buffer, and all else to PostgreSQL."""
        super().__init__(connections)
        self._buffer = buffer
        self._direct: set[UUID] = set()
        """Writes that PostgreSQL may have, under a number that nobody here knows."""
        self._at_hand: OrderedDict[int, tuple[list[ResultRow], int]] = OrderedDict()
        self._bytes_at_hand = 0

    async def save(
        self, answer: ArxivResponse, harvest: Harvest | None = None, query_id: int | None = None
    ) -> int:
        """Hand a search over, under a number taken for it; where that fails, write it.

        Whether a message that was not confirmed is in the queue, nobody knows: number and key make
        it the same record, which PostgreSQL accepts once. A write that was tried directly stays so:
        PostgreSQL may have given it a number of its own. A page of a harvest is always written,
        since that moves the harvest on.
        """
        key = answer.write_key
        query_id = self._numbers.get(key, query_id)
        if harvest or key in self._direct or not (query_id or self._buffer.connected):
            self._direct.add(key)
            return await super().save(answer, harvest, query_id)
        query_id = query_id or await self._number()
        self._numbers[key] = query_id
        record = record_of(answer, query_id)
        message = _encode(record)
        try:
            await self._buffer.put(message)
        except QueueUnavailable:
            self._direct.add(key)
            return await super().save(answer, query_id=query_id)
        if record.results:
            self._keep(record, len(message))
        return query_id

    def forget(self, write_key: UUID) -> None:
        """Keep nothing of a write that nobody will try again, but for its results."""
        super().forget(write_key)
        self._direct.discard(write_key)

    async def results_of(self, query_id: int) -> list[ResultRow]:
        """The results of one search, which may still be in the queue."""
        rows, _ = self._at_hand.get(query_id, (None, 0))
        return rows or await super().results_of(query_id)

    async def _number(self) -> int:
        for _ in range(WRITE_TRIES):
            if query_id := await self._free_number():
                return query_id
        raise DatabaseUnavailable(NUMBERS_TAKEN)

    def _keep(self, record: Record, size: int) -> None:
        rows = [
            ResultRow(
                row.author,
                row.title,
                row.journal,
                record.query_id,
                record.timestamp,
                number,
                row.arxiv_id,
                row.version,
            )
            for number, row in zip(count(), record.results)
        ]
        self._at_hand[record.query_id] = rows, size
        self._bytes_at_hand += size
        while self._bytes_at_hand > AT_HAND:
            _, (_, oldest) = self._at_hand.popitem(last=False)
            self._bytes_at_hand -= oldest
