"""Searches in the index of this machine."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import tantivy
from cachetools import TTLCache

from ..errors import IndexUnavailable, InvalidParameter
from ..models.records import Count, PaperVersion
from . import state
from .schema import open_index
from .threads import convert_panics

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAITING = 64
"""Searches that may wait for a thread; more are rejected."""
MAX_SNAPSHOTS, SNAPSHOT_SECONDS = 128, 600
"""Earlier states of the index that stay open, so that the pages of a ranked list fit together."""
INVALID_ARGUMENT = "An invalid argument was passed"
"""In tantivy's error for a query that it does not execute."""
MAX_COUNTED_CATEGORIES = 1000
"""More than there are categories, so that the counts are exact."""
MAX_CATEGORIES = 50
"""Categories that are returned."""
FIRST_YEAR = 1985
"""Of those that facets distinguish; arXiv began in 1991."""


_TOTAL = {"value_count": {"field": "sort_key"}}


class Snapshot(NamedTuple):
    """A state of the index, which does not change while papers are added."""

    generation: int
    searcher: tantivy.Searcher


class SortedHit(NamedTuple):
    """A paper in a sorted list."""

    sort_key: int
    arxiv_id: str
    version: int


class PaperIndex:
    """Reads the index that an indexer on this machine keeps up to date."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._index: tantivy.Index | None = None
        self._directory = ""
        self._snapshot: Snapshot | None = None
        self._snapshots: TTLCache[int, Snapshot] = TTLCache(
            MAX_SNAPSHOTS, SNAPSHOT_SECONDS, monotonic
        )
        self._expiry: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "search")
        self._waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._expiry:
            self._expiry.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def open_snapshot(self, generation: int | None = None) -> Snapshot:
        """Return the latest state, or an earlier one if it is still open.

        Raises IndexUnavailable until the index is complete.
        """
        if generation is not None and (earlier := self._snapshots.get(generation)):
            return earlier
        latest = state.read_generation(self._root)
        if self._snapshot is None or self._snapshot.generation != latest:
            async with self._lock:
                self._snapshot = await self._run(self._reload)
        return self._snapshot

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a state open for further pages."""
        self._snapshots[snapshot.generation] = snapshot
        if self._expiry is None:
            self._plan_expiry()

    def _plan_expiry(self) -> None:
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(SNAPSHOT_SECONDS, self._expire_snapshots)

    def _expire_snapshots(self) -> None:
        """Release old states even without searches: their deleted files occupy the disk."""
        self._snapshots.expire()
        self._expiry = None
        if self._snapshots:
            self._plan_expiry()

    def _reload(self) -> Snapshot:
        generation = state.read_generation(self._root)
        if self._snapshot and self._snapshot.generation == generation:
            return self._snapshot
        current = state.read_state(self._root)
        if current is None:
            self._index = None
            raise self._create_error()
        try:
            if self._index is None or current.directory != self._directory:
                self._index = open_index(self._root / current.directory)
                self._directory = current.directory
            self._index.reload()
            return Snapshot(generation, self._index.searcher())
        except (ValueError, OSError) as error:
            if state.read_generation(self._root) != generation:  # replaced meanwhile
                return self._reload()
            return self._handle_failure(current.directory, error)

    def _handle_failure(self, directory: str, error: Exception) -> Snapshot:
        """Return the state before if the index cannot be opened now; discard a damaged index."""
        if state.find_cause(error):
            logger.error("cannot open the search index in %s: %s", self._root, error)
            if self._snapshot:
                return self._snapshot
        else:
            logger.error("the search index in %s is damaged: %s", self._root, error)
            state.discard_state(self._root, directory)
        self._index = self._snapshot = None
        raise self._create_error() from error

    def _create_error(self) -> IndexUnavailable:
        status = state.read_status(self._root)
        if status.reason:
            return IndexUnavailable(f"the search index is not available: {status.reason}")
        done = f"{status.indexed or 0:,} of about {status.total:,} papers" if status.total else "0"
        return IndexUnavailable(f"the search index is being built: {done} are done")

    async def rank(
        self, snapshot: Snapshot, query: tantivy.Query, limit: int, offset: int
    ) -> list[PaperVersion]:
        """Return the ids and versions of papers, the best match first."""
        return await self._search(partial(rank_papers, snapshot.searcher, query, limit, offset))

    async def sort(
        self,
        snapshot: Snapshot,
        query: tantivy.Query,
        limit: int,
        offset: int = 0,
        *,
        descending: bool,
    ) -> list[SortedHit]:
        """Return papers by their submission."""
        call = partial(_sort, snapshot.searcher, query, limit, offset, descending=descending)
        return await self._search(call)

    async def count(self, snapshot: Snapshot, query: tantivy.Query, tz: tzinfo) -> list[Count]:
        """Return the number of papers: in total, by category and by year in this time zone."""
        return await self._search(partial(_count, snapshot.searcher, query, tz))

    async def call(self, snapshot: Snapshot, function: Callable[[tantivy.Searcher], T]) -> T:
        """Return what a function returns that reads a state of the index."""
        return await self._search(partial(function, snapshot.searcher))

    async def _search(self, search: Callable[[], T]) -> T:
        """Return the result of a search. Raises InvalidParameter or IndexUnavailable."""
        try:
            return await self._run(partial(convert_panics, search))
        except ValueError as error:
            if INVALID_ARGUMENT in str(error):  # of the query, not of the index
                reason = "too many words begin like one with a *; write more letters before the *"
                raise InvalidParameter("q", reason) from error
            # not discarded, since the query might be the reason
            if not state.is_rebuild_requested(self._root):
                logger.exception("a search failed in %s: the index is built again", self._root)
                with suppress(OSError):
                    state.request_rebuild(self._root)
            reason = "the search index may be damaged and is built again; repeat the request later"
            raise IndexUnavailable(reason) from error

    async def _run(self, function: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise IndexUnavailable("too many searches are in progress; repeat the request later")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function)
        finally:
            self._waiting -= 1


