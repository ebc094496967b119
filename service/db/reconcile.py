"""Searches and results that do not belong together, where each lives on a system of its own.

Results are written before their search, so a crash leaves at most results without one. Nothing of
it is taken away: whoever wrote them may have been told that they are stored. The search is recorded
anew from what its results tell, as one that was interrupted.
"""

from collections.abc import Collection
from functools import partial

from msgspec import Struct, structs
from psycopg.rows import class_row

from .. import sql
from ..models.arxiv import Outcome
from ..models.records import INT8_MAX
from ..models.requests import WriteQueryRequest
from .pool import DatabasePools, fetch, map_db_errors

BATCH = 1000
"""Searches that are compared, or repaired, at once: in less time than a call may take."""
ANSWERED = 200
"""The status of every answer that has results."""


class Mismatch(Struct, frozen=True):
    """A number whose search and results do not belong together."""

    query_id: int
    expected: int | None
    """How many results its search says it has; None where there is no search."""
    stored: int

    @property
    def is_repairable(self) -> bool:
        """Whether there are results without a search, as a crash leaves them."""
        return self.expected is None


class _Search(Struct, frozen=True):
    query_id: int
    num_entries: int


class _Results(Struct, frozen=True):
    query_id: int
    num_results: int


class _Interrupted(Struct, frozen=True):
    query_id: int
    timestamp: int
    num_entries: int


class Reconciler:
    """What is amiss between searches and their results, and its repair."""

    def __init__(self, connections: DatabasePools) -> None:
        """Compare, and write, over these connections."""
        self._searches = partial(connections.writer, "queries")
        self._results = partial(connections.writer, "results")

    async def find_mismatches(self) -> list[Mismatch]:
        """All numbers under which something is missing, or being written just now."""
        found: list[Mismatch] = []
        after = 0
        while after < INT8_MAX:
            page = {"after": after, "limit": BATCH}
            # results are written first: those of a search that is seen here are there below
            searches = await fetch(
                self._searches, class_row(_Search), sql.SELECT_ENTRY_COUNTS, page
            )
            results = await fetch(
                self._results, class_row(_Results), sql.COUNT_RESULTS_BY_RUN, page
            )
            cut = [rows[-1].query_id for rows in (searches, results) if len(rows) == BATCH]
            after = min(cut, default=INT8_MAX)
            said = {row.query_id: row.num_entries for row in searches if row.query_id <= after}
            there = {row.query_id: row.num_results for row in results if row.query_id <= after}
            found += [
                Mismatch(number, said.get(number), there.get(number, 0))
                for number in sorted(said.keys() | there.keys())
                if said.get(number) != there.get(number, 0)
            ]
        return found

    async def repair(self, mismatches: Collection[Mismatch]) -> int:
        """Record the searches of results that have none; of how many.

        One that has come meanwhile stays as it is.
        """
        numbers = [each.query_id for each in mismatches if each.is_repairable]
        repaired = 0
        for begin in range(0, len(numbers), BATCH):
            wanted = {"query_ids": numbers[begin : begin + BATCH]}
            found = await fetch(
                self._results, class_row(_Interrupted), sql.SELECT_INTERRUPTED_RUNS, wanted
            )
            searches = [structs.asdict(_search(each)) for each in found]
            with map_db_errors():
                async with self._searches() as conn:
                    cursor = conn.cursor()
                    await cursor.executemany(sql.WRITE_QUERY, searches)
                    repaired += cursor.rowcount
        return repaired


def _search(interrupted: _Interrupted) -> WriteQueryRequest:
    return WriteQueryRequest(
        query_id=interrupted.query_id,
        timestamp=interrupted.timestamp,
        status=ANSWERED,
        num_results=interrupted.num_entries,
        num_entries=interrupted.num_entries,
        query="",
        outcome=Outcome.INTERRUPTED,
    )
