"""The sync: brings the mirror up to date with arXiv's OAI-PMH.

After each page, its records and the progress are stored together, so a sync can end at any time.
Only one sync runs at a time over all processes and machines.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime
from functools import partial
from itertools import count
from time import time
from typing import Protocol
from uuid import UUID, uuid4

from msgspec import Struct, structs

from .. import metrics
from ..arxiv_http import ArxivFailure
from ..backoff import Backoff
from ..errors import (
    DatabaseUnavailable,
    QueueTooLong,
    RecordRejected,
    SyncInProgress,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRejected,
)
from ..models.arxiv import Outcome
from ..models.mirror import MirrorRecord, SyncState
from .oai_client import NO_RECORDS, ListRequest, OaiClient
from .oai_xml import MetadataPrefix, OaiError, OaiPage
from .sync_state import (
    add_import,
    choose_window,
    complete_day,
    complete_window,
    end_run,
    is_received,
    skip_day,
    start_run,
    to_day,
)

logger = logging.getLogger(__name__)

FORMATS: tuple[MetadataPrefix, ...] = ("arXivRaw", "arXiv")
"""The format with versions first; names of authors in parts are added to the versions it has."""
MAX_ATTEMPTS = 6
"""How often a page is requested."""
RETRY_PAUSE, MAX_RETRY_PAUSE = 3.0, 60.0
"""Seconds between two attempts: the first pause, and the longest."""
MAX_RESTARTS = 3
"""How often a list is requested again because its token has expired."""
MAX_REPEATS = 2
"""Pages in a row without new records, after which a list counts as endless."""
MAX_SKIPPED, MAX_SKIPPED_IN_A_ROW = 30, 5
"""Days without a usable response, after which the sync ends: arXiv is unavailable."""
SAVED_AT_ONCE = 500
"""Records per transaction."""
SAVE_ATTEMPTS = 6
LEASE_SECONDS = 30.0
"""Time after which another process may sync if this one dies."""
RENEW_SECONDS = 10.0
MAX_LOGGED = 20
"""Invalid records of a page that are logged one by one."""


class SyncStore(Protocol):
    """Where records and the progress are stored."""

    async def save(self, records: Sequence[MirrorRecord], progress: SyncState | None = None) -> int:
        """Store records and the progress, or nothing."""

    async def fetch_sync(self, set_spec: str) -> SyncState:
        """Return the progress of the sync of a set."""

    async def fetch_newest_import(self) -> int | None:
        """Return the datestamp up to which the snapshots that were imported are complete."""

    async def acquire_sync(self, holder: UUID, seconds: float) -> bool:
        """Take or renew the lease; return whether the holder has it."""

    async def release_sync(self, holder: UUID) -> None:
        """Release the lease."""

    async def delay_sync(self, seconds: float) -> None:
        """Let no process repeat a sync that failed before this time has passed."""

    async def fetch_sync_pause(self) -> float:
        """Return the seconds until a sync that failed may be repeated."""


class Selection(Struct, frozen=True):
    """Which records a sync receives."""

    since: date | None = None
    """None: from the last day that is covered."""
    until: date | None = None
    set_spec: str = ""
    """Empty: of all papers."""
    formats: Sequence[MetadataPrefix] = FORMATS
    """FORMATS, or only the first of them."""


class SyncProgress(Struct, frozen=True):
    """How far a sync is."""

    day: date
    """The first day that is not complete."""
    first_day: date
    """Of the run."""
    last_day: date
    records: int
    """Received since this process continued the run."""
    invalid: int
    pages: int


class SyncResult(Struct, frozen=True):
    """What a sync has received."""

    records: int
    invalid: int
    """Records that could not be used; `state` has the number of the whole run."""
    pages: int
    state: SyncState

    @property
    def is_complete(self) -> bool:
        """Whether no record of the run is missing."""
        return not self.state.run_invalid and not self.state.skipped


Report = Callable[[SyncProgress], None]
Pause = Callable[[], Awaitable[None]]
RenewLease = Callable[[], Awaitable[None]]
"""Raises SyncInProgress if another process has the lease."""


async def _pause_never() -> None:
    pass


async def sync(
    store: SyncStore,
    client: OaiClient,
    selection: Selection,
    *,
    report: Report = lambda _: None,
    max_wait: float = 0.0,
) -> SyncResult:
    """Receive all records that arXiv changed, and store them.

    Waits up to `max_wait` seconds for a sync of another process to end. The next call continues.

    Raises SyncInProgress, UpstreamError if arXiv sends no usable response, QueueTooLong during a
    long cooldown, or DatabaseUnavailable.
    """
    async with hold_lease(store, max_wait) as renew_lease:
        return await sync_with_lease(store, client, selection, renew_lease, report=report)


async def sync_with_lease(
    store: SyncStore,
    client: OaiClient,
    selection: Selection,
    renew_lease: RenewLease,
    *,
    report: Report = lambda _: None,
    pause: Pause = _pause_never,
) -> SyncResult:
    """Sync as `sync` does, with a lease from `hold_lease`.

    `pause` is awaited before each request.
    """
    run = _Run(store, client, selection, report, pause, renew_lease)
    try:
        return await run.run()
    except (UpstreamError, QueueTooLong) as error:
        await run.store_error(error.detail)
        raise


class _ListFailed(Exception):
    """arXiv sends no usable response to a request of a list."""

    def __init__(self, error: UpstreamError, *, may_concern_days: bool = True) -> None:
        super().__init__(error.detail)
        self.error = error
        self.may_concern_days = may_concern_days
        """Whether other days may be available."""


class _ClockIsAhead(Exception):
    """The window ends in the future of the server."""


class _Run:
    """A run, from where an earlier process has left it."""

    def __init__(
        self,
        store: SyncStore,
        client: OaiClient,
        selection: Selection,
        report: Report,
        pause: Pause,
        renew_lease: RenewLease,
    ) -> None:
        self._store, self._client = store, client
        self._selection, self._formats = selection, selection.formats
        self._report, self._pause, self._renew_lease = report, pause, renew_lease
        self._state = SyncState(set_spec=selection.set_spec)
        self._today = datetime.now(UTC).date()
        self._split_until: date | None = None
        """Up to this day, windows are single days."""
        self._records = self._invalid = self._pages = 0
        self._earlier_invalid = 0
        """Invalid records of the same run before this call."""

    async def run(self) -> SyncResult:
        since, until = self._selection.since, self._selection.until
        stored = await self._store.fetch_sync(self._state.set_spec)
        stored = add_import(stored, await self._store.fetch_newest_import())
        self._state = start_run(stored, since, until, self._today)
        self._earlier_invalid = self._state.run_invalid
        await self._save_state()
        await self._receive_windows()
        await self._retry_skipped()
        self._state = end_run(self._state)
        await self._save_state()
        return SyncResult(self._records, self._invalid, self._pages, self._state)

    async def store_error(self, reason: str) -> None:
        """Store why the run ended, unless another process has continued it."""
        self._state = structs.replace(self._state, error=reason)
        with suppress(DatabaseUnavailable, SyncInProgress):
            await self._renew_lease()
            await self._store.save([], self._state)

    async def _receive_windows(self) -> None:
        num_skipped = num_in_a_row = 0
        while not is_received(self._state):
            if self._state.metadata_prefix is None:
                self._choose_window()
            try:
                await self._receive_window()
                num_in_a_row = 0
            except _ClockIsAhead:
                self._state = structs.replace(self._state, metadata_prefix=None)
            except _ListFailed as failure:
                number = await self._split_or_skip(failure)
                num_skipped, num_in_a_row = num_skipped + number, num_in_a_row + number
                if num_skipped >= MAX_SKIPPED or num_in_a_row >= MAX_SKIPPED_IN_A_ROW:
                    raise failure.error from failure

    def _choose_window(self) -> None:
        day = self._state.run_next
        is_split = bool(self._split_until and day and day <= self._split_until)
        self._state = choose_window(self._state, self._today, is_split=is_split)

    async def _split_or_skip(self, failure: _ListFailed) -> int:
        """Request the days of a window one by one, or skip its only day; how many are skipped."""
        first, last = self._state.run_next, self._state.window_until
        is_today = last is None and (first is None or first >= self._today)
        if not failure.may_concern_days or is_today:
            raise failure.error from failure
        if last != first:
            logger.warning("requesting the days since %s one by one: %s", first, failure)
            self._split_until = last or self._today
            self._choose_window()
            return 0
        logger.warning("arXiv sends no usable records of %s: %s", first, failure)
        self._state = skip_day(self._state)
        await self._save_state()
        return 1

    async def _receive_window(self) -> None:
        """Receive the current window in the formats that are left."""
        state = self._state
        assert state.run_next  # noqa: S101 - of a run
        formats = list(self._formats)
        if state.metadata_prefix in formats:
            formats = formats[formats.index(state.metadata_prefix) :]
        else:
            self._state = structs.replace(state, token=None)
        for prefix in formats:
            request = ListRequest(
                prefix, state.run_next, state.window_until, state.set_spec, self._state.token
            )
            async for page, is_first in self._receive_list(request):
                if is_first and prefix == self._formats[0]:
                    # a time in the future would keep the next runs from receiving anything
                    started = min(page.response_date, int(time()))
                    self._state = structs.replace(self._state, run_started=started)
                await self._save_page(page, self._advance(prefix, page))

    def _advance(self, prefix: MetadataPrefix, page: OaiPage) -> SyncState:
        """Return the progress after a page."""
        state = structs.replace(
            self._state,
            token=page.token,
            metadata_prefix=prefix,
            run_records=self._state.run_records + len(page.records),
            error=None,
        )
        if page.token is not None:
            return state
        if prefix == self._formats[-1]:
            return complete_window(state)
        return structs.replace(state, metadata_prefix=self._formats[-1])

    async def _retry_skipped(self) -> None:
        for day in self._state.skipped:
            try:
                for prefix in self._formats:
                    request = ListRequest(prefix, day, day, self._state.set_spec)
                    async for page, _ in self._receive_list(request):
                        await self._save_page(page, self._state)
            except _ListFailed as failure:
                logger.warning("arXiv still sends no usable records of %s: %s", day, failure)
                continue
            self._state = complete_day(self._state, day)
            await self._save_state()

    async def _receive_list(self, request: ListRequest) -> AsyncIterator[tuple[OaiPage, bool]]:
        """Yield the pages of a list, and whether it is the first one.

        It begins again if its token has expired.
        """
        restarts, progress = 0, _ListProgress()
        while True:
            page = await self._fetch_page(request)
            error = page.error
            is_empty = error is not None and error.code == NO_RECORDS
            if is_empty and request.token is not None:
                # a list that has further pages does not end with an empty one
                error = OaiError("badResumptionToken", "no records for its own token")
                is_empty = False
            if error and error.code == "badResumptionToken" and restarts < MAX_RESTARTS:
                logger.info("the resumption token is not valid any more: the list begins again")
                restarts += 1
                request, progress = structs.replace(request, token=None), _ListProgress()
                continue
            if error and not is_empty:
                raise self._create_rejection(error, page, request)
            self._today = min(self._today, to_day(page.response_date))
            if page.token is not None:
                progress.check(page, request)
            yield page, request.token is None
            if page.token is None:
                return
            request = structs.replace(request, token=page.token)

    def _create_rejection(self, error: OaiError, page: OaiPage, request: ListRequest) -> Exception:
        """Return what to raise after an error of OAI-PMH."""
        today = to_day(page.response_date)
        if error.code == "badResumptionToken":
            return _ListFailed(UpstreamInvalidResponse(f"arXiv rejects its own token: {error[1]}"))
        if request.last_day and request.last_day > today and today < self._today:
            logger.warning("the clock of this machine is ahead of arXiv's: there it is %s", today)
            self._today = today
            return _ClockIsAhead()
        return UpstreamRejected(f"arXiv rejects the request: {error.message} ({error.code})")

    async def _fetch_page(self, request: ListRequest) -> OaiPage:
        """Request a page, after failures up to MAX_ATTEMPTS times."""
        backoff = Backoff(RETRY_PAUSE, MAX_RETRY_PAUSE)
        for attempt in count(1):
            await self._pause()
            try:
                return await self._client.list_records(request)
            except ArxivFailure as failure:
                if failure.is_permanent:
                    raise failure.create_error() from failure
                if attempt == MAX_ATTEMPTS:
                    raise _ListFailed(
                        failure.create_error(), may_concern_days=_may_concern_days(failure)
                    ) from failure
                logger.info("attempt %d to receive %s failed: %s", attempt, request, failure)
            except DatabaseUnavailable:
                if attempt == MAX_ATTEMPTS:
                    raise
            await asyncio.sleep(backoff.next_pause())
        raise AssertionError

    async def _save_page(self, page: OaiPage, state: SyncState) -> None:
        """Store the records of a page, and the progress with the last of them."""
        await _retry_database(self._renew_lease)
        self._count_invalid(page.invalid)
        chunks = [
            page.records[start : start + SAVED_AT_ONCE]
            for start in range(0, len(page.records), SAVED_AT_ONCE)
        ] or [[]]
        for chunk in chunks:
            await self._save_records(chunk, self._count_in(state) if chunk is chunks[-1] else None)
        self._state = self._count_in(state)
        self._pages += 1
        self._report_progress()

    def _count_in(self, state: SyncState) -> SyncState:
        """Return the progress with the number of invalid records."""
        return structs.replace(state, run_invalid=self._earlier_invalid + self._invalid)

    async def _save_records(self, records: Sequence[MirrorRecord], state: SyncState | None) -> None:
        try:
            await self._save(records, state)
        except RecordRejected:
            for record in records:
                await self._save_alone(record)
            await self._save([], state and self._count_in(state))
        else:
            self._records += len(records)
            metrics.MIRROR_RECORDS.labels("stored").inc(len(records))

    async def _save_alone(self, record: MirrorRecord) -> None:
        try:
            await self._save([record], None)
        except RecordRejected as error:
            self._count_invalid([(record.arxiv_id, error.detail)])
        else:
            self._records += 1
            metrics.MIRROR_RECORDS.labels("stored").inc()

    async def _save(self, records: Sequence[MirrorRecord], state: SyncState | None) -> None:
        await _retry_database(partial(self._store.save, records, state))

    async def _save_state(self) -> None:
        await self._save([], self._state)

    def _count_invalid(self, invalid: Collection[tuple[str, str]]) -> None:
        self._invalid += len(invalid)
        metrics.MIRROR_RECORDS.labels("invalid").inc(len(invalid))
        for name, reason in list(invalid)[:MAX_LOGGED]:
            logger.warning("the record of %s is invalid: %s", name, reason)
        if len(invalid) > MAX_LOGGED:
            logger.warning("%d more records are invalid", len(invalid) - MAX_LOGGED)

    def _report_progress(self) -> None:
        state = self._state
        assert state.run_from  # noqa: S101 - of a run
        assert state.run_next  # noqa: S101
        last = state.run_until or max(self._today, state.run_next)
        self._report(
            SyncProgress(
                state.run_next, state.run_from, last, self._records, self._invalid, self._pages
            )
        )


async def _retry_database(call: Callable[[], Awaitable[object]]) -> None:
    """Wait for the database if it is unavailable."""
    backoff = Backoff()
    for _ in range(SAVE_ATTEMPTS - 1):
        with suppress(DatabaseUnavailable):
            await call()
            return
        await asyncio.sleep(backoff.next_pause())
    await call()


def _may_concern_days(failure: ArxivFailure) -> bool:
    """Whether the failure may be due to the days that were requested."""
    if failure.outcome == Outcome.BUSY:
        return failure.concerns_one_request
    return failure.outcome != Outcome.UNREACHABLE


class _ListProgress:
    """Notices a list that does not end."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._repeats = 0

    def check(self, page: OaiPage, request: ListRequest) -> None:
        """Raise _ListFailed after MAX_REPEATS pages without new records or a new token."""
        names = {record.arxiv_id for record in page.records}
        names.update(page.deleted, (name for name, _ in page.invalid))
        if names <= self._ids or page.token == request.token:
            self._repeats += 1
            if self._repeats >= MAX_REPEATS:
                error = UpstreamInvalidResponse("arXiv sends the same page repeatedly")
                raise _ListFailed(error, may_concern_days=False)
        else:
            self._repeats = 0
        self._ids |= names


@asynccontextmanager
async def hold_lease(store: SyncStore, max_wait: float = 0.0) -> AsyncIterator[RenewLease]:
    """Hold the lease of the sync, after at most `max_wait` seconds.

    Raises SyncInProgress if another process has it, or DatabaseUnavailable.
    """
    holder = uuid4()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max_wait

    async def renew() -> None:
        if not await store.acquire_sync(holder, LEASE_SECONDS):
            raise SyncInProgress("another process has continued this sync")

    while not await store.acquire_sync(holder, LEASE_SECONDS):
        if loop.time() >= deadline:
            raise SyncInProgress("another process updates the mirror")
        await asyncio.sleep(min(1.0, max(0.0, deadline - loop.time())))
    renewing = asyncio.create_task(_renew_regularly(store, holder))
    try:
        yield renew
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])  # a renewal after the release would hold the lease again
        with suppress(DatabaseUnavailable):
            await store.release_sync(holder)


async def _renew_regularly(store: SyncStore, holder: UUID) -> None:
    """Renew the lease during long waits, unless another process has it."""
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        with suppress(DatabaseUnavailable):
            if not await store.acquire_sync(holder, LEASE_SECONDS):
                return