def rank_papers(
    searcher: tantivy.Searcher, query: tantivy.Query, limit: int, offset: int = 0
) -> list[PaperVersion]:
    """Return the ids and versions of papers, the best match first."""
    if offset >= searcher.num_docs:
        return []
    result = searcher.search(query, limit, count=False, offset=offset, weight_by_field="recency")
    return [read_key(searcher, address) for _, address in result.hits]


def _sort(
    searcher: tantivy.Searcher, query: tantivy.Query, limit: int, offset: int, *, descending: bool
) -> list[SortedHit]:
    if offset >= searcher.num_docs:
        return []
    order = tantivy.Order.Desc if descending else tantivy.Order.Asc
    result = searcher.search(
        query, limit, count=False, order_by_field="sort_key", offset=offset, order=order
    )
    hits = [SortedHit(key, *read_key(searcher, address)) for key, address in result.hits]
    return sorted(hits, reverse=descending)


def read_key(searcher: tantivy.Searcher, address: tantivy.DocAddress) -> PaperVersion:
    """Return the id and the version of a paper."""
    document = searcher.doc(address)
    return document["arxiv_id"][0], document["version"][0]


def count_papers(searcher: tantivy.Searcher, query: tantivy.Query) -> int:
    """Return the number of papers that match."""
    found = searcher.aggregate(query, {"total": _TOTAL})
    return int(found["total"]["value"])


def _count(searcher: tantivy.Searcher, query: tantivy.Query, tz: tzinfo) -> list[Count]:
    found = searcher.aggregate(
        query,
        {
            "total": _TOTAL,
            "category": {"terms": {"field": "facet", "size": MAX_COUNTED_CATEGORIES}},
            "year": {"range": {"field": "published", "ranges": _list_years(tz)}},
        },
    )
    categories = [(bucket["key"], bucket["doc_count"]) for bucket in found["category"]["buckets"]]
    years = [(bucket["key"], bucket["doc_count"]) for bucket in found["year"]["buckets"]]
    return [
        Count("total", "", int(found["total"]["value"])),
        *_create_counts("category", sorted(categories, key=_sort_key))[:MAX_CATEGORIES],
        *_create_counts("year", sorted(years, reverse=True)),
    ]


def _create_counts(facet: str, values: Sequence[tuple[str, int]]) -> list[Count]:
    return [Count(facet, value, count) for value, count in values if count]


def _sort_key(value: tuple[str, int]) -> tuple[int, str]:
    """Sort by count, the largest first, then by name."""
    return -value[1], value[0]


def _list_years(tz: tzinfo) -> list[dict[str, Any]]:
    """Return a range for each year in a time zone, to the next one."""
    years = range(FIRST_YEAR, datetime.now(tz).year + 2)
    starts = {year: datetime(year, 1, 1, tzinfo=tz).timestamp() for year in [*years, years.stop]}
    return [{"key": str(year), "from": starts[year], "to": starts[year + 1]} for year in years]
