"""The rate limiter: one request to arXiv at a time over all processes, and an interval after it.

Its state is one row in PostgreSQL: the holder of the lease, the end of the interval, and the end of
a cooldown. Beside it is a queue of tickets, served in order. A ticket that is not renewed expires,
and so does a lease that is not released. All times are those of PostgreSQL's clock, and nothing
lasts longer than a transaction, so PgBouncer can be in between.

Each process has at most one ticket. A FIFO lock decides which of its searches may take it; the
others wait for the lock, and read the state of the rate limiter every few seconds.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct, field, structs
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
"""Longest pause between two polls; each renews the ticket."""
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.02, 0.25
"""Bounds of the pause between two polls of the first in the queue while a lease is held."""
DATABASE_RETRY_SECONDS = 1.0
RELEASE_ATTEMPTS = 3
MAX_COOLDOWN = 6 * 3600.0
"""Seconds; arXiv has been seen to throttle for five hours."""


class RateLimiterStatus(Struct, frozen=True):
    """The state of the rate limiter."""

    in_progress: bool
    """Whether a request to arXiv is in progress."""
    waiting: int
    """Number of waiting searches, as far as this process knows."""
    cooldown: float
    """The rest of the cooldown in seconds."""


class WaitStatus(Struct, frozen=True):
    """How long one search has to wait; times in seconds."""

    place: int | None
    """The place of its ticket, if it has one."""
    ahead: int
    """Number of requests before it."""
    pause: float
    """The rest of the interval after the last request."""
    cooldown: float
    """The rest of the cooldown."""
    wait: float
    """The estimated wait."""


class Lease(Struct):
    """The exclusive right to send one request to arXiv, until `expires_at` (loop time)."""

    expires_at: float
    answered: bool = False
    """To be set if arXiv processed the request."""
    cooldown: float = 0.0
    """To be set to the seconds for which arXiv demanded that no requests are sent."""
    cooldown_left: float = 0.0
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

    deadline: float
    probe: CacheProbe | None
    wait_for_cooldown: bool
    ticket: UUID = field(default_factory=uuid4)
    has_ticket: bool = False
    """Whether PostgreSQL may have its ticket."""
    is_accepted: bool = False
    """Whether the estimated wait was short enough when the search arrived."""

    @property
    def time_left(self) -> float:
        return self.deadline - _now()

    def accept(self, status: WaitStatus, *, ignore_estimate: bool) -> None:
        """Let the search wait. Raises QueueTooLong if it cannot get the lease in time."""
        left, cooldown = self.time_left, math.ceil(status.cooldown)
        is_unlikely = status.wait > left and not ignore_estimate
        is_too_long = left < 0 or status.cooldown > left or is_unlikely
        if cooldown and (is_too_long or not self.wait_for_cooldown):
            raise QueueTooLong(
                f"arXiv throttles requests; the next one can be sent in {cooldown} seconds",
                retry_after=cooldown,
            )
        if is_too_long:
            wait = max(1, math.ceil(status.wait))
            raise QueueTooLong(
                f"{status.ahead} searches are waiting for arXiv, which would take {wait} seconds",
                retry_after=wait,
            )
        self.is_accepted = True


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
        self._lock_queue: list[asyncio.Task[bool]] = []
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
        started = _now()
        waiter = _Waiter(deadline, probe, wait_for_cooldown)
        with metrics.GATE_WAITING.track_inprogress():
            lease = await self._wait(waiter)
        acquired = _now()
        metrics.GATE_WAIT.observe(acquired - started)
        if isinstance(lease, RecordedSearch):
            yield lease
            return
        try:
            yield lease
        finally:
            try:
                await _run_to_end(self._release(waiter.ticket, lease, _now() - acquired))
            finally:
                self._released.set()

    async def fetch_status(self) -> RateLimiterStatus:
        """The state of the rate limiter, including the searches of this process."""
        [status] = await fetch(self._pools.writer, class_row(RateLimiterStatus), sql.GATE_STATUS)
        metrics.set_cooldown(status.cooldown)
        return structs.replace(status, waiting=status.waiting + len(self._waiting_for_lock()))

    def _waiting_for_lock(self) -> list[asyncio.Task[bool]]:
        return [task for task in self._lock_queue if not task.done()]

    async def _wait(self, waiter: _Waiter) -> Lease | RecordedSearch:
        """Wait for the lock, then for the lease, and poll the rate limiter meanwhile."""
        lock_task = asyncio.create_task(self._lock.acquire())
        self._lock_queue.append(lock_task)
        try:
            await asyncio.sleep(0)  # lets it succeed if no other search has the lock
            while True:
                if result := await self._poll(waiter, lock_task):
                    return result
        finally:
            try:
                if waiter.has_ticket:
                    # before the lock is free, because the next search would count this ticket
                    update = sql.GATE_CANCEL, {"ticket": waiter.ticket}, self._lease
                    await _run_to_end(self._send_update(*update))
            finally:
                self._lock_queue.remove(lock_task)
                if not lock_task.cancel():
                    self._lock.release()

    async def _poll(
        self, waiter: _Waiter, lock_task: asyncio.Task[bool]
    ) -> Lease | RecordedSearch | None:
        """Take the lease if it is free, otherwise pause until that may have changed."""
        polled_at, has_lock = _now(), lock_task.done()
        ahead = None if has_lock else self._waiting_for_lock().index(lock_task)
        if has_lock:
            self._released.clear()
        try:
            status, is_acquired, record = await self._try_acquire(waiter, ahead)
        except DatabaseUnavailable as error:
            # the database may be back before the ticket expires. It may also have granted the
            # lease, so that only the confirmation is missing
            is_hopeless = _is_unsent(error) and not waiter.is_accepted
            if is_hopeless or waiter.time_left < RENEW_SECONDS:
                raise
            await asyncio.sleep(DATABASE_RETRY_SECONDS)
            return None
        if record is not None and waiter.probe and waiter.probe.is_fresh(record):
            return record
        if is_acquired:
            waiter.has_ticket = False
            return Lease(polled_at + self._lease)
        # an estimate may grow later, for example when arXiv responds slowly
        ignore_estimate = status.place is not None if has_lock else waiter.is_accepted
        waiter.accept(status, ignore_estimate=ignore_estimate)
        if not has_lock:
            await asyncio.wait([lock_task], timeout=min(RENEW_SECONDS, waiter.time_left))
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._poll_seconds(status), waiter.time_left)):
                await self._released.wait()
        return None

    def _poll_seconds(self, status: WaitStatus) -> float:
        """For how long the place of a ticket probably does not change."""
        poll = min(max(self._interval / 10, MIN_POLL_SECONDS), MAX_POLL_SECONDS)
        if status.ahead > 1:
            # the first in the queue needs the database more
            pause = max((status.ahead - 1) * self._interval, status.ahead * poll)
        else:
            pause = max(status.pause, status.cooldown) or poll
        return min(pause, RENEW_SECONDS)

    async def _try_acquire(
        self, waiter: _Waiter, ahead: int | None
    ) -> tuple[WaitStatus, bool, RecordedSearch | None]:
        """Renew the ticket and take the lease if it is free, in one round trip.

        A search that waits for the lock behind `ahead` others gets no ticket. Returns the status
        of its wait, whether it has the lease, and its record by another process.
        """
        values = {
            "ticket": waiter.ticket,
            "interval": self._interval,
            "lease": self._lease,
            "ticket_lifetime": TICKET_LIFETIME,
            "ahead_in_process": ahead or 0,
            "max_wait": max(0.0, waiter.time_left) if ahead is None else -1.0,
            "search_key": waiter.probe and waiter.probe.search_key,
        }
        had_ticket, waiter.has_ticket = waiter.has_ticket, ahead is None
        try:
            with map_db_errors():
                async with self._pools.writer() as conn:
                    statuses = conn.cursor(row_factory=class_row(WaitStatus))
                    records = conn.cursor(row_factory=class_row(RecordedSearch))
                    async with conn.pipeline():
                        await conn.execute(sql.BEGIN)
                        await conn.execute(sql.GATE_LOCK, prepare=True)
                        updates = await self._send_pending(conn)
                        await conn.execute(sql.GATE_EXPIRE, prepare=True)
                        await statuses.execute(sql.GATE_ENQUEUE, values, prepare=True)
                        leases = await conn.execute(sql.GATE_ACQUIRE, values, prepare=True)
                        await records.execute(sql.SELECT_LATEST_RECORD, values, prepare=True)
                        await conn.execute(sql.COMMIT)
                    status, record = await anext(statuses), await records.fetchone()
        except DatabaseUnavailable as error:
            waiter.has_ticket = had_ticket or (ahead is None and not _is_unsent(error))
            raise
        for ticket in updates:
            self._pending.pop(ticket, None)
        waiter.has_ticket = status.place is not None
        metrics.set_cooldown(status.cooldown)
        return status, bool(leases.rowcount), record

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
        lifetime = math.inf if lease.cooldown else self._lease
        cooldowns = await self._send_update(sql.GATE_RELEASE, values, lifetime)
        lease.cooldown_left = cooldowns[0] if cooldowns else lease.cooldown
        metrics.set_cooldown(lease.cooldown_left)

    async def _send_update(
        self, statement: bytes, values: Mapping[str, Any], lifetime: float
    ) -> list[float]:
        """Send an update that is needed for `lifetime` seconds, and return its result.

        If PostgreSQL cannot be reached, the next `acquire` of this process sends it.
        """
        self._pending[values["ticket"]] = PendingUpdate(statement, values, _now() + lifetime)
        failure: DatabaseUnavailable | None = None
        for _ in range(RELEASE_ATTEMPTS):
            try:
                rows = await fetch(self._pools.writer, scalar_row, statement, values)
            except DatabaseUnavailable as error:
                failure = error
            else:
                self._pending.pop(values["ticket"], None)
                return rows
        logger.warning(
            "could not release the rate limiter, it is freed when its lease expires: %s", failure
        )
        return []

    async def _send_pending(self, conn: Connection) -> list[UUID]:
        """Send the pending updates that are still needed, and return their tickets."""
        now = _now()
        pending = {key: update for key, update in self._pending.items() if update.expires_at > now}
        for update in pending.values():
            await _execute(conn, update.statement, update.values)
        self._pending = pending
        return list(pending)


async def _execute(conn: Connection, statement: bytes, values: Mapping[str, Any]) -> None:
    await conn.execute(statement, values, prepare=True)


async def _run_to_end(coroutine: Coroutine[Any, Any, object]) -> None:
    """Wait for a coroutine even if cancelled, because the caller may close the pools next."""
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _is_unsent(error: BaseException) -> bool:
    """Whether no connection was available, so that PostgreSQL has received nothing."""
    return isinstance(error.__cause__, PoolTimeout | TooManyRequests)


def _now() -> float:
    return asyncio.get_running_loop().time()
