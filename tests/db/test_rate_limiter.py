"""The rate limiter: one request to arXiv at a time over all processes, and an interval after it."""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.db import rate_limiter as rate_limiter_module
from service.db.pool import DatabasePools
from service.db.rate_limiter import CacheProbe, Lease, Priority, RateLimiter
from service.db.records import RecordStore, create_record
from service.errors import DatabaseUnavailable, QueueTooLong
from service.models.arxiv import ArxivResponse
from tests.conftest import Serve, copied
from tests.support.haproxy import pgbouncer
from tests.support.process import service
from tests.support.proxy import proxied
from tests.support.waiting import wait_until

HOLDER = "select holder from gate"
TICKETS = "select count(*) from gate_queue"
COOLDOWN = "select extract(epoch from closed_until - clock_timestamp())::float8 from gate"


@asynccontextmanager
async def limiters(
    url: str,
    number: int = 1,
    *,
    interval: float = 0.1,
    lease: float = 5.0,
    priority: Priority = Priority.SEARCH,
) -> AsyncIterator[list[RateLimiter]]:
    """Rate limiters with their own connections, as in as many processes."""
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(DatabasePools(url)) for _ in range(number)]
        yield [
            RateLimiter(each, interval=interval, lease=lease, priority=priority) for each in pools
        ]


def soon(seconds: float = 30) -> float:
    return asyncio.get_running_loop().time() + seconds


async def hold(
    limiter: RateLimiter,
    log: list[tuple[float, float]] | None = None,
    seconds: float = 0.01,
    max_wait: float = 30,
) -> None:
    """Acquire the lease, hold it, and log when. Raises QueueTooLong after `max_wait` seconds."""
    async with limiter.acquire(soon(max_wait)):
        started = monotonic()
        await asyncio.sleep(seconds)
        if log is not None:
            log.append((started, monotonic()))


