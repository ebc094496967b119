"""With a million results, each frequent statement uses its index and reads few pages."""

import json
import re
from collections.abc import Iterator
from hashlib import md5
from typing import Any
from uuid import UUID

import psycopg
import pytest
from msgspec import structs
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service import sql
from service.db.reader import (
    PAPERS,
    QUERIES,
    RESULTS,
    SLOW_FILTERS,
    ListDefinition,
)
from service.models.filters import PaperFilter, QueryFilter, ResultFilter

SEARCHES = 100_000
SEED = """
insert into queries (query_id, timestamp, status, num_results, num_entries, query, search_key)
select
    n, 1600000000 + n / 25000 * 86400, case when n %% 1000 = 0 then 503 else 200 end, 1000, 10,
    'search_query=ti:"word' || n %% 20000 || '"&id_list=&start=0&max_results=10',
    md5((n %% 20000)::text)::uuid
from generate_series(1, %(searches)s) as n;
insert into papers (
    arxiv_id, version, timestamp, first_timestamp, title, authors, abstract, published, categories
)
select
    '20' || lpad((n %% 12 + 1)::text, 2, '0') || '.' || lpad(n::text, 5, '0'), 1,
    1600000000, 1600000000,
    'Word' || n %% 5000 || ' invariants of order ' || n %% 50,
    array['Author' || n %% 9000 || ' Lee'],
    'We study the invariant' || n %% 700, 1500000000 + n * 7000,
    case when n = 77 then array['math.RA'] else array['cs.C' || n %% 40] end
from generate_series(0, 19999) as n;
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    n, 1600000000 + n / 25000 * 86400, i, 'Author' || p %% 9000 || ' Lee',
    'Word' || p %% 5000 || ' invariants of order ' || p %% 50,
    case when p %% 3 = 0 then 'Phys. Rev. D ' || p %% 100 end,
    '20' || lpad((p %% 12 + 1)::text, 2, '0') || '.' || lpad(p::text, 5, '0'), 1
from
    generate_series(1, %(searches)s) as n,
    generate_series(0, 9) as i,
    lateral (select (n * 7 + i * 1999) %% 20000 as p) as paper;
"""


@pytest.fixture(scope="module")
def million(server: str, template: str) -> Iterator[psycopg.Connection]:
    """A database with a million results of a hundred thousand runs."""
    with psycopg.connect(server, autocommit=True) as admin:
        new, old = Identifier("million"), Identifier(template)
        admin.execute(SQL("create database {} template {} strategy file_copy").format(new, old))
    try:
        with psycopg.connect(make_conninfo(server, dbname="million"), autocommit=True) as conn:
            cursor = psycopg.ClientCursor(conn)
            for statement in SEED.split(";\n"):
                if statement.strip():
                    cursor.execute(statement.encode(), {"searches": SEARCHES})
            conn.execute("vacuum (analyze)")
            yield conn
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("drop database million with (force)")


def run(conn: psycopg.Connection, statement: bytes, values: dict[str, Any]) -> tuple[str, int, int]:
    """The indexes that a statement uses, and its numbers of pages and rows."""
    analyze = b"explain (analyze, buffers, costs off, timing off, format json) "
    parameters = {"read_delay": 0.0} | values
    [[[explained]]] = conn.execute(analyze + statement, parameters).fetchall()
    plan = explained["Plan"]
    indexes = re.findall(r'"Index Name": "(\w+)"', json.dumps(plan))
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return " ".join(sorted(set(indexes))), pages, int(plan["Actual Rows"])


def values(kind: ListDefinition[Any], filters: Any, **others: Any) -> dict[str, Any]:
    after = dict.fromkeys(f"after_{name}" for name in kind.key)
    return after | structs.asdict(filters) | {"limit": 11, "offset": 0} | others


SEVENTH = UUID(md5(b"7").hexdigest())  # noqa: S324 - as in SEED
MIDDLE = {  # a quarter of a million results have the same timestamp
    "after_timestamp": 1600000000 + 3 * 86_400,
    "after_query_id": 90_000,
    "after_result_number": 9,
}
LATE = 1600000000 + 2 * 86_400
RARE = ResultFilter(author="Author77", words="'Author77'")
COMMON = ResultFilter(title="invariants", words="'invariants'")
APART = ResultFilter(title="order invariants", words="'order' & 'invariants'")
"""Every result has both words, but never one after the other."""
RARE_PAPERS = "papers_categories results_paper"
RESULT_PAGES = [
    (sql.SELECT_RESULTS, ResultFilter(), {}, "results_timestamp", 20),
    (sql.SELECT_RESULTS, ResultFilter(), MIDDLE, "results_timestamp", 20),
    (sql.SELECT_RESULTS, ResultFilter(), {"read_delay": 60.0}, "results_timestamp", 20),
    (sql.SELECT_RESULTS_DESC, ResultFilter(), {}, "results_timestamp", 20),
    (sql.SELECT_RESULTS_DESC, ResultFilter(), MIDDLE, "results_timestamp", 20),
    (sql.SELECT_RESULTS, ResultFilter(since=LATE), {}, "results_timestamp", 20),
    (sql.SELECT_RESULTS_DESC, ResultFilter(until=LATE), {}, "results_timestamp", 20),
    (sql.SELECT_RESULTS, ResultFilter(query_id=777), {}, "results_query_id_result_number_key", 20),
    (sql.SELECT_RESULTS, RARE, {}, "results_words", 250),
    (sql.SELECT_RESULTS, ResultFilter(category=["math.RA"]), {}, RARE_PAPERS, 250),
    (sql.SELECT_RESULTS, ResultFilter(category=["cs.C7"]), {}, "results_timestamp", 6000),
    (sql.SELECT_RESULTS, COMMON, {}, "results_timestamp", 20),
    (sql.SELECT_RESULTS_DESC, COMMON, MIDDLE, "results_timestamp", 20),
]


