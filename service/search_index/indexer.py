"""Keeps the search index of this machine equal to PostgreSQL.

All processes of a machine share one directory. One of them, whichever has the lock, updates the
index there; the others take over when it ends.
"""

import asyncio
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from .. import metrics
from ..backoff import Backoff
from ..db.paper_changes import FIRST_KEY, PaperChanges, PaperKey, PaperRead
from ..db.paper_source import (
    OtherDatabase,
    PaperSource,
    SourceDiverged,
    StandbyBehind,
    wait_for_database,
)
from ..db.pool import DatabasePools
from ..errors import DatabaseUnavailable, IndexUnavailable
from ..heap import trim_heap_later
from ..logging import NOTICE
from ..models.responses import IndexStatus
from . import state
from .schema import FORMAT, IndexedPaper
from .state import BuildProgress, IndexState
from .synced_index import (
    BATCH,
    DamagedIndex,
    IndexInUse,
    SyncedIndex,
    Writer,
    group_versions,
    select_visible,
)
from .threads import run_in_thread

logger = logging.getLogger(__name__)

START_DELAY = 0.2
"""Seconds before the first update: a start answers requests first."""
SYNC_INTERVAL = 0.4
"""Seconds between reads of what has changed."""
LOCK_INTERVAL = 1.0
"""Seconds between attempts to take over from the process that updates the index."""
PROGRESS_INTERVAL = 0.5
"""Seconds between reports of the progress of a build."""
SHUTDOWN_TIMEOUT = 5.0
"""Seconds that the end waits for a call of tantivy."""
MAX_RETRY_PAUSE = 15.0
TRIM_SECONDS = 1.0
"""Seconds after a build until its memory is returned to the system."""