async def tickets_are(db: psycopg.Connection, number: int) -> None:
    async with asyncio.timeout(60):
        while db.execute(TICKETS).fetchone() != (number,):  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.02)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def gaps(log: list[tuple[float, float]]) -> list[float]:
    """Seconds from the end of each to the start of the next."""
    ordered = sorted(log)
    return [later[0] - earlier[1] for earlier, later in pairwise(ordered)]


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches poll the rate limiter again only if something wakes them."""
    for name in ("MIN_POLL_SECONDS", "MAX_POLL_SECONDS", "RENEW_SECONDS"):
        monkeypatch.setattr(rate_limiter_module, name, 60.0)


# Spacing and order


async def test_leases_never_overlap_and_keep_the_interval(database: str) -> None:
    log: list[tuple[float, float]] = []
    async with limiters(database, 4, interval=0.05) as opened:
        await asyncio.gather(*(hold(opened[n % 4], log) for n in range(24)))

    assert len(log) == 24
    assert min(gaps(log)) >= 0.05


async def test_searches_of_several_processes_are_served_in_order_of_arrival(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter_module, "RENEW_SECONDS", 0.2)
    order: list[int] = []

    async def search(limiter: RateLimiter, number: int) -> None:
        async with limiter.acquire(soon(1000)):
            order.append(number)

    db.execute("update gate set free_at = clock_timestamp() + '900 s'")
    async with limiters(database, 3, interval=0.3) as opened:
        tasks = []
        for number in range(9):
            tasks.append(asyncio.create_task(search(opened[number % 3], number)))
            await tickets_are(db, min(number + 1, 3))
        db.execute("update gate set free_at = clock_timestamp()")
        await asyncio.gather(*tasks)

    assert order == list(range(9))


async def test_searches_of_one_process_are_served_in_order_of_arrival(database: str) -> None:
    order: list[int] = []

    async def search(number: int) -> None:
        async with limiter.acquire(soon()):
            order.append(number)

    async with limiters(database, interval=0) as [limiter]:
        await asyncio.gather(*(search(number) for number in range(30)))

    assert order == list(range(30))


async def test_two_processes_alternate(database: str) -> None:
    order: list[str] = []

    async def search(name: str) -> None:
        async with opened["ab".index(name)].acquire(soon()):
            order.append(name)

    async with limiters(database, 2, interval=0.1) as opened:
        for limiter in opened:
            await asyncio.gather(*(limiter.fetch_status() for _ in range(8)))
        await asyncio.gather(*(search(name) for name in "aaaaaabbbbbb"))

    switches = sum(one != other for one, other in pairwise(order))
    assert sorted(order) == [*"aaaaaabbbbbb"]
    assert switches >= 8


async def test_process_has_at_most_one_ticket(database: str, db: psycopg.Connection) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '900 s'")
    async with limiters(database, 2, interval=0.1) as opened:
        tasks = [asyncio.create_task(hold(opened[n % 2], max_wait=1000)) for n in range(10)]
        await tickets_are(db, 2)
        await asyncio.sleep(0.2)
        assert db.execute(TICKETS).fetchone() == (2,)
        status = await opened[0].fetch_status()
        await cancel(*tasks)

    assert status.waiting == 2 + 4  # both tickets, and those of this process without one


async def test_uncontended_lease_costs_two_round_trips(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.POOL_SIZE", 1)
    async with proxied(database) as (proxy, url), limiters(url, interval=0) as [limiter]:
        async with limiter.acquire(soon()):
            pass
        proxy.reset()
        async with limiter.acquire(soon()):
            assert proxy.trips == 1

        assert proxy.trips == 2


# Background work


@asynccontextmanager
async def background_work(
    limiters: list[RateLimiter], log: list[tuple[float, float]], seconds: float
) -> AsyncIterator[None]:
    """Let each of the rate limiters send one request after the other."""

    async def repeat(limiter: RateLimiter) -> None:
        while True:
            await hold(limiter, log, seconds)

    tasks = [asyncio.create_task(repeat(limiter)) for limiter in limiters]
    try:
        yield
    finally:
        await cancel(*tasks)


def number_of_tickets(db: psycopg.Connection) -> int:
    [number] = db.execute(TICKETS).fetchone() or [0]
    return int(number)


@pytest.mark.parametrize("processes", [1, 3])
async def test_search_waits_for_at_most_one_background_request(
    database: str, processes: int
) -> None:
    background: list[tuple[float, float]] = []
    searches: list[tuple[float, float]] = []
    async with (
        limiters(database, processes, interval=0.05) as opened,
        limiters(database, 2, interval=0.05, priority=Priority.BACKGROUND) as workers,
        background_work(workers, background, 0.1),
    ):
        await wait_until(lambda: bool(background))
        for burst in range(1, 4):
            number, started = len(background), monotonic()
            await asyncio.gather(*(hold(opened[n % processes], searches) for n in range(6)))
            assert len(searches) == 6 * burst
            ended = searches[-1][1]
            begun = [request for request in background[number:] if request[0] < ended]
            assert len([request for request in begun if request[0] > started]) <= 1
            expected = len(background) + 1
            await wait_until(lambda: len(background) >= expected)  # noqa: B023 - in this iteration only

    assert min(gaps(background + searches)) >= 0.05


async def test_search_in_the_same_process_has_its_own_place(
    database: str, db: psycopg.Connection
) -> None:
    order: list[str] = []

    async def wait(limiter: RateLimiter, name: str) -> None:
        async with limiter.acquire(soon()):
            order.append(name)

    async with DatabasePools(database) as pools:
        search, work = (
            RateLimiter(pools, interval=0.05, lease=5, priority=priority) for priority in Priority
        )
        async with search.acquire(soon()):
            tasks = [asyncio.create_task(wait(work, f"work {n}")) for n in range(3)]
            await wait_until(lambda: number_of_tickets(db) == 1)
            tasks += [asyncio.create_task(wait(search, f"search {n}")) for n in range(3)]
            await wait_until(lambda: number_of_tickets(db) == 2)
            status = await search.fetch_status()
        await asyncio.gather(*tasks)

    assert order == [f"{name} {n}" for name in ("search", "work") for n in range(3)]
    assert status.waiting == 3


async def test_background_work_of_several_processes_is_served_in_order_of_arrival(
    database: str, db: psycopg.Connection
) -> None:
    order: list[int] = []

    async def wait(limiter: RateLimiter, number: int) -> None:
        async with limiter.acquire(soon()):
            order.append(number)

    async with (
        limiters(database, interval=0.02) as [search],
        limiters(database, 4, interval=0.02, priority=Priority.BACKGROUND) as workers,
    ):
        async with search.acquire(soon()):
            tasks = []
            for number in (2, 0, 3, 1):
                tasks.append(asyncio.create_task(wait(workers[number], number)))
                await wait_until(lambda: number_of_tickets(db) == len(tasks))
        await asyncio.gather(*tasks)

    assert order == [2, 0, 3, 1]


async def test_background_work_does_not_delay_the_estimate_of_a_search(
    database: str, db: psycopg.Connection
) -> None:
    async with (
        limiters(database, interval=10) as [search],
        limiters(database, interval=10, priority=Priority.BACKGROUND) as [work],
    ):
        db.execute("update gate set free_at = clock_timestamp() + '20 s'")
        waiting = asyncio.create_task(hold(work))
        await wait_until(lambda: number_of_tickets(db) == 1)
        accepted = asyncio.create_task(hold(search))
        await wait_until(lambda: number_of_tickets(db) == 2)
        # 20 s, and the interval after the search; its ticket has not delayed it
        with pytest.raises(QueueTooLong) as caught:
            async with work.acquire(soon(25)):
                pass
        await cancel(waiting, accepted)

    assert caught.value.detail.startswith("2 searches")
    assert 38 <= (caught.value.retry_after or 0) <= 41


async def test_search_counts_the_background_request_in_progress(database: str) -> None:
    async with (
        limiters(database, interval=10) as [search],
        limiters(database, interval=10, priority=Priority.BACKGROUND) as [work],
        work.acquire(soon()),
    ):
        with pytest.raises(QueueTooLong, match="1 searches are waiting") as caught:
            async with search.acquire(soon(5)):
                pass

    assert caught.value.retry_after == 10


async def test_time_of_background_requests_does_not_lengthen_estimates(
    database: str, db: psycopg.Connection
) -> None:
    async with (
        limiters(database, interval=0) as [search],
        limiters(database, interval=0, priority=Priority.BACKGROUND) as [work],
    ):
        await hold(work, seconds=0.5)
        assert db.execute("select request_time from gate").fetchone() == (0,)
        await hold(search, seconds=0.1)
        assert db.execute("select request_time > 0.02 from gate").fetchone() == (True,)


async def test_background_ticket_of_a_dead_process_does_not_delay_the_next_one(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        "insert into gate_queue (place, ticket, priority, expires) overriding system value"
        " values (2::bigint << 61, %s, 1, clock_timestamp() + '0.5 s')",
        [uuid4()],
    )
    async with (
        limiters(database, interval=0) as [search],
        limiters(database, interval=0, priority=Priority.BACKGROUND) as [work],
    ):
        await hold(search)
        assert db.execute(TICKETS).fetchone() == (1,)
        await hold(work)

    assert db.execute(TICKETS).fetchone() == (0,)


async def test_search_of_the_previous_release_goes_before_background_work(
    database: str, db: psycopg.Connection
) -> None:
    """Both wait for each other otherwise, because that release knows only the order of places."""
    ticket = uuid4()
    enqueue = (
        "insert into gate_queue (ticket, expires)"
        " values (%s, clock_timestamp() + '10 s') returning place"
    )
    is_first = "select (select ticket from gate_queue order by place limit 1) = %s"
    async with limiters(database, interval=0, priority=Priority.BACKGROUND) as [work]:
        db.execute("update gate set holder = %s, held_until = clock_timestamp() + '9 s'", [uuid4()])
        waiting = asyncio.create_task(hold(work))
        await wait_until(lambda: number_of_tickets(db) == 1)
        db.execute(enqueue, [ticket])
        db.execute("update gate set holder = null")
        await asyncio.sleep(0.5)
        assert db.execute(HOLDER).fetchone() == (None,)
        assert db.execute(is_first, [ticket]).fetchone() == (True,)
        assert not waiting.done()
        db.execute("delete from gate_queue where ticket = %s", [ticket])
        await waiting


async def test_cooldown_of_a_background_request_applies_to_searches(database: str) -> None:
    async with (
        limiters(database, interval=0) as [search],
        limiters(database, interval=0, priority=Priority.BACKGROUND) as [work],
    ):
        await throttle(work, 100)
        with pytest.raises(QueueTooLong, match="arXiv throttles"):
            await hold(search)


# Searches that would wait too long


async def test_search_that_would_wait_too_long_fails_at_once_without_a_ticket(
    database: str, db: psycopg.Connection
) -> None:
    async with limiters(database, interval=600) as [limiter]:
        async with limiter.acquire(soon()):
            pass
        started = monotonic()
        with pytest.raises(QueueTooLong) as caught:
            async with limiter.acquire(soon(300)):
                pass

    assert monotonic() - started < 60
    assert 500 <= (caught.value.retry_after or 0) <= 601
    assert db.execute(TICKETS).fetchone() == (0,)


async def test_estimate_counts_tickets_and_searches_without_one(
    database: str, db: psycopg.Connection
) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '200 s'")
    async with limiters(database, 2, interval=1000) as [limiter, other]:
        tasks = [
            asyncio.create_task(hold(each, max_wait=9000)) for each in (limiter, other, limiter)
        ]
        await tickets_are(db, 2)
        started = monotonic()
        # 200 s, and an interval for each of two tickets and for one search without
        with pytest.raises(QueueTooLong) as caught:
            async with limiter.acquire(soon(2500)):
                pass
        assert monotonic() - started < 60
        await cancel(*tasks)

    assert caught.value.detail.startswith("3 searches")
    assert 3100 <= (caught.value.retry_after or 0) <= 3201


async def test_search_without_a_ticket_ends_at_its_deadline(
    database: str, db: psycopg.Connection
) -> None:
    async with limiters(database, interval=0.1) as [limiter]:
        async with limiter.acquire(soon()):
            first = asyncio.create_task(hold(limiter))
            await tickets_are(db, 1)
            db.execute("update gate set free_at = clock_timestamp() + '0.5 s'")
            started = monotonic()
            second = asyncio.create_task(limiter.acquire(soon(4)).__aenter__())
            await asyncio.sleep(1)
            db.execute("update gate set free_at = clock_timestamp() + '20 s'")
            with pytest.raises(QueueTooLong, match="took too long"):
                await second
        waited = monotonic() - started
        await cancel(first)

    assert 3.9 < waited < 60


async def test_search_behind_a_cooldown_and_others_fails_at_once(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        "update gate set closed_until = clock_timestamp() + '300 s', request_time = 200,"
        " refusals = 1"
    )
    async with limiters(database, interval=100) as [limiter]:
        waiting = [asyncio.create_task(hold(limiter, max_wait=9000)) for _ in range(3)]
        await tickets_are(db, 1)
        started = monotonic()
        with pytest.raises(QueueTooLong):
            async with limiter.acquire(soon(800)):
                pass
        assert monotonic() - started < 60
        await cancel(*waiting)


async def test_cooldown_ends_all_waits_that_it_makes_too_long(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter_module, "RENEW_SECONDS", 0.2)
    db.execute("update gate set free_at = clock_timestamp() + '400 s'")
    async with limiters(database, interval=1) as [limiter]:
        waiting = [asyncio.create_task(hold(limiter, max_wait=900)) for _ in range(3)]
        await tickets_are(db, 1)
        db.execute("update gate set closed_until = clock_timestamp() + '9000 s'")
        started = monotonic()
        results = await asyncio.gather(*waiting, return_exceptions=True)

    assert monotonic() - started < 60
    assert [type(result) for result in results] == [QueueTooLong] * 3


async def test_search_that_does_not_wait_for_cooldowns_fails_at_once(
    database: str, db: psycopg.Connection
) -> None:
    db.execute("update gate set closed_until = clock_timestamp() + '900 s'")
    async with limiters(database) as [limiter]:
        with pytest.raises(QueueTooLong):
            async with limiter.acquire(soon(1000), wait_for_cooldown=False):
                pass
        db.execute("update gate set closed_until = clock_timestamp() + '0.5 s'")
        await hold(limiter)


# Cancellation


async def test_cancelled_search_frees_its_ticket(database: str, db: psycopg.Connection) -> None:
    async with limiters(database, interval=900) as [limiter]:
        async with limiter.acquire(soon()):
            pass
        waiting = asyncio.create_task(hold(limiter, max_wait=1000))
        await tickets_are(db, 1)
        await cancel(waiting)

    assert db.execute(TICKETS).fetchone() == (0,)


@pytest.mark.usefixtures("no_polling")
async def test_cancelled_search_without_a_ticket_does_not_delay_the_others(
    database: str,
) -> None:
    log: list[tuple[float, float]] = []
    async with limiters(database, interval=0) as [limiter]:
        async with limiter.acquire(soon()):
            tasks = [asyncio.create_task(hold(limiter, log)) for _ in range(5)]
            await asyncio.sleep(0.2)
            await cancel(tasks[2])
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    assert len(log) == 4


@pytest.mark.usefixtures("no_polling")
async def test_cancelled_search_with_a_ticket_passes_the_lock_on(database: str) -> None:
    async with limiters(database, interval=0) as [limiter]:
        async with limiter.acquire(soon()):
            tasks = [asyncio.create_task(hold(limiter)) for _ in range(2)]
            await asyncio.sleep(0.2)
            await cancel(tasks[0])
        await asyncio.wait_for(tasks[1], 60)


@pytest.mark.parametrize("after", range(12))
async def test_search_cancelled_at_any_moment_frees_the_rate_limiter(
    database: str, db: psycopg.Connection, after: int
) -> None:
    async with limiters(database, interval=0) as [limiter]:
        await hold(limiter)
        waiting = asyncio.create_task(hold(limiter))
        await asyncio.sleep(after / 1000)
        await cancel(waiting)

    assert db.execute(HOLDER).fetchone() == (None,)
    assert db.execute(TICKETS).fetchone() == (0,)


@pytest.mark.parametrize("seed", range(4))
async def test_rate_limiter_is_free_after_any_order_of_ends_and_cancellations(
    database: str, db: psycopg.Connection, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - not cryptographic
    async with limiters(database, interval=0) as [limiter]:
        for _ in range(10):
            tasks = [asyncio.create_task(hold(limiter, seconds=0.002)) for _ in range(6)]
            for task in chance.sample(tasks, len(tasks)):
                await asyncio.sleep(chance.random() / 100)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert db.execute(HOLDER).fetchone() == (None,)

    assert db.execute(TICKETS).fetchone() == (0,)


# Wake-ups within a process


@pytest.mark.usefixtures("no_polling")
async def test_searches_of_one_process_follow_each_other_at_once(database: str) -> None:
    log: list[tuple[float, float]] = []
    async with limiters(database, interval=0) as [limiter]:
        tasks = [asyncio.create_task(hold(limiter, log)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert len(log) >= 13


@pytest.mark.usefixtures("no_polling")
async def test_cancelled_release_wakes_the_next_search(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limiters(database, interval=0) as [limiter]:
        release = limiter._release  # noqa: SLF001

        async def release_slowly(*args: Any) -> None:
            await asyncio.sleep(0.1)
            await release(*args)

        holding = asyncio.create_task(hold(limiter, seconds=0.2))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(hold(limiter))
        await asyncio.sleep(0.05)
        monkeypatch.setattr(limiter, "_release", release_slowly)
        await asyncio.sleep(0.15)
        holding.cancel()
        await asyncio.wait_for(waiting, 60)


# Expiry


async def test_expired_ticket_is_skipped(database: str, db: psycopg.Connection) -> None:
    started = monotonic()
    db.execute(
        "insert into gate_queue (ticket, expires) values (%s, clock_timestamp() + '0.5 s')",
        [uuid4()],
    )
    async with limiters(database) as [limiter]:
        await hold(limiter)

    assert monotonic() - started >= 0.5


async def test_search_whose_ticket_expired_takes_another(
    database: str, db: psycopg.Connection
) -> None:
    async with limiters(database, 2, interval=0, lease=20) as [limiter, other]:
        async with other.acquire(soon()):
            tasks = [asyncio.create_task(hold(limiter)) for _ in range(3)]
            await tickets_are(db, 1)
            db.execute("delete from gate_queue")
            await tickets_are(db, 1)
        await asyncio.gather(*tasks)


async def test_lease_of_a_dead_process_expires(database: str, db: psycopg.Connection) -> None:
    started = monotonic()
    db.execute("update gate set holder = %s, held_until = clock_timestamp() + '1 s'", [uuid4()])
    async with limiters(database, interval=0.3) as [limiter]:
        await hold(limiter)

    assert monotonic() - started >= 1.3


async def test_expired_lease_lets_searches_of_the_same_process_continue(database: str) -> None:
    async with limiters(database, interval=0, lease=0.3) as [limiter], limiter.acquire(soon()):
        await hold(limiter)


async def test_release_of_an_expired_lease_does_not_end_the_next_one(
    database: str, db: psycopg.Connection
) -> None:
    async with limiters(database, 2, interval=0, lease=0.3) as [slow, quick]:
        late = slow.acquire(soon())
        await late.__aenter__()
        await asyncio.sleep(0.5)
        async with quick.acquire(soon()):
            holder = db.execute(HOLDER).fetchone()
            await late.__aexit__(None, None, None)
            assert db.execute(HOLDER).fetchone() == holder != (None,)


# Cooldown


async def throttle(limiter: RateLimiter, cooldown: float) -> None:
    async with limiter.acquire(soon()) as lease:
        assert isinstance(lease, Lease)
        lease.cooldown = cooldown
    assert lease.cooldown_left >= cooldown * 0.9


async def test_cooldown_applies_to_all_processes_and_doubles_each_time(
    database: str, db: psycopg.Connection
) -> None:
    cooldowns = []
    async with limiters(database, 2, interval=0) as [one, other]:
        for _ in range(3):
            await throttle(one, 100)
            cooldowns.append(db.execute(COOLDOWN).fetchone())
            with pytest.raises(QueueTooLong, match="arXiv throttles"):
                await hold(other)
            db.execute("update gate set closed_until = '-infinity'")
        await hold(one)  # other failures do not reset the count
        await throttle(one, 100)
        cooldowns.append(db.execute(COOLDOWN).fetchone())
        db.execute("update gate set closed_until = '-infinity'")
        async with one.acquire(soon()) as lease:
            assert isinstance(lease, Lease)
            lease.answered = True
        await throttle(one, 100)
        cooldowns.append(db.execute(COOLDOWN).fetchone())

    seconds = [round(row[0], -1) for row in cooldowns if row]
    assert seconds == [100, 200, 400, 800, 100]


async def test_cooldown_is_limited_unless_arxiv_specifies_a_longer_one(
    database: str, db: psycopg.Connection
) -> None:
    async with limiters(database, interval=0) as [limiter]:
        db.execute("update gate set refusals = 40")
        await throttle(limiter, 100)
        limited = db.execute(COOLDOWN).fetchone() or [0]
        db.execute("update gate set closed_until = '-infinity'")
        await throttle(limiter, 80_000)
        specified = db.execute(COOLDOWN).fetchone() or [0]

    assert 21_500 < limited[0] <= 21_600
    assert 79_000 < specified[0] <= 80_000


# Records of other processes


@pytest.mark.parametrize("ahead", [0, 2])
async def test_record_of_another_process_ends_the_wait(database: str, ahead: int) -> None:
    key = uuid4()
    async with limiters(database, interval=1) as [limiter], DatabasePools(database) as pools:
        async with limiter.acquire(soon()):
            pass
        others = [asyncio.create_task(hold(limiter)) for _ in range(ahead)]
        await asyncio.sleep(0.1)

        async def search() -> object:
            async with limiter.acquire(soon(), probe=CacheProbe(key, lambda _: True)) as found:
                return found

        waiting = asyncio.create_task(search())
        await asyncio.sleep(0.2)
        response = ArxivResponse(timestamp=1, status=200, num_results=0, query="x")
        query_id = await RecordStore(pools).insert(create_record(response, key))
        record = await waiting
        await cancel(*others)

    assert getattr(record, "query_id", None) == query_id


# PostgreSQL fails


async def test_queue_survives_lost_connections(database: str, db: psycopg.Connection) -> None:
    log: list[tuple[float, float]] = []
    async with limiters(database, 2, interval=0.5) as opened:
        async with opened[0].acquire(soon()):
            pass
        waiting = [asyncio.create_task(hold(limiter, log)) for limiter in opened]
        for _ in range(5):
            await asyncio.sleep(0.1)
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        await asyncio.gather(*waiting)

    assert len(log) == 2
    assert min(gaps(log)) >= 0.5


async def test_lease_whose_confirmation_is_lost_is_granted_again(database: str) -> None:
    async with proxied(database) as (proxy, url), limiters(url, lease=90) as [limiter]:
        async with limiter.acquire(soon()):
            pass
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(hold(limiter))
        await asyncio.sleep(0)
        proxy.cut_before_answer = True
        await asyncio.gather(waiting, return_exceptions=True)
        await hold(limiter)  # long before the lease expires


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Let calls fail soon. A working database may take longer on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.db.pool.CALL_TIMEOUT", 0.5)
        patch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
        yield


async def test_cooldown_is_not_lost_while_the_database_is_unavailable(
    database: str,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxied(database) as (proxy, url), limiters(url, interval=0, lease=1) as [limiter]:
        with ExitStack() as stack:
            async with limiter.acquire(soon()) as lease:
                assert isinstance(lease, Lease)
                lease.cooldown = 600
                proxy.open.clear()
                stack.enter_context(short_timeouts())
            with pytest.raises(DatabaseUnavailable):
                await hold(limiter)
        proxy.open.set()
        with pytest.raises(QueueTooLong, match="arXiv throttles"):
            await hold(limiter)
    async with limiters(database) as [other]:
        with pytest.raises(QueueTooLong, match="arXiv throttles"):
            await hold(other)
    assert db.execute("select refusals from gate").fetchone() == (1,)
    assert "could not release the rate limiter, it is freed when its lease expires" in caplog.text


async def test_lease_that_cannot_be_cancelled_expires(database: str) -> None:
    async with proxied(database) as (proxy, url), limiters(url, interval=0, lease=4) as [limiter]:
        await hold(limiter)
        # the confirmation of the lease is lost, and nothing more can be sent
        proxy.cut_before_answer = True
        waiting = asyncio.create_task(hold(limiter))
        while proxy.cut_before_answer:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.001)
        proxy.open.clear()
        with short_timeouts():
            waiting.cancel()
            await asyncio.wait([waiting])
        proxy.open.set()
        await hold(limiter)


async def test_unreachable_database_grants_no_lease() -> None:
    with short_timeouts():
        async with limiters("host=127.0.0.1 port=9 dbname=x user=x") as [limiter]:
            with pytest.raises(DatabaseUnavailable):
                await hold(limiter)


# Several processes


class Four(NamedTuple):
    database: str
    urls: list[str]


@pytest.fixture(scope="module")
def four(server: str, template: str, arxiv_server: tuple[StandIn, str]) -> Iterator[Four]:
    """The addresses of four services on one database, with an interval of 50 ms."""
    with copied(server, template) as url, ExitStack() as stack:
        environment = {
            "ARXIV_DATABASE_URL": url,
            "ARXIV_API_URL": arxiv_server[1],
            "ARXIV_INTERVAL": "0.05",
        }
        running = [stack.enter_context(service(environment)) for _ in range(4)]
        yield Four(url, [each.url() for each in running])


def upstream(arxiv: StandIn) -> tuple[int, float, int]:
    """Number of requests to arXiv, the smallest gap between two, and the number of overlaps."""
    log = [(request.started, request.ended) for request in arxiv.requests]
    found = gaps(log)
    return len(log), min(found, default=0), sum(gap < 0 for gap in found)


async def get_all(urls: list[str]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        return await asyncio.gather(*map(client.get, urls))


async def test_four_processes_keep_the_interval(four: Four, arxiv: StandIn) -> None:
    arxiv.delay = 0.01
    words = ["testing", "neutrino", "graph", "quantum", "dark", "matter", "learning", "stars"]
    searches = [f"title={words[n % 8]}&max_results={1 + n % 5}" for n in range(120)]
    responses = await get_all(
        [f"{four.urls[n % 4]}/arxiv?{search}" for n, search in enumerate(searches)]
    )

    number, gap, overlaps = upstream(arxiv)
    print(f"{number} requests, smallest gap {gap * 1000:.1f} ms, {overlaps} overlaps")  # noqa: T201
    assert {response.status_code for response in responses} == {200}
    assert number == 40
    assert overlaps == 0
    assert gap >= 0.05


async def test_hundreds_of_identical_searches_cause_one_request(four: Four, arxiv: StandIn) -> None:
    arxiv.delay = 0.01
    responses = await get_all([f"{four.urls[n % 4]}/arxiv?any=testing" for n in range(200)])

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["query_id"] for response in responses}) == 1
    assert len(arxiv.requests) == 1


def test_client_that_disconnects_frees_its_ticket(four: Four) -> None:
    with psycopg.connect(four.database, autocommit=True) as db:
        db.execute("update gate set free_at = clock_timestamp() + '20 s'")
        with subprocess.Popen(["curl", "-s", f"{four.urls[0]}/arxiv?title=nothing"]) as client:
            wait_for_tickets(db, 1)
            client.kill()
        wait_for_tickets(db, 0)
        db.execute("update gate set free_at = clock_timestamp()")


def wait_for_tickets(db: psycopg.Connection, number: int) -> None:
    end = monotonic() + 60
    while db.execute(TICKETS).fetchone() != (number,):
        assert monotonic() < end
        sleep(0.05)


def test_killed_process_frees_the_rate_limiter(
    database: str, arxiv: StandIn, arxiv_server: tuple[StandIn, str], db: psycopg.Connection
) -> None:
    arxiv.delay = 1.5
    environment = {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0.2",
        "ARXIV_TIMEOUT": "2",
    }
    with service(environment) as first, service(environment) as second:
        urls = [f"{each.url()}/arxiv?title=testing" for each in (first, second)]
        began = monotonic()
        with subprocess.Popen(["curl", "-s", urls[0]]):
            while not arxiv.requests:
                sleep(0.05)
            first.end(signal.SIGKILL)
        assert httpx.get(urls[1], timeout=60).status_code == 200
        # the lease of 3 seconds, the interval, and the request
        assert monotonic() - began >= 3 + 0.2 + arxiv.delay
    assert db.execute("select count(*) from queries").fetchone() == (1,)


@pytest.fixture
def bouncer(database: str, tmp_path: Path) -> Iterator[str]:
    """A PgBouncer with three connections to the database; its connection string."""
    with pgbouncer(tmp_path, database, {"default_pool_size = 20": "default_pool_size = 3"}) as url:
        yield f"{url} user=postgres"


@pytest.mark.usefixtures("arxiv")
async def test_rate_limiter_works_through_pgbouncer(bouncer: str, gateway: Serve) -> None:
    log: list[tuple[float, float]] = []
    async with limiters(bouncer, 4, interval=0.02) as opened:
        await asyncio.gather(*(hold(opened[n % 4], log) for n in range(40)))
    async with gateway(database_url=bouncer, database_ro_url=None) as client:
        words = [f"testing{n % 20}" for n in range(40)]
        responses = await asyncio.gather(
            *(client.get("/arxiv", params={"any": word}) for word in words)
        )

    assert len(log) == 40
    assert min(gaps(log)) >= 0.02
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["query_id"] for response in responses}) == 20
