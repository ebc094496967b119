"""A search: cache, coalescing, rate limiter, arXiv, record.

Recorded searches are the cache: a record is fresh until arXiv publishes new papers. Each process
also keeps the latest records in memory. Concurrent identical searches of a process share one
execution; across processes, those that wait for the rate limiter find the record of the first.
"""

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import lru_cache, partial
from itertools import count
from time import monotonic, time
from typing import Any, Generic, Protocol, Self, TypeVar, cast
from uuid import UUID

import msgspec
from cachetools import TTLCache
from msgspec import Struct, field, structs

from . import arxiv_query, arxiv_schedule, metrics, timestamps
from .arxiv_client import ArxivClient
from .backoff import Backoff
from .db.rate_limiter import CacheProbe, Lease, RateLimiter
from .db.records import RecordStore, create_record
from .errors import (
    DatabaseUnavailable,
    QueueTooLong,
    UpstreamError,
    UpstreamRejected,
    UpstreamThrottled,
)
from .models.arxiv import ArxivRequest, ArxivResponse, Outcome, Search
from .models.records import Harvest, RecordedSearch, ResultRow
from .models.responses import SearchSummary
from .settings import Settings
from .singleflight import mark_retrieved

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""How often a search is sent to arXiv."""
RETRY_SECONDS = 0.5
"""The pause before the second attempt; it doubles for the third."""
MAX_CACHED_SEARCHES = 4096
CACHE_SECONDS = 60.0
"""How long a record stays in memory; another process may have recorded a newer one meanwhile."""
SAVE_RETRY_SECONDS = 30.0
"""How long recording a response is retried while the database is unavailable."""
SAVE_PAUSES = 0.5, 2.0
"""Seconds between two attempts to record a response: the first pause, and the longest."""
QUEUE_SECONDS = 2.0
"""How long to wait for results that are still in the queue."""
QUEUE_POLL_SECONDS = 0.1
STOPPING_RETRY_SECONDS = 5
"""The Retry-After of searches that wait when the service stops."""

_to_iso = lru_cache(maxsize=1024)(timestamps.format_iso)


class SearchReply(Struct, frozen=True):
    """A recorded search and its Cache-Status (RFC 9211)."""

    recorded: RecordedSearch
    cache_status: str = field(name="how")
    """Without the name of the cache."""

    @property
    def outcome(self) -> str:
        """The outcome of the search."""
        return self.recorded.outcome

    @property
    def query_id(self) -> int:
        """The number under which the search is recorded."""
        return self.recorded.query_id

    @property
    def answered_by(self) -> str:
        """The source of the response, a label of the metrics."""
        if self.cache_status.endswith("collapsed"):
            return "flight"
        if self.cache_status.endswith("detail=stale"):
            return "stale"
        return "database" if self.cache_status.startswith("hit") else "arxiv"

    @property
    def age(self) -> int:
        """Seconds since the response was recorded."""
        return max(0, int(time()) - self.recorded.recorded)

    @property
    def lifetime(self) -> int:
        """Seconds for which the response stays fresh."""
        is_ok = self.recorded.outcome == Outcome.OK
        return max(0, _expires_at(self.recorded) - int(time())) if is_ok else 0


R = TypeVar("R", bound=ArxivResponse | RecordedSearch | SearchReply)
ResponseHandler = Callable[[ArxivResponse], Awaitable[R]]
"""Processes each response of arXiv, including failed attempts; usually records it."""
T = TypeVar("T")


class InFlight(Generic[T]):
    """A search in progress, which several clients may wait for."""

    def __init__(self, start: "Callable[[InFlight[T]], Coroutine[Any, Any, T]]") -> None:
        self.upstream_started = False
        """Whether a request to arXiv is in progress; its response is recorded in any case."""
        self._clients = 0
        self._is_stopping = False
        self.task = asyncio.create_task(start(self))
        self.task.add_done_callback(mark_retrieved)

    @property
    def is_abandoned(self) -> bool:
        """Whether no further attempt should be made."""
        return self._is_stopping or not self._clients

    @property
    def is_ending(self) -> bool:
        """Whether it has ended or is being cancelled, so that no more clients may join."""
        return self.task.done() or self.task.cancelling() > 0

    async def join(self) -> T:
        """Wait for the result. The search is cancelled when its last client is gone."""
        self._clients += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self._is_stopping and self.task.cancelled():
                raise QueueTooLong(
                    "the service is stopping", retry_after=STOPPING_RETRY_SECONDS
                ) from None
            raise
        finally:
            self._clients -= 1
            if not self._clients and not self.upstream_started:
                self.task.cancel()

    def cancel_pending(self) -> None:
        """Cancel the search unless a request is in progress; then make no further attempt."""
        self._is_stopping = True
        if not self.upstream_started:
            self.task.cancel()


class SearchService(ABC):
    """Runs searches; identical ones only once at a time. Leaving its context ends all of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_flight: set[InFlight[Any]] = set()
        self._shared: dict[UUID, InFlight[SearchReply]] = {}
        """The searches in progress that others may join, by search_key."""
        self._cache: TTLCache[UUID, RecordedSearch] = TTLCache(MAX_CACHED_SEARCHES, CACHE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [flight.task for flight in self._in_flight]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Cancel the searches that wait, and let requests to arXiv that are in progress end."""
        for flight in list(self._in_flight):
            flight.cancel_pending()

    async def search(self, search: Search, *, bypass_cache: bool = False) -> SearchReply:
        """Answer a search from the cache, otherwise from arXiv.

        If arXiv cannot be reached, an expired record is returned. With `bypass_cache`, the search
        is always sent to arXiv. Raises InvalidParameter, QueueTooLong, DatabaseUnavailable, or the
        UpstreamError of the last attempt.
        """
        request = self._encode(search)
        use_cache = self._settings.cache == "on" and not bypass_cache
        if use_cache and (recorded := self._find_cached(request)):
            metrics.SEARCHES.labels("ok", "process").inc()
            return _hit(recorded)
        return await self._share(request, use_cache=use_cache)

    @metrics.count_searches
    async def _share(self, request: ArxivRequest, *, use_cache: bool) -> SearchReply:
        """Join an identical search in progress, if any, otherwise start one."""

        def start(flight: InFlight[SearchReply]) -> Coroutine[Any, Any, SearchReply]:
            return self._run(flight, request, use_cache=use_cache)

        if not use_cache:
            return await self._start(start).join()
        flight = self._shared.get(request.search_key)
        if flight is None or flight.is_ending:
            flight = self._shared[request.search_key] = self._start(start)
            flight.task.add_done_callback(partial(self._unshare, request.search_key, flight))
            return await flight.join()
        reply = await flight.join()
        if reply.answered_by == "flight":
            return reply
        return structs.replace(reply, cache_status=f"{reply.cache_status}; collapsed")

    def _unshare(self, search_key: UUID, flight: InFlight[SearchReply], _: object) -> None:
        if self._shared.get(search_key) is flight:
            del self._shared[search_key]

    @abstractmethod
    async def _run(
        self, flight: InFlight[SearchReply], request: ArxivRequest, *, use_cache: bool
    ) -> SearchReply:
        """Run a search that is not cached in this process."""

    def _encode(self, search: Search) -> ArxivRequest:
        return arxiv_query.encode_search(search, self._settings.api_url, self._settings.max_results)

    def _start(self, start: Callable[[InFlight[T]], Coroutine[Any, Any, T]]) -> InFlight[T]:
        flight = InFlight(start)
        self._in_flight.add(flight)
        flight.task.add_done_callback(lambda _: self._in_flight.discard(flight))
        return flight

    def _find_cached(self, request: ArxivRequest) -> RecordedSearch | None:
        recorded = self._cache.get(request.search_key)
        return recorded if recorded is not None and _is_fresh(recorded) else None

    def _add_to_cache(self, request: ArxivRequest, recorded: RecordedSearch) -> None:
        if recorded.outcome == Outcome.OK and self._settings.cache == "on":
            self._cache[request.search_key] = recorded


class LocalSearchService(SearchService):
    """Sends searches to arXiv, and records them in the database."""

    def __init__(
        self,
        settings: Settings,
        arxiv: ArxivClient,
        records: RecordStore,
        rate_limiter: RateLimiter,
    ) -> None:
        super().__init__(settings)
        self._arxiv = arxiv
        self._records = records
        self._rate_limiter = rate_limiter

    @metrics.count_searches
    async def search_arxiv(self, search: Search) -> ArxivResponse:
        """Send a search to arXiv without recording it. Raises what `search` raises."""

        async def handle(response: ArxivResponse) -> ArxivResponse:
            return response

        return await self._send(search, handle)

    @metrics.count_searches
    async def search_and_record(
        self, search: Search, record: ResponseHandler[RecordedSearch]
    ) -> RecordedSearch:
        """Send a search to arXiv; `record` records each response.

        Raises what `search` and `record` raise.
        """
        return await self._send(search, record)

    async def _send(self, search: Search, handle: ResponseHandler[R]) -> R:
        request = self._encode(search)
        result = await self._start(lambda flight: self._ask(flight, request, handle)).join()
        return cast("R", result)  # only a probe returns records of other processes

    async def record(
        self,
        response: ArxivResponse,
        *,
        search_key: UUID | None = None,
        harvest: Harvest | None = None,
    ) -> RecordedSearch:
        """Record a response. While the database is unavailable, this is retried for a while."""
        record = create_record(response, search_key)
        deadline = monotonic() + SAVE_RETRY_SECONDS
        backoff = Backoff(*SAVE_PAUSES)
        while True:
            try:
                await self._records.insert(record, harvest)
            except DatabaseUnavailable as error:
                if monotonic() > deadline:
                    logger.error("could not record a response: %s (%r)", error, record.query)  # noqa: TRY400
                    raise
                await asyncio.sleep(backoff.next_pause())
            else:
                return msgspec.convert(record, RecordedSearch, from_attributes=True)

    async def _run(
        self, flight: InFlight[SearchReply], request: ArxivRequest, *, use_cache: bool
    ) -> SearchReply:
        """Answer from PostgreSQL, otherwise from arXiv, otherwise with an expired record."""
        stored = await self._records.find_latest(request.search_key) if use_cache else None
        if stored is not None and _is_fresh(stored):
            self._add_to_cache(request, stored)
            return _hit(stored)
        reason = "request" if not use_cache else "uri-miss" if stored is None else "stale"
        try:
            result = await self._ask(
                flight,
                request,
                self._create_handler(request, reason),
                probe=CacheProbe(request.search_key, _is_fresh) if use_cache else None,
                wait_for_cooldown=stored is None,
            )
        except UpstreamRejected:
            raise
        except (QueueTooLong, UpstreamError, DatabaseUnavailable) as error:
            if stored is None:
                raise
            logger.warning("serving a stale response: %s", error.detail)
            return SearchReply(stored, f"{_hit(stored).cache_status}; detail=stale")
        if isinstance(result, RecordedSearch):  # by another process
            self._add_to_cache(request, result)
            return SearchReply(result, f"fwd={reason}; collapsed")
        return result

    def _create_handler(self, request: ArxivRequest, reason: str) -> ResponseHandler[SearchReply]:
        """Record the responses to a search that was sent to arXiv for this reason (RFC 9211)."""

        async def handle(response: ArxivResponse) -> SearchReply:
            recorded = await self.record(response, search_key=request.search_key)
            self._add_to_cache(request, recorded)
            stored = "; stored" if recorded.outcome == Outcome.OK else ""
            return SearchReply(recorded, f"fwd={reason}; fwd-status={recorded.status}{stored}")

        return handle

    async def _ask(
        self,
        flight: InFlight[Any],
        request: ArxivRequest,
        handle: ResponseHandler[R],
        *,
        probe: CacheProbe | None = None,
        wait_for_cooldown: bool = True,
    ) -> R | RecordedSearch:
        """Send a request to arXiv, several times if necessary, as long as ARXIV_MAX_WAIT allows.

        Returns the record instead if another process records the search of `probe` meanwhile.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.max_wait
        acquire = partial(
            self._rate_limiter.acquire, deadline, probe=probe, wait_for_cooldown=wait_for_cooldown
        )
        backoff = Backoff(RETRY_SECONDS, self._settings.max_wait)
        latest: R | RecordedSearch | UpstreamError | None = None
        try:
            for attempt in count(1):
                try:
                    latest = await self._attempt(flight, request, handle, acquire)
                except (UpstreamRejected, UpstreamThrottled):
                    raise
                except UpstreamError as error:
                    logger.info("attempt %d failed: %s", attempt, error.detail)
                    latest = error
                except QueueTooLong:
                    if latest is None:
                        raise
                    break  # the result of the last attempt is more useful
                if not isinstance(latest, UpstreamError) and latest.outcome != Outcome.SUSPECT:
                    return latest
                pause = backoff.next_pause()
                if attempt == MAX_ATTEMPTS or flight.is_abandoned or clock() + pause > deadline:
                    break
                await asyncio.sleep(pause)
            assert latest is not None  # noqa: S101 - there was an attempt
            if isinstance(latest, UpstreamError):
                raise latest
            return latest
        finally:
            del latest  # its traceback refers to this frame, and to the body of the response

    async def _attempt(
        self,
        flight: InFlight[Any],
        request: ArxivRequest,
        handle: ResponseHandler[R],
        acquire: Callable[[], AbstractAsyncContextManager[Lease | RecordedSearch]],
    ) -> R | RecordedSearch:
        """Send a request once it has the lease, and handle the response.

        Raises an UpstreamError with the query_id of the failed attempt.
        """
        lease: Lease | RecordedSearch
        try:
            async with acquire() as lease:
                if isinstance(lease, RecordedSearch):
                    return lease
                flight.upstream_started = True
                response = await self._request(request, lease)
                return await handle(response)
        except UpstreamError as error:
            # the lease is released before the attempt is recorded, because a cooldown has to
            # apply to all processes at once
            if isinstance(error, UpstreamThrottled) and isinstance(lease, Lease):
                error.retry_after = max(1, math.ceil(lease.cooldown_left))
            result = await handle(error.response)
            error.query_id = None if isinstance(result, ArxivResponse) else result.query_id
            raise
        finally:
            flight.upstream_started = False

    async def _request(self, request: ArxivRequest, lease: Lease) -> ArxivResponse:
        """Send a request, and note in the lease how arXiv reacted."""
        try:
            response = await self._arxiv.search(request, lease.expires_at)
        except UpstreamThrottled as error:
            lease.cooldown = error.retry_after or self._settings.cooldown
            raise
        except UpstreamRejected:
            lease.answered = True
            raise
        lease.answered = True
        return response


def summarize(reply: SearchReply, settings: Settings) -> SearchSummary:
    """The response of `/arxiv` to a search."""
    recorded = reply.recorded
    remarks = recorded.remarks or {}
    warnings = list(remarks.get("differences", ()))
    if recorded.outcome == Outcome.SUSPECT:
        warnings.append("arXiv sent fewer papers than it counts: repeat the search later")
    return SearchSummary(
        query_id=recorded.query_id,
        timestamp=_to_iso(recorded.timestamp, settings.zone),
        status=recorded.status,
        num_results=recorded.num_results,
        num_entries=recorded.num_entries,
        warnings=warnings,
        missing_ids=remarks.get("missing_ids", []),
    )


class ResultStore(Protocol):
    """A store that has the results of a search."""

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, in their order."""


async def fetch_results(recorded: RecordedSearch, store: ResultStore) -> list[ResultRow]:
    """The results of a recorded search, which may be in the queue of another process for a moment.

    Raises DatabaseUnavailable if they do not arrive in time.
    """
    deadline = monotonic() + QUEUE_SECONDS
    while True:
        rows = await store.fetch_results(recorded.query_id)
        if len(rows) == recorded.num_entries:
            return rows
        if monotonic() > deadline:
            raise DatabaseUnavailable(
                f"search {recorded.query_id} is recorded, but its results are still in the queue;"
                " request them again later",
                query_id=recorded.query_id,
            )
        await asyncio.sleep(QUEUE_POLL_SECONDS)


def _expires_at(recorded: RecordedSearch) -> int:
    """When arXiv publishes new papers (Unix seconds), by our clock rather than arXiv's."""
    return arxiv_schedule.next_publication(min(recorded.recorded, time()))


def _is_fresh(recorded: RecordedSearch) -> bool:
    return _expires_at(recorded) > time()


def _hit(recorded: RecordedSearch) -> SearchReply:
    return SearchReply(recorded, f"hit; ttl={_expires_at(recorded) - int(time())}")
