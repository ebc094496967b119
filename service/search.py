"""A search: cache, coalescing, rate limiter, arXiv, record.

Recorded searches are the cache: a record is fresh until arXiv publishes new papers. Each process
also keeps the latest records in memory. Concurrent identical searches of a process share one
execution; across processes, those that wait for the rate limiter find the record of the first.

From top to bottom, a search passes `search`, `_join_or_start`, `_search_uncached`,
`_send_with_retries`, `_attempt` and `record`.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from itertools import chain
from sys import getsizeof
from time import monotonic, time
from typing import Annotated, Any, Self, TypeVar, cast
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
from cachetools import TTLCache
from msgspec import Struct, field, structs

from . import arxiv_query, arxiv_schedule, errors, metrics, timestamps
from .arxiv_client import ArxivClient
from .arxiv_http import UPSTREAM_ERRORS
from .backoff import Backoff
from .corrections import suggest_corrections
from .db.rate_limiter import CacheProbe, Lease, RateLimiter
from .db.records import BeforeRetry, RecordStore, create_record, do_nothing
from .db.statistics import SearchStatistics
from .mirror.answers import MirrorSearch
from .models import describe
from .models.arxiv import (
    MIRRORED,
    ApiQuery,
    ArxivRequest,
    ArxivResponse,
    Outcome,
    Search,
    SearchSource,
    is_mirrored,
)
from .models.records import Harvest, Record, RecordedSearch
from .models.responses import SearchSummary
from .settings import Settings
from .singleflight import InFlight

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""How often a search is sent to arXiv."""
RETRY_PAUSE = 0.5
"""The pause before the second attempt; it doubles for the third."""
MAX_CACHED_BYTES = 4 * 2**20
"""Size of the records kept in memory by each process; one takes about 500 bytes."""
RECORD_OVERHEAD_BYTES = 400
"""Size of a record in memory without its texts."""
CACHE_SECONDS = 60.0
"""How long a record stays in memory; another process may have recorded a newer one meanwhile."""
SAVE_RETRY_SECONDS = 30.0
"""How long recording a response is retried while the database is unavailable."""
SAVE_PAUSES = 0.5, 2.0
"""Seconds between two attempts to record a response: the first pause, and the longest."""
ZERO_SECONDS = 3600
"""How long a search without results stays fresh: arXiv sometimes counts none by mistake."""
MIRROR_SECONDS = 60
"""How long an answer of the mirror stays fresh that the next sync may change."""
QUEUE_TIMEOUT = 2.0
"""How long to wait for results that are still in the queue."""
QUEUE_POLL_SECONDS = 0.1

FINAL = Outcome.OK, Outcome.REFUSED, Outcome.BUSY
"""After these, a search is not sent again; other failures may be temporary."""
_UNAVAILABLE = (
    errors.InvalidParameter,
    errors.InvalidApiQuery,
    errors.IndexUnavailable,
    errors.DatabaseUnavailable,
)
"""The mirror cannot answer either."""
_UNANSWERED = errors.QueueTooLong, errors.UpstreamError, errors.DatabaseUnavailable

T = TypeVar("T")
Recorder = Callable[[ArxivResponse, BeforeRetry], Awaitable[RecordedSearch]]


