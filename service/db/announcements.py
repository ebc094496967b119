"""Writes what arXiv announced on which day, and which of its daily feeds have been read."""

from collections.abc import Collection, Sequence
from datetime import date
from functools import partial

import msgspec
from msgspec import structs
from psycopg.rows import class_row, scalar_row

from .. import sql
from ..models.mirror import AnnouncementInsert, EarlierAnnouncement, FeedState
from .pool import DatabasePools, fetch, map_db_errors

_encode = msgspec.json.Encoder().encode


class AnnouncementStore:
    """Stores announcements; the methods raise DatabaseUnavailable."""

    def __init__(self, pools: DatabasePools) -> None:
        self._writer = partial(pools.writer, "results")

    async def plan_feeds(self, day: date, feeds: Collection[str]) -> None:
        """Add feeds of a day that are to be read, unless they are known."""
        with map_db_errors():
            async with self._writer() as conn:
                values = {"date": day, "feeds": list(feeds)}
                await conn.execute(sql.INSERT_ANNOUNCEMENT_FEEDS, values)

    async def claim_feed(self, day: date, seconds: float) -> str | None:
        """Take a feed that is to be read now: for so many seconds, no other process gets it."""
        values = {"date": day, "seconds": seconds}
        feeds: list[str] = await fetch(
            self._writer, scalar_row, sql.CLAIM_ANNOUNCEMENT_FEED, values
        )
        return feeds[0] if feeds else None

    async def fetch_earlier(
        self, day: date, arxiv_ids: Collection[str]
    ) -> list[EarlierAnnouncement]:
        """When these papers were announced in the weeks before a day."""
        values = {"date": day, "arxiv_ids": list(arxiv_ids)}
        row_factory = class_row(EarlierAnnouncement)
        return await fetch(self._writer, row_factory, sql.SELECT_EARLIER_ANNOUNCEMENTS, values)

    async def save_feed(
        self,
        day: date,
        state: FeedState,
        announcements: Sequence[AnnouncementInsert],
        parts: Collection[str],
    ) -> None:
        """Store the announcements in a feed and its state, and plan the feeds it is split into."""
        with map_db_errors():
            async with self._writer() as conn, conn.transaction():
                values = {"date": day, "announcements": _encode(announcements).decode()}
                await conn.execute(sql.UPSERT_ANNOUNCEMENTS, values)
                await conn.execute(
                    sql.UPDATE_ANNOUNCEMENT_FEED, structs.asdict(state) | {"date": day}
                )
                if parts:
                    await conn.execute(
                        sql.INSERT_ANNOUNCEMENT_FEEDS, {"date": day, "feeds": list(parts)}
                    )

    async def mark_empty_feeds(self, day: date, pause: float) -> None:
        """Let empty feeds be read again after some seconds if others of the day have papers."""
        with map_db_errors():
            async with self._writer() as conn:
                await conn.execute(sql.MARK_EMPTY_FEEDS, {"date": day, "pause": pause})

    async def fetch_pause(self, day: date) -> float | None:
        """Seconds until a feed of a day is to be read; None if all of them have been read."""
        pauses: list[float] = await fetch(
            self._writer, scalar_row, sql.SELECT_FEED_PAUSE, {"date": day}
        )
        return pauses[0] if pauses else None
