"""Never two requests at arXiv at once, never less than the pause between them, whoever asks."""

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.db import rate_limiter as gate_module
from service.db.pool import DatabasePools
from service.db.rate_limiter import CacheProbe, Lease, RateLimiter
from service.db.records import RecordStore
from service.errors import DatabaseUnavailable, QueueTooLong
from service.models.arxiv import ArxivResponse
from tests.conftest import Serve
from tests.support.haproxy import pgbouncer
from tests.support.process import service
from tests.support.proxy import proxied

Opened = Callable[..., RateLimiter]


@asynccontextmanager
async def gates(
    url: str, number: int = 1, *, interval: float = 0.1, lease: float = 5.0
) -> AsyncIterator[list[RateLimiter]]:
    """Gates with connections of their own, as if in as many processes."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(DatabasePools(url)) for _ in range(number)]
        yield [RateLimiter(connections, interval=interval, lease=lease) for connections in opened]


def soon(seconds: float = 30) -> float:
    return asyncio.get_running_loop().time() + seconds


async def pass_through(
    rate_limiter: RateLimiter, log: list[tuple[float, float]], length: float = 0.01
) -> None:
    async with rate_limiter.acquire(soon()):
        began = monotonic()
        await asyncio.sleep(length)
        log.append((began, monotonic()))


def gaps(log: list[tuple[float, float]]) -> list[float]:
    """Seconds from the end of each to the start of the next."""
    ordered = sorted(log)
    return [later[0] - earlier[1] for earlier, later in pairwise(ordered)]


async def test_turns_never_overlap_and_keep_their_pause(database: str) -> None:
    log: list[tuple[float, float]] = []
    async with gates(database, 4, interval=0.05) as opened:
        await asyncio.gather(*(pass_through(opened[n % 4], log) for n in range(24)))

    assert len(log) == 24
    assert min(gaps(log)) >= 0.05


async def test_first_come_is_first_served_across_processes(database: str) -> None:
    order: list[int] = []

    async def come(rate_limiter: RateLimiter, number: int) -> None:
        async with rate_limiter.acquire(soon()):
            order.append(number)

    async with gates(database, 3, interval=0.1) as opened:
        for rate_limiter in opened:  # new connections take their time
            await asyncio.gather(*(rate_limiter.state() for _ in range(4)))
        tasks = []
        for number in range(12):
            tasks.append(asyncio.create_task(come(opened[number % 3], number)))
            await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)

    assert order == list(range(12))


async def test_an_undisturbed_turn_costs_two_round_trips(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.POOL_SIZE", 1)
    async with proxied(database) as (proxy, url), gates(url, interval=0) as [rate_limiter]:
        async with rate_limiter.acquire(soon()):
            pass
        proxy.forget()
        async with rate_limiter.acquire(soon()):
            assert proxy.trips == 1

        assert proxy.trips == 2


async def test_who_would_wait_too_long_is_sent_away_without_joining(
    database: str, db: psycopg.Connection
) -> None:
    async with gates(database, interval=10) as [rate_limiter]:
        async with rate_limiter.acquire(soon()):
            pass
        began = monotonic()
        with pytest.raises(QueueTooLong) as caught:
            async with rate_limiter.acquire(soon(5)):
                pass

    assert monotonic() - began < 1
    assert 8 <= (caught.value.retry_after or 0) <= 11
    assert db.execute("select count(*) from gate_queue").fetchone() == (0,)


async def test_a_cancelled_wait_gives_its_place_up(database: str, db: psycopg.Connection) -> None:
    async with gates(database, interval=2) as [rate_limiter]:
        async with rate_limiter.acquire(soon()):
            pass
        waiting = asyncio.create_task(pass_through(rate_limiter, []))
        await asyncio.sleep(0.3)
        assert db.execute("select count(*) from gate_queue").fetchone() == (1,)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    assert db.execute("select count(*) from gate_queue").fetchone() == (0,)


async def test_a_dead_waiter_loses_its_place(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LIFETIME", 0.5)
    db.execute(
        "insert into gate_queue (ticket, expires) values (%s, clock_timestamp() + '0.5 s')",
        [uuid4()],
    )
    began = monotonic()
    async with gates(database) as [rate_limiter]:
        await pass_through(rate_limiter, [])

    assert 0.4 < monotonic() - began < 2


async def test_in_one_process_turns_follow_each_other_at_once(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORTEST_LOOK", "LONGEST_LOOK", "LOOK_IN"):  # nobody happens to look in time
        monkeypatch.setattr(gate_module, name, 60.0)
    log: list[tuple[float, float]] = []
    async with gates(database, interval=0) as [rate_limiter]:
        began = monotonic()
        tasks = [asyncio.create_task(pass_through(rate_limiter, log)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks[::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert monotonic() - began < 10
    assert len(log) >= 13


async def test_whatever_ends_a_turn_the_next_one_looks(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SHORTEST_LOOK", "LONGEST_LOOK", "LOOK_IN"):
        monkeypatch.setattr(gate_module, name, 60.0)
    async with gates(database, interval=0) as [rate_limiter]:
        held = asyncio.Event()

        async def hold() -> None:
            async with rate_limiter.acquire(soon()):
                held.set()
                await asyncio.sleep(0.1)

        holding = asyncio.create_task(hold())
        await held.wait()
        waiting = asyncio.create_task(pass_through(rate_limiter, []))
        await asyncio.sleep(0.05)
        release = rate_limiter._release  # noqa: SLF001

        async def slowly(*args: Any) -> None:
            await asyncio.sleep(0.1)
            await release(*args)

        monkeypatch.setattr(rate_limiter, "_release", slowly)
        await asyncio.sleep(0.1)
        holding.cancel()
        await asyncio.wait_for(waiting, 5)


async def test_a_place_that_had_expired_makes_another_the_first(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LOOK_IN", 5.0)
    log: list[tuple[float, float]] = []
    async with gates(database, 2, interval=0, lease=20) as [rate_limiter, other]:
        async with other.acquire(soon()):
            tasks = []
            for _ in range(3):
                tasks.append(asyncio.create_task(pass_through(rate_limiter, log)))
                await asyncio.sleep(0.1)
            db.execute("delete from gate_queue where place = (select min(place) from gate_queue)")
            await asyncio.sleep(0.5)  # it has a new place by now
        began = monotonic()
        await asyncio.gather(*tasks)

    assert monotonic() - began < 2


async def test_a_turn_that_outlives_its_lease_lets_its_neighbours_look(database: str) -> None:
    async with gates(database, interval=0, lease=0.3) as [rate_limiter]:
        began = monotonic()
        async with rate_limiter.acquire(soon()):
            await pass_through(rate_limiter, [])

    assert monotonic() - began < 1.5


async def test_a_dead_holder_frees_the_gate_when_its_lease_ends(
    database: str, db: psycopg.Connection
) -> None:
    db.execute("update gate set holder = %s, held_until = clock_timestamp() + '1 s'", [uuid4()])
    began = monotonic()
    async with gates(database, interval=0.3) as [rate_limiter]:
        await pass_through(rate_limiter, [])

    assert 1.3 <= monotonic() - began < 2.5


async def test_a_turn_that_outlives_its_lease_does_not_free_the_next_one(
    database: str, db: psycopg.Connection
) -> None:
    async with gates(database, 2, interval=0, lease=0.3) as [slow, quick]:
        late = slow.acquire(soon())
        await late.__aenter__()
        await asyncio.sleep(0.5)
        async with quick.acquire(soon()):
            holder = db.execute("select holder from gate").fetchone()
            await late.__aexit__(None, None, None)
            assert db.execute("select holder from gate").fetchone() == holder != (None,)


async def refused(rate_limiter: RateLimiter, cooldown: float) -> None:
    async with rate_limiter.acquire(soon()) as turn:
        assert isinstance(turn, Lease)
        turn.cooldown = cooldown
    assert turn.closed >= cooldown * 0.9


async def test_a_refusal_closes_the_gate_for_all_and_longer_each_time(
    database: str, db: psycopg.Connection
) -> None:
    closed = "select extract(epoch from closed_until - clock_timestamp())::float8 from gate"
    found = []
    async with gates(database, 2, interval=0) as [one, other]:
        for _ in range(3):
            await refused(one, 100)
            found.append(db.execute(closed).fetchone())
            with pytest.raises(QueueTooLong, match="arXiv asked for a pause"):
                await pass_through(other, [])
            db.execute("update gate set closed_until = '-infinity'")
        await pass_through(one, [])  # a failure of another sort changes nothing
        await refused(one, 100)
        found.append(db.execute(closed).fetchone())
        db.execute("update gate set closed_until = '-infinity'")
        async with one.acquire(soon()) as turn:
            assert isinstance(turn, Lease)
            turn.answered = True
        await refused(one, 100)
        found.append(db.execute(closed).fetchone())

    seconds = [round(row[0], -1) for row in found if row]
    assert seconds == [100, 200, 400, 800, 100]


async def test_the_longest_pause_has_a_limit_unless_arxiv_names_one(
    database: str, db: psycopg.Connection
) -> None:
    closed = "select extract(epoch from closed_until - clock_timestamp())::float8 from gate"
    async with gates(database, interval=0) as [rate_limiter]:
        db.execute("update gate set refusals = 40")
        await refused(rate_limiter, 100)
        limited = db.execute(closed).fetchone() or [0]
        db.execute("update gate set closed_until = '-infinity'")
        await refused(rate_limiter, 80_000)
        named = db.execute(closed).fetchone() or [0]

    assert 21_500 < limited[0] <= 21_600
    assert 79_000 < named[0] <= 80_000


async def test_without_patience_any_pause_of_arxivs_is_too_long(
    database: str, db: psycopg.Connection
) -> None:
    db.execute("update gate set closed_until = clock_timestamp() + '2 s'")
    async with gates(database) as [rate_limiter]:
        with pytest.raises(QueueTooLong):
            async with rate_limiter.acquire(soon(), patient=False):
                pass
        await pass_through(rate_limiter, [])


async def test_what_another_records_ends_the_waiting(database: str) -> None:
    key = uuid4()
    async with (
        gates(database, interval=2) as [rate_limiter],
        DatabasePools(database) as connections,
    ):
        async with rate_limiter.acquire(soon()):
            pass
        store = RecordStore(connections)

        async def seek() -> object:
            async with rate_limiter.acquire(soon(), seek=CacheProbe(key, lambda _: True)) as given:
                return given

        waiting = asyncio.create_task(seek())
        await asyncio.sleep(0.2)
        query_id = await store.save(
            ArxivResponse(timestamp=1, status=200, num_results=0, query="x", search_key=key)
        )
        found = await waiting

    assert getattr(found, "query_id", None) == query_id


async def test_a_database_that_comes_back_keeps_the_queue(
    database: str, db: psycopg.Connection
) -> None:
    log: list[tuple[float, float]] = []
    async with gates(database, 2, interval=0.5) as opened:
        async with opened[0].acquire(soon()):
            pass
        waiting = [asyncio.create_task(pass_through(rate_limiter, log)) for rate_limiter in opened]
        for _ in range(5):
            await asyncio.sleep(0.1)
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        await asyncio.gather(*waiting)

    assert len(log) == 2
    assert min(gaps(log)) >= 0.5


async def test_a_turn_that_its_holder_did_not_hear_of_is_given_again(database: str) -> None:
    async with proxied(database) as (proxy, url), gates(url, lease=20) as [rate_limiter]:
        async with rate_limiter.acquire(soon()):
            pass
        await asyncio.sleep(0.2)
        waiting = asyncio.create_task(pass_through(rate_limiter, []))
        await asyncio.sleep(0)
        proxy.cut_before_answer = True
        began = monotonic()
        await asyncio.gather(waiting, return_exceptions=True)
        await pass_through(rate_limiter, [])

    assert monotonic() - began < 8


async def test_a_refusal_is_not_forgotten_when_the_database_is_away(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxied(database) as (proxy, url), gates(url, interval=0, lease=1) as [rate_limiter]:
        await pass_through(rate_limiter, [])  # now there is a connection, however long that took
        monkeypatch.setattr("service.db.pool.CALL_TIMEOUT", 0.5)
        monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
        async with rate_limiter.acquire(soon()) as turn:
            assert isinstance(turn, Lease)
            turn.cooldown = 600
            proxy.open.clear()
        with pytest.raises(DatabaseUnavailable):
            await pass_through(rate_limiter, [])
        proxy.open.set()
        with pytest.raises(QueueTooLong, match="asked for a pause"):
            await pass_through(rate_limiter, [])
    async with gates(database) as [other]:
        with pytest.raises(QueueTooLong, match="asked for a pause"):
            await pass_through(other, [])
    assert db.execute("select refusals from gate").fetchone() == (1,)


async def test_a_turn_whose_end_could_not_be_told_ends_when_the_database_is_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.CALL_TIMEOUT", 0.5)
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
    async with (
        proxied(database) as (proxy, url),
        gates(url, interval=0, lease=60) as [rate_limiter],
    ):
        await pass_through(rate_limiter, [])
        # the word that the turn began is lost, and then nothing more can be said
        proxy.cut_before_answer = True
        waiting = asyncio.create_task(pass_through(rate_limiter, []))
        await asyncio.sleep(0.2)
        assert not proxy.cut_before_answer
        proxy.open.clear()
        waiting.cancel()
        await asyncio.wait([waiting])
        proxy.open.set()
        began = monotonic()
        await pass_through(rate_limiter, [])

    assert monotonic() - began < 5


async def test_who_waits_behind_a_pause_and_others_is_sent_away_at_once(
    database: str, db: psycopg.Connection
) -> None:
    db.execute(
        "update gate set closed_until = clock_timestamp() + '3 s', request_time = 2, refusals = 1"
    )
    async with gates(database, interval=1) as [rate_limiter]:
        waiting = [asyncio.create_task(pass_through(rate_limiter, [])) for _ in range(3)]
        await asyncio.sleep(0.5)
        began = monotonic()
        with pytest.raises(QueueTooLong):
            async with rate_limiter.acquire(soon(8)):
                pass
        assert monotonic() - began < 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("after", range(12))
async def test_a_wait_that_is_cancelled_at_any_moment_frees_the_gate(
    database: str, db: psycopg.Connection, after: int
) -> None:
    async with gates(database, interval=0) as [rate_limiter]:
        await pass_through(rate_limiter, [])
        waiting = asyncio.create_task(pass_through(rate_limiter, []))
        await asyncio.sleep(after / 1000)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    assert db.execute("select holder from gate").fetchone() == (None,)
    assert db.execute("select count(*) from gate_queue").fetchone() == (0,)


async def test_who_ends_a_turn_leaves_the_word_of_it_to_nobody_who_is_leaving(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gates(database, interval=0) as [rate_limiter]:
        tell = rate_limiter._tell  # noqa: SLF001

        async def linger() -> None:
            await tell()
            await asyncio.sleep(0.2)

        async with rate_limiter.acquire(soon()):
            waiting = asyncio.create_task(pass_through(rate_limiter, []))
            await asyncio.sleep(0.1)
            monkeypatch.setattr(rate_limiter, "_tell", linger)
            waiting.cancel()
            await asyncio.sleep(0.1)  # it has told what there was, and is still here
        await asyncio.gather(waiting, return_exceptions=True)

    assert db.execute("select holder from gate").fetchone() == (None,)


@pytest.mark.parametrize("seed", range(4))
async def test_however_turns_and_waits_end_the_gate_is_free_in_the_end(
    database: str, db: psycopg.Connection, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    async with gates(database, interval=0) as [rate_limiter]:
        for _ in range(10):
            tasks = [asyncio.create_task(pass_through(rate_limiter, [], 0.002)) for _ in range(6)]
            for task in chance.sample(tasks, len(tasks)):
                await asyncio.sleep(chance.random() / 100)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert db.execute("select holder from gate").fetchone() == (None,)

    assert db.execute("select count(*) from gate_queue").fetchone() == (0,)


async def test_the_end_of_a_turn_and_the_next_one_are_one_round_trip(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.POOL_SIZE", 1)
    monkeypatch.setattr(gate_module, "LONGEST_LOOK", 5.0)  # nobody happens to look in time
    monkeypatch.setattr(gate_module, "SHORTEST_LOOK", 5.0)
    async with proxied(database) as (proxy, url), gates(url, interval=0) as [rate_limiter]:
        async with rate_limiter.acquire(soon()):
            waiting = asyncio.create_task(pass_through(rate_limiter, []))
            await asyncio.sleep(0.3)
            proxy.forget()
        await waiting

        assert proxy.trips == 2  # one for both, and one for the end of the second


async def test_without_a_database_there_is_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
    async with gates("host=127.0.0.1 port=9 dbname=x user=x") as [rate_limiter]:
        with pytest.raises(DatabaseUnavailable):
            await pass_through(rate_limiter, [])


# with processes of its own each


@pytest.fixture
def four(database: str, arxiv: StandIn, arxiv_server: tuple[StandIn, str]) -> Iterator[list[str]]:
    """The addresses of four services on one database, with a pause of 50 ms."""
    environment = {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0.05",
    }
    arxiv.delay = 0.01
    with ExitStack() as stack:
        running = [stack.enter_context(service(environment)) for _ in range(4)]
        yield [each.url() for each in running]


def upstream(arxiv: StandIn) -> tuple[int, float, int]:
    """How many requests arXiv saw, the smallest gap between two, and how many overlapped."""
    log = [(request.started, request.ended) for request in arxiv.requests]
    found = gaps(log)
    return len(log), min(found, default=0), sum(gap < 0 for gap in found)


async def get_all(urls: list[str]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        return await asyncio.gather(*map(client.get, urls))


async def test_four_processes_keep_one_pause(four: list[str], arxiv: StandIn) -> None:
    words = ["testing", "neutrino", "graph", "quantum", "dark", "matter", "learning", "stars"]
    searches = [f"title={words[n % 8]}&max_results={1 + n % 5}" for n in range(200)]
    responses = await get_all(
        [f"{four[n % 4]}/arxiv?{search}" for n, search in enumerate(searches)]
    )

    number, gap, overlaps = upstream(arxiv)
    print(f"{number} requests, smallest gap {gap * 1000:.1f} ms, {overlaps} overlaps")  # noqa: T201
    assert {response.status_code for response in responses} == {200}
    assert number == 40
    assert overlaps == 0
    assert gap >= 0.05


async def test_five_hundred_equal_searches_cause_one_request(
    four: list[str], arxiv: StandIn
) -> None:
    responses = await get_all([f"{four[n % 4]}/arxiv?title=testing" for n in range(500)])

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["query_id"] for response in responses}) == 1
    assert len(arxiv.requests) == 1


def test_a_client_that_hangs_up_gives_its_place_up(four: list[str], db: psycopg.Connection) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '20 s'")
    with subprocess.Popen(["curl", "-s", f"{four[0]}/arxiv?title=testing"]) as client:
        wait_for(db, 1)
        client.kill()
    wait_for(db, 0)


def wait_for(db: psycopg.Connection, places: int) -> None:
    end = monotonic() + 10
    while db.execute("select count(*) from gate_queue").fetchone() != (places,):
        assert monotonic() < end
        sleep(0.05)


def test_a_killed_process_frees_the_gate(
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
        with subprocess.Popen(["curl", "-s", f"{first.url()}/arxiv?title=testing"]):
            while not arxiv.requests:
                sleep(0.05)
            first.end(signal.SIGKILL)
        began = monotonic()
        assert second.get("/arxiv", title="testing").status_code == 200
        # the lease of 3 seconds, the pause, and the request
        assert 1.5 < monotonic() - began < 8
    assert db.execute("select count(*) from queries").fetchone() == (1,)


@pytest.fixture
def bouncer(database: str, tmp_path: Path) -> Iterator[str]:
    """A PgBouncer with three connections to the database; its connection string."""
    with pgbouncer(tmp_path, database, {"default_pool_size = 20": "default_pool_size = 3"}) as url:
        yield f"{url} user=postgres"


@pytest.mark.usefixtures("arxiv")
async def test_the_gate_works_through_pgbouncer(bouncer: str, gateway: Serve) -> None:
    log: list[tuple[float, float]] = []
    async with gates(bouncer, 4, interval=0.02) as opened:
        await asyncio.gather(*(pass_through(opened[n % 4], log) for n in range(40)))
    async with gateway(database_url=bouncer, database_ro_url=None) as client:
        words = [f"testing{n % 20}" for n in range(40)]
        responses = await asyncio.gather(
            *(client.get("/arxiv", params={"any": word}) for word in words)
        )

    assert len(log) == 40
    assert min(gaps(log)) >= 0.02
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["query_id"] for response in responses}) == 20
