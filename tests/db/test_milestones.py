"""Deep pages begin at milestones, and hold the same rows as if all before had been passed over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from service.db import milestones
from service.db.pool import DatabasePools
from service.db.reader import RESULTS, RecordReader
from service.models.filters import Position, ResultFilter

Row = tuple[int, int, int]
IN_ORDER = (
    "select timestamp, query_id, result_number from results"
    " order by timestamp, query_id, result_number offset %s limit %s"
)
BACK = (
    "select timestamp, query_id, result_number from results"
    " order by timestamp desc, query_id desc, result_number desc offset %s limit %s"
)
INSERT = (
    "insert into results (query_id, timestamp, result_number, author, title)"
    " select %s, %s, n, 'A', 'T' from generate_series(0, %s) as n"
)


@pytest.fixture(autouse=True)
def _small_and_attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"STEP": 4, "NEAR": 6, "READ": 40, "LOOK_AGAIN": -1.0, "WAIT": 9.0}
    for name, value in small.items():
        monkeypatch.setattr(milestones, name, value)


@pytest.fixture
async def reader(database: str) -> AsyncIterator[RecordReader]:
    async with DatabasePools(make_conninfo(database, user="arxiv_ro")) as connections:
        yield RecordReader(connections)


@pytest.fixture
def other(database: str) -> Callable[[], psycopg.Connection]:
    """Makes connections whose transactions stay open."""
    return lambda: psycopg.connect(database)


async def page(
    reader: RecordReader, offset: int, limit: int = 5, *, newest: bool = False
) -> list[Row]:
    place = Position(offset=offset)
    found = await reader.page(RESULTS, ResultFilter(), place, limit, newest=newest)
    return [(row.timestamp, row.query_id, row.result_number) for row in found]


def plain(
    db: psycopg.Connection, offset: int, limit: int = 5, *, newest: bool = False
) -> list[Row]:
    found = db.execute(BACK if newest else IN_ORDER, (offset, limit))
    return [(row[0], row[1], row[2]) for row in found]


def fill(db: psycopg.Connection, searches: int, first: int = 1) -> None:
    for query_id in range(first, first + searches):
        db.execute(INSERT, (query_id, 1000 + query_id // 3, query_id % 7))


def watch(reader: RecordReader) -> list[dict[str, Any]]:
    """What is asked of the database for each page from now on."""
    asked: list[dict[str, Any]] = []
    rows = reader._rows  # noqa: SLF001 - the cost is the claim

    async def spy(kind: Any, statement: bytes, values: dict[str, Any], lend: Any) -> Any:
        asked.append(values)
        return await rows(kind, statement, values, lend)

    reader._rows = spy  # type: ignore[method-assign,assignment]  # noqa: SLF001
    return asked


@pytest.mark.parametrize("seed", range(4))
async def test_a_deep_page_is_what_a_plain_offset_gives_whatever_happens(
    reader: RecordReader,
    db: psycopg.Connection,
    other: Callable[[], psycopg.Connection],
    seed: int,
) -> None:
    random = Random(seed)  # noqa: S311 - the same in every run
    fill(db, 30)
    query_id = 1000
    async with AsyncExitStack() as stack:
        under_way: list[psycopg.Connection] = []
        for _ in range(200):
            query_id += 1
            new = (query_id, random.randint(990, 1030), random.randint(0, 9))
            match random.choice(["end", "open", "open", "grow", "commit", "roll back", "delete"]):
                case "end":
                    db.execute(INSERT, (query_id, random.choice([1010, 2000 + query_id]), 3))
                case "open" if len(under_way) < 4:
                    under_way.append(stack.enter_context(other()))
                    # a search is recorded before its results: so its transaction has a number
                    # before its results have theirs, or not
                    under_way[-1].execute(random.choice(["select pg_current_xact_id()", "select"]))
                case "grow" if under_way:
                    random.choice(under_way).execute(INSERT, new)
                case "commit" if under_way:
                    under_way.pop(random.randrange(len(under_way))).commit()
                case "roll back" if under_way:
                    under_way.pop(0).rollback()
                case "delete":
                    gone = random.randint(1, 30)
                    db.execute("delete from results where query_id = %s", (gone,))
                    # PostgreSQL counts what it deletes some time later, unless it is told to
                    db.execute("select pg_stat_force_next_flush()")
            if random.random() < 0.6:  # much can happen between two looks
                continue
            offset, newest = random.randint(6, 250), random.random() < 0.3
            found = await page(reader, offset, newest=newest)
            assert found == plain(db, offset, newest=newest), (offset, newest)


async def test_a_row_in_a_transaction_that_ends_late_is_met(
    reader: RecordReader, db: psycopg.Connection, other: Callable[[], psycopg.Connection]
) -> None:
    """Its id is smaller than those of rows that have been seen since."""
    fill(db, 20)
    with other() as late:
        late.execute(INSERT, (500, 1001, 5))
        for query_id in (501, 502, 503):
            db.execute(INSERT, (query_id, 3000, 1))
            assert await page(reader, 40) == plain(db, 40)
        late.commit()

    for offset in range(6, 90, 3):
        assert await page(reader, offset) == plain(db, offset)


async def test_rows_of_a_transaction_that_began_after_one_that_has_ended_are_met(
    reader: RecordReader, db: psycopg.Connection, other: Callable[[], psycopg.Connection]
) -> None:
    """Its number is greater than any that has ended, its ids are smaller than what was seen."""
    fill(db, 20)
    with other() as first, other() as second:
        first.execute("select pg_current_xact_id()")
        second.execute("select pg_current_xact_id()")
        second.execute(INSERT, (501, 1001, 5))
        first.execute(INSERT, (500, 3000, 20))
        first.commit()
        assert await page(reader, 70) == plain(db, 70)
        second.commit()

    assert await page(reader, 70) == plain(db, 70)
    db.execute(INSERT, (502, 4000, 20))
    assert await page(reader, 70) == plain(db, 70)


async def test_rows_of_a_transaction_that_began_between_two_looks_are_met(
    reader: RecordReader, db: psycopg.Connection, other: Callable[[], psycopg.Connection]
) -> None:
    """At the first look nobody wrote; what is final then is less than the second one sees."""
    fill(db, 20)
    assert await page(reader, 70) == plain(db, 70)
    db.execute(INSERT, (500, 3000, 1))
    assert await page(reader, 70) == plain(db, 70)
    with other() as late:
        late.execute(INSERT, (501, 1001, 5))
        db.execute(INSERT, (502, 3000, 20))
        assert await page(reader, 70) == plain(db, 70)
        late.commit()

    assert await page(reader, 70) == plain(db, 70)


async def test_milestones_are_set_although_somebody_always_writes(
    reader: RecordReader, db: psycopg.Connection, other: Callable[[], psycopg.Connection]
) -> None:
    fill(db, 20)
    asked = watch(reader)
    async with AsyncExitStack() as stack:
        writing = stack.enter_context(other())
        writing.execute(INSERT, (500, 3000, 1))
        for query_id in range(501, 506):
            following = stack.enter_context(other())
            following.execute(INSERT, (query_id, 3000, 1))
            assert await page(reader, 60) == plain(db, 60)
            writing.commit()
            writing = following

    assert asked[0]["offset"] == 60
    assert asked[-1]["offset"] == 0


async def test_pages_do_not_wait_for_each_other_when_the_table_is_locked(
    reader: RecordReader,
    db: psycopg.Connection,
    other: Callable[[], psycopg.Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(milestones, "WAIT", 0.05)
    fill(db, 40)
    in_order = plain(db, 0, 200)
    offsets = range(10, 100, 13)
    with other() as blocking:
        blocking.execute("lock results in access exclusive mode")
        asked = watch(reader)
        pages = [asyncio.create_task(page(reader, offset)) for offset in offsets]
        await asyncio.wait(pages, timeout=0.5)
        assert [values["offset"] for values in asked] == list(offsets)
    assert await asyncio.gather(*pages) == [in_order[offset : offset + 5] for offset in offsets]


async def test_a_table_that_was_emptied_begins_anew(
    reader: RecordReader, db: psycopg.Connection
) -> None:
    fill(db, 20)
    assert await page(reader, 40) == plain(db, 40)
    db.execute("truncate results")
    assert await page(reader, 40) == []
    fill(db, 9, first=100)

    for offset in range(6, 40):
        assert await page(reader, offset) == plain(db, offset)


async def test_a_deep_page_passes_over_few_rows(
    reader: RecordReader, db: psycopg.Connection
) -> None:
    fill(db, 60)
    asked = watch(reader)
    for offset in (40, 100, 150, 200):
        assert await page(reader, offset) == plain(db, offset)

    assert [values["offset"] for values in asked] == [0, 0, 2, 0]


async def test_a_deep_page_from_the_end_passes_over_few_rows(
    reader: RecordReader, db: psycopg.Connection
) -> None:
    fill(db, 60)
    await page(reader, 200)
    asked = watch(reader)
    for offset in (*range(6, 238, 7), 1000):
        assert await page(reader, offset, newest=True) == plain(db, offset, newest=True)

    assert all(values["offset"] < 4 for values in asked[:-1])


async def test_a_process_that_only_reads_asks_the_primary_if_it_reads_from_that(
    database: str, db: psycopg.Connection
) -> None:
    fill(db, 60)
    url = make_conninfo(database, user="arxiv_ro")
    async with DatabasePools(None, url) as connections:
        reader = RecordReader(connections)
        await page(reader, 40)
        asked = watch(reader)
        assert await page(reader, 200) == plain(db, 200)

    assert asked[0]["offset"] == 0


@pytest.mark.parametrize("read", [4, 8])
async def test_what_lies_further_than_one_look_reaches_is_passed_over(
    reader: RecordReader, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    monkeypatch.setattr(milestones, "READ", read)
    fill(db, 60)

    for offset in (200, 199, 220, 10_000, 7):
        for newest in (False, True):
            found = await page(reader, offset, newest=newest)
            assert found == plain(db, offset, newest=newest)


async def test_what_has_not_settled_is_behind_no_milestone(
    database: str, db: psycopg.Connection
) -> None:
    fill(db, 20)
    db.execute(INSERT, (700, 2**33, 20))
    in_order = plain(db, 0, 1000)
    settled = [row for row in in_order if row[1] != 700]
    async with DatabasePools(make_conninfo(database, user="arxiv_ro")) as connections:
        reader = RecordReader(connections, settle=60)
        for offset in range(6, len(in_order) + 3):
            assert await page(reader, offset) == settled[offset : offset + 5]
            newest = await page(reader, offset, newest=True)
            assert newest == settled[::-1][offset : offset + 5]
