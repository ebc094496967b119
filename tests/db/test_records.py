"""Records are inserted in one round trip, all or nothing, and survive connection failures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from service.db import pool as connections_module
from service.db.conninfo import create_libpq_environment
from service.db.pool import DatabasePools
from service.db.queued_records import QueuedRecordStore
from service.db.records import RecordStore, create_record
from service.errors import (
    ConfigurationError,
    DatabaseTimeout,
    DatabaseUnavailable,
    QueueUnavailable,
    RecordRejected,
)
from service.models.arxiv import ArxivResponse, Entry
from service.models.records import Record
from tests.support.proxy import proxied

COUNTS = "select (select count(*) from queries), (select count(*) from results)"


@asynccontextmanager
async def stored(url: str) -> AsyncIterator[RecordStore]:
    async with DatabasePools(url) as connections:
        yield RecordStore(connections)


def answer(entries: int, query: str = "search_query=x") -> Record:
    return create_record(response(entries, query))


def response(entries: int, query: str = "search_query=x") -> ArxivResponse:
    return ArxivResponse(
        timestamp=1_795_464_900,
        status=200,
        num_results=entries,
        query=query,
        entries=[paper(number) for number in range(entries)],
    )


def paper(number: int, title: str = "Title") -> Entry:
    return Entry(
        arxiv_id=f"2611.{number:05}",
        version=1,
        authors=["Émilie du Châtelet", "A. N. Other"],
        affiliations=[[], []],
        title=f"{title} {number}",
        journal=None,
        summary="",
        comment=None,
        published=datetime(2026, 11, 23, tzinfo=UTC),
        updated=None,
        dois=[],
        primary_category=None,
        categories=[],
        links=[],
    )


@pytest.fixture
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other connections of the pool do not affect the count."""
    monkeypatch.setattr(connections_module, "POOL_SIZE", 1)


@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize("entries", [0, 1, 10, 2000])
async def test_record_is_inserted_in_one_round_trip(database: str, entries: int) -> None:
    async with proxied(database) as (proxy, url), stored(url) as store:
        await store.insert(answer(1))
        proxy.reset()
        await store.insert(answer(entries))

        assert (proxy.trips, proxy.answers) == (1, 1)


@pytest.mark.usefixtures("one_connection")
async def test_read_takes_one_round_trip(database: str) -> None:
    async with proxied(database) as (proxy, url), stored(url) as store:
        await store.insert(answer(10))
        proxy.reset()
        await store.fetch_results(1)

        assert (proxy.trips, proxy.answers) == (1, 1)


async def test_rejected_row_rolls_the_record_back(database: str, db: psycopg.Connection) -> None:
    invalid = response(9)
    invalid.entries.append(paper(9, "NUL \0"))
    async with stored(database) as store:
        with pytest.raises(RecordRejected, match="cannot be converted"):
            await store.insert(create_record(invalid))
        assert db.execute(COUNTS).fetchone() == (0, 0)
        assert await store.insert(answer(3)) > 0
    assert db.execute(COUNTS).fetchone() == (1, 3)


