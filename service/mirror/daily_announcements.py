"""Reads the announcements of each day, within the service."""

import asyncio
import logging
from collections.abc import Callable
from time import time
from typing import Self

from .. import arxiv_schedule
from ..backoff import Backoff
from ..db.announcements import AnnouncementStore
from ..db.mirror import MirrorStore
from ..errors import DatabaseUnavailable, QueueTooLong
from ..logging import NOTICE
from .announcements import AnnouncementResult, FeedClient, read_announcements

logger = logging.getLogger(__name__)

START_DELAY = 0.5
"""Seconds before the first look: a start answers requests first."""
POLL_SECONDS = 300.0
"""Longest pause between two looks at what is to be read, which another process may change."""
RETRY_PAUSE, MAX_RETRY_PAUSE = 60.0, 3600.0
"""Seconds after an unexpected error: the first pause, and the longest."""
SHUTDOWN_TIMEOUT = 1.0


class DailyAnnouncements:
    """Reads arXiv's feeds on each day with announcements, while its context is entered.

    All processes of all instances take part, and each feed is read by one of them.
    """

    def __init__(
        self,
        store: AnnouncementStore,
        papers: MirrorStore,
        client: FeedClient,
        clock: Callable[[], float] = time,
    ) -> None:
        self._store, self._papers, self._client, self._clock = store, papers, client, clock
        self._backoff = Backoff(RETRY_PAUSE, MAX_RETRY_PAUSE)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task  # noqa: S101 - see __aenter__
        self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN_TIMEOUT)

    async def _run(self) -> None:
        pause = START_DELAY
        while True:
            await asyncio.sleep(pause)
            pause = await self._try_read()

    async def _try_read(self) -> float:
        """Read the feeds that are due; return the seconds until the next look."""
        day = arxiv_schedule.find_feed_day(self._clock())
        if day is None:
            return POLL_SECONDS
        try:
            result = await read_announcements(
                self._store, self._papers, self._client, day, self._avoid_rush
            )
            _report(result)
            pause = await self._store.fetch_pause(day)
        except (QueueTooLong, DatabaseUnavailable) as error:
            logger.warning("cannot read arXiv's announcements: %s", error.detail)
            return POLL_SECONDS
        except Exception:
            logger.exception("arXiv's announcements cannot be read, for an unexpected reason")
            return self._backoff.next_pause()
        self._backoff.reset()
        return POLL_SECONDS if pause is None else min(pause, POLL_SECONDS)

    async def _avoid_rush(self) -> None:
        """Wait while arXiv publishes its announcement: retries of feeds may be due then."""
        if left := arxiv_schedule.find_rush_left(self._clock()):
            await asyncio.sleep(left)


def _report(result: AnnouncementResult) -> None:
    if result.feeds:
        logger.log(
            NOTICE,
            "announcements of %s: %d papers in %d feeds%s",
            result.day,
            result.papers,
            result.feeds,
            "" if result.is_complete else "; others are read later",
        )
