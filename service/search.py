"""A search from its question to its recorded answer: memory, one flight, a turn, arXiv, the record.

The recorded searches are the memory: a good answer holds until arXiv's answers change. Equal
searches that come at the same time share one flight here, and across processes the first one's
record ends the waiting of the others. A flight ends when all who wait for it have gone, unless
arXiv is being asked already: then its answer is recorded all the same.
"""

import asyncio
import logging
import math
import random
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from hashlib import sha256
from time import monotonic, time
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from msgspec import Struct, structs

from . import arxiv_query, arxiv_schedule, metrics
from .arxiv_client import ArxivClient
from .db.rate_limiter import CacheProbe, RateLimiter
from .db.records import RecordStore
from .errors import (
    DatabaseUnavailable,
    QueueTooLong,
    UpstreamError,
    UpstreamRejected,
    UpstreamThrottled,
)
from .models.arxiv import ArxivResponse, Outcome, Search
from .models.records import Harvest, RecordedSearch
from .settings import Settings
from .singleflight import forget

logger = logging.getLogger(__name__)

T = TypeVar("T")
Record = Callable[[ArxivResponse], Awaitable[ArxivResponse]]

PAUSES = (0.5, 1.0, math.inf)
"""Seconds, more or less, after each try that fails otherwise than by a refusal, beside the wait for
a turn. After the third there is no other."""
AT_HAND = 4096
"""Answers kept in the process, so that the most wanted need not even PostgreSQL."""
AT_HAND_SECONDS = 60.0
"""Seconds for which they are: another process may have recorded a newer one since."""
PERSISTENCE = 30.0
"""Seconds for which recording an answer is tried again while the database is away."""


class SearchReply(Struct, frozen=True):
    """A recorded search, and how it was found: a Cache-Status (RFC 9211) without its cache."""

    recorded: RecordedSearch
    how: str

    @property
    def outcome(self) -> str:
        """What came of the search."""
        return self.recorded.outcome

    @property
    def answered_by(self) -> str:
        """Whose answer it is, for the metrics."""
        if self.how.endswith("collapsed"):
            return "flight"
        if self.how.endswith("detail=stale"):
            return "stale"
        return "database" if self.how.startswith("hit") else "arxiv"

    @property
    def age(self) -> int:
        """Seconds since the answer was recorded."""
        return max(0, int(time()) - self.recorded.recorded)

    @property
    def lifetime(self) -> int:
        """Seconds for which the answer will still be good."""
        good = self.recorded.outcome == Outcome.OK
        return max(0, _expires_at(self.recorded) - int(time())) if good else 0