async def test_failure_between_the_inserts_rolls_the_record_back(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stored(database) as store:
        # this parameter cannot be adapted, which fails after the first insert was queued
        monkeypatch.setattr("service.db.records._encode", lambda _: Unadaptable())
        with pytest.raises(psycopg.ProgrammingError):
            await store.insert(answer(3))
        monkeypatch.undo()
        assert db.execute(COUNTS).fetchone() == (0, 0)
        await store.insert(answer(3))
    assert db.execute(COUNTS).fetchone() == (1, 3)


class Unadaptable:
    def decode(self) -> "Unadaptable":
        return self


async def test_standby_is_reported_as_read_only(database: str) -> None:
    async with stored(f"{database} options='-c default_transaction_read_only=on'") as store:
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await store.insert(answer(1))


async def test_blocked_write_is_cancelled_in_the_server_too(
    database: str, db: psycopg.Connection
) -> None:
    with psycopg.connect(make_conninfo(database, user="arxiv_rw")) as conn:
        limits = [
            conn.execute(f"show {name}").fetchone()
            for name in ("statement_timeout", "transaction_timeout")
        ]
    assert limits == [("9s",), ("9s",)]

    url = make_conninfo(database, options="-c statement_timeout=300ms")
    async with stored(url) as store:
        with db.transaction():
            db.execute("lock table queries in access exclusive mode")
            with pytest.raises(DatabaseTimeout, match="takes too long"):
                await store.insert(answer(1))
    assert db.execute(COUNTS).fetchone() == (0, 0)


async def test_cancelled_write_is_complete_or_absent_and_leaves_a_clean_connection(
    database: str, db: psycopg.Connection
) -> None:
    async with stored(database) as store:
        await store.insert(answer(1))
        for delay in range(40):
            task = asyncio.create_task(store.insert(answer(200)))
            await asyncio.sleep(delay / 4000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        last = await store.insert(answer(5, "last"))
    partial = db.execute(
        "select query_id from queries where num_entries"
        " <> (select count(*) from results where results.query_id = queries.query_id)"
    )
    assert partial.fetchall() == []
    assert db.execute("select query from queries where query_id = %s", [last]).fetchone() == (
        "last",
    )


@pytest.mark.parametrize("sent", [0, 100, 300, 500, 3_000, 60_000])
async def test_connection_cut_during_a_write_loses_nothing(
    database: str, db: psycopg.Connection, sent: int
) -> None:
    async with proxied(database) as (proxy, url), stored(url) as store:
        await store.insert(answer(1))
        proxy.cut_after = sent
        query_id = await store.insert(answer(500, "cut"))

    assert db.execute("select query_id from queries where query = 'cut'").fetchall() == [
        (query_id,)
    ]
    assert db.execute(COUNTS).fetchone() == (2, 501)


async def test_write_whose_confirmation_is_lost_is_not_repeated(
    database: str, db: psycopg.Connection
) -> None:
    async with proxied(database) as (proxy, url), stored(url) as store:
        await store.insert(answer(1))
        proxy.cut_before_answer = True
        query_id = await store.insert(answer(500, "cut"))

    assert db.execute("select query_id from queries where query = 'cut'").fetchall() == [
        (query_id,)
    ]
    assert db.execute(COUNTS).fetchone() == (2, 501)


async def test_dead_idle_connections_are_replaced(database: str, db: psycopg.Connection) -> None:
    async with stored(database) as store:
        await asyncio.gather(*(store.insert(answer(1)) for _ in range(50)))
        for _ in range(5):
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.1)
            await store.insert(answer(1))
            await store.fetch_results(1)
    assert db.execute(COUNTS).fetchone() == (55, 55)


async def test_unresponsive_database_times_out(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxied(database) as (proxy, url), stored(url) as store:
        await store.fetch_results(1)
        proxy.open.clear()
        started = monotonic()
        with monkeypatch.context() as patch:
            patch.setattr(connections_module, "CALL_TIMEOUT", 1.0)
            with pytest.raises(DatabaseUnavailable):
                await store.fetch_results(1)
        assert 0.9 < monotonic() - started < 9
        proxy.open.set()
        assert await store.fetch_results(1) == []


async def test_exhausted_pool_rejects_further_callers(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "POOL_SIZE", 2)
    monkeypatch.setattr(connections_module, "MAX_WAITING", 3)
    async with stored(database) as store:
        await store.fetch_results(1)
        with db.transaction():
            db.execute("lock table results in access exclusive mode")
            callers = [asyncio.create_task(store.fetch_results(1)) for _ in range(8)]
            while sum(caller.done() for caller in callers) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        found = await asyncio.gather(*callers, return_exceptions=True)

    rejected = [each for each in found if isinstance(each, DatabaseUnavailable)]
    assert len(rejected) >= 3
    assert found.count([]) == len(callers) - len(rejected) > 0


async def test_concurrent_writers_get_distinct_query_ids(
    database: str, db: psycopg.Connection
) -> None:
    async with stored(database) as store:
        numbers = await asyncio.gather(*(store.insert(answer(n % 7)) for n in range(200)))

    assert len(set(numbers)) == 200
    mismatched = db.execute(
        "select count(*) from queries where num_entries"
        " <> (select count(*) from results where results.query_id = queries.query_id)"
    )
    assert mismatched.fetchone() == (0,)


async def test_database_without_tables_is_reported_as_not_migrated(server: str) -> None:
    async with stored(server) as store:
        with pytest.raises(DatabaseUnavailable, match="run the migrations"):
            await store.insert(answer(1))


async def test_read_only_role_cannot_write(database: str) -> None:
    async with stored(make_conninfo(database, user="arxiv_ro")) as store:
        assert await store.fetch_results(1) == []
        with pytest.raises(DatabaseUnavailable, match="may not"):
            await store.insert(answer(1))


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:secret@[bad", "host=x hotst=secret"])
def test_error_for_an_invalid_url_does_not_contain_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DatabasePools(url)

    assert "secret" not in str(caught.value)


def test_psql_gets_the_password_from_its_environment() -> None:
    environment = create_libpq_environment(
        "postgresql://me:p%40ss@db.example:6000/arxiv?sslmode=require"
    )

    assert environment == {
        "PGUSER": "me",
        "PGPASSWORD": "p@ss",
        "PGHOST": "db.example",
        "PGPORT": "6000",
        "PGDATABASE": "arxiv",
        "PGSSLMODE": "require",
    }


@pytest.mark.usefixtures("one_connection")
async def test_write_cancelled_at_any_step_leaves_no_open_transaction(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # psycopg yields to the event loop after being busy for a while: here at every step
    monkeypatch.setattr(psycopg.waiting, "MAX_BUSY_TIME", 0)
    async with stored(make_conninfo(database, user="arxiv_rw")) as store:
        await store.insert(answer(1))
        for steps in range(40):
            saving = asyncio.create_task(store.insert(answer(1)))
            for _ in range(steps):
                await asyncio.sleep(0)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
            await store.fetch_results(1)
            unfinished = db.execute(
                "select state, query from pg_stat_activity"
                " where datname = current_database() and usename = 'arxiv_rw' and state <> 'idle'"
            ).fetchall()
            assert unfinished == []


class UnavailableQueue:
    """A queue whose connection is lost by the next message."""

    connected = True

    async def put(self, _: bytes) -> None:
        raise QueueUnavailable("lost")


@pytest.mark.parametrize("path", ["queue", "connection"])
async def test_caller_can_release_its_lease_before_a_retry(
    database: str, db: psycopg.Connection, path: str
) -> None:
    counts = []

    async def note() -> None:
        counts.append(db.execute(COUNTS).fetchone())

    async with proxied(database) as (proxy, url), DatabasePools(url) as pools:
        store = RecordStore(pools)
        if path == "queue":
            store = QueuedRecordStore(pools, cast("Any", UnavailableQueue()))
        else:
            await store.fetch_results(1)
            proxy.cut_after = 100
        await store.insert(answer(3), None, note)

    assert counts == [(0, 0)]
    assert db.execute(COUNTS).fetchone() == (1, 3)