class Indexer:
    """Takes part in the updates of the index while its context is entered."""

    def __init__(self, pools: DatabasePools, folder: Path, read_delay: float = 0) -> None:
        self._changes = PaperChanges(pools, read_delay=read_delay)
        self._folder = folder
        self._lock = state.IndexLock(folder)
        self._index: SyncedIndex | None = None
        self._failure: str | None = None
        self._is_waiting = False
        self._backoff = Backoff(maximum=MAX_RETRY_PAUSE)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task  # noqa: S101 - see __aenter__
        self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN_TIMEOUT)
        self.close()

    @property
    def status(self) -> IndexStatus:
        """The state of the index, as far as this process knows it."""
        return state.read_status(self._folder)

    async def update(self) -> bool:
        """Bring the index up to date, or build it; False if this is up to another process.

        Raises DatabaseUnavailable or IndexUnavailable.
        """
        try:
            if not self._lock.acquire():
                return False
            await self._update()
            self._lock.mark_synced()
        except (ValueError, OSError) as error:
            self._close_index()  # the writer is unusable after an error
            raise IndexUnavailable(state.describe_error(self._folder, error)) from error
        return True

    def close(self) -> None:
        """Let another process update the index."""
        self._close_index()
        self._lock.release()

    def _close_index(self) -> None:
        if self._index is not None:
            self._index.close()
        self._index = None

    async def _run(self) -> None:
        await asyncio.sleep(START_DELAY)
        while True:
            await asyncio.sleep(await self._try_update())
            self._show_metrics()

    async def _try_update(self) -> float:
        """Bring the index up to date if this is up to this process; the seconds until the next."""
        try:
            is_ours = await self.update()
        except (StandbyBehind, IndexInUse):
            return SYNC_INTERVAL
        except (OtherDatabase, SourceDiverged):  # for the second time, in a build or a repair
            return SYNC_INTERVAL
        except DatabaseUnavailable as error:
            if not self._is_waiting:
                logger.warning("the search index waits for the database: %s", error.detail)
            self._is_waiting = True
            return self._backoff.next_pause()
        except IndexUnavailable as error:
            self._report_failure(error.detail)
            return self._backoff.next_pause()
        self._report_success()
        return SYNC_INTERVAL if is_ours else LOCK_INTERVAL

    def _report_failure(self, reason: str) -> None:
        if reason != self._failure:
            logger.error(reason)
        self._failure = reason
        state.write_failure(self._folder, reason)

    def _report_success(self) -> None:
        self._backoff.reset()
        self._is_waiting = False
        if self._failure:
            logger.log(NOTICE, "the search index in %s is updated again", self._folder)
            self._failure = None
        if self._lock.is_held and state.read_failure(self._folder):
            state.write_failure(self._folder, None)

    def _show_metrics(self) -> None:
        index_state = state.read_state(self._folder)
        metrics.INDEX_PAPERS.set(index_state.papers if index_state else 0)
        metrics.INDEX_SYNC_TIME.set(state.read_sync_time(self._folder) or 0)

    async def _update(self) -> None:
        current = state.read_state(self._folder)
        try:
            if current is not None:
                await self._sync(current)
            if current is None or state.is_rebuild_requested(self._folder):
                await self._build()
        except SourceDiverged:
            await self._repair()
        except OtherDatabase:
            logger.log(NOTICE, "the search index in %s is of another database", self._folder)
            self._discard()
            await self._build()
        except DamagedIndex as error:
            logger.warning("the search index in %s is damaged: %s", self._folder, error)
            self._discard()
            await self._build()

    async def _sync(self, current: IndexState) -> None:
        if self._index is None or self._index.state.directory != current.directory:
            self._close_index()
            self._index = await SyncedIndex.open(self._folder, self._changes, current)
        try:
            await self._index.sync()
        except ValueError as error:
            # with a requested build, a search may have failed as well
            if state.find_cause(error) or not state.is_rebuild_requested(self._folder):
                raise
            raise DamagedIndex(str(error)) from error

    async def _repair(self) -> None:
        """Compare the index with PostgreSQL. A build starts again."""
        if self._index is None:
            return
        logger.log(
            NOTICE, "comparing the search index with PostgreSQL after a failover or a restore"
        )
        count = await self._index.repair()
        logger.log(NOTICE, "%d papers of the search index differed and are indexed again", count)

    def _discard(self) -> None:
        """Make searches fail until the index is built again."""
        self._close_index()
        state.discard_state(self._folder)

    async def _build(self) -> None:
        """Build an index in a new directory; the one in use serves until then, if there is one."""
        started = time.monotonic()
        source = await PaperSource.create(self._changes)
        database, timeline, position = source.baseline
        current = state.read_state(self._folder)
        if current is None or current.database != database:
            self._discard()
        kept = current.directory if current else None
        logger.log(NOTICE, "building the search index in %s", self._folder)
        await run_in_thread(state.remove_other_directories, self._folder, kept)
        directory = f"{state.DIRECTORY_PREFIX}{secrets.token_hex(4)}"
        writer = await run_in_thread(Writer.create, self._folder / directory)
        delayed: dict[str, int] = {}
        try:
            await self._add_papers(source, writer, delayed)
            papers = await self._finish(writer)
        finally:
            writer.close()
        built = IndexState(
            format=FORMAT,
            database=database,
            timeline=timeline,
            position=position,
            directory=directory,
            papers=papers,
        )
        index = await SyncedIndex.open(self._folder, self._changes, built, delayed)
        # first, so that no paper is missing that the other one has
        await wait_for_database(index.sync)
        index.save()
        self._close_index()
        self._index = index
        (self._folder / state.REBUILD).unlink(missing_ok=True)
        state.write_progress(self._folder, None)
        await run_in_thread(state.remove_other_directories, self._folder, directory)
        metrics.INDEX_BUILDS.inc()
        trim_heap_later(TRIM_SECONDS)
        seconds = time.monotonic() - started
        logger.log(NOTICE, "built the search index of %d papers in %.1f s", papers, seconds)

    async def _add_papers(
        self, source: PaperSource, writer: Writer, delayed: dict[str, int]
    ) -> None:
        """Add all papers, and read each batch while the one before it is added."""
        total, indexed, reported = await source.estimate_total(), 0, 0.0
        cut_off: list[IndexedPaper] = []
        reading = asyncio.create_task(source.fetch_batch(FIRST_KEY, BATCH))
        try:
            while True:
                if (now := time.monotonic()) > reported + PROGRESS_INTERVAL:
                    state.write_progress(self._folder, BuildProgress(indexed, max(total, indexed)))
                    await self._sync_current()
                    reported = now
                rows, read_from = await reading
                is_last = len(rows) < BATCH
                if not is_last:
                    reading = asyncio.create_task(source.fetch_batch(_get_key(rows[-1]), BATCH))
                    await asyncio.sleep(0)  # send the statement before the thread begins
                papers = group_versions([*cut_off, *select_visible(rows, read_from, delayed)])
                # the next batch may have further versions of the last paper
                cut_off = papers.pop() if papers and not is_last else []
                await run_in_thread(writer.add, papers)
                indexed += len(rows)
                if is_last:
                    return
        finally:
            reading.cancel()

    async def _finish(self, writer: Writer) -> int:
        finishing = asyncio.create_task(run_in_thread(writer.finish))
        while not (await asyncio.wait([finishing], timeout=SYNC_INTERVAL))[0]:
            await self._sync_current()
        return await finishing

    async def _sync_current(self) -> None:
        """Update the index that serves during a build, if the database is available."""
        if self._index is not None:
            with suppress(DatabaseUnavailable):
                await self._index.sync()


def _get_key(row: PaperRead) -> PaperKey:
    return PaperKey(row.paper.arxiv_id, row.paper.version)