class SearchReply(Struct, frozen=True):
    """A recorded search and its Cache-Status (RFC 9211)."""

    recorded: Annotated[RecordedSearch, describe("the recorded search")]
    cache_status: Annotated[
        str, describe("Cache-Status without the name of the cache", "hit; ttl=75556")
    ] = field(name="how")

    @property
    def outcome(self) -> str:
        """The outcome of the search."""
        return self.recorded.outcome

    @property
    def answered_by(self) -> str:
        """The source of the response, a label of the metrics."""
        if self.cache_status.endswith("collapsed"):
            return "flight"
        if self.is_mirrored:
            return "mirror"
        if self.cache_status.endswith("detail=stale"):
            return "stale"
        return "database" if self.cache_status.startswith("hit") else "arxiv"

    @property
    def is_mirrored(self) -> bool:
        """Whether the mirror has answered."""
        return is_mirrored(self.recorded.remarks)

    @property
    def age(self) -> int:
        """Seconds since the response was recorded."""
        return max(0, int(time()) - self.recorded.recorded_at)

    @property
    def max_age(self) -> int:
        """Seconds from its recording for which the response is fresh; 0 if it is not fresh now.

        Caches subtract the age themselves (RFC 9111, 4.2).
        """
        if self.is_mirrored and not self.cache_status.startswith("hit"):
            return 0  # arXiv may answer the next time
        left = _expires_at(self.recorded) - int(time())
        return self.age + left if self.outcome == Outcome.OK and left > 0 else 0


