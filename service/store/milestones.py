"""Where in the order of all results every 256th stands: a deep page is as near as the first.

To pass over a million rows costs PostgreSQL a tenth of a second. What is behind hardly changes, so
the keys of every so many rows are remembered, in the process, and a page begins at the last of them
before it. A row that comes later with an earlier time (an operator's, or that of a slow answer)
makes those after it forgotten, and so do deleted rows.
"""

import asyncio
from bisect import bisect_right
from time import monotonic
from typing import Any

from msgspec import Struct
from psycopg.rows import class_row, tuple_row

from service import sql
from service.store.connections import Connections, explained

STEP = 256
NEAR = 1000
"""Rows that are passed over as they are: it is quicker than to look."""
READ = 1_000_000
"""Rows among which milestones are set at once; it takes a fifth of a second."""
READS = 5
"""How often that is done for one page; if it is not enough, the page is slow."""
LOOK_AGAIN = 1.0
"""Seconds after which it is looked again whether the milestones are right."""
LIFETIME = 3600.0
"""Seconds after which they are forgotten: a standby does not count deleted rows."""

Milestone = tuple[int, int, int]
"""The timestamp, query_id and result_number of a row."""


class _Look(Struct, frozen=True):
    timestamp: int | None
    query_id: int | None
    result_number: int | None
    last_id: int
    first_id: int
    changed: int
    oldest: int
    next: int


class Milestones:
    """Those of the table `results`, as it is read over these connections."""

    def __init__(self, connections: Connections, settle: float) -> None:
        """Begin without any; `settle` is in seconds."""
        self._connections = connections
        self._settle = settle
        self._lock = asyncio.Lock()
        self._forget()

    def _forget(self) -> None:
        self._milestones: list[Milestone] = []
        self._born = monotonic()
        self._looked = -LOOK_AGAIN
        self._seen = 0
        """Every row up to this id was there when it was last looked, or will never come."""
        self._pending = (0, 0)
        """An id of which the same will hold once this transaction, and all before, have ended."""
        self._past = (0, 0)
        """The first id and the number of rows that were deleted or changed."""

    async def shortcut(self, offset: int) -> dict[str, Any]:
        """The parameters of a page so many rows from the start: after which row, and how many."""
        if offset < NEAR:
            return {}
        async with self._lock:
            if monotonic() - self._born > LIFETIME:
                self._forget()
            if monotonic() - self._looked > LOOK_AGAIN:
                await self._look()
            if not self._seen:  # while a transaction older than this process goes on
                return {}
            for _ in range(READS):
                if offset // STEP <= len(self._milestones) or not await self._read():
                    break
            passed = min(offset // STEP, len(self._milestones))
            if not passed:
                return {}
            return _after(self._milestones[passed - 1]) | {"offset": offset - passed * STEP}

    async def _look(self) -> None:
        with explained():
            async with self._connections.reader("results") as conn:
                cursor = conn.cursor(row_factory=class_row(_Look))
                look = await anext(await cursor.execute(sql.MILESTONES_LOOK, {"seen": self._seen}))
        if (look.first_id, look.changed) != self._past:
            self._forget()
            self._past = look.first_id, look.changed
        elif look.timestamp is not None:
            fresh = look.timestamp, look.query_id, look.result_number
            del self._milestones[bisect_right(self._milestones, fresh) :]
        if look.oldest == look.next:
            self._seen = look.last_id
        elif look.oldest >= self._pending[1]:
            self._seen = max(self._seen, self._pending[0])
        self._pending = look.last_id, look.next
        self._looked = monotonic()

    async def _read(self) -> bool:
        """Set milestones after the last one; whether there are any."""
        last = self._milestones[-1] if self._milestones else (None, None, None)
        values = _after(last) | {"settle": self._settle, "step": STEP, "limit": READ}
        with explained():
            async with self._connections.reader("results") as conn:
                cursor = conn.cursor(row_factory=tuple_row)
                found = await (await cursor.execute(sql.MILESTONES_READ, values)).fetchall()
        self._milestones += found
        return bool(found)


def _after(row: tuple[int | None, int | None, int | None]) -> dict[str, int | None]:
    names = "after_timestamp", "after_query_id", "after_result_number"
    return dict(zip(names, row, strict=True))
