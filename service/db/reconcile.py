"""Find and repair runs without results, and results without a run, on separate systems.

Results are written before their run, so a crash leaves at most results without one. Nothing is
deleted, since their client may have received a confirmation. Instead the run is recorded, as an
interrupted one, from what its results reveal.
"""

from collections.abc import Collection
from functools import partial

from msgspec import Struct, structs
from psycopg.rows import dict_row, tuple_row

from .. import sql
from ..models.arxiv import Outcome
from ..models.records import INT8_MAX
from ..models.requests import WriteQueryRequest
from .pool import DatabasePools, fetch, map_db_errors

BATCH = 1000
"""Runs that are compared or repaired at once, within the time limit of a call."""


class Mismatch(Struct, frozen=True):
    """A query_id whose run and results do not match."""

    query_id: int
    expected: int | None
    """How many results the run should have; None without a run."""
    stored: int

    @property
    def is_repairable(self) -> bool:
        """Whether there are results without a run, as after a crash."""
        return self.expected is None


class Reconciler:
    """Compares runs with their results."""

    def __init__(self, pools: DatabasePools) -> None:
        self._queries = pools.writer
        self._results = partial(pools.writer, "results")

    async def find_mismatches(self) -> list[Mismatch]:
        """All mismatches, including runs that are just being written."""
        mismatches: list[Mismatch] = []
        after = 0
        while after < INT8_MAX:
            values = {"after": after, "limit": BATCH}
            # in this order, because results are written first: those of a run that is read here
            # are stored when the results are read
            runs = await fetch(self._queries, tuple_row, sql.SELECT_ENTRY_COUNTS, values)
            counts = await fetch(self._results, tuple_row, sql.COUNT_RESULTS_BY_RUN, values)
            last = [rows[-1][0] for rows in (runs, counts) if len(rows) == BATCH]
            after = min(last, default=INT8_MAX)
            expected: dict[int, int] = dict(runs)
            stored: dict[int, int] = dict(counts)
            mismatches += [
                Mismatch(query_id, expected.get(query_id), stored.get(query_id, 0))
                for query_id in sorted(expected.keys() | stored.keys())
                if query_id <= after and expected.get(query_id) != stored.get(query_id, 0)
            ]
        return mismatches

    async def repair(self, mismatches: Collection[Mismatch]) -> int:
        """Record the runs of results that still have none, and return how many were recorded."""
        query_ids = [mismatch.query_id for mismatch in mismatches if mismatch.is_repairable]
        repaired = 0
        for begin in range(0, len(query_ids), BATCH):
            values = {"query_ids": query_ids[begin : begin + BATCH]}
            runs = await fetch(self._results, dict_row, sql.SELECT_INTERRUPTED_RUNS, values)
            rows = [structs.asdict(_create_query(**run)) for run in runs]
            with map_db_errors():
                async with self._queries() as conn:
                    cursor = conn.cursor()
                    await cursor.executemany(sql.WRITE_QUERY, rows)
                    repaired += cursor.rowcount
        return repaired


def _create_query(query_id: int, timestamp: int, num_entries: int) -> WriteQueryRequest:
    return WriteQueryRequest(
        query_id=query_id,
        timestamp=timestamp,
        status=200,  # that of every response with results
        num_results=num_entries,
        num_entries=num_entries,
        query="",
        outcome=Outcome.INTERRUPTED,
    )
