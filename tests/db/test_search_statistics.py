"""How searches end is counted by hour, in PostgreSQL, for all processes together."""

import asyncio
import re
from functools import partial
from time import time

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.db import statistics as statistics_module
from service.db.pool import DatabasePools
from service.db.statistics import SearchStatistics
from service.errors import DatabaseUnavailable
from tests.conftest import Serve
from tests.support.process import ROOT
from tests.support.waiting import wait_until

BY_KIND = """
select outcome, answered_by, sum(searches)::int, sum(waited)::int
from search_statistics group by 1, 2 order by 1, 2
"""
THROTTLING = httpx.MockTransport(lambda _: httpx.Response(429))


async def test_searches_of_a_service_are_counted_by_outcome_and_source(
    gateway: Serve,
    arxiv: StandIn,  # noqa: ARG001 - resets it
    db: psycopg.Connection,
) -> None:
    async with gateway() as client:
        for _ in range(3):
            await client.get("/arxiv?title=testing")
        await asyncio.gather(*(client.get("/arxiv?title=other") for _ in range(3)))
        await client.get("/arxiv?max_results=none")  # invalid: not a search
    async with gateway() as client:
        await client.get("/arxiv?title=testing")
    async with gateway(THROTTLING) as client:
        await client.get("/arxiv?title=new")

    assert db.execute(BY_KIND).fetchall() == [
        ("busy", "nobody", 1, 1),
        ("ok", "arxiv", 2, 2),
        ("ok", "database", 1, 0),
        ("ok", "flight", 2, 0),
        ("ok", "process", 2, 0),
    ]


async def test_waiting_time_of_a_search_is_counted(
    gateway: Serve,
    arxiv: StandIn,  # noqa: ARG001 - resets it
    db: psycopg.Connection,
) -> None:
    async with gateway(interval=0.5) as client:
        for title in ("one", "two"):
            await client.get(f"/arxiv?title={title}")
    row = db.execute("select waited, wait_seconds, longest_wait from search_statistics").fetchone()
    assert row
    waited, wait_seconds, longest_wait = row
    assert waited == 2
    assert 0.3 < longest_wait <= wait_seconds < 60


async def test_counts_of_all_processes_and_times_add_up(
    database: str, db: psycopg.Connection
) -> None:
    async with DatabasePools(make_conninfo(database, user="arxiv_rw")) as pools:
        one, other = SearchStatistics(pools), SearchStatistics(pools)
        one.count("ok", "arxiv", [1.0, 2.0])
        other.count("ok", "arxiv", [5.0])
        await asyncio.gather(one.flush(), other.flush())
        one.count("ok", "arxiv")
        await one.flush()
        await one.flush()  # nothing is left
    rows = db.execute(
        "select sum(searches)::int, sum(waited)::int, sum(wait_seconds), max(longest_wait),"
        " bool_and(hour % 3600 = 0) from search_statistics"
    ).fetchall()
    assert rows == [(3, 2, 8.0, 5.0, True)]


async def test_counts_are_stored_while_the_service_runs(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_stored(searches: int) -> bool:
        found = db.execute("select sum(searches)::int from search_statistics").fetchone()
        return found == (searches,)

    monkeypatch.setattr(statistics_module, "FLUSH_SECONDS", 0.05)
    async with DatabasePools(database) as pools, SearchStatistics(pools) as statistics:
        for number in (1, 2):
            statistics.count("ok", "arxiv")
            await wait_until(partial(is_stored, number))


async def test_counts_that_cannot_be_stored_are_kept(database: str, db: psycopg.Connection) -> None:
    async with DatabasePools(database) as pools, SearchStatistics(pools) as statistics:
        statistics.count("ok", "arxiv", [2.0])
        db.execute("alter table search_statistics rename to away")
        with pytest.raises(DatabaseUnavailable, match="not migrated"):
            await statistics.flush()
        statistics.count("ok", "arxiv", [1.0])
        db.execute("alter table away rename to search_statistics")
    row = db.execute("select sum(searches)::int, max(longest_wait) from search_statistics")
    assert row.fetchone() == (2, 2.0)


def test_old_counts_are_deleted_as_documented(db: psycopg.Connection) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    [statement] = re.findall(r"```sql\n(delete from search_statistics.*?)```", document, re.DOTALL)
    now = int(time())
    for days_ago in (1, 360, 370):
        hour = now - days_ago * 86_400
        db.execute("insert into search_statistics values (%s, 'ok', 'arxiv', 1, 0, 0, 0)", [hour])
    db.execute(statement.encode())
    left = db.execute("select hour from search_statistics order by hour desc").fetchall()
    assert [(now - hour) // 86_400 for (hour,) in left] == [1, 360]


async def test_searches_succeed_if_they_cannot_be_counted(
    gateway: Serve,
    arxiv: StandIn,  # noqa: ARG001 - resets it
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics_module, "FLUSH_SECONDS", 0.01)
    db.execute("drop table search_statistics")
    async with gateway() as client:
        for title in ("one", "two"):
            assert (await client.get(f"/arxiv?title={title}")).status_code == 200
