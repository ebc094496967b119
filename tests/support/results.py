"""Rows of the table `results`, and their sort keys as read by plain SQL and by the service."""

import psycopg
from psycopg.sql import SQL

from service.db.reader import RESULTS, ListSelection, RecordReader
from service.models.filters import Position, ResultFilter

Key = tuple[int, int, int]
"""The timestamp, query_id and result_number of a result."""


def insert_results(db: psycopg.Connection, searches: int, *, first: int = 1) -> None:
    """Store one to seven results for each of some searches, three of them in each second."""
    db.execute(
        "insert into results (query_id, timestamp, result_number, author, title)"
        " select query_id, 1000 + query_id / 3, n, 'A', 'T'"
        " from generate_series(%s::int, %s::int) as query_id,"
        " generate_series(0, query_id %% 7) as n",
        (first, first + searches - 1),
    )


def select_keys(
    db: psycopg.Connection, offset: int, limit: int = 5, *, newest: bool = False
) -> list[Key]:
    """The keys of a page, by a plain OFFSET."""
    direction = SQL("desc") if newest else SQL("asc")
    statement = SQL(
        "select timestamp, query_id, result_number from results"
        " order by timestamp {0}, query_id {0}, result_number {0} offset %s limit %s"
    )
    rows = db.execute(statement.format(direction), (offset, limit)).fetchall()
    return [(row[0], row[1], row[2]) for row in rows]


async def fetch_keys(
    reader: RecordReader, offset: int, limit: int = 5, *, newest: bool = False
) -> list[Key]:
    """The keys of a page, by the service."""
    position = Position(offset=offset)
    selected = ListSelection(RESULTS, ResultFilter(), newest)
    rows = await reader.fetch_page(selected, position, limit)
    return [(row.timestamp, row.query_id, row.result_number) for row in rows]
