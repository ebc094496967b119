"""Long jobs: all papers that match a query, page by page, politely, and never twice.

arXiv gives no more than the first 10,000 papers of a search. Papers are therefore asked for in the
order of their submission, and where that limit comes near, the next window begins at the minute of
the last paper. Each page is recorded in one transaction with how far it brings the harvest, so that
an end at any moment costs at most the page under way. The next harvest of the same query goes on
from there.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from time import time

from msgspec import Struct, structs

from . import arxiv_query
from .db.records import RecordStore
from .errors import (
    Conflict,
    DatabaseUnavailable,
    QueueTooLong,
    ServiceError,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRejected,
)
from .models.arxiv import ArxivResponse, Outcome, Search
from .models.records import Harvest
from .search import LocalSearchService

logger = logging.getLogger(__name__)

PAGE = 1000
"""Papers of one request."""
LIMIT = arxiv_query.MAX_RESULT
"""How many papers of one search arXiv gives."""
BEGINNING = 662_688_000
"""Unix seconds of 1991-01-01: arXiv's first papers are of August 1991."""
OVERLAP = 14 * 86_400
"""Seconds before the end of the last harvest at which the next one begins: papers appear days after
they were submitted."""
PERSEVERANCE = 8
"""Failures in a row after which a harvest ends, to be gone on with later."""
LONGEST_PAUSE = 300.0
"""Seconds between two tries."""
MINUTE = 60


class Progress(Struct, frozen=True):
    """How many papers are stored, of how many."""

    stored: int
    total: int


class Harvester:
    """Stores all papers that match a query in arXiv's language, up to `most` in all."""

    def __init__(
        self, query: str, most: int | None, search_service: LocalSearchService, store: RecordStore
    ) -> None:
        """Raises BadInput for a query that is none."""
        search = Search(query=query, max_results=PAGE)
        self._query = query
        self._name = arxiv_query.build_params(search, PAGE)["search_query"]
        self._most = most
        self._search_service = search_service
        self._store = store
        self._looked = False

    async def run(self) -> AsyncIterator[Progress]:
        """Go on where the last run ended; the progress before the first page and after each.

        Raises UpstreamRefused where arXiv refuses the query, and other ServiceErrors after
        PERSEVERANCE failures in a row. What is stored stays, and the next run goes on with it.
        """
        await self._look()
        yield Progress(len(self._seen), len(self._seen))
        failures = 0
        while not self._state.finished and (self._room is None or self._room > 0):
            try:
                answer = await self._search_service.search_arxiv(self._search(), self._keep)
                if answer.outcome == Outcome.SUSPECT:
                    raise UpstreamInvalidResponse("arXiv leaves papers out")
            except Conflict:
                await self._look()  # another process was quicker: go on after its page
                yield Progress(len(self._seen), len(self._seen))
            except UpstreamRejected:
                raise
            except (UpstreamError, QueueTooLong, DatabaseUnavailable) as error:
                failures += 1
                if failures > PERSEVERANCE:
                    raise
                await self._rest(error, failures)
            else:
                failures = 0
                left = 0 if self._state.finished else answer.num_results - self._done
                total = len(self._seen) + max(0, left)
                yield Progress(len(self._seen), min(total, self._most or total))

    async def _look(self) -> None:
        """See how far the harvest has come; at first, begin the next one after a finished one."""
        self._done = 0
        latest = await self._store.harvest(self._name)
        if latest is None or (latest.finished and not self._looked):
            begin = BEGINNING if latest is None else latest.submitted_to - OVERLAP
            await self._store.begin_harvest(self._name, begin, int(time()))
            latest = await self._store.harvest(self._name)
        assert latest is not None  # noqa: S101 - it has been begun
        self._looked = True
        self._state = latest
        self._seen = await self._store.harvested(self._name)

    @property
    def _room(self) -> int | None:
        """How many papers may still be stored."""
        return None if self._most is None else self._most - len(self._seen)

    def _search(self) -> Search:
        """The next page, in the order of submission."""
        return Search(
            query=self._query,
            submitted_from=self._state.submitted_from,
            submitted_to=self._state.submitted_to,
            start=self._state.start,
            max_results=PAGE,
            sort_by="submittedDate",
            sort_order="ascending",
        )

    async def _keep(self, answer: ArxivResponse) -> ArxivResponse:
        """Record what is new on a page, and with it how far that brings the harvest."""
        if answer.failure is None and self._is_less(answer):
            answer = structs.replace(answer, outcome=Outcome.SUSPECT)
        if answer.outcome != Outcome.OK:
            # what comes of a bad page will come again with a good one
            return await self._search_service.keep(structs.replace(answer, entries=[]))
        new = {
            entry.arxiv_id: entry
            for entry in answer.entries
            if entry.arxiv_id is not None and entry.arxiv_id not in self._seen
        }
        entries = list(new.values())[: self._room]
        state = self._after(answer, whole=len(entries) == len(new))
        kept = await self._search_service.keep(structs.replace(answer, entries=entries), state)
        self._seen.update(entry.arxiv_id for entry in entries if entry.arxiv_id)
        self._state = state
        return kept

    def _is_less(self, answer: ArxivResponse) -> bool:
        """Whether arXiv now counts fewer papers than it has sent already: that is not the end."""
        return self._state.page > 0 and answer.num_results < max(1, self._state.start)

    def _after(self, answer: ArxivResponse, *, whole: bool) -> Harvest:
        """The state once this page is recorded. A page of which a part was left out comes again."""
        page = self._state.page + 1
        if not whole:
            return structs.replace(self._state, page=page)
        start = self._state.start + len(answer.entries)
        self._done = start
        if not answer.entries or start >= answer.num_results:
            return structs.replace(self._state, page=page, start=start, finished=True)
        if start + PAGE <= LIMIT:
            return structs.replace(self._state, page=page, start=start)
        submitted = [entry.published for entry in answer.entries if entry.published]
        last = int(max(submitted).timestamp()) // MINUTE * MINUTE if submitted else 0
        if last <= self._state.submitted_from:
            raise ServiceError(f"arXiv has more than {LIMIT} papers of one minute")
        return structs.replace(self._state, page=page, submitted_from=last, start=0)

    async def _rest(self, error: ServiceError, failures: int) -> None:
        pause = error.retry_after or min(LONGEST_PAUSE, 2.0**failures)
        pause *= random.uniform(1, 1.2)  # noqa: S311 - no secret
        logger.warning("%s: going on in %.0f seconds", error.detail, pause)
        await asyncio.sleep(pause)
