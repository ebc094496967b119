"""Resumable retrieval of all papers that match a query.

arXiv returns only the first 10,000 papers of a search. Papers are therefore requested in the order
of submission, and when a window reaches that limit, the next one starts at the minute in which its
last paper was submitted. Each page is recorded in one transaction with the progress of the harvest,
so an interruption loses at most the page in progress. The next harvest of the query continues.

A page that remains unusable is divided until the paper is found that makes it so. That paper is
skipped if arXiv answers another request of the harvest. The next harvest requests it again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC
from functools import partial
from time import time

from msgspec import Struct, structs

from . import arxiv_query, errors, timestamps
from .backoff import Backoff
from .db.records import BeforeRetry, RecordStore
from .models.arxiv import ArxivResponse, Outcome, Search
from .models.records import Gap, Harvest, RecordedSearch
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
MAX_PAGE_FAILURES = 2
"""The number of failures in a row after which an unusable page is divided at the next one."""
MAX_SPLIT_REQUESTS = 100
"""The number of requests after which only parts of a tenth of a page are divided off. At most 200
requests are sent for one page: ten minutes."""
GROWTH = 4
"""How much larger the next part of a page is after a usable one."""
MARGIN = 10
"""How many papers around a gap are requested with it, because positions may have shifted."""
RETRY_PAUSES = 2.0, 300.0
"""Seconds between two attempts: the first pause, and the longest."""
MINUTE = 60

_UNUSABLE = errors.UpstreamInvalidResponse, errors.UpstreamTimeout, errors.UpstreamRejected
_UNUSABLE_OUTCOMES = Outcome.BROKEN, Outcome.TIMEOUT, Outcome.SUSPECT


class Progress(Struct, frozen=True):
    """How many papers are stored, and how many there are in total."""

    stored: int
    total: int


class _PageSizes:
    """The sizes of the next pages: smaller around papers that make a page unusable."""

    def __init__(self) -> None:
        self._next = PAGE_SIZE
        self._unusable_until = 0
        """The papers from the start of the next page to here make a page unusable."""
        self._num_requests = 0

    @property
    def is_splitting(self) -> bool:
        """Whether a page is being divided."""
        return self._next < PAGE_SIZE

    @property
    def next(self) -> int:
        """The size of the next page."""
        return max(self._next, self.smallest)

    @property
    def smallest(self) -> int:
        """The size of a page that is not divided further."""
        return 1 if self._num_requests < MAX_SPLIT_REQUESTS else max(1, PAGE_SIZE // 10)

    def count_request(self) -> None:
        """Count a request that divides a page."""
        self._num_requests += self.is_splitting

    def shrink(self, start: int, size: int) -> None:
        """Note that these papers are unusable as one page."""
        self._unusable_until = start + size
        self._next = max(1, size // 2)

    def grow(self, start: int, size: int) -> None:
        """Note that a page of this size was usable, and that the next one begins at `start`."""
        if size == PAGE_SIZE:
            self._num_requests = 0
        if start < self._unusable_until:
            self._next = max(1, (self._unusable_until - start) // 2)
        else:
            self._next = min(PAGE_SIZE, GROWTH * self.next)

    def forget_positions(self) -> None:
        """Note that positions are counted in another window from now on."""
        self._unusable_until = 0


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
        self._sizes = _PageSizes()
        self._total: int | None = None
        """The number of papers in the current window, if known."""
        self._left = 0
        """The number of papers that are still to be requested."""
        self._counts_too_few = False
        """Whether arXiv has just counted fewer papers than it has sent before."""
        self._usable: Search | None = None
        """The latest search for one paper that arXiv could answer."""
        self._reset_failures()

    async def run(self) -> AsyncIterator[Progress]:
        """Continue where the last harvest of the query stopped; yields the progress.

        Raises UpstreamRejected if arXiv rejects the query, and other ServiceErrors after
        MAX_FAILURES failures in a row. What is stored remains, and the next harvest continues.
        """
        await self._resume()
        yield self._progress
        while not self._state.finished and (self._papers_left is None or self._papers_left > 0):
            try:
                await self._advance()
            except errors.Conflict:
                await self._resume()  # another process was faster: continue after its page
            except errors.UpstreamRejected:
                raise
            except (errors.UpstreamError, errors.QueueTooLong, errors.DatabaseUnavailable) as error:
                self._failures += 1
                if self._failures > MAX_FAILURES:
                    raise
                await self._pause(error, self._backoff)
            yield self._progress

    async def fetch_gaps(self) -> list[Gap]:
        """What the harvests of the query have skipped, and not retrieved since."""
        return await self._records.fetch_gaps(self._normalized_query)

    async def _resume(self) -> None:
        """Load the state of the harvest; at first, start a new one after a finished one."""
        latest = await self._records.find_harvest(self._normalized_query)
        if latest is None or (latest.finished and not self._is_resumed):
            start = FIRST_SUBMISSION if latest is None else latest.submitted_to - OVERLAP
            await self._records.start_harvest(self._normalized_query, start, int(time()))
            latest = await self._records.find_harvest(self._normalized_query)
        assert latest is not None  # noqa: S101 - it has been started
        self._is_resumed = True
        self._state = latest
        self._seen = await self._records.fetch_harvested_ids(self._normalized_query)
        gaps = await self.fetch_gaps()
        self._old_gaps = [gap for gap in gaps if gap.harvest_id < latest.harvest_id]
        self._sizes.forget_positions()
        self._total, self._left = None, 0

    @property
    def _papers_left(self) -> int | None:
        """How many papers may still be stored."""
        return None if self._limit is None else self._limit - len(self._seen)

    @property
    def _progress(self) -> Progress:
        total = len(self._seen) + self._left
        return Progress(len(self._seen), min(total, max(self._limit or total, len(self._seen))))

    async def _advance(self) -> None:
        """Record the next page, divide it, or skip it."""
        if self._state.start >= MAX_RESULT:
            await self._find_next_window()
            return
        search = self._create_search()
        try:
            page = await self._search_service.search_and_record(
                search, partial(self._record, search)
            )
            if page.outcome == Outcome.SUSPECT:
                raise errors.UpstreamInvalidResponse("arXiv sent fewer papers than it counted")
        except _UNUSABLE as error:
            await self._handle_unusable_page(search, error)
        self._reset_failures()

    def _create_search(self) -> Search:
        """A search for the next page, in the order of submission."""
        state = self._state
        end = MAX_RESULT if state.stop is None else state.stop
        return Search(
            query=self._query,
            submitted_from=state.submitted_from,
            submitted_to=state.submitted_to,
            start=state.start,
            max_results=min(self._sizes.next, end - state.start),
            sort_by="submittedDate",
            sort_order="ascending",
        )

    def _reset_failures(self) -> None:
        self._failures, self._num_failed_probes = 0, 0
        self._backoff = Backoff(*RETRY_PAUSES)

    async def _record(
        self, search: Search, response: ArxivResponse, before_retry: BeforeRetry
    ) -> RecordedSearch:
        """Record the papers of a page that are new, together with the progress."""
        self._sizes.count_request()
        response = self._check_count(search, response)
        if response.outcome != Outcome.OK and not self._keeps_short_page(search, response):
            return await self._record_failure(
                response, before_retry, is_last=self._sizes.is_splitting and self._can_split(search)
            )
        new = {
            entry.arxiv_id: entry
            for entry in response.entries
            if entry.arxiv_id is not None and entry.arxiv_id not in self._seen
        }
        entries = list(new.values())[: self._papers_left]
        is_complete = len(entries) == len(new)
        state = self._find_next_state(search, response) if is_complete else self._move_to()
        recorded = await self._search_service.record(
            structs.replace(response, entries=entries), before_retry, harvest=state
        )
        self._seen.update(entry.arxiv_id for entry in entries if entry.arxiv_id)
        self._note_usable_page(search, response)
        self._enter(state)
        self._sizes.grow(state.start, _get_size(search))
        return structs.replace(recorded, outcome=Outcome.OK)  # a short page is not requested again

    def _check_count(self, search: Search, response: ArxivResponse) -> ArxivResponse:
        """Mark a response as suspect if arXiv counts fewer papers than it has sent before.

        So this is not the end.
        """
        self._counts_too_few = (
            response.outcome in {Outcome.OK, Outcome.SUSPECT}
            and self._state.page > 0
            and response.num_results < max(1, search.start)
        )
        return (
            structs.replace(response, outcome=Outcome.SUSPECT) if self._counts_too_few else response
        )

    def _keeps_short_page(self, search: Search, response: ArxivResponse) -> bool:
        """Whether the papers of a short page are recorded, because it is not divided further."""
        return bool(
            response.outcome == Outcome.SUSPECT
            and response.entries
            and not self._counts_too_few
            and self._sizes.is_splitting
            and not self._can_split(search)
        )

    def _can_split(self, search: Search) -> bool:
        return _get_size(search) > self._sizes.smallest

    async def _record_failure(
        self, response: ArxivResponse, before_retry: BeforeRetry, *, is_last: bool
    ) -> RecordedSearch:
        """Record a failed attempt without papers: a later response will contain these too.

        Raises UpstreamInvalidResponse if the request `is_last` and arXiv sent an unusable response.
        """
        failure = structs.replace(response, entries=[])
        recorded = await self._search_service.record(failure, before_retry)
        if is_last and response.outcome in _UNUSABLE_OUTCOMES:
            raise errors.UpstreamInvalidResponse(response.reason)
        return recorded

    def _find_next_state(self, search: Search, response: ArxivResponse) -> Harvest:
        """The state after a page that is stored completely."""
        size = min(_get_size(search), response.num_results - search.start)
        missing = size - len(response.entries) if response.outcome == Outcome.SUSPECT else 0
        start = search.start + len(response.entries) + missing
        gap = self._create_gap(search.start, start, missing, response.reason) if missing else None
        is_end = not response.entries or start >= response.num_results
        state = self._move_to(start, gap, is_end=is_end)
        if is_end or state.stop is not None or start + PAGE_SIZE <= MAX_RESULT:
            return state
        submitted = [entry.published for entry in response.entries if entry.published]
        last = int(max(submitted).timestamp()) // MINUTE * MINUTE if submitted else 0
        if last <= state.submitted_from:
            return state
        return structs.replace(state, submitted_from=last, start=0)

    def _move_to(
        self, start: int | None = None, skipped: Gap | None = None, *, is_end: bool = False
    ) -> Harvest:
        """The state at a position of the window; after its end, the next gap is retried."""
        state = structs.replace(
            self._state,
            page=self._state.page + 1,
            start=self._state.start if start is None else start,
            skipped=skipped,
            retried=None,
        )
        if not is_end and (state.stop is None or state.start < state.stop):
            return state
        if not self._old_gaps:
            return structs.replace(state, finished=True)
        gap = self._old_gaps[0]
        return structs.replace(
            state,
            submitted_from=gap.submitted_from,
            start=max(0, gap.start - MARGIN),
            stop=min(gap.stop + MARGIN, MAX_RESULT),
            retried=gap,
        )

    def _note_usable_page(self, search: Search, response: ArxivResponse) -> None:
        self._total = response.num_results
        self._left = max(0, response.num_results - search.start - len(response.entries))
        if response.entries:
            self._usable = structs.replace(search, max_results=1)

    def _enter(self, state: Harvest) -> None:
        """Continue with a state that is stored."""
        if state.submitted_from != self._state.submitted_from:
            self._sizes.forget_positions()
            self._total = None
        if state.retried:
            self._sizes = _PageSizes()
            self._old_gaps.remove(state.retried)
        if state.stop is not None:
            self._left = state.stop - state.start
        if state.finished:
            self._left = 0
        if state.skipped:
            logger.warning("harvest skipped %s", describe_gap(state.skipped))
        self._state = structs.replace(state, skipped=None, retried=None)

    async def _handle_unusable_page(self, search: Search, error: errors.UpstreamError) -> None:
        """Divide or skip a page, provided that arXiv answers another request.

        Otherwise, and at the first failures of a page, raises the error.
        """
        is_rejected = isinstance(error, errors.UpstreamRejected)
        is_new = not self._sizes.is_splitting and self._state.stop is None
        if is_new and self._failures < MAX_PAGE_FAILURES and not is_rejected:
            raise error
        can_split = self._can_split(search)
        if not (self._sizes.is_splitting and can_split) and not await self._is_answering(search):
            raise error
        if self._counts_too_few and (self._total is None or self._total <= search.start):
            raise error
        if can_split:
            self._sizes.shrink(search.start, min(_get_size(search), self._left or PAGE_SIZE))
        else:
            await self._skip(search, error)

    async def _is_answering(self, search: Search) -> bool:
        """Whether arXiv answers another search of this harvest with a paper.

        One search per call, because arXiv may be down: another one at the next call. Raises other
        UpstreamErrors than those of unusable responses.
        """
        probes = self._create_probes(search)
        probe = probes[self._num_failed_probes % len(probes)]
        self._num_failed_probes += 1
        try:
            found = await self._search_service.search_and_record(probe, self._record_probe)
        except (errors.UpstreamInvalidResponse, errors.UpstreamTimeout):
            return False
        is_in_window = probe.submitted_from == search.submitted_from
        if found.num_results <= max(probe.start, search.start - 1 if is_in_window else 0):
            return False
        if is_in_window:
            self._total = found.num_results
        self._usable = probe
        return True

    def _create_probes(self, search: Search) -> list[Search]:
        """Searches for one paper: at the latest usable page, the ends, and behind the page."""
        last = structs.replace(search, start=0, max_results=1, sort_order="descending")
        all_papers = structs.replace(last, submitted_from=FIRST_SUBMISSION)
        probes = [last, all_papers, structs.replace(all_papers, sort_order="ascending")]
        behind = search.start + _get_size(search)
        if behind < MAX_RESULT:
            probes.append(structs.replace(search, start=behind, max_results=1))
        return [self._usable, *probes] if self._usable else probes

    async def _record_probe(
        self, response: ArxivResponse, before_retry: BeforeRetry
    ) -> RecordedSearch:
        self._sizes.count_request()
        return await self._record_failure(response, before_retry, is_last=True)

    async def _skip(self, search: Search, error: errors.UpstreamError) -> None:
        """Continue behind a page. Raises Conflict if another process has recorded it."""
        stop = search.start + _get_size(search)
        if self._total is not None:
            stop = min(stop, self._total)
        missing = max(0, stop - search.start)
        gap = self._create_gap(search.start, stop, missing, error.detail) if missing else None
        state = self._move_to(stop, gap, is_end=not missing)
        await self._records.update_harvest(state)
        self._left = max(0, self._left - missing)
        self._enter(state)

    def _create_gap(self, start: int, stop: int, missing: int, reason: str) -> Gap:
        return Gap(
            harvest_id=self._state.harvest_id,
            submitted_from=self._state.submitted_from,
            start=start,
            stop=stop,
            missing=missing,
            reason=reason,
        )

    async def _find_next_window(self) -> None:
        """Begin the next window where this one ends, although its last papers were skipped.

        Raises ServiceError if it ends in the minute in which it begins.
        """
        first, last = self._state.submitted_from // MINUTE, self._state.submitted_to // MINUTE
        begin = first
        while last - begin > 1:
            middle = (begin + last) // 2
            if await self._has_window_limit(middle * MINUTE):
                last = middle
            else:
                begin = middle
        if begin == first:
            raise errors.ServiceError(
                f"arXiv has more than {MAX_RESULT} papers submitted in one minute"
            )
        state = structs.replace(self._move_to(0), submitted_from=begin * MINUTE)
        await self._records.update_harvest(state)
        self._enter(state)

    async def _has_window_limit(self, submitted_to: int) -> bool:
        """Whether the window has MAX_RESULT papers or more if it ends then.

        The search is for the last of them; arXiv may be unable to send it.
        """
        search = structs.replace(
            self._create_search(),
            submitted_to=submitted_to,
            start=MAX_RESULT - 1,
            max_results=1,
        )
        try:
            page = await self._search_service.search_and_record(search, self._record_probe)
        except errors.UpstreamInvalidResponse:
            return True
        return page.num_results >= MAX_RESULT

    async def _pause(self, error: errors.ServiceError, backoff: Backoff) -> None:
        seconds = max(error.retry_after or 0, backoff.next_pause())
        logger.warning("harvest paused for %.0f seconds: %s", seconds, error.detail)
        await asyncio.sleep(seconds)


def describe_gap(gap: Gap) -> str:
    """The papers of a gap, in the order of submission, and why they are missing."""
    count = gap.stop - gap.start
    papers = f"paper {gap.stop}" if count == 1 else f"papers {gap.start + 1} to {gap.stop}"
    part = f"{gap.missing} of the " if gap.missing < count else ""
    submitted_from = timestamps.format_iso(gap.submitted_from, UTC)
    return f"{part}{papers} of those submitted since {submitted_from} UTC: {gap.reason}"


def _get_size(search: Search) -> int:
    assert search.max_results is not None  # noqa: S101 - it is always set here
    return search.max_results
