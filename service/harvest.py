"""Resumable retrieval of all papers that match a query.

arXiv returns only the first 10,000 papers of a search. Papers are therefore requested in the order
of submission, and when a window reaches that limit, the next one starts at the minute in which its
last paper was submitted. Each page is recorded in one transaction with the progress of the harvest,
so an interruption loses at most the page in progress. The next harvest of the query continues.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from time import time

from msgspec import Struct, structs

from . import arxiv_query, errors
from .backoff import Backoff
from .db.records import BeforeRetry, RecordStore
from .models.arxiv import ArxivResponse, Outcome, Search
from .models.records import Harvest, RecordedSearch
from .search import LocalSearchService

logger = logging.getLogger(__name__)

PAGE_SIZE = 1000
MAX_RESULT = arxiv_query.MAX_RESULT
"""The number of papers that arXiv returns for one search."""
FIRST_SUBMISSION = 662_688_000
"""Unix seconds of 1991-01-01; the first papers of arXiv are of August 1991."""
OVERLAP = 14 * 86_400
"""A harvest starts this many seconds before the end of the previous one, because papers appear days
after their submission."""
MAX_FAILURES = 8
"""The number of failures in a row after which a harvest stops."""
RETRY_PAUSES = 2.0, 300.0
"""Seconds between two attempts: the first pause, and the longest."""
MINUTE = 60


class Progress(Struct, frozen=True):
    """How many papers are stored, and how many there are in total."""

    stored: int
    total: int


class Harvester:
    """Stores all papers that match a query in arXiv's language, up to `limit` in total.

    Raises InvalidParameter if the query is not valid.
    """

    def __init__(
        self,
        query: str,
        limit: int | None,
        search_service: LocalSearchService,
        records: RecordStore,
    ) -> None:
        search = Search(query=query, max_results=PAGE_SIZE)
        self._query = query
        self._normalized_query = arxiv_query.build_params(search, PAGE_SIZE)["search_query"]
        self._limit = limit
        self._search_service = search_service
        self._records = records
        self._is_resumed = False
        self._offset = 0
        """Results of the current window that have been retrieved."""

    async def run(self) -> AsyncIterator[Progress]:
        """Continue where the last harvest of the query stopped; yields the progress.

        Raises UpstreamRejected if arXiv rejects the query, and other ServiceErrors after
        MAX_FAILURES failures in a row. What is stored remains, and the next harvest continues.
        """
        await self._resume()
        yield Progress(len(self._seen), len(self._seen))
        failures, backoff = 0, Backoff(*RETRY_PAUSES)
        while not self._state.finished and (self._papers_left is None or self._papers_left > 0):
            try:
                page = await self._fetch_page()
            except errors.Conflict:
                await self._resume()  # another process was faster: continue after its page
                yield Progress(len(self._seen), len(self._seen))
            except errors.UpstreamRejected:
                raise
            except (errors.UpstreamError, errors.QueueTooLong, errors.DatabaseUnavailable) as error:
                failures += 1
                if failures > MAX_FAILURES:
                    raise
                await self._pause(error, backoff)
            else:
                failures, backoff = 0, Backoff(*RETRY_PAUSES)
                yield self._compute_progress(page)

    async def _resume(self) -> None:
        """Load the state of the harvest; at first, start a new one after a finished one."""
        self._offset = 0
        latest = await self._records.find_harvest(self._normalized_query)
        if latest is None or (latest.finished and not self._is_resumed):
            start = FIRST_SUBMISSION if latest is None else latest.submitted_to - OVERLAP
            await self._records.start_harvest(self._normalized_query, start, int(time()))
            latest = await self._records.find_harvest(self._normalized_query)
        assert latest is not None  # noqa: S101 - it has been started
        self._is_resumed = True
        self._state = latest
        self._seen = await self._records.fetch_harvested_ids(self._normalized_query)

    @property
    def _papers_left(self) -> int | None:
        """How many papers may still be stored."""
        return None if self._limit is None else self._limit - len(self._seen)

    async def _fetch_page(self) -> RecordedSearch:
        """Search for the next page, in the order of submission, and record it."""
        search = Search(
            query=self._query,
            submitted_from=self._state.submitted_from,
            submitted_to=self._state.submitted_to,
            start=self._state.start,
            max_results=PAGE_SIZE,
            sort_by="submittedDate",
            sort_order="ascending",
        )
        page = await self._search_service.search_and_record(search, self._record)
        if page.outcome == Outcome.SUSPECT:
            raise errors.UpstreamInvalidResponse("arXiv sent fewer papers than it counted")
        return page

    async def _record(self, response: ArxivResponse, before_retry: BeforeRetry) -> RecordedSearch:
        """Record the papers of a page that are new, together with the progress."""
        # arXiv counts fewer papers than it has sent before, so this is not the end
        counts_too_few = self._state.page > 0 and response.num_results < max(1, self._state.start)
        if response.outcome == Outcome.OK and counts_too_few:
            response = structs.replace(response, outcome=Outcome.SUSPECT)
        if response.outcome != Outcome.OK:
            # a complete response to the next attempt will contain these papers too
            return await self._search_service.record(
                structs.replace(response, entries=[]), before_retry
            )
        new = {
            entry.arxiv_id: entry
            for entry in response.entries
            if entry.arxiv_id is not None and entry.arxiv_id not in self._seen
        }
        entries = list(new.values())[: self._papers_left]
        state = self._compute_next_state(response, is_complete=len(entries) == len(new))
        recorded = await self._search_service.record(
            structs.replace(response, entries=entries), before_retry, harvest=state
        )
        self._seen.update(entry.arxiv_id for entry in entries if entry.arxiv_id)
        self._state = state
        return recorded

    def _compute_next_state(self, response: ArxivResponse, *, is_complete: bool) -> Harvest:
        """The state after this page; a page that is not stored completely is requested again."""
        page = self._state.page + 1
        if not is_complete:
            return structs.replace(self._state, page=page)
        start = self._offset = self._state.start + len(response.entries)
        if not response.entries or start >= response.num_results:
            return structs.replace(self._state, page=page, start=start, finished=True)
        if start + PAGE_SIZE <= MAX_RESULT:
            return structs.replace(self._state, page=page, start=start)
        submitted = [entry.published for entry in response.entries if entry.published]
        last = int(max(submitted).timestamp()) // MINUTE * MINUTE if submitted else 0
        if last <= self._state.submitted_from:
            raise errors.ServiceError(
                f"arXiv has more than {MAX_RESULT} papers submitted in one minute"
            )
        return structs.replace(self._state, page=page, submitted_from=last, start=0)

    def _compute_progress(self, page: RecordedSearch) -> Progress:
        left = 0 if self._state.finished else max(0, page.num_results - self._offset)
        total = len(self._seen) + left
        return Progress(len(self._seen), min(total, self._limit or total))

    async def _pause(self, error: errors.ServiceError, backoff: Backoff) -> None:
        seconds = max(error.retry_after or 0, backoff.next_pause())
        logger.warning("harvest paused for %.0f seconds: %s", seconds, error.detail)
        await asyncio.sleep(seconds)