class SearchService(ABC):
    """Answers searches for everyone in this process, each once at a time.

    Leaving its context ends what is under way.
    """

    def __init__(self, settings: Settings) -> None:
        """Begin with nothing at hand."""
        self._settings = settings
        self._flights: dict[UUID, InFlight[SearchReply]] = {}
        self._at_hand: OrderedDict[UUID, tuple[RecordedSearch, float]] = OrderedDict()
        self._under_way: set[InFlight[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        under_way = [flight.task for flight in self._under_way]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def close(self) -> None:
        """End the searches that wait; those that arXiv is being asked go on."""
        for flight in list(self._under_way):
            flight.ground()

    def at_hand(self, search: Search) -> SearchReply | None:
        """A good answer that this process remembers.

        Raises BadInput for a search that is none.
        """
        if self._settings.cache == "off":
            return None
        key = self._key(self._sent(search))
        recorded, until = self._at_hand.get(key, (None, 0.0))
        if recorded is None or monotonic() > until or not _is_fresh(recorded):
            return None
        self._at_hand.move_to_end(key)
        metrics.AT_HAND.inc()
        return _hit(recorded)

    @metrics.count_searches
    async def search(self, search: Search, *, bypass_cache: bool = False) -> SearchReply:
        """Answer a search from the cache, or from arXiv; `bypass_cache`: always from arXiv.

        Raises BadInput, TooBusy, StoreUnavailable, or the UpstreamError of arXiv's last answer. If
        arXiv cannot be asked, an answer that is no longer good is better than none.
        """
        sent = self._sent(search)
        # with what `max_results` means here
        search = structs.replace(search, max_results=int(sent["max_results"]))
        key = self._key(sent)
        if bypass_cache or self._settings.cache == "off":
            return await self._launch(
                lambda mine: self._found(search, key, mine, bypass_cache=True)
            ).join()
        flight = self._flights.get(key)
        joined = flight is not None
        if flight is None:
            flight = self._launch(lambda mine: self._found(search, key, mine, bypass_cache=False))
            self._flights[key] = flight
        try:
            found = await flight.join()
        finally:
            # whoever leaves first after its end, or last before, takes it off: the next one is new
            ended = flight.task.done() or not flight.clients
            if ended and self._flights.get(key) is flight:
                del self._flights[key]
        if joined and not found.how.endswith("; collapsed"):
            return structs.replace(found, how=f"{found.how}; collapsed")
        return found

    @abstractmethod
    async def _found(
        self, search: Search, key: UUID, flight: "InFlight[SearchReply]", *, bypass_cache: bool
    ) -> SearchReply:
        """The answer to a search; `bypass_cache`: from arXiv, else from memory if possible."""

    def _sent(self, search: Search) -> dict[str, str]:
        return arxiv_query.parameters(search, self._settings.max_results)

    def _key(self, sent: dict[str, str]) -> UUID:
        """A digest of who is asked for what: the same for the same search, page and order."""
        asked = f"{self._settings.api_url}?{urlencode(sent)}"
        return UUID(bytes=sha256(asked.encode()).digest()[:16])

    def _launch(self, start: "Callable[[InFlight[T]], Coroutine[Any, Any, T]]") -> "InFlight[T]":
        flight = InFlight(start)
        self._under_way.add(flight)
        flight.task.add_done_callback(lambda _: self._under_way.discard(flight))
        return flight

    def _remember(self, key: UUID, recorded: RecordedSearch) -> None:
        if recorded.outcome != Outcome.OK or self._settings.cache == "off":
            return
        self._at_hand[key] = recorded, monotonic() + AT_HAND_SECONDS
        self._at_hand.move_to_end(key)
        if len(self._at_hand) > AT_HAND:
            self._at_hand.popitem(last=False)


class LocalSearchService(SearchService):
    """The way to arXiv, in its turn, with the database behind it."""

    def __init__(
        self, settings: Settings, arxiv: ArxivClient, store: RecordStore, rate_limiter: RateLimiter
    ) -> None:
        """Wire the parts together."""
        super().__init__(settings)
        self._arxiv = arxiv
        self._store = store
        self._rate_limiter = rate_limiter

    @metrics.count_searches
    async def search_arxiv(self, search: Search, record: Record | None = None) -> ArxivResponse:
        """Ask arXiv in its turn; what `record` is for, it does with each answer, inside the turn.

        Raises what `find` raises, and what `record` does.
        """
        sent = self._sent(search)
        answer = await self._launch(lambda flight: self._asked(flight, sent, record)).join()
        assert isinstance(answer, ArxivResponse)  # noqa: S101 - nothing else was sought
        if answer.failure:
            raise answer.failure
        return answer

    async def _found(
        self, search: Search, key: UUID, flight: "InFlight[SearchReply]", *, bypass_cache: bool
    ) -> SearchReply:
        """From PostgreSQL, else from arXiv, else what is left of older answers."""
        sent, record = self._sent(search), partial(self._record, key)
        if bypass_cache:
            return self._kept(await self._asked(flight, sent, record), key, "request")
        stale = await self._store.recorded(key)
        if stale is not None and _is_fresh(stale):
            self._remember(key, stale)
            return _hit(stale)
        seek = CacheProbe(key, _is_fresh)
        try:
            found = await self._asked(flight, sent, record, seek=seek, patient=stale is None)
            return self._kept(found, key, "uri-miss" if stale is None else "stale")
        except UpstreamRejected:
            raise
        except (QueueTooLong, UpstreamError, DatabaseUnavailable) as error:
            if stale is None:
                raise
            logger.warning("an old answer serves: %s", error.detail)
            return SearchReply(stale, f"hit; ttl={_expires_at(stale) - int(time())}; detail=stale")

    async def _asked(
        self,
        flight: "InFlight[Any]",
        sent: dict[str, str],
        record: Record | None = None,
        *,
        seek: CacheProbe | None = None,
        patient: bool = True,
    ) -> ArxivResponse | RecordedSearch:
        """Ask arXiv in turn, as often as PAUSES says; every answer is recorded.

        What another process records meanwhile, and `seek` looks for, serves as well.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + self._settings.max_wait
        answer: ArxivResponse | None = None
        for pause in PAUSES:
            try:
                async with self._rate_limiter.acquire(until, seek=seek, patient=patient) as lease:
                    if isinstance(lease, RecordedSearch):
                        return lease
                    flight.upstream_started = True
                    answer = await self._arxiv.search(sent, lease.ends)
                    lease.answered = isinstance(answer.failure, UpstreamRejected | None)
                    if isinstance(answer.failure, UpstreamThrottled):
                        lease.cooldown = answer.failure.retry_after or self._settings.cooldown
                    elif record:
                        answer = await record(answer)
                if isinstance(answer.failure, UpstreamThrottled):
                    # the gate was closed first: that must not wait for the record
                    answer.failure.retry_after = max(1, math.ceil(lease.closed))
                    answer = await record(answer) if record else answer
                flight.upstream_started = False
            except QueueTooLong:
                if answer is None:
                    raise
                break
            if answer.failure:
                logger.info("try ended in: %s", answer.failure.detail)
            again = clock() + pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
            if not _is_worth_another_try(answer) or again > until or flight.unwanted:
                break
            await asyncio.sleep(again - clock())
        assert answer is not None  # noqa: S101 - PAUSES are not empty
        return answer

    async def _record(self, key: UUID, answer: ArxivResponse) -> ArxivResponse:
        return await self.keep(structs.replace(answer, search_key=key))

    async def keep(self, answer: ArxivResponse, harvest: Harvest | None = None) -> ArxivResponse:
        """Record an answer, if need be once the database is back: arXiv is not asked again for it.

        Gives it with its query_id.
        """
        patience = monotonic() + PERSISTENCE
        try:
            while True:
                try:
                    query_id = await self._store.save(answer, harvest)
                    break
                except DatabaseUnavailable as error:
                    if monotonic() > patience:
                        logger.error("an answer is lost: %s (%r)", error, answer.query)  # noqa: TRY400
                        raise
                    await asyncio.sleep(1)
        finally:
            self._store.forget(answer.write_key)
        if answer.failure:
            answer.failure.query_id = query_id
        return structs.replace(answer, query_id=query_id)

    def _kept(self, found: ArxivResponse | RecordedSearch, key: UUID, why: str) -> SearchReply:
        """What was found, remembered if it is good. Raises what arXiv's failure means."""
        if isinstance(found, RecordedSearch):
            self._remember(key, found)
            return SearchReply(found, f"fwd={why}; collapsed")
        if found.failure:
            raise found.failure
        recorded = _recorded(found)
        self._remember(key, recorded)
        stored = "; stored" if recorded.outcome == Outcome.OK else ""
        return SearchReply(recorded, f"fwd={why}; fwd-status={found.status}{stored}")


class InFlight(Generic[T]):
    """A search under way, and how many wait for it."""

    def __init__(self, start: "Callable[[InFlight[T]], Coroutine[Any, Any, T]]") -> None:
        """Start it."""
        self.clients = 0
        self.upstream_started = False
        """Whether arXiv is being asked: then the answer is worth recording, whoever waits."""
        self.grounded = False
        """Whether the service ends: then there is no other try."""
        self.task = asyncio.create_task(start(self))
        self.task.add_done_callback(forget)

    @property
    def unwanted(self) -> bool:
        """Whether there is no need for another try."""
        return self.grounded or not self.clients

    async def join(self) -> T:
        """Wait for the end; the last to leave before gives the search up."""
        self.clients += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.grounded and self.task.cancelled():
                raise QueueTooLong("the service is stopping", retry_after=5) from None
            raise
        finally:
            self.clients -= 1
            if not self.clients and not self.upstream_started:
                self.task.cancel()

    def ground(self) -> None:
        """Let it not begin to ask arXiv any more."""
        self.grounded = True
        if not self.upstream_started:
            self.task.cancel()


def _recorded(response: ArxivResponse) -> RecordedSearch:
    return RecordedSearch(
        query_id=response.query_id,
        timestamp=response.timestamp,
        status=response.status,
        num_results=response.num_results,
        num_entries=len(response.entries),
        query=response.query,
        outcome=response.outcome,
        remarks=response.remarks,
        recorded=int(time()),
    )


def _expires_at(recorded: RecordedSearch) -> int:
    """When arXiv's answer may change; Unix seconds. Our clock counts, not what arXiv dates it."""
    return arxiv_schedule.next_change(min(recorded.recorded, time()))


def _is_fresh(recorded: RecordedSearch) -> bool:
    return _expires_at(recorded) > time()


def _hit(recorded: RecordedSearch) -> SearchReply:
    return SearchReply(recorded, f"hit; ttl={_expires_at(recorded) - int(time())}")


def _is_worth_another_try(answer: ArxivResponse) -> bool:
    """A refused query stays refused, and a pause is a pause; other failures may pass."""
    if answer.failure is None:
        return answer.outcome == Outcome.SUSPECT
    return not isinstance(answer.failure, UpstreamRejected | UpstreamThrottled)
