"""Turns at arXiv, shared by every process on the same database.

The gate is one row of PostgreSQL: who holds it, when its pause is over, until when arXiv wants to
be left alone. Searches wait in a queue beside it, first come first served, and look in from time to
time; one that stops looking in loses its place. All times are the database's, so clocks of machines
do not matter, and nothing outlives a transaction, so PgBouncer may stand in between.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct
from psycopg import AsyncCursor
from psycopg.rows import class_row, scalar_row
from psycopg_pool import PoolTimeout, TooManyRequests

from .. import metrics, sql
from ..errors import DatabaseUnavailable, QueueTooLong
from ..models.records import RecordedSearch
from .neighbours import Neighbours
from .pool import Connection, DatabasePools, map_db_errors

logger = logging.getLogger(__name__)

LIFETIME = 10.0
"""Seconds for which a place in the queue is kept without a sign of life."""
LOOK_IN = 3.0
"""Seconds between two signs of life, at most."""
SHORTEST_LOOK, LONGEST_LOOK = 0.02, 0.25
"""Seconds between two looks of the next in the queue, while the end of a request is awaited."""
TRIES = 3
"""How often it is tried to free the gate before that is left to whoever comes next."""
LONGEST_COOLDOWN = 6 * 3600.0
"""Seconds; refusals have been seen to last for five hours."""


class QueueStatus(Struct, frozen=True):
    """What a search in the queue, or before it, has to expect; times in seconds."""

    place: int | None
    """They are given in order; a search gets none if it would wait longer than it may."""
    ahead: int
    opens: float
    """How long the pause after the last request still is."""
    closed: float
    """How long arXiv wants to be left alone."""
    wait: float


class RateLimiterStatus(Struct, frozen=True):
    """How the gate stands, for who only looks."""

    asking: bool
    waiting: int
    closed: float
    """Seconds for which arXiv wants to be left alone."""


class Lease:
    """The right to ask arXiv once, until `ends` (of the event loop's clock)."""

    def __init__(self, ends: float) -> None:
        """Begin the turn."""
        self.ends = ends
        self.answered = False
        """Set where arXiv answered properly."""
        self.cooldown = 0.0
        """Set to the seconds for which arXiv wants a pause, at least."""
        self.closed = 0.0
        """Known after the turn: for how many seconds the gate is closed."""


class Word(Struct):
    """What the database is to be told: that a turn ended, or a place is given up."""

    statement: bytes
    values: Mapping[str, Any]
    ends: float
    """When it need not be told any more, in the event loop's time."""
    answer: float | None = None
    """What the statement returned, once it was told."""


class CacheProbe(Struct, frozen=True):
    """A search that may be answered by what another process records while it waits."""

    search_key: UUID
    good: Callable[[RecordedSearch], bool]


class RateLimiter:
    """One request at a time, `interval` seconds between the end of one and the start of the next.

    A turn lasts `lease` seconds at most: if its process dies, the next one begins that long, and a
    pause, after it.
    """

    def __init__(self, connections: DatabasePools, *, interval: float, lease: float) -> None:
        """Guard arXiv for everyone on the same database."""
        self._connections = connections
        self._interval = interval
        self._lease = lease
        self._words: dict[UUID, Word] = {}
        """By ticket, until they are told: all of them by whoever next speaks to the database."""
        self._neighbours = Neighbours()

    @asynccontextmanager
    async def acquire(
        self, until: float, *, seek: CacheProbe | None = None, patient: bool = True
    ) -> AsyncIterator[Lease | RecordedSearch]:
        """Wait for a turn until that moment of the event loop's clock; hold the gate inside.

        What `seek` looks for is given instead of a turn, if it is recorded meanwhile. Raises
        TooBusy as soon as it is clear that no turn will come in time; without patience, also where
        arXiv wants to be left alone for however short a time.
        """
        ticket = uuid4()
        clock = asyncio.get_running_loop().time
        came = clock()
        with metrics.GATE_WAITING.track_inprogress(), self._neighbours.joined(ticket):
            try:
                given = await self._wait(ticket, until, seek, patient=patient)
            except BaseException as error:
                # before the neighbours look: they would find it still ahead of them
                if not _is_unsent(error):
                    await _whole(self._leave(ticket))
                raise
        metrics.GATE_WAIT.observe(clock() - came)
        if isinstance(given, RecordedSearch):
            yield given
            return
        began = clock()
        try:
            yield given
        finally:
            taken = clock() - began
            try:
                await _whole(self._release(ticket, given, taken))
            finally:
                self._neighbours.end_turn()

    async def state(self) -> RateLimiterStatus:
        """Look at the gate without a place in its queue."""
        with map_db_errors():
            async with self._connections.writer() as conn:
                state = conn.cursor(row_factory=class_row(RateLimiterStatus))
                await state.execute(sql.GATE_STATE)
                seen = await anext(state)
        metrics.set_cooldown(seen.closed)
        return seen

    async def _wait(
        self, ticket: UUID, until: float, seek: CacheProbe | None, *, patient: bool
    ) -> Lease | RecordedSearch:
        clock = asyncio.get_running_loop().time
        joined = False
        while True:
            began = clock()
            self._neighbours.looks(ticket)
            try:
                outlook, taken, found = await self._look(ticket, max(0.0, until - began), seek)
            except DatabaseUnavailable as error:
                # a place is kept for a while, and the database may be back by then; perhaps the
                # gate was given to us, and only the word of it was lost
                if (_is_unsent(error) and not joined) or clock() + LOOK_IN > until:
                    raise
                await asyncio.sleep(1)
                continue
            joined = True
            if found is not None and seek is not None and seek.good(found):
                await self._leave(ticket)
                return found
            if taken:
                acquire = Lease(began + self._lease)
                self._neighbours.take_turn(acquire.ends)
                return acquire
            if outlook.closed and not patient:
                raise _closed(outlook)
            left = until - clock()
            if outlook.place is None or left < 0 or outlook.closed > left:
                raise _closed(outlook) if outlook.closed else _busy(outlook)
            longest = min(LOOK_IN, left + SHORTEST_LOOK)
            pause = min(self._pause(outlook), longest)
            await self._neighbours.sleep(ticket, outlook.place, pause, longest)

    def _pause(self, outlook: QueueStatus) -> float:
        """How long nothing can happen to a place in the queue, or will not for the most part."""
        look = min(max(self._interval / 10, SHORTEST_LOOK), LONGEST_LOOK)
        if outlook.ahead > 1:
            # those far behind must not keep those in front from the database
            pause = max((outlook.ahead - 1) * self._interval, outlook.ahead * look)
        else:
            pause = max(outlook.opens, outlook.closed) or look
        return min(pause, LOOK_IN)

    async def _look(
        self, ticket: UUID, patience: float, seek: CacheProbe | None
    ) -> tuple[QueueStatus, bool, RecordedSearch | None]:
        """Renew the place, take the gate if it is our turn, see what is recorded: one trip.

        What is still to be told goes before.
        """
        values = {
            "ticket": ticket,
            "interval": self._interval,
            "lease": self._lease,
            "lifetime": LIFETIME,
            "patience": patience,
            "search_key": seek and seek.search_key,
        }
        with map_db_errors():
            async with self._connections.writer() as conn:
                outlook = conn.cursor(row_factory=class_row(QueueStatus))
                recorded = conn.cursor(row_factory=class_row(RecordedSearch))
                async with conn.pipeline():
                    await conn.execute(sql.BEGIN)
                    await conn.execute(sql.GATE_LOCK, prepare=True)
                    told = [
                        (word, await _told(conn, word.statement, word.values))
                        for word in self._untold()
                    ]
                    await conn.execute(sql.GATE_PURGE, prepare=True)
                    await outlook.execute(sql.GATE_WAIT, values, prepare=True)
                    take = await conn.execute(sql.GATE_TAKE, values, prepare=True)
                    if seek:
                        await recorded.execute(sql.SELECT_RECORDED, values)
                    await conn.execute(sql.COMMIT)
                found = await recorded.fetchone() if seek else None
                for word, answer in told:
                    await self._heard(word, answer)
                seen = await anext(outlook)
        metrics.set_cooldown(seen.closed)
        return seen, bool(take.rowcount), found

    async def _release(self, ticket: UUID, acquire: Lease, request_time: float) -> None:
        """End a turn. A neighbour who waits tells it as he looks, in the same transaction."""
        values = {
            "ticket": ticket,
            "interval": self._interval,
            "answered": acquire.answered,
            "cooldown": acquire.cooldown,
            "longest": LONGEST_COOLDOWN,
            "request_time": request_time,
        }
        # arXiv's wish is not forgotten: nobody here asks before the others know it too
        good_for = math.inf if acquire.cooldown else self._lease
        word = self._to_be_told(sql.GATE_RELEASE, values, good_for)
        if acquire.cooldown or not self._neighbours.wait:
            await self._tell()
            acquire.closed = acquire.cooldown if word.answer is None else word.answer
            metrics.set_cooldown(acquire.closed)

    async def _leave(self, ticket: UUID) -> None:
        """Give a place up, or the gate, and tell what was left to whoever has it."""
        self._neighbours.leave(ticket)
        self._to_be_told(sql.GATE_LEAVE, {"ticket": ticket}, self._lease)
        await self._tell()

    def _to_be_told(self, statement: bytes, values: Mapping[str, Any], good_for: float) -> Word:
        ends = asyncio.get_running_loop().time() + good_for
        self._words[values["ticket"]] = word = Word(statement, values, ends)
        return word

    def _untold(self) -> list[Word]:
        """What was not told yet; for those that are too old the lease has done it."""
        now = asyncio.get_running_loop().time()
        self._words = {ticket: word for ticket, word in self._words.items() if word.ends > now}
        return [*self._words.values()]

    async def _tell(self) -> None:
        """Tell the database; what cannot be said now, the next one here says."""
        for _ in range(TRIES):
            try:
                with map_db_errors():
                    async with self._connections.writer() as conn:
                        for word in self._untold():
                            told = await _told(conn, word.statement, word.values)
                            await self._heard(word, told)
            except DatabaseUnavailable as error:
                logger.warning("the gate may have to wait for the end of its lease: %s", error)
            else:
                return

    async def _heard(self, word: Word, told: AsyncCursor[float]) -> None:
        """Take the answer. Several may tell the same at once, which does no harm."""
        word.answer = (await told.fetchone() if told.description else None) or 0.0
        ticket = word.values["ticket"]
        if self._words.get(ticket) is word:
            del self._words[ticket]


async def _told(
    conn: Connection, statement: bytes, values: Mapping[str, Any]
) -> AsyncCursor[float]:
    cursor = conn.cursor(row_factory=scalar_row)
    return await cursor.execute(statement, values, prepare=True)


async def _whole(ending: Coroutine[Any, Any, object]) -> None:
    """Wait for the end of this, also where cancelled: whoever waits for us closes connections."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _is_unsent(error: BaseException) -> bool:
    """Whether no connection was to be had, so that the database knows nothing of us."""
    return isinstance(error.__cause__, PoolTimeout | TooManyRequests)


def _closed(outlook: QueueStatus) -> QueueTooLong:
    left = math.ceil(outlook.closed)
    return QueueTooLong(
        f"arXiv asked for a pause, of which {left} seconds are left", retry_after=left
    )


def _busy(outlook: QueueStatus) -> QueueTooLong:
    wait = max(1, math.ceil(outlook.wait))
    return QueueTooLong(
        f"{outlook.ahead} searches wait for their turn at arXiv, which would take {wait} seconds",
        retry_after=wait,
    )