@pytest.mark.parametrize(("statement", "filters", "others", "names", "most"), RESULT_PAGES)
def test_page_of_results_reads_few_pages_at_any_depth(
    million: psycopg.Connection,
    statement: bytes,
    filters: ResultFilter,
    others: dict[str, Any],
    names: str,
    most: int,
) -> None:
    indexes, pages, rows = run(million, statement, values(RESULTS, filters, **others))

    assert set(names.split()) <= set(indexes.split())
    assert pages <= most
    assert rows in {10, 11}


@pytest.mark.parametrize(
    ("statement", "filters", "others", "most"),
    [
        (sql.SELECT_QUERIES, QueryFilter(), {}, 20),
        (sql.SELECT_QUERIES, QueryFilter(since=LATE), {}, 20),
        (sql.SELECT_QUERIES_DESC, QueryFilter(until=LATE), {}, 20),
        (
            sql.SELECT_QUERIES,
            QueryFilter(),
            {"after_timestamp": LATE, "after_query_id": 60_000},
            20,
        ),
        (sql.SELECT_QUERIES, QueryFilter(text="WORD77"), {}, 300),
    ],
)
def test_page_of_queries_reads_few_pages_at_any_depth(
    million: psycopg.Connection,
    statement: bytes,
    filters: QueryFilter,
    others: dict[str, Any],
    most: int,
) -> None:
    indexes, pages, rows = run(million, statement, values(QUERIES, filters, **others))

    assert (indexes, rows) == ("queries_timestamp", 11)
    assert pages <= most


ONE_FILTER: dict[str, Any] = {  # each matches few rows or none, so the search for them is long
    "since": LATE + 1_000_000_000,
    "until": 1_000_000_000,
    "status": 404,
    "text": "no such text",
    "author": "Nobody",
    "title": "nothing",
    "journal": "nowhere",
    "words": "'nothing'",
    "category": ["math.XX"],
    "archive": ["nowhere"],
    "query_id": 777,
}


def test_latest_responses_read_few_pages(million: psycopg.Connection) -> None:
    indexes, pages, rows = run(million, sql.SELECT_LATEST_RESPONSES, {"limit": 20})
    assert (indexes, rows) == ("queries_timestamp", 20)
    assert pages < 100


@pytest.mark.parametrize("kind", [QUERIES, RESULTS])
@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_every_filter_has_an_index_or_shares_the_limit_of_slow_reads(
    million: psycopg.Connection, kind: ListDefinition[Any], order: str
) -> None:
    filter_type: type[Any] = QueryFilter if kind is QUERIES else ResultFilter
    statement = kind.statement if order == "oldest" else kind.reverse_statement
    assert statement
    for name in set(filter_type.__struct_fields__) - SLOW_FILTERS:
        filters = filter_type(**{name: ONE_FILTER[name]})
        indexes, pages, _ = run(million, statement, values(kind, filters))
        assert indexes, name
        assert pages <= 80, name


DEEP = {"after_published": 1_570_000_000, "after_arxiv_id": "2001.00000", "after_version": 1}


@pytest.mark.parametrize("statement", [sql.SELECT_PAPERS, sql.SELECT_PAPERS_DESC])
@pytest.mark.parametrize("filters", [PaperFilter(), PaperFilter(all_versions=True)])
@pytest.mark.parametrize("others", [{}, DEEP])
def test_page_of_papers_uses_the_right_index(
    million: psycopg.Connection, statement: bytes, filters: PaperFilter, others: dict[str, Any]
) -> None:
    indexes, pages, rows = run(million, statement, values(PAPERS, filters, **others))

    assert "papers_published" in indexes
    assert pages <= 80
    assert rows > 0


AFTER_PAPER = {"after_arxiv_id": "2005.00000", "after_version": 1, "limit": 11}


