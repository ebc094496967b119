"""Recorded searches as the feeds of arXiv's API."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from cachetools import TTLCache

from .formats.arxiv_feed import FeedHead, render_end, render_entries, render_head
from .models.arxiv import ApiQuery, Entry
from .models.records import RecordedSearch
from .search import wait_for_results
from .singleflight import SingleFlight

MAX_CACHED_BYTES = 16 * 2**20
"""Size of the feeds kept in memory by each process; an entry takes 2,500 bytes."""
CACHE_SECONDS = 60.0
"""How long a feed stays in memory; a later search may have found a correction of a paper."""
BATCH_SIZE = 100
"""Entries that are rendered before other requests run; they take 10 ms."""


class EntrySource(Protocol):
    """Where the entries of recorded searches are read."""

    async def fetch_entries(self, query_id: int) -> list[Entry]:
        """Return the entries of a search, in their order."""


class FeedService:
    """Renders feeds, and keeps the latest in memory."""

    def __init__(self, entries: EntrySource) -> None:
        self._entries = entries
        self._reads: SingleFlight[bytes] = SingleFlight()
        self._cache: TTLCache[int, bytes] = TTLCache(MAX_CACHED_BYTES, CACHE_SECONDS, getsizeof=len)

    async def fetch_feed(self, query: ApiQuery, recorded: RecordedSearch) -> bytes:
        """Return the feed of a recorded search. Raises DatabaseUnavailable."""
        self._cache.expire()
        feed = self._cache.get(recorded.query_id)
        if feed is None:
            render = partial(self._render, query, recorded)
            feed = await self._reads.read(recorded.query_id, render)
        return feed

    async def _render(self, query: ApiQuery, recorded: RecordedSearch) -> bytes:
        if (feed := self._cache.get(recorded.query_id)) is not None:
            return feed  # a concurrent call has rendered it
        entries = await wait_for_results(recorded, self._entries.fetch_entries)
        head = FeedHead(
            query=recorded.query,
            link=recorded.feed_link,
            updated=datetime.fromtimestamp(recorded.timestamp, UTC),
            total=recorded.num_results,
            start=query.start,
            items_per_page=query.max_results,
        )
        parts = [render_head(head)]
        for start in range(0, len(entries), BATCH_SIZE):
            parts.append(render_entries(entries[start : start + BATCH_SIZE]))
            await asyncio.sleep(0)
        feed = b"".join([*parts, render_end()])
        with suppress(ValueError):  # it is too large
            self._cache[recorded.query_id] = feed
        return feed
