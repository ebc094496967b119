"""Deep pages begin at milestones, and hold the same rows as if all before had been passed over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from service.models import Place, ResultFilter
from service.store import Archive, Connections, milestones
from service.store.archive import RESULTS

Row = tuple[int, int, int]
IN_ORDER = (
    "select timestamp, query_id, result_number from results"
    " order by timestamp, query_id, result_number offset %s limit %s"
)
INSERT = (
    "insert into results (query_id, timestamp, result_number, author, title)"
    " select %s, %s, n, 'A', 'T' from generate_series(0, %s) as n"
)


@pytest.fixture(autouse=True)
def _small_and_attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEP": 4, "NEAR": 6, "READ": 40, "LOOK_AGAIN": -1.0}.items():
        monkeypatch.setattr(milestones, name, value)


@pytest.fixture
async def archive(database: str) -> AsyncIterator[Archive]:
    async with Connections(make_conninfo(database, user="arxiv_ro")) as connections:
        yield Archive(connections)


@pytest.fixture
def other(database: str) -> Callable[[], psycopg.Connection]:
    """Makes connections whose transactions stay open."""
    return lambda: psycopg.connect(database)


async def page(archive: Archive, offset: int, limit: int = 5) -> list[Row]:
    found = await archive.page(RESULTS, ResultFilter(), Place(offset=offset), limit)
    return [(row.timestamp, row.query_id, row.result_number) for row in found]


def plain(db: psycopg.Connection, offset: int, limit: int = 5) -> list[Row]:
    return [(row[0], row[1], row[2]) for row in db.execute(IN_ORDER, (offset, limit))]


def fill(db: psycopg.Connection, searches: int, first: int = 1) -> None:
    for query_id in range(first, first + searches):
        db.execute(INSERT, (query_id, 1000 + query_id // 3, query_id % 7))


@pytest.mark.parametrize("seed", range(4))
async def test_a_deep_page_is_what_a_plain_offset_gives_whatever_happens(
    archive: Archive, db: psycopg.Connection, other: Callable[[], psycopg.Connection], seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - the same in every run
    fill(db, 30)
    query_id = 1000
    async with AsyncExitStack() as stack:
        under_way: list[psycopg.Connection] = []
        for _ in range(60):
            query_id += 1
            new = (query_id, random.randint(990, 1030), random.randint(0, 9))
            match random.choice(["end", "before", "open", "open", "commit", "roll back", "delete"]):
                case "end":
                    db.execute(INSERT, (query_id, 2000 + query_id, 3))
                case "before":
                    db.execute(INSERT, new)
                case "open" if len(under_way) < 4:
                    under_way.append(stack.enter_context(other()))
                    under_way[-1].execute(INSERT, new)
                case "commit" if under_way:
                    under_way.pop(random.randrange(len(under_way))).commit()
                case "roll back" if under_way:
                    under_way.pop(0).rollback()
                case "delete":
                    gone = random.randint(1, 30)
                    db.execute("delete from results where query_id = %s", (gone,))
                    # PostgreSQL counts what it deletes some time later, unless it is told to
                    db.execute("select pg_stat_force_next_flush()")
            for offset in random.sample(range(6, 260), 4):
                assert await page(archive, offset) == plain(db, offset), offset


async def test_a_row_in_a_transaction_that_ends_late_is_met(
    archive: Archive, db: psycopg.Connection, other: Callable[[], psycopg.Connection]
) -> None:
    """Its id is smaller than those of rows that have been seen since."""
    fill(db, 20)
    with other() as late:
        late.execute(INSERT, (500, 1001, 5))
        for query_id in (501, 502, 503):
            db.execute(INSERT, (query_id, 3000, 1))
            assert await page(archive, 40) == plain(db, 40)
        late.commit()

    for offset in range(6, 90, 3):
        assert await page(archive, offset) == plain(db, offset)


async def test_a_table_that_was_emptied_begins_anew(
    archive: Archive, db: psycopg.Connection
) -> None:
    fill(db, 20)
    assert await page(archive, 40) == plain(db, 40)
    db.execute("truncate results")
    assert await page(archive, 40) == []
    fill(db, 9, first=100)

    for offset in range(6, 40):
        assert await page(archive, offset) == plain(db, offset)


async def test_a_deep_page_passes_over_few_rows(
    archive: Archive, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db, 60)
    asked: list[dict[str, Any]] = []
    rows = archive._rows  # noqa: SLF001 - the cost is the claim

    async def spy(kind: Any, statement: bytes, values: dict[str, Any], lend: Any) -> Any:
        asked.append(values)
        return await rows(kind, statement, values, lend)

    monkeypatch.setattr(archive, "_rows", spy)
    for offset in (40, 100, 150, 200):
        assert await page(archive, offset) == plain(db, offset)

    assert [values["offset"] for values in asked] == [0, 0, 2, 0]


@pytest.mark.parametrize("read", [4, 8])
async def test_what_lies_further_than_one_look_reaches_is_passed_over(
    archive: Archive, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    monkeypatch.setattr(milestones, "READ", read)
    fill(db, 60)

    for offset in (200, 199, 220, 10_000, 7):
        assert await page(archive, offset) == plain(db, offset)


async def test_what_has_not_settled_is_behind_no_milestone(
    database: str, db: psycopg.Connection
) -> None:
    fill(db, 20)
    db.execute(INSERT, (700, 2**33, 20))
    in_order = plain(db, 0, 1000)
    settled = [row for row in in_order if row[1] != 700]
    async with Connections(make_conninfo(database, user="arxiv_ro")) as connections:
        archive = Archive(connections, settle=60)
        for offset in range(6, len(in_order) + 3):
            assert await page(archive, offset) == settled[offset : offset + 5]
