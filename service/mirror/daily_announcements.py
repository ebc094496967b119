"""Reads the announcements of each day, within the service."""

import logging
from collections.abc import Callable
from time import time

from .. import arxiv_schedule
from ..db.announcements import AnnouncementStore
from ..db.mirror import MirrorStore
from ..errors import DatabaseUnavailable, QueueTooLong
from ..logging import NOTICE
from .announcements import AnnouncementResult, FeedClient, read_announcements
from .daily_task import DailyTask

logger = logging.getLogger(__name__)

POLL_SECONDS = 300.0
"""Longest pause between two looks at what is to be read, which another process may change."""


class DailyAnnouncements(DailyTask):
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
        super().__init__(clock)
        self._store, self._papers, self._client = store, papers, client

    async def _look(self) -> float:
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
