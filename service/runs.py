"""Recorded searches: one run, its papers, and how it differs from the previous run."""

from collections.abc import Sequence
from datetime import tzinfo

from . import search_diff
from .db.reader import RecordReader
from .errors import NotFound
from .models.records import INT8_MAX, PaperRow, ResultRow, Run
from .models.responses import Changes, Query, Result


class RunService:
    """Reads runs; times are in the zone."""

    def __init__(self, reader: RecordReader, zone: tzinfo) -> None:
        self._reader = reader
        self._zone = zone

    async def fetch(self, query_id: int, *, ignore_read_delay: bool = False) -> Run:
        """Return a run. Raises NotFound."""
        run = None
        if 0 < query_id <= INT8_MAX:
            run = await self._reader.fetch_run(query_id, ignore_read_delay=ignore_read_delay)
        if run is None:
            raise NotFound(f"no search {query_id} is recorded; see /queries for the recorded ones")
        return run

    async def find_previous(self, run: Run) -> Run | None:
        """Return the latest successful run of the same search before this one."""
        runs = await self._reader.fetch_runs(run, 2)
        # a replica that lags behind may not have this run yet
        return next((other for other in runs if other.query_id < run.query_id), None)

    async def compare(
        self, run: Run, results: Sequence[ResultRow], previous: Run | None
    ) -> Changes:
        """Return the differences of the results of a run from those of the previous one."""
        before = await self._reader.fetch_results(previous) if previous else results
        return Changes(
            query=Query.from_row(run, self._zone),
            previous=Query.from_row(previous, self._zone) if previous else None,
            came=Result.from_rows(search_diff.find_added(results, before), self._zone),
            went=Result.from_rows(search_diff.find_added(before, results), self._zone),
            moved=search_diff.find_moved(results, before),
            new_versions=search_diff.find_new_versions(results, before),
        )

    async def pair_with_papers(
        self, results: Sequence[ResultRow]
    ) -> list[tuple[ResultRow, PaperRow | None]]:
        """Return each result with its paper, if that is stored."""
        versions = {(row.arxiv_id, row.version or 0) for row in results if row.arxiv_id}
        papers = await self._reader.fetch_papers(versions)
        return [(row, papers.get((row.arxiv_id or "", row.version or 0))) for row in results]
