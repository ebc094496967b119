"""The rate limiter: one request to arXiv at a time over all processes, and an interval after it.

Its state is one row in PostgreSQL: the holder of the lease, the end of the interval, and the end of
a cooldown. Beside it is a queue of tickets, served in order. A ticket that is not renewed expires,
and so does a lease that is not released. All times are those of PostgreSQL's clock, and nothing
lasts longer than a transaction, so PgBouncer can be in between.

Each process has at most one ticket. The search that holds a FIFO lock has it and polls; the others
estimate their wait once, when they arrive, and then only wait for the lock.

Background work uses a rate limiter of its own with a lower priority, and so another ticket. It gets
the lease only if no search waits, so that a search waits for at most one of its requests.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from enum import IntEnum
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct, field, structs
from psycopg.rows import class_row, scalar_row
from psycopg_pool import PoolTimeout, TooManyRequests

from .. import metrics, sql
from ..errors import DatabaseUnavailable, QueueTooLong
from ..models.records import RecordedSearch
from .pool import DatabasePools, fetch, map_db_errors

logger = logging.getLogger(__name__)

TICKET_LIFETIME = 10.0
"""Seconds after which a ticket expires unless it is renewed."""
RENEW_SECONDS = 3.0
"""Longest pause between two polls; each renews the ticket."""
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.02, 0.25
"""Bounds of the pause between two polls of the first in the queue while a lease is held."""
DATABASE_RETRY_SECONDS = 1.0
SEND_ATTEMPTS = 3
MAX_COOLDOWN = 6 * 3600.0
"""Seconds; arXiv has been seen to throttle for five hours."""


class Priority(IntEnum):
    """Lower numbers are served first; tickets of one priority in the order of their arrival."""

    SEARCH = 0
    BACKGROUND = 1


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
    interval_left: float
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


class _Waiter(Struct):
    """A search that waits for a lease."""

    deadline: float
    probe: CacheProbe | None
    wait_for_cooldown: bool
    ticket: UUID = field(default_factory=uuid4)
    has_ticket: bool = False
    """Whether PostgreSQL may have its ticket."""
    is_accepted: bool = False
    """Whether the estimate was short enough when the search arrived."""

    @property
    def time_left(self) -> float:
        return self.deadline - _now()

    def accept(self, status: WaitStatus) -> None:
        """Let the search wait. Raises QueueTooLong if it cannot get the lease in time."""
        left, cooldown = self.time_left, math.ceil(status.cooldown)
        is_late = left < 0 or status.cooldown > left
        is_too_long = is_late or (status.wait > left and not self.is_accepted)
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

    def __init__(
        self,
        pools: DatabasePools,
        *,
        interval: float,
        lease: float,
        priority: Priority = Priority.SEARCH,
    ) -> None:
        self._pools = pools
        self._priority = priority
        self._interval = interval
        self._lease = lease
        self._lock = asyncio.Lock()
        """Held by the search that has this process's ticket, until it gets the lease."""
        self._waiting = 0
        """Number of searches of this process that wait, including the one with the lock."""
        self._ticket: UUID | None = None
        """The latest ticket of this process."""
        self._released = asyncio.Event()
        """Set when this process has released a lease."""
        self._unsent_cooldown: dict[str, object] | None = None
        """The release of a throttled request, until PostgreSQL has it."""

    @asynccontextmanager
    async def acquire(
        self, deadline: float, *, probe: CacheProbe | None = None, wait_for_cooldown: bool = True
    ) -> AsyncIterator[Lease | RecordedSearch]:
        """Wait for the lease until `deadline` (loop time), and hold it in the context.

        Yields the record instead if another process records the search of `probe` meanwhile. Raises
        QueueTooLong at once if the estimated wait is too long, and later if the lease cannot be
        granted in time, or if there is a cooldown and `wait_for_cooldown` is false.
        """
        started = _now()
        waiter = _Waiter(deadline, probe, wait_for_cooldown)
        is_search = self._priority == Priority.SEARCH
        with metrics.RATE_LIMITER_WAITING.track_inprogress() if is_search else nullcontext():
            lease = await self._wait(waiter)
        acquired = _now()
        if is_search:
            metrics.count_wait(acquired - started)
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
        row_type, own = class_row(RateLimiterStatus), {"ticket": self._ticket}
        [status] = await fetch(self._pools.writer, row_type, sql.GATE_STATUS, own)
        metrics.set_cooldown(status.cooldown)
        return structs.replace(status, waiting=status.waiting + self._waiting)

    async def _wait(self, waiter: _Waiter) -> Lease | RecordedSearch:
        """Wait for the lock, then for the lease."""
        ahead, self._waiting = self._waiting, self._waiting + 1
        # a task, so that the search has its place in the queue while its estimate is checked
        locking = asyncio.create_task(self._lock.acquire())
        try:
            if ahead:
                # the first of these has the lock, and its ticket is counted by PostgreSQL
                values = self._create_parameters(waiter) | {"ahead": ahead - 1, "max_wait": -1.0}
                row_type = class_row(WaitStatus)
                [status] = await fetch(self._pools.writer, row_type, sql.GATE_ENQUEUE, values)
                waiter.accept(status)
            await asyncio.wait([locking], timeout=waiter.time_left)
            if not locking.done():
                raise QueueTooLong(
                    f"{ahead} searches were waiting for arXiv, which took too long",
                    retry_after=max(1, math.ceil(self._interval)),
                )
            return await self._take_lease(waiter)
        finally:
            self._waiting -= 1
            if not locking.cancel():
                self._lock.release()

    async def _take_lease(self, waiter: _Waiter) -> Lease | RecordedSearch:
        """Poll the rate limiter until it grants the lease; the search has the lock."""
        self._ticket = waiter.ticket
        try:
            while True:
                try:
                    if result := await self._poll(waiter):
                        return result
                except DatabaseUnavailable as error:
                    # the database may be back before the ticket expires. It may also have granted
                    # the lease, so that only the confirmation is missing
                    is_new = _is_unsent(error) and not waiter.is_accepted
                    if is_new or waiter.time_left < RENEW_SECONDS:
                        raise
                    await asyncio.sleep(DATABASE_RETRY_SECONDS)
        finally:
            if waiter.has_ticket:
                # before the lock is free, because the next search would count this ticket
                await _run_to_end(self._cancel(waiter.ticket))

    async def _poll(self, waiter: _Waiter) -> Lease | RecordedSearch | None:
        """Take the lease if it is free, otherwise pause until that may have changed."""
        polled_at = _now()
        self._released.clear()
        status, is_acquired, record = await self._try_acquire(waiter)
        metrics.set_cooldown(status.cooldown)
        if record is not None and waiter.probe and waiter.probe.is_fresh(record):
            return record
        waiter.has_ticket = status.place is not None and not is_acquired
        if is_acquired:
            return Lease(polled_at + self._lease)
        waiter.accept(status)
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
            pause = max(status.interval_left, status.cooldown) or poll
        return min(pause, RENEW_SECONDS)

    def _create_parameters(self, waiter: _Waiter) -> dict[str, object]:
        return {
            "ticket": waiter.ticket,
            "priority": self._priority.value,
            "interval": self._interval,
            "ticket_lifetime": TICKET_LIFETIME,
            "ahead": 0,
            "max_wait": math.inf if waiter.is_accepted else max(0.0, waiter.time_left),
        }

    async def _try_acquire(self, waiter: _Waiter) -> tuple[WaitStatus, bool, RecordedSearch | None]:
        """Renew the ticket and take the lease if it is free, in one round trip.

        Returns the position of the search, whether it has the lease, and its record by another
        process.
        """
        values = self._create_parameters(waiter)
        values |= {"lease": self._lease, "search_key": waiter.probe and waiter.probe.search_key}
        unsent = self._unsent_cooldown
        with map_db_errors():
            async with self._pools.writer() as conn:
                waiter.has_ticket = True
                statuses = conn.cursor(row_factory=class_row(WaitStatus))
                records = conn.cursor(row_factory=class_row(RecordedSearch))
                async with conn.pipeline():
                    await conn.execute(sql.BEGIN)
                    await conn.execute(sql.GATE_LOCK, prepare=True)
                    if unsent:
                        await conn.execute(sql.GATE_RELEASE, unsent, prepare=True)
                    await conn.execute(sql.GATE_EXPIRE, prepare=True)
                    await statuses.execute(sql.GATE_ENQUEUE, values, prepare=True)
                    leases = await conn.execute(sql.GATE_ACQUIRE, values, prepare=True)
                    await records.execute(sql.SELECT_LATEST_RECORD, values, prepare=True)
                    await conn.execute(sql.COMMIT)
                status, record = await anext(statuses), await records.fetchone()
        if self._unsent_cooldown is unsent:
            self._unsent_cooldown = None
        return status, bool(leases.rowcount), record

    async def _release(self, ticket: UUID, lease: Lease, request_time: float) -> None:
        """Release a lease; if that fails, it expires, and the next `acquire` sends its cooldown."""
        values: dict[str, object] = {
            "ticket": ticket,
            "priority": self._priority.value,
            "interval": self._interval,
            "answered": lease.answered,
            "cooldown": lease.cooldown,
            "max_cooldown": MAX_COOLDOWN,
            "request_time": request_time,
        }
        if lease.cooldown:
            self._unsent_cooldown = values
        lease.cooldown_left = lease.cooldown
        try:
            [lease.cooldown_left] = await self._send(sql.GATE_RELEASE, values)
        except DatabaseUnavailable as error:
            logger.warning(
                "could not release the rate limiter, it is freed when its lease expires: %s", error
            )
        else:
            if self._unsent_cooldown is values:
                self._unsent_cooldown = None
        metrics.set_cooldown(lease.cooldown_left)

    async def _cancel(self, ticket: UUID) -> None:
        """Delete a ticket, which expires otherwise."""
        with suppress(DatabaseUnavailable):
            await self._send(sql.GATE_CANCEL, {"ticket": ticket})

    async def _send(self, statement: bytes, values: Mapping[str, object]) -> list[float]:
        """Execute a statement, after failures up to SEND_ATTEMPTS times."""
        for _ in range(SEND_ATTEMPTS - 1):
            with suppress(DatabaseUnavailable):
                return await fetch(self._pools.writer, scalar_row, statement, values)
            await asyncio.sleep(DATABASE_RETRY_SECONDS)
        return await fetch(self._pools.writer, scalar_row, statement, values)


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
