"""Count searches by hour: each process adds its counts to a table every minute."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import time
from typing import Self

import msgspec
import psycopg
from msgspec import Struct

from .. import sql
from ..errors import DatabaseUnavailable
from .pool import DatabasePools, map_db_errors

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 60.0
SHUTDOWN_TIMEOUT = 2.0
"""Seconds that the end of a process waits for the database; counts are not worth more."""
HOUR = 3600


class _Count(Struct):
    """A row of the table, or what is to be added to it."""

    hour: int
    outcome: str
    answered_by: str
    searches: int = 0
    waited: int = 0
    wait_seconds: float = 0.0
    longest_wait: float = 0.0


class SearchStatistics:
    """The counts of this process, which it stores while its context is entered, and at the end.

    Searches neither wait for this nor fail with it. A process that is killed loses a minute.
    """

    def __init__(self, pools: DatabasePools) -> None:
        self._pools = pools
        self._counts: dict[tuple[int, str, str], _Count] = {}
        self._task: asyncio.Task[None] | None = None

    def count(self, outcome: str, answered_by: str, waits: Sequence[float] = ()) -> None:
        """Count a search that waited for the rate limiter as often and as long as this."""
        count = self._get_count(int(time()) // HOUR * HOUR, outcome, answered_by)
        count.searches += 1
        if waits:
            count.waited += 1
            count.wait_seconds += sum(waits)
            count.longest_wait = max(count.longest_wait, sum(waits))

    def _get_count(self, hour: int, outcome: str, answered_by: str) -> _Count:
        key = hour, outcome, answered_by
        return self._counts.setdefault(key, _Count(*key))

    async def flush(self) -> None:
        """Store the counts. If that fails, they are kept, and DatabaseUnavailable is raised.

        If the connection is lost meanwhile, the next attempt may store them a second time.
        """
        counts, self._counts = self._counts, {}
        if not counts:
            return
        values = {"counts": msgspec.json.encode(list(counts.values())).decode()}
        is_stored = False
        try:
            with map_db_errors():
                async with self._pools.writer() as conn:
                    await conn.execute(sql.UPSERT_SEARCH_STATISTICS, values)
            is_stored = True
        finally:
            if not is_stored:
                self._restore(counts.values())

    def _restore(self, counts: Iterable[_Count]) -> None:
        for count in counts:
            new = self._get_count(count.hour, count.outcome, count.answered_by)
            new.searches += count.searches
            new.waited += count.waited
            new.wait_seconds += count.wait_seconds
            new.longest_wait = max(new.longest_wait, count.longest_wait)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task  # noqa: S101 - see __aenter__
        self._task.cancel()
        await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await self._try_flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except (DatabaseUnavailable, psycopg.Error) as error:
            logger.info("could not store the statistics of searches yet: %s", error)
