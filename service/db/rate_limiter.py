"""The rate limiter: one request to arXiv at a time over all processes, and an interval after it.

Its state is one row in PostgreSQL: the holder of the lease, the end of the interval, and the end of
a cooldown. Beside it is a queue of tickets, served in order. A ticket that is not renewed expires,
and so does a lease that is not released. All times are those of PostgreSQL's clock, and nothing
lasts longer than a transaction, so PgBouncer can be in between.

Each process has at most one ticket. A FIFO lock decides which of its searches may take it; the
others wait for the lock, and look at the state of the rate limiter from time to time.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct, structs
from psycopg import AsyncCursor
from psycopg.rows import class_row, scalar_row
from psycopg_pool import PoolTimeout, TooManyRequests

from .. import metrics, sql
from ..errors import DatabaseUnavailable, QueueTooLong
from ..models.records import RecordedSearch
from .pool import Connection, DatabasePools, fetch, map_db_errors

logger = logging.getLogger(__name__)

TICKET_LIFETIME = 10.0
"""Seconds after which a ticket expires unless it is renewed."""
RENEW_SECONDS = 3.0
"""Longest pause between two looks at the rate limiter; each look renews the ticket."""
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.02, 0.25
"""Bounds of the pause between two looks of the first in the queue while a lease is held."""
DATABASE_RETRY_SECONDS = 1.0
RELEASE_ATTEMPTS = 3
MAX_COOLDOWN = 6 * 3600.0
"""Seconds; arXiv has been seen to throttle for five hours."""


class RateLimiterStatus(Struct, frozen=True):
    """The state of the rate limiter; times in seconds."""

    in_progress: bool
    """Whether a request to arXiv is in progress."""
    waiting: int
    """Number of waiting searches, as far as this process knows."""
    pause: float
    """The rest of the interval."""
    cooldown: float
    """The rest of the cooldown."""
    request_time: float
    """The average duration of a request."""


class QueueStatus(Struct, frozen=True):
    """The position of a search; times in seconds."""

    place: int | None
    """The place of its ticket, if it has one."""
    ahead: int
    """Number of requests before it."""
    pause: float
    cooldown: float
    wait: float
    """The estimated wait."""


class Lease:
    """The exclusive right to send one request to arXiv, until `expires_at` (loop time)."""

    def __init__(self, expires_at: float) -> None:
        self.expires_at = expires_at
        self.answered = False
        """To be set if arXiv processed the request."""
        self.cooldown = 0.0
        """To be set to the number of seconds for which arXiv wants no request."""
        self.cooldown_left = 0.0
        """After the release: the resulting cooldown in seconds."""


class CacheProbe(Struct, frozen=True):
    """A search that another process may record while this one waits."""

    search_key: UUID
    is_fresh: Callable[[RecordedSearch], bool]


class PendingUpdate(Struct):
    """A release or cancellation that has not reached PostgreSQL yet."""

    statement: bytes
    values: Mapping[str, Any]
    expires_at: float
    """When it becomes unnecessary (loop time), because the lease has expired."""


class _Waiter(Struct):
    """A search that waits for a lease."""

    ticket: UUID
    deadline: float
    probe: CacheProbe | None
    wait_for_cooldown: bool
    has_ticket: bool = False
    """Whether PostgreSQL may have its ticket."""


_Look = tuple[QueueStatus, bool, RecordedSearch | None]
"""The position of a search, whether it has the lease, and its record by another process."""


class RateLimiter:
    """Grants leases to one search at a time, `interval` seconds after the end of the last lease.

    A lease expires after `lease` seconds, so a process that dies blocks the others only that long.
    """

    def __init__(self, pools: DatabasePools, *, interval: float, lease: float) -> None:
        self._pools = pools
        self._interval = interval
        self._lease = lease
        self._lock = asyncio.Lock()
        """Held by the search that has this process's ticket, until it gets the lease."""
        self._lock_queue: dict[asyncio.Task[bool], None] = {}
        """Calls of `_lock.acquire` in order of arrival, including the one that succeeded last."""
        self._released = asyncio.Event()
        """Set when this process has released a lease."""
        self._pending: dict[UUID, PendingUpdate] = {}

    @asynccontextmanager
    async def acquire(
        self, deadline: float, *, probe: CacheProbe | None = None, wait_for_cooldown: bool = True
    ) -> AsyncIterator[Lease | RecordedSearch]:
        """Wait for the lease until `deadline` (loop time), and hold it in the context.

        Yields the record instead if another process records the search of `probe` meanwhile. Raises
        QueueTooLong as soon as it is clear that the lease cannot be granted in time, or that there
        is a cooldown, if `wait_for_cooldown` is false.
        """
        clock = asyncio.get_running_loop().time
        waiter = _Waiter(uuid4(), deadline, probe, wait_for_cooldown)
        started = clock()
        with metrics.GATE_WAITING.track_inprogress():
            lease = await self._wait(waiter)
        metrics.GATE_WAIT.observe(clock() - started)
        if isinstance(lease, RecordedSearch):
            yield lease
            return
        acquired = clock()
        try:
            yield lease
        finally:
            request_time = clock() - acquired
            try:
                await _run_to_end(self._release(waiter.ticket, lease, request_time))
            finally:
                self._released.set()

    async def fetch_status(self) -> RateLimiterStatus:
        """The state of the rate limiter, including the searches of this process."""
        status = await self._fetch_shared_status()
        waiting = status.waiting + len(self._waiting_for_lock())
        return structs.replace(status, waiting=waiting)

    async def _fetch_shared_status(self) -> RateLimiterStatus:
        [status] = await fetch(self._pools.writer, class_row(RateLimiterStatus), sql.GATE_STATUS)
        metrics.set_cooldown(status.cooldown)
        return status

    def _waiting_for_lock(self) -> list[asyncio.Task[bool]]:
        return [call for call in self._lock_queue if not call.done()]

    async def _wait(self, waiter: _Waiter) -> Lease | RecordedSearch:
        locking = asyncio.create_task(self._lock.acquire())
        self._lock_queue[locking] = None
        try:
            await asyncio.sleep(0)  # lets it succeed if no other search has the lock
            return await self._poll(waiter, locking)
        finally:
            try:
                if waiter.has_ticket:
                    # before the lock is free, because the next search would count this ticket
                    await _run_to_end(self._cancel(waiter.ticket))
            finally:
                del self._lock_queue[locking]
                if not locking.cancel():
                    self._lock.release()

    async def _poll(self, waiter: _Waiter, locking: asyncio.Task[bool]) -> Lease | RecordedSearch:
        clock = asyncio.get_running_loop().time
        probe: CacheProbe | None = None  # the caller has just looked
        is_first = True
        while True:
            looked_at = clock()
            has_lock = locking.done()
            try:
                if has_lock:
                    self._released.clear()
                    status, acquired, record = await self._try_acquire(waiter, probe)
                else:
                    status, acquired, record = await self._look(locking, probe)
            except DatabaseUnavailable as error:
                # the database may be back before the ticket expires. It may also have granted the
                # lease, so that only the confirmation is missing
                if (is_first and _is_unsent(error)) or clock() + RENEW_SECONDS > waiter.deadline:
                    raise
                await asyncio.sleep(DATABASE_RETRY_SECONDS)
                continue
            if record is not None and waiter.probe and waiter.probe.is_fresh(record):
                return record
            if acquired:
                waiter.has_ticket = False
                return Lease(looked_at + self._lease)
            left = waiter.deadline - clock()
            is_accepted = status.place is not None if has_lock else not is_first
            _check(status, waiter, left, is_accepted=is_accepted)
            is_first, probe = False, waiter.probe
            if has_lock:
                await self._wait_for_release(min(self._poll_seconds(status), left))
            else:
                await asyncio.wait([locking], timeout=min(RENEW_SECONDS, left))

    async def _wait_for_release(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()

    def _poll_seconds(self, status: QueueStatus) -> float:
        """For how long the position of a ticket probably does not change."""
        poll = min(max(self._interval / 10, MIN_POLL_SECONDS), MAX_POLL_SECONDS)
        if status.ahead > 1:
            # the first in the queue needs the database more
            pause = max((status.ahead - 1) * self._interval, status.ahead * poll)
        else:
            pause = max(status.pause, status.cooldown) or poll
        return min(pause, RENEW_SECONDS)

    async def _try_acquire(self, waiter: _Waiter, probe: CacheProbe | None) -> _Look:
        """Renew the ticket and take the lease if it is free, in one round trip."""
        left = waiter.deadline - asyncio.get_running_loop().time()
        values = {
            "ticket": waiter.ticket,
            "interval": self._interval,
            "lease": self._lease,
            "ticket_lifetime": TICKET_LIFETIME,
            "max_wait": max(0.0, left),
            "search_key": probe and probe.search_key,
        }
        had_ticket, waiter.has_ticket = waiter.has_ticket, True
        try:
            with map_db_errors():
                async with self._pools.writer() as conn:
                    statuses = conn.cursor(row_factory=class_row(QueueStatus))
                    records = conn.cursor(row_factory=class_row(RecordedSearch))
                    updates = self._pending_updates()
                    async with conn.pipeline():
                        await conn.execute(sql.BEGIN)
                        await conn.execute(sql.GATE_LOCK, prepare=True)
                        for update in updates.values():
                            await _execute(conn, update.statement, update.values)
                        await conn.execute(sql.GATE_EXPIRE, prepare=True)
                        await statuses.execute(sql.GATE_ENQUEUE, values, prepare=True)
                        leases = await conn.execute(sql.GATE_ACQUIRE, values, prepare=True)
                        if probe:
                            await records.execute(sql.SELECT_LATEST_RECORD, values)
                        await conn.execute(sql.COMMIT)
                    record = await records.fetchone() if probe else None
                    status = await anext(statuses)
        except DatabaseUnavailable as error:
            waiter.has_ticket = had_ticket or not _is_unsent(error)
            raise
        self._discard(updates)
        waiter.has_ticket = status.place is not None
        metrics.set_cooldown(status.cooldown)
        return status, bool(leases.rowcount), record

    async def _look(self, locking: asyncio.Task[bool], probe: CacheProbe | None) -> _Look:
        """Estimate the wait of a search that waits for the lock."""
        status = await self._fetch_shared_status()
        records = probe and await fetch(
            self._pools.writer,
            class_row(RecordedSearch),
            sql.SELECT_LATEST_RECORD,
            {"search_key": probe.search_key},
        )
        waiting = self._waiting_for_lock()
        # at least the search that has the lock, even if its ticket is not stored yet
        ahead = max(1, status.in_progress + status.waiting)
        ahead += waiting.index(locking) if locking in waiting else 0
        wait = max(status.pause, status.cooldown) + ahead * (self._interval + status.request_time)
        position = QueueStatus(None, ahead, status.pause, status.cooldown, wait)
        return position, False, records[0] if records else None

    async def _release(self, ticket: UUID, lease: Lease, request_time: float) -> None:
        values = {
            "ticket": ticket,
            "interval": self._interval,
            "answered": lease.answered,
            "cooldown": lease.cooldown,
            "max_cooldown": MAX_COOLDOWN,
            "request_time": request_time,
        }
        # a cooldown applies even after the lease has expired
        needed_for = math.inf if lease.cooldown else self._lease
        cooldown = await self._send(sql.GATE_RELEASE, values, needed_for)
        lease.cooldown_left = lease.cooldown if cooldown is None else cooldown
        metrics.set_cooldown(lease.cooldown_left)

    async def _cancel(self, ticket: UUID) -> None:
        await self._send(sql.GATE_CANCEL, {"ticket": ticket}, self._lease)

    async def _send(
        self, statement: bytes, values: Mapping[str, Any], needed_for: float
    ) -> float | None:
        """Send an update, and return its result.

        If PostgreSQL cannot be reached, the next `acquire` of this process sends it.
        """
        expires_at = asyncio.get_running_loop().time() + needed_for
        update = {values["ticket"]: PendingUpdate(statement, values, expires_at)}
        self._pending |= update
        failure: DatabaseUnavailable | None = None
        for _ in range(RELEASE_ATTEMPTS):
            try:
                with map_db_errors():
                    async with self._pools.writer() as conn:
                        cursor = await _execute(conn, statement, values)
                        result = await cursor.fetchone() if cursor.description else None
            except DatabaseUnavailable as error:
                failure = error
            else:
                self._discard(update)
                return result
        logger.warning(
            "could not release the rate limiter, it is freed when its lease expires: %s", failure
        )
        return None

    def _pending_updates(self) -> dict[UUID, PendingUpdate]:
        now = asyncio.get_running_loop().time()
        self._pending = {
            ticket: update for ticket, update in self._pending.items() if update.expires_at > now
        }
        return self._pending.copy()

    def _discard(self, updates: Mapping[UUID, PendingUpdate]) -> None:
        for ticket, update in updates.items():
            if self._pending.get(ticket) is update:
                del self._pending[ticket]


async def _execute(
    conn: Connection, statement: bytes, values: Mapping[str, Any]
) -> AsyncCursor[float]:
    cursor = conn.cursor(row_factory=scalar_row)
    return await cursor.execute(statement, values, prepare=True)


async def _run_to_end(ending: Coroutine[Any, Any, object]) -> None:
    """Wait for a coroutine even if cancelled, because the caller may close the pools next."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _is_unsent(error: BaseException) -> bool:
    """Whether no connection was available, so that PostgreSQL has received nothing."""
    return isinstance(error.__cause__, PoolTimeout | TooManyRequests)


def _check(status: QueueStatus, waiter: _Waiter, left: float, *, is_accepted: bool) -> None:
    """Raise QueueTooLong if the search cannot get the lease in time."""
    cooldown, wait = math.ceil(status.cooldown), max(1, math.ceil(status.wait))
    is_too_long = left < 0 or status.cooldown > left or (status.wait > left and not is_accepted)
    if cooldown and (is_too_long or not waiter.wait_for_cooldown):
        raise QueueTooLong(
            f"arXiv throttles requests; the next one can be sent in {cooldown} seconds",
            retry_after=cooldown,
        )
    if is_too_long:
        raise QueueTooLong(
            f"{status.ahead} searches are waiting for arXiv, which would take {wait} seconds",
            retry_after=wait,
        )