class SearchService(ABC):
    """Runs searches; concurrent identical ones are coalesced. Leaving its context cancels all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_flight: set[InFlight[Any]] = set()
        self._joinable: WeakValueDictionary[tuple[UUID, SearchSource], InFlight[SearchReply]] = (
            WeakValueDictionary()
        )
        """The searches in progress that others may join, by search_key and source."""
        self._cache: TTLCache[UUID, RecordedSearch] = TTLCache(
            MAX_CACHED_BYTES, CACHE_SECONDS, getsizeof=_compute_size
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [flight.task for flight in self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cancel_pending(self) -> None:
        """Cancel the searches that wait; requests to arXiv that are in progress are completed."""
        for flight in list(self._in_flight):
            flight.cancel_pending()

    async def search(
        self,
        search: Search | ApiQuery,
        *,
        bypass_cache: bool = False,
        source: SearchSource | None = None,
    ) -> SearchReply:
        """Answer a search from the cache, otherwise from what `source` names.

        By default, this is ARXIV_SOURCE. If arXiv cannot be reached, an expired record is returned,
        or with `auto` an answer of the mirror. With `bypass_cache`, the search is always sent to
        arXiv, unless the source is the mirror. Raises InvalidParameter, QueueTooLong,
        DatabaseUnavailable, IndexUnavailable, or the UpstreamError of the last attempt.
        """
        request = self._encode(search, source)
        self._cache.expire()  # the cache itself does so only when it is changed
        use_cache = self._settings.cache == "on" and not bypass_cache
        if use_cache and (recorded := self._find_cached(request)):
            self.count_search("ok", "process")
            return _create_hit(recorded)
        return await self._join_or_start(request, use_cache=use_cache)

    @metrics.count_searches
    async def _join_or_start(self, request: ArxivRequest, *, use_cache: bool) -> SearchReply:
        """Join an identical search in progress, if any, otherwise start one."""
        key = request.search_key, request.source
        flight = self._joinable.get(key) if use_cache else None
        if flight is None or flight.is_ending:
            flight = self._start(partial(self._search_uncached, request, use_cache=use_cache))
            if use_cache:
                self._joinable[key] = flight
            return await flight.join()
        reply = await flight.join()
        if reply.answered_by == "flight":
            return reply
        return structs.replace(reply, cache_status=f"{reply.cache_status}; collapsed")

    @abstractmethod
    async def _search_uncached(
        self, request: ArxivRequest, flight: InFlight[SearchReply], *, use_cache: bool
    ) -> SearchReply:
        """Run a search that is not cached in this process."""

    def count_search(self, outcome: str, answered_by: str, waits: Sequence[float] = ()) -> None:  # noqa: ARG002 - metrics of waits are elsewhere
        """Count a search in the metrics."""
        metrics.SEARCHES.labels(outcome, answered_by).inc()

    def _encode(
        self, search: Search | ApiQuery, source: SearchSource | None = None
    ) -> ArxivRequest:
        settings = self._settings
        return arxiv_query.encode_search(
            search, settings.api_url, settings.max_results, source or settings.source
        )

    def _find_cached(self, request: ArxivRequest) -> RecordedSearch | None:
        """Return a fresh record in the memory of this process."""
        keys = [request.search_key]
        if request.source == "auto":
            keys.append(request.mirror_key)
        records = (self._cache.get(key) for key in keys)
        return next((record for record in records if record and _is_fresh(record)), None)

    def _start(self, start: Callable[[InFlight[T]], Coroutine[Any, Any, T]]) -> InFlight[T]:
        flight = InFlight(start)
        self._in_flight.add(flight)
        flight.task.add_done_callback(lambda _: self._in_flight.discard(flight))
        return flight

    def _add_to_cache(self, request: ArxivRequest, reply: SearchReply) -> None:
        key = request.mirror_key if reply.is_mirrored else request.search_key
        if reply.max_age and self._settings.cache == "on":
            with suppress(ValueError):  # it is too large
                self._cache[key] = reply.recorded


class _Attempt(Struct, frozen=True):
    """An attempt to get a response from arXiv, and its record."""

    response: ArxivResponse | None = None
    """None if another process has recorded the search meanwhile."""
    recorded: RecordedSearch | None = None


class LocalSearchService(SearchService):
    """Sends searches to arXiv, and records them in the database."""

    def __init__(
        self,
        settings: Settings,
        arxiv: ArxivClient,
        records: RecordStore,
        rate_limiter: RateLimiter,
        mirror: MirrorSearch,
        statistics: SearchStatistics,
    ) -> None:
        super().__init__(settings)
        self._arxiv = arxiv
        self._records = records
        self._rate_limiter = rate_limiter
        self._mirror = mirror
        self._statistics = statistics

    def count_search(self, outcome: str, answered_by: str, waits: Sequence[float] = ()) -> None:
        """Count a search in the metrics, and for the statistics in the database."""
        super().count_search(outcome, answered_by, waits)
        self._statistics.count(outcome, answered_by, waits)

    @metrics.count_searches
    async def search_arxiv(
        self, search: Search, *, source: SearchSource | None = None
    ) -> ArxivResponse:
        """Answer a search without the cache and without recording it.

        Raises what `search` raises.
        """
        request = self._encode(search, source)
        if request.source == "mirror":
            return await self._search_mirror(request)
        if found := await self._look_up(request):
            return found
        try:
            send = partial(self._send_with_retries, request, None)
            return cast("ArxivResponse", (await self._start(send).join()).response)
        except _UNANSWERED as error:
            if response := await self._fall_back(request, error):
                return response
            raise

    @metrics.count_searches
    async def search_and_record(self, search: Search, record: Recorder) -> RecordedSearch:
        """Send a search to arXiv; `record` records the response to each attempt.

        Raises what `search` and `record` raise.
        """
        send = partial(self._send_with_retries, self._encode(search), record)
        return cast("RecordedSearch", (await self._start(send).join()).recorded)

    async def _search_uncached(
        self, request: ArxivRequest, flight: InFlight[SearchReply], *, use_cache: bool
    ) -> SearchReply:
        """Answer from the cache, the mirror, arXiv, an expired record, or the mirror again."""
        if request.source == "mirror":
            return await self._record_mirrored(request, await self._search_mirror(request))
        earlier = await self._records.find_latest(request.search_key)
        stored = earlier if use_cache else None
        if stored is not None and _is_fresh(stored):
            reply = _create_hit(stored)
            self._add_to_cache(request, reply)
            return reply
        if use_cache and (found := await self._look_up(request)):
            return await self._record_mirrored(request, found)
        forwarded = "fwd=request" if not use_cache else "fwd=stale" if stored else "fwd=uri-miss"
        record = partial(self._record_checked, request, earlier)
        probe = CacheProbe(request.search_key, _is_fresh) if use_cache else None
        waits = stored is None and not await self._may_fall_back(request)
        try:
            latest = await self._send_with_retries(
                request, record, flight, probe=probe, wait_for_cooldown=waits
            )
        except errors.UpstreamRejected:
            raise
        except _UNANSWERED as error:
            if stored is not None:
                logger.warning("serving a stale response: %s", error.detail)
                return SearchReply(stored, f"{_create_hit(stored).cache_status}; detail=stale")
            if response := await self._fall_back(request, error):
                recorded = await self.record(response, do_nothing)
                return SearchReply(recorded, f"{forwarded}; detail=mirror")
            raise
        recorded = cast("RecordedSearch", latest.recorded)
        suffix = "; stored" if recorded.outcome == Outcome.OK else ""
        # without a response, another process has recorded it
        how = f"fwd-status={recorded.status}{suffix}" if latest.response else "collapsed"
        reply = SearchReply(recorded, f"{forwarded}; {how}")
        self._add_to_cache(request, reply)
        return reply

    async def _record_mirrored(self, request: ArxivRequest, response: ArxivResponse) -> SearchReply:
        recorded = await self.record(response, do_nothing, search_key=request.mirror_key)
        reply = _create_hit(recorded)
        self._add_to_cache(request, reply)
        return reply

    async def _search_mirror(self, request: ArxivRequest) -> ArxivResponse:
        """Return the answer of the mirror, with a warning if papers may be missing."""
        response = await self._mirror.search(request)
        if await self._mirror.is_complete():
            return response
        age = await self._mirror.describe_age()
        return _add_warning(response, f"the mirror does not have all papers of arXiv: {age}")

    async def _look_up(self, request: ArxivRequest) -> ArxivResponse | None:
        """Return what a current mirror has, if it may be used and has all that is requested."""
        if request.source != "auto":
            return None
        with suppress(errors.DatabaseUnavailable):  # of the replica with the papers: ask arXiv
            return await self._mirror.look_up(request)
        return None

    async def _may_fall_back(self, request: ArxivRequest) -> bool:
        """Whether the mirror may answer in place of arXiv."""
        if request.source != "auto":
            return False
        with suppress(errors.DatabaseUnavailable):
            return await self._mirror.is_complete()
        return False

    async def _fall_back(
        self, request: ArxivRequest, error: errors.ServiceError
    ) -> ArxivResponse | None:
        """Return the answer of the mirror in place of arXiv's, if there is one."""
        try:
            if isinstance(error, errors.UpstreamRejected) or not await self._may_fall_back(request):
                return None
            response = await self._mirror.search(request)
            age = await self._mirror.describe_age()
        except _UNAVAILABLE:
            return None
        warning = f"arXiv cannot be asked ({error.detail}): this is the answer of the mirror, {age}"
        logger.warning("%s", warning)
        return _add_warning(response, warning)

    async def _send_with_retries(
        self,
        request: ArxivRequest,
        record: Recorder | None,
        flight: InFlight[Any],
        *,
        probe: CacheProbe | None = None,
        wait_for_cooldown: bool = True,
    ) -> _Attempt:
        """Send a request to arXiv, several times if necessary, as long as ARXIV_MAX_WAIT allows.

        Returns the record instead if another process records the search of `probe` meanwhile.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.max_wait
        acquire = partial(
            self._rate_limiter.acquire, deadline, probe=probe, wait_for_cooldown=wait_for_cooldown
        )
        backoff = Backoff(RETRY_PAUSE, self._settings.max_wait)
        latest = _Attempt()
        for number in range(1, MAX_ATTEMPTS + 1):
            try:
                latest = await self._attempt(request, record, flight, acquire())
            except errors.QueueTooLong:
                if latest.response is None:
                    raise
                break  # the result of the last attempt is more useful
            # the record may be suspect though the response is not, because of an earlier one
            if latest.response is None or (latest.recorded or latest.response).outcome in FINAL:
                break
            if latest.response.is_permanent:
                break
            logger.info("attempt %d failed: %s", number, latest.response.reason)
            pause = backoff.next_pause()
            if number == MAX_ATTEMPTS or flight.is_abandoned or clock() + pause > deadline:
                break
            await asyncio.sleep(pause)
        if latest.response and latest.response.outcome in UPSTREAM_ERRORS:
            raise _create_error(latest.response, latest.recorded)
        return latest

    async def _attempt(
        self,
        request: ArxivRequest,
        record: Recorder | None,
        flight: InFlight[Any],
        acquire: AbstractAsyncContextManager[Lease | RecordedSearch],
    ) -> _Attempt:
        """Send a request once it has the lease, and record the response."""
        try:
            async with AsyncExitStack() as stack:
                lease = await stack.enter_async_context(acquire)
                if isinstance(lease, RecordedSearch):
                    return _Attempt(recorded=lease)
                flight.upstream_started = True
                response = await self._send(request, lease)
                if response.outcome in UPSTREAM_ERRORS:
                    # before it is recorded: a cooldown has to apply to all processes at once
                    await stack.aclose()
                if lease.cooldown:
                    retry_after = max(1, math.ceil(lease.cooldown_left))
                    response = structs.replace(response, retry_after=retry_after)
                # in the lease, so that processes that wait for it find the record; not its retries
                recorded = await record(response, stack.aclose) if record else None
                return _Attempt(response, recorded)
        finally:
            flight.upstream_started = False

    async def _send(self, request: ArxivRequest, lease: Lease) -> ArxivResponse:
        """Send a request, and note in the lease how arXiv reacted."""
        response = await self._arxiv.search(request, lease.expires_at)
        lease.answered = response.outcome in {Outcome.OK, Outcome.SUSPECT, Outcome.REFUSED}
        if response.outcome == Outcome.BUSY:
            lease.cooldown = response.retry_after or self._settings.cooldown
        return response

    async def _record_checked(
        self,
        request: ArxivRequest,
        earlier: RecordedSearch | None,
        response: ArxivResponse,
        before_retry: BeforeRetry,
    ) -> RecordedSearch:
        """Record a response; it is suspect if arXiv counts no papers any more."""
        is_zero = response.outcome == Outcome.OK and response.num_results == 0
        if is_zero and earlier and earlier.num_results > request.search.start:
            warning = (
                f"arXiv found no papers, but {earlier.num_results} before (search"
                f" {earlier.query_id}): repeat the search later"
            )
            logger.warning("%s (%r)", warning, request.query)
            response = structs.replace(
                _add_warning(response, warning), outcome=Outcome.SUSPECT, reason=warning
            )
        return await self.record(response, before_retry, search_key=request.search_key)

    async def record(
        self,
        response: ArxivResponse,
        before_retry: BeforeRetry,
        *,
        search_key: UUID | None = None,
        harvest: Harvest | None = None,
    ) -> RecordedSearch:
        """Record a response. While the database is unavailable, this is retried for a while.

        Raises UpstreamInvalidResponse if PostgreSQL can never store the response; the search is
        then recorded without its results.
        """
        try:
            return await self._insert(create_record(response, search_key), harvest, before_retry)
        except (errors.RecordRejected, errors.DatabaseTimeout) as error:
            reason = f"PostgreSQL cannot store the response of arXiv: {error.detail}"
            await before_retry()
            failure = structs.replace(
                response, outcome=Outcome.BROKEN, num_results=0, entries=[], remarks={}
            )
            try:
                recorded = await self._insert(
                    create_record(failure, search_key), None, before_retry
                )
            except errors.RecordRejected:
                raise errors.UpstreamInvalidResponse(reason) from error
            raise errors.UpstreamInvalidResponse(reason, query_id=recorded.query_id) from error

    async def _insert(
        self, record: Record, harvest: Harvest | None, before_retry: BeforeRetry
    ) -> RecordedSearch:
        deadline = monotonic() + SAVE_RETRY_SECONDS
        backoff = Backoff(*SAVE_PAUSES)
        while True:
            try:
                await self._records.insert(record, harvest, before_retry)
                return msgspec.convert(record, RecordedSearch, from_attributes=True)
            except errors.DatabaseUnavailable as error:
                # what takes too long once probably does again
                if isinstance(error, errors.DatabaseTimeout) or monotonic() > deadline:
                    logger.error("could not record a response: %s (%r)", error, record.query)  # noqa: TRY400
                    raise
                await before_retry()
                await asyncio.sleep(backoff.next_pause())


def summarize(search: Search, reply: SearchReply, settings: Settings) -> SearchSummary:
    """The response of `/arxiv` to a search, with likely mistakes in a search without results."""
    recorded = reply.recorded
    remarks = recorded.remarks or {}
    warnings = [*remarks.get("differences", ()), *remarks.get("warnings", ())]
    if recorded.num_results == 0:
        warnings += suggest_corrections(search)
    return SearchSummary(
        query_id=recorded.query_id,
        timestamp=timestamps.format_iso(recorded.timestamp, settings.zone),
        status=recorded.status,
        num_results=recorded.num_results,
        num_entries=recorded.num_entries,
        warnings=warnings,
        missing_ids=remarks.get("missing_ids", []),
    )


async def wait_for_results(
    recorded: RecordedSearch, fetch: Callable[[int], Awaitable[list[T]]]
) -> list[T]:
    """Return the results of a recorded search as soon as they have passed through the queue.

    Raises DatabaseUnavailable if they do not arrive in time.
    """
    deadline = monotonic() + QUEUE_TIMEOUT
    while len(rows := await fetch(recorded.query_id)) != recorded.num_entries:
        if monotonic() > deadline:
            raise errors.DatabaseUnavailable(
                f"search {recorded.query_id} is recorded, but its results are still in the queue;"
                " request them again later",
                query_id=recorded.query_id,
            )
        await asyncio.sleep(QUEUE_POLL_SECONDS)
    return rows


def _add_warning(response: ArxivResponse, warning: str) -> ArxivResponse:
    warnings = [*response.remarks.get("warnings", ()), warning]
    return structs.replace(response, remarks=response.remarks | {"warnings": warnings})


def _create_error(response: ArxivResponse, recorded: RecordedSearch | None) -> errors.UpstreamError:
    query_id = recorded.query_id if recorded else None
    error_type = UPSTREAM_ERRORS[response.outcome]
    return error_type(
        response.reason,
        retry_after=response.retry_after,
        query_id=query_id,
        upstream_status=response.status or None,
    )


def _expires_at(recorded: RecordedSearch) -> int:
    """When arXiv publishes new papers (Unix seconds), by our clock rather than arXiv's.

    A search without results expires earlier, and so does an answer of a mirror of any age.
    """
    recorded_at = min(recorded.recorded_at, int(time()))
    if (recorded.remarks or {}).get("source") == MIRRORED["source"]:
        return recorded_at + MIRROR_SECONDS
    publication = arxiv_schedule.next_publication(recorded_at)
    return publication if recorded.num_results else min(publication, recorded_at + ZERO_SECONDS)


def _is_fresh(recorded: RecordedSearch) -> bool:
    return _expires_at(recorded) > time()


def _compute_size(recorded: RecordedSearch) -> int:
    """The approximate size in memory."""
    texts = [recorded.query, *chain.from_iterable((recorded.remarks or {}).values())]
    return RECORD_OVERHEAD_BYTES + sum(map(getsizeof, texts))


def _create_hit(recorded: RecordedSearch) -> SearchReply:
    reply = SearchReply(recorded, f"hit; ttl={_expires_at(recorded) - int(time())}")
    if reply.is_mirrored:
        return structs.replace(reply, cache_status=f"{reply.cache_status}; detail=mirror")
    return reply
