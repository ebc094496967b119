"""Pages by number: a deep page has the rows that an OFFSET gives, whatever changes before it."""

from collections.abc import AsyncIterator
from random import Random
from time import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from service.db.pool import DatabasePools
from service.db.reader import RESULTS, ListSelection, RecordReader
from service.models.filters import Position, ResultFilter
from tests.support.results import fetch_keys, insert_results, select_keys

ONE_RESULT = (
    "insert into results (query_id, timestamp, result_number, author, title)"
    " values (%s, %s, 0, 'A', 'T')"
)


@pytest.fixture
async def reader(database: str) -> AsyncIterator[RecordReader]:
    async with DatabasePools(make_conninfo(database, user="arxiv_ro")) as pools:
        yield RecordReader(pools)


async def test_searches_that_found_a_paper_are_the_latest_that_are_old_enough(
    database: str, db: psycopg.Connection
) -> None:
    now = int(time())
    times = {1: now - 300, 2: now - 400, 3: now - 200, 4: now - 500, 5: now}
    for query_id, timestamp in times.items():
        db.execute(
            "insert into results"
            " (query_id, timestamp, result_number, author, title, arxiv_id, version)"
            " values (%s, %s, 0, 'A', 'T', %s, %s)",
            [query_id, timestamp, "2101.00002" if query_id == 4 else "2101.00001", query_id],
        )
        db.execute(
            "insert into queries (query_id, timestamp, status, num_results, num_entries, query,"
            " recorded) values (%s, %s, 200, 1, 1, 'x', %s)",
            [query_id, timestamp, timestamp],
        )
    async with DatabasePools(make_conninfo(database, user="arxiv_ro")) as pools:
        delayed = RecordReader(pools, read_delay=60)
        runs = await delayed.fetch_finding_runs("2101.00001", 2)
        assert [run.query_id for run in runs] == [3, 1]
        runs = await RecordReader(pools).fetch_finding_runs("2101.00001", 10)
        assert [run.query_id for run in runs] == [5, 3, 1, 2]
        assert await delayed.fetch_finding_runs("2101.00009", 2) == []


@pytest.mark.parametrize("newest", [False, True])
async def test_deep_page_has_the_rows_of_its_offset(
    reader: RecordReader,
    db: psycopg.Connection,
    newest: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    insert_results(db, 3000)
    for offset in (0, 1, 999, 5000, 11_990, 11_999, 12_000, 1_000_000):
        assert await fetch_keys(reader, offset, newest=newest) == select_keys(
            db, offset, newest=newest
        )


async def test_deep_page_ends_where_its_cursor_begins(
    reader: RecordReader, db: psycopg.Connection
) -> None:
    insert_results(db, 3000)
    page = await reader.fetch_page(
        ListSelection(RESULTS, ResultFilter()), Position(offset=9_000), 10
    )
    after = Position(RESULTS.get_key(page[4]))

    assert await reader.fetch_page(ListSelection(RESULTS, ResultFilter()), after, 5) == page[5:]


async def test_deep_page_is_right_while_rows_before_it_change(
    reader: RecordReader, db: psycopg.Connection
) -> None:
    random = Random(7)  # noqa: S311 - the same in every run
    insert_results(db, 60)
    for query_id in range(1000, 1100):
        if random.random() < 0.5:
            db.execute(ONE_RESULT, (query_id, random.choice([990, 1010, 1020, 5000])))
        else:
            db.execute("delete from results where query_id = %s", (random.randint(1, 60),))
        offset, newest = random.randint(0, 250), random.random() < 0.3
        assert await fetch_keys(reader, offset, newest=newest) == select_keys(
            db, offset, newest=newest
        )


async def test_deep_page_counts_uncommitted_rows_once_they_are_committed(
    reader: RecordReader, database: str, db: psycopg.Connection
) -> None:
    insert_results(db, 60)
    before = select_keys(db, 100)
    with psycopg.connect(database) as other:
        other.execute(ONE_RESULT, (500, 1001))
        assert await fetch_keys(reader, 100) == before
        other.commit()

    assert await fetch_keys(reader, 101) == before


async def test_deep_page_leaves_out_rows_younger_than_the_read_delay(
    database: str, db: psycopg.Connection
) -> None:
    insert_results(db, 20)
    old = select_keys(db, 0, 1000)
    db.execute(ONE_RESULT, (700, 2**33))
    async with DatabasePools(make_conninfo(database, user="arxiv_ro")) as pools:
        reader = RecordReader(pools, read_delay=60)
        for offset in range(len(old) + 3):
            assert await fetch_keys(reader, offset) == old[offset : offset + 5]
            newest = await fetch_keys(reader, offset, newest=True)
            assert newest == old[::-1][offset : offset + 5]
