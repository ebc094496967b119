"""Where in the order of all results every 256th stands: a deep page is as near as the first.

To pass over a million rows costs PostgreSQL a tenth of a second. What is behind hardly changes, so
the keys of every so many rows are remembered, in the process, and a page begins at the nearest of
them. A row that comes later with an earlier time (an operator's, or that of a slow answer) makes
those after it forgotten, and so do deleted rows.

Ids are taken in order, but rows are seen in the order in which transactions end. So an id that was
seen is remembered along with the transactions that wrote at that time; once they have ended, no row
up to it can come any more, and later rows are known by a greater id. Who writes is known from the
locks, which everybody may see, but on the primary only; a standby has what they wrote when it has
come as far in the log.
"""

import asyncio
from bisect import bisect_right
from contextlib import suppress
from time import monotonic
from typing import Any

from msgspec import Struct
from psycopg.rows import class_row, scalar_row, tuple_row

from .. import sql
from ..errors import DatabaseUnavailable
from .pool import Connection, DatabasePools, map_db_errors

STEP = 256
NEAR = 1000
"""Rows that are passed over as they are: it is quicker than to look."""
READ = 1_000_000
"""Rows among which milestones are set at once; it takes a fifth of a second."""
READS = 5
"""How often that is done at one look; what lies further must wait for the next."""
LOOK_AGAIN = 1.0
"""Seconds after which it is looked again whether the milestones are right."""
WAIT = 0.2
"""Seconds that a page waits for such a look; then it passes over rows as if there were none."""
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
    file: int
    server: float
    position: int


class _Writers(Struct, frozen=True):
    writers: list[str]
    position: int


class Milestones:
    """Those of the table `results`, as it is read over these connections."""

    def __init__(self, connections: DatabasePools, settle: float) -> None:
        """Begin without any; `settle` is in seconds."""
        self._connections = connections
        self._settle = settle
        self._looked = -LOOK_AGAIN
        self._looking: asyncio.Task[bool] | None = None
        self._past: tuple[float, ...] = ()
        """What changes when rows are deleted or changed, or when another server answers."""
        self._forget()

    def _forget(self) -> None:
        self._milestones: list[Milestone] = []
        """Never changed but replaced: who reads it may wait in between."""
        self._born = monotonic()
        self._seen = 0
        """Every row up to this id was there at the last look, or will never come."""
        self._next_seen = 0
        """An id of which the same will hold at the look after these transactions have ended."""
        self._writers: set[str] | None = None
        """None while they have not been asked for."""
        self._ended = 0
        """Where in the log they had ended, once there are none left."""
        self._position = 0
        """Where in the log the server was just after the last look: the next one sees all that."""

    async def shortcut(self, offset: int, *, back: bool = False) -> dict[str, Any]:
        """The parameters of a page so many rows from the start: after which row, and how many.

        With `back`, from the end: before which row, and how many.
        """
        if offset < NEAR or not await self._are_right() or not self._milestones:
            return {}
        if back:
            return await self._back(offset)
        passed = min(offset // STEP, len(self._milestones))
        return _after(self._milestones[passed - 1]) | {"offset": offset - passed * STEP}

    async def _back(self, offset: int) -> dict[str, Any]:
        milestones = self._milestones
        values = _after(milestones[-1]) | {"settle": self._settle, "limit": READ}
        with map_db_errors():
            async with self._connections.reader("results") as conn:
                cursor = conn.cursor(row_factory=scalar_row)
                rest: int = await anext(await cursor.execute(sql.MILESTONES_REST, values))
        # counted from the start, the page begins with this row and goes down
        first = len(milestones) * STEP + rest - offset
        above = max(first // STEP, 0)
        if rest == READ or above >= len(milestones):
            return {}
        return _after(milestones[above]) | {"offset": (above + 1) * STEP - 1 - first}

    async def _are_right(self) -> bool:
        """Look, if it is time, together with whoever else waits for that."""
        if monotonic() - self._looked <= LOOK_AGAIN:
            return True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._update())
        looking = self._looking
        done, _ = await asyncio.wait([looking], timeout=WAIT)
        return bool(done) and looking.result()

    async def _update(self) -> bool:
        if monotonic() - self._born > LIFETIME:
            self._forget()
        try:
            await self._look()
            if not self._seen:  # the first look cannot know who wrote before it
                await self._look()
        except DatabaseUnavailable:
            return False
        self._looked = monotonic()
        return True

    async def _look(self) -> None:
        with map_db_errors():
            # on one connection: another may lead to another standby
            async with self._connections.reader("results") as conn:
                cursor = conn.cursor(row_factory=class_row(_Look))
                await cursor.execute(sql.MILESTONES_LOOK, {"seen": self._seen})
                self._compare(await anext(cursor))
                for _ in range(READS):
                    if not self._seen or not await self._read(conn):
                        break
        if self._next_seen > self._seen:
            with suppress(DatabaseUnavailable):  # reading goes on without the primary
                await self._ask()

    def _compare(self, look: _Look) -> None:
        past = look.first_id, look.changed, look.file, look.server
        if past != self._past:
            self._forget()
            self._past = past
        elif look.timestamp is not None:
            fresh = look.timestamp, look.query_id, look.result_number
            self._milestones = self._milestones[: bisect_right(self._milestones, fresh)]
        if self._writers == set() and self._position >= self._ended:
            self._seen, self._writers = self._next_seen, None
        if self._writers is None:
            self._next_seen = look.last_id
        self._position = look.position

    async def _read(self, conn: Connection) -> bool:
        """Set milestones after the last one; whether there are any."""
        last = self._milestones[-1] if self._milestones else (None, None, None)
        values = _after(last) | {"settle": self._settle, "step": STEP, "limit": READ}
        cursor = conn.cursor(row_factory=tuple_row)
        found = await (await cursor.execute(sql.MILESTONES_READ, values)).fetchall()
        self._milestones = self._milestones + found
        return bool(found)

    async def _ask(self) -> None:
        """Ask who writes since the last look, or who still does of those who did."""
        before = self._writers
        if before == set():
            return
        # without a primary of its own, a process may yet read from one; a standby refuses
        known = self._connections
        lend = known.reader if known.reads_only else known.writer
        with map_db_errors():
            async with lend("results") as conn:
                cursor = conn.cursor(row_factory=class_row(_Writers))
                now = await anext(await cursor.execute(sql.MILESTONES_WRITERS))
        self._writers = {
            writer
            for writer in now.writers
            # prepared transactions outlive a restart of the primary, under other names: -1/...
            if before is None or writer in before or writer.startswith("-1/")
        }
        self._ended = now.position


def _after(row: tuple[int | None, int | None, int | None]) -> dict[str, int | None]:
    names = "after_timestamp", "after_query_id", "after_result_number"
    return dict(zip(names, row, strict=True))