@pytest.mark.parametrize(
    ("statement", "parameters", "index", "most"),
    [
        (sql.SELECT_QUERY, {"query_id": 50_000}, "queries_query_id_key", 8),
        (
            sql.COUNT_QUERIES,
            {"since": 1600000000 + 4 * 86_400, "limit": 10_001},
            "queries_timestamp",
            8,
        ),
        (
            sql.SELECT_RUNS,
            {"query_id": 99_999, "search_key": None, "query": "x", "limit": 2},
            "queries_unkeyed",
            8,
        ),
        (
            sql.SELECT_NEXT_RUN,
            {"query_id": 1, "search_key": None, "query": "x"},
            "queries_unkeyed",
            8,
        ),
        (
            sql.SELECT_QUERY_RESULTS,
            {"query_ids": [7, 99_999]},
            "results_query_id_result_number_key",
            30,
        ),
        (sql.SELECT_VERSIONS, {"arxiv_id": "2001.00000"}, "papers_pkey", 8),
        (
            sql.SELECT_FINDING_RUN_IDS,
            {"arxiv_id": "2001.00000", "limit": 10},
            "results_paper",
            60,
        ),
        (sql.SELECT_QUERIES_BY_ID, {"query_ids": [7, 99_999]}, "queries_query_id_key", 12),
        (
            sql.SELECT_PAPERS_BY_ID,
            {"arxiv_ids": ["2001.00000", "x"], "versions": [1, 2]},
            "papers_pkey",
            12,
        ),
        (
            sql.SELECT_INDEXED_PAPERS,
            {"arxiv_ids": ["2001.00000", "2002.00001", "x"]},
            "papers_pkey",
            16,
        ),
        (sql.SELECT_PAPER_BATCH, AFTER_PAPER, "papers_pkey", 30),
        (sql.SELECT_PAPER_KEYS, AFTER_PAPER, "papers_pkey", 30),
        (
            sql.SELECT_PAPER_CHANGES,
            {"after_changed": "0", "next": "9000000000", "limit": 11}
            | {"after_arxiv_id": "", "after_version": -1},
            "papers_changed",
            20,
        ),
        (
            sql.SELECT_FEED_PAPERS,
            {"query_ids": [7, 20_007], "all_query_ids": [7, 20_007, 40_007], "limit": 100},
            "results_query_id_result_number_key",
            500,
        ),
        (sql.SELECT_RUN_IDS, {"search_key": SEVENTH, "query": "x"}, "queries_search_key", 30),
        (
            sql.SELECT_QUERY_BY_ID_OR_WRITE_KEY,
            {"query_id": 50_000, "write_key": SEVENTH},
            "queries_write_key_key",
            8,
        ),
        (
            sql.SELECT_ARXIV_IDS,
            {"query_ids": [7, 20_007]},
            "results_query_id_result_number_key",
            30,
        ),
        (sql.SELECT_ENTRY_COUNTS, {"after": 70_000, "limit": 1000}, "queries_query_id_key", 1100),
        (
            sql.COUNT_RESULTS_BY_RUN,
            {"after": 70_000, "limit": 1000},
            "results_query_id_result_number_key",
            1100,
        ),
    ],
)
def test_lookup_uses_an_index(
    million: psycopg.Connection, statement: bytes, parameters: dict[str, Any], index: str, most: int
) -> None:
    indexes, pages, _ = run(million, statement, parameters)

    assert index in indexes.split()
    assert pages <= most


def test_common_words_that_are_never_adjacent_are_rejected_within_seconds(
    million: psycopg.Connection,
) -> None:
    million.execute("set statement_timeout = '9s'")
    try:
        _, __, rows = run(million, sql.SELECT_RESULTS, values(RESULTS, APART))
    finally:
        million.execute("reset statement_timeout")
    assert rows == 0


def test_earlier_runs_are_found_by_search_key(million: psycopg.Connection) -> None:
    row = million.execute("select search_key from queries where query_id = 99999").fetchone()
    assert row
    parameters = {"query_id": 99_999, "search_key": row[0], "query": "x", "limit": 2}
    indexes, pages, rows = run(million, sql.SELECT_RUNS, parameters)

    assert (indexes, rows) == ("queries_search_key", 2)
    assert pages <= 12


def test_next_run_is_found_by_search_key(million: psycopg.Connection) -> None:
    parameters = {"query_id": 7, "search_key": SEVENTH, "query": "x"}
    indexes, pages, rows = run(million, sql.SELECT_NEXT_RUN, parameters)

    assert (indexes, rows) == ("queries_search_key", 1)
    assert pages <= 12


def test_every_index_is_used(million: psycopg.Connection) -> None:
    """By a constraint or by one of the tests above."""
    indexes = {
        name
        for (name,) in million.execute(
            "select indexname from pg_indexes where tablename in ('queries', 'results', 'papers')"
        )
    }
    constraints = {"queries_pkey", "results_pkey", "queries_write_key_key", "queries_harvest_page"}
    read = {name for row in RESULT_PAGES for name in row[3].split()}
    read |= {"queries_timestamp", "queries_query_id_key", "queries_search_key", "queries_unkeyed"}
    read |= {"papers_pkey", "papers_published", "papers_changed"}

    assert indexes == constraints | read
