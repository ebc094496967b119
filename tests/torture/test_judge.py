"""The checks used by the other torture tests."""

import psycopg
import pytest

from tests.torture.load import Load, Verdict

RECORD = """
    insert into queries (query_id, timestamp, status, num_results, num_entries, query, search_key)
    values (%s, 0, 200, 2, 2, 'search_query=all:the', md5(%s)::uuid)
"""
RESULTS = """
    insert into results (query_id, timestamp, result_number, author, title)
    select %s, 0, unnest(%s::int[]), 'A', 'T'
"""


@pytest.mark.parametrize(
    ("records", "results", "acknowledged", "verdict"),
    [
        ([(1, "a"), (2, "b")], {1: [0, 1], 2: [0, 1]}, [(1, 2), (2, 2)], (0, 0, 0)),
        ([(1, "a")], {1: [0, 1]}, [], (0, 0, 0)),
        ([(1, "a")], {1: [0, 1]}, [(1, 2), (2, 2)], (1, 0, 0)),
        ([(1, "a")], {1: [0, 1]}, [(1, 3)], (1, 0, 0)),
        ([(1, "a")], {1: [0, 1]}, [(1, 2), (1, 2)], (1, 0, 0)),
        ([(1, "a"), (2, "a")], {1: [0, 1], 2: [0, 1]}, [(1, 2)], (0, 1, 0)),
        ([(1, "a")], {1: [0]}, [(1, 2)], (0, 0, 1)),
        ([(1, "a")], {}, [(1, 2)], (0, 0, 1)),
        ([(1, "a")], {1: [0, 2]}, [(1, 2)], (0, 0, 1)),
        ([], {1: [0, 1]}, [], (0, 0, 1)),
    ],
)
def test_lost_duplicated_and_partial_records_are_detected(
    db: psycopg.Connection,
    records: list[tuple[int, str]],
    results: dict[int, list[int]],
    acknowledged: list[tuple[int, int]],
    verdict: tuple[int, int, int],
) -> None:
    for record in records:
        db.execute(RECORD, record)
    for query_id, numbers in results.items():
        db.execute(RESULTS, (query_id, numbers))
    load = Load("http://gateway")
    load.acknowledged = acknowledged
    assert load.judged(db) == Verdict(*verdict)
