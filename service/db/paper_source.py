"""Reads papers from servers that have everything that was read before."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import NamedTuple, Self, TypeVar

from ..backoff import Backoff
from ..errors import DatabaseUnavailable
from .paper_changes import (
    PaperChange,
    PaperChanges,
    PaperKey,
    PaperRead,
    PaperSnapshot,
    Source,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SourceDiverged(Exception):
    """PostgreSQL may lack data that was read before: after a failover or a restored backup."""


class OtherDatabase(Exception):
    """The server has another database than the one that was read before."""


class StandbyBehind(DatabaseUnavailable):
    """The standby lacks data that was read from another server."""


class Baseline(NamedTuple):
    """What a server must have, since it was read before."""

    database: str
    timeline: int
    position: int
    """What was written by transactions before this one."""

    def check(self, source: Source) -> None:
        """Raise OtherDatabase, SourceDiverged, or StandbyBehind if a server lacks something."""
        if source.database != self.database:
            raise OtherDatabase
        # a standby reports its new timeline late
        if source.timeline > self.timeline or (
            source.timeline < self.timeline and not source.is_standby
        ):
            raise SourceDiverged
        if source.oldest < self.position:
            if source.is_standby:
                raise StandbyBehind("the standby is behind the server that was read before")
            raise SourceDiverged


class PaperSource:
    """Reads that belong together. Each waits until the database is available.

    They raise OtherDatabase or SourceDiverged.
    """

    def __init__(self, changes: PaperChanges, baseline: Baseline) -> None:
        self._changes = changes
        self.baseline = baseline

    @classmethod
    async def create(cls, changes: PaperChanges) -> Self:
        """Begin to read: later reads have what there is now. Raises DatabaseUnavailable."""
        async with changes.open_snapshot() as snapshot:
            source = snapshot.source
        return cls(changes, Baseline(source.database, source.timeline, source.oldest))

    async def estimate_total(self) -> int:
        """About how many versions of papers there are; 0 if that is unknown."""
        return await self._read(lambda snapshot: snapshot.estimate_total())

    async def fetch_papers(self, arxiv_ids: Collection[str]) -> tuple[list[PaperRead], Source]:
        """All versions of these papers, and where they were read."""
        return await self._read(
            lambda snapshot: _add_source(snapshot, snapshot.fetch_papers(arxiv_ids))
        )

    async def fetch_batch(self, after: PaperKey, limit: int) -> tuple[list[PaperRead], Source]:
        """The papers after this key, and where they were read."""
        return await self._read(
            lambda snapshot: _add_source(snapshot, snapshot.fetch_batch(after, limit))
        )

    async def fetch_keys(self, after: PaperKey, limit: int) -> tuple[list[PaperChange], Source]:
        """The keys after this one, and where they were read."""
        return await self._read(
            lambda snapshot: _add_source(snapshot, snapshot.fetch_keys(after, limit))
        )

    async def _read(self, read: Callable[[PaperSnapshot], Awaitable[T]]) -> T:
        async def read_once() -> T:
            async with self._changes.open_snapshot() as snapshot:
                self.baseline.check(snapshot.source)
                return await read(snapshot)

        return await wait_for_database(read_once)


async def wait_for_database(read: Callable[[], Awaitable[T]]) -> T:
    """Repeat a read until the database is available; its result."""
    backoff, is_reported = Backoff(initial=0.2), False
    while True:
        try:
            return await read()
        except DatabaseUnavailable as error:
            if not is_reported:
                logger.warning("the search index waits for the database: %s", error.detail)
            is_reported = True
            await asyncio.sleep(backoff.next_pause())


async def _add_source(snapshot: PaperSnapshot, rows: Awaitable[T]) -> tuple[T, Source]:
    return await rows, snapshot.source
