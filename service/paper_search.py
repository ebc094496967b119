"""Lists of papers: found in the search index, then read from PostgreSQL by their keys."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, cast

from msgspec.structs import astuple
from tantivy import Occur, Query

from .db.reader import RANKED, BatchReader, ListSelection, RecordReader
from .models.filters import PaperFilter, Position, SortKey
from .models.records import Count, PaperRow, PaperVersion, RankedPaperRow, SimilarPaperRow
from .models.responses import SuggestedTitle, Suggestions
from .search_index.paper_index import PaperIndex, Snapshot, SortedHit
from .search_index.queries import build_query, match_range
from .search_index.schema import compute_sort_key
from .search_index.similarity import (
    build_similar_query,
    find_significant_words,
    list_shared_words,
)
from .search_index.spelling import (
    MAX_PAPERS,
    build_fuzzy_query,
    find_misspelled,
    list_corrections,
    list_distances,
)
from .search_index.suggestions import find_suggestions

MAX_SUGGESTED_LENGTH = 200
"""Characters of a query that is being typed."""
TIES = 16
"""Papers that are read in addition, since papers with equal sort keys must be read together."""
MAX_MOVED = 200
"""How far a paper may have moved in a ranking since an earlier page."""


class PaperSearch(ABC):
    """Finds papers by a full-text query and filters."""

    @abstractmethod
    async def fetch_page(
        self, selection: ListSelection[Any], position: Position, limit: int
    ) -> list[Any]:
        """At most `limit` papers from a position on. Raises IndexUnavailable."""

    @abstractmethod
    async def count(self, filters: PaperFilter, tz: tzinfo) -> list[Count]:
        """Numbers of papers: in total, per category, and per year in this time zone."""

    @abstractmethod
    async def suggest(self, q: str) -> Suggestions:
        """What a query that is being typed may become. Raises IndexUnavailable."""

    @abstractmethod
    async def find_similar(
        self, paper: PaperVersion, filters: PaperFilter, limit: int
    ) -> list[SimilarPaperRow]:
        """Papers that are similar to a stored one, the most similar first."""

    @abstractmethod
    async def correct_spelling(self, filters: PaperFilter) -> list[str]:
        """Corrections of a query that finds nothing, which do, the best first."""

    def stream_batches(
        self, selection: ListSelection[Any], position: Position, max_rows: int
    ) -> BatchReader[Any]:
        """All papers from a position on: first a small batch, then up to `max_rows` each."""
        fetch_page = partial(self.fetch_page, selection)
        return BatchReader(fetch_page, selection.definition, position, max_rows)


class LocalPaperSearch(PaperSearch):
    """Uses the index of this machine. Lists of all papers come from PostgreSQL alone."""

    def __init__(self, index: PaperIndex, reader: RecordReader) -> None:
        self._index = index
        self._reader = reader

    async def fetch_page(
        self, selection: ListSelection[Any], position: Position, limit: int
    ) -> list[Any]:
        """See PaperSearch. The papers are those in the index whose rows still exist."""
        filters = selection.filters
        assert isinstance(filters, PaperFilter)  # noqa: S101 - of a list of papers
        is_ranked = selection.definition is RANKED
        if filters.is_empty and not is_ranked:
            return await self._reader.fetch_page(selection, position, limit)
        query = build_query(filters)
        if is_ranked:
            return await self._fetch_ranked(query, position, limit)
        return await self._fetch_sorted(query, position, limit, newest=selection.newest)

    async def count(self, filters: PaperFilter, tz: tzinfo) -> list[Count]:
        """See PaperSearch."""
        query = build_query(filters)
        return await self._index.count(await self._index.open_snapshot(), query, tz)

    async def suggest(self, q: str) -> Suggestions:
        """See PaperSearch."""
        snapshot = await self._index.open_snapshot()
        found = await self._index.call(snapshot, partial(find_suggestions, q))
        papers = await self._read(found.titles)
        titles = [SuggestedTitle(row.arxiv_id, row.title) for row in papers]
        return Suggestions(found.terms, found.authors, titles)

    async def find_similar(
        self, paper: PaperVersion, filters: PaperFilter, limit: int
    ) -> list[SimilarPaperRow]:
        """See PaperSearch."""
        snapshot = await self._index.open_snapshot()
        found = await self._read([paper])
        words = [
            word
            for row in found
            for word in await self._index.call(snapshot, partial(find_significant_words, row))
        ]
        if not words:
            return []
        query = build_similar_query(paper[0], words, filters)
        rows = await self._read(await self._index.rank(snapshot, query, limit, 0))
        return [SimilarPaperRow(*(*astuple(row), list_shared_words(row, words))) for row in rows]

    async def correct_spelling(self, filters: PaperFilter) -> list[str]:
        """See PaperSearch."""
        snapshot = await self._index.open_snapshot()
        misspelled = await self._index.call(snapshot, partial(find_misspelled, filters))
        for distance in list_distances(misspelled):
            query = build_fuzzy_query(filters, misspelled, distance)
            papers = await self._read(await self._index.rank(snapshot, query, MAX_PAPERS, 0))
            correct = partial(list_corrections, filters, misspelled, distance, papers)
            if found := await self._index.call(snapshot, correct):
                return found
        return []

    async def _fetch_sorted(
        self, query: Query, position: Position, limit: int, *, newest: bool
    ) -> list[PaperRow]:
        descending = newest != position.back
        snapshot = await self._index.open_snapshot()
        key = _create_sort_key(position.key) if position.key else None
        rows: list[PaperRow] = []
        offset = position.offset
        while len(rows) < limit:
            wanted = limit - len(rows)
            hits = await self._find_after(
                snapshot, query, key, wanted, offset, descending=descending
            )
            rows += await self._read([hit[1:] for hit in hits])
            if len(hits) < wanted:
                break
            # some of the papers may have been deleted since they were indexed
            key, offset = hits[-1], 0
        return rows[::-1] if position.back else rows

    async def _find_after(
        self,
        snapshot: Snapshot,
        query: Query,
        key: SortedHit | None,
        limit: int,
        offset: int,
        *,
        descending: bool,
    ) -> list[SortedHit]:
        """Return papers that come after a key, which includes those with equal sort keys."""
        if key:
            bounds = (None, key.sort_key) if descending else (key.sort_key, None)
            clauses = [query, Query.const_score_query(match_range("sort_key", *bounds), 0)]
            query = Query.boolean_query([(Occur.Must, clause) for clause in clauses])
        size, before = limit + TIES, min(offset, TIES)
        while True:
            found = await self._index.sort(
                snapshot, query, before + size, offset - before, descending=descending
            )
            if before < min(offset, len(found)) and found[0].sort_key == found[before].sort_key:
                before = min(
                    offset, 2 * before
                )  # the index has papers with equal keys in any order
                continue
            hits = [
                hit for hit in found[before:] if not key or (hit < key if descending else hit > key)
            ]
            if len(found) < before + size:
                return hits[:limit]
            complete = [hit for hit in hits if hit.sort_key != found[-1].sort_key]
            if len(complete) >= limit:
                return complete[:limit]
            size *= 2

    async def _fetch_ranked(
        self, query: Query, position: Position, limit: int
    ) -> list[RankedPaperRow]:
        snapshot, rank = await self._find_start(query, position)
        rows: list[RankedPaperRow] = []
        while len(rows) < limit:
            wanted = limit - len(rows)
            papers = await self._index.rank(snapshot, query, wanted, rank)
            found = await self._reader.fetch_papers(papers)
            rows += [
                RankedPaperRow(*(*astuple(found[paper]), snapshot.generation, number))
                for number, paper in enumerate(papers, rank)
                if paper in found
            ]
            rank += len(papers)
            if len(papers) < wanted:
                break
        if len(rows) == limit:  # there may be further pages
            self._index.keep_snapshot(snapshot)
        return rows

    async def _find_start(self, query: Query, position: Position) -> tuple[Snapshot, int]:
        """Return the state of the index to read, and the rank from which on."""
        if position.key is None:
            return await self._index.open_snapshot(), position.offset
        generation, rank, arxiv_id, version = cast("tuple[int, int, str, int]", position.key)
        snapshot = await self._index.open_snapshot(generation)
        if snapshot.generation == generation:
            return snapshot, rank + 1
        # another process, or a long time ago: other papers may have changed the scores
        first = max(0, rank - MAX_MOVED)
        papers = await self._index.rank(snapshot, query, rank - first + MAX_MOVED, first)
        if (arxiv_id, version) in papers:
            rank = first + papers.index((arxiv_id, version))
        return snapshot, rank + 1

    async def _read(self, papers: Sequence[PaperVersion]) -> list[PaperRow]:
        """Return the rows of these papers in the same order, without those that are deleted."""
        found = await self._reader.fetch_papers(papers)
        return [found[paper] for paper in papers if paper in found]


def _create_sort_key(key: SortKey) -> SortedHit:
    published, arxiv_id, version = cast("tuple[int, str, int]", key)
    return SortedHit(compute_sort_key(published, arxiv_id, version), arxiv_id, version)
