"""Announcements: reads arXiv's daily feeds, which show what was announced on which day.

A feed has the papers of some archives or categories on one day, and at most 2,000 of them. The day
begins with few feeds; one that is full is split. PostgreSQL has the list of feeds that are to be
read, so several processes share the work, and each feed is read once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import UTC, date, datetime, time
from http import HTTPStatus
from time import monotonic
from typing import Self

import httpx
from msgspec import Struct

from ..arxiv_http import ArxivFailure, ArxivService, HttpResponse, run_in_new_thread
from ..arxiv_schedule import has_feeds
from ..db.announcements import AnnouncementStore
from ..db.mirror import MirrorStore
from ..db.rate_limiter import RateLimiter
from ..errors import RecordRejected
from ..metadata.categories import get_other_name, list_subject_classes
from ..models.arxiv import Outcome
from ..models.mirror import (
    AnnouncementInsert,
    AnnouncementType,
    EarlierAnnouncement,
    FeedState,
    MirrorRecord,
    Source,
)
from ..models.records import AnnouncedDay
from ..settings import Settings
from .background_http import BackgroundHttp, map_parse_errors
from .rss_xml import RssFeed, RssItem, parse_feed

logger = logging.getLogger(__name__)

RSS = ArxivService("arXiv's RSS feeds", "ARXIV_RSS_URL", "application/rss+xml")
FEEDS = (
    "cs",
    "econ+eess+math+q-bio+q-fin+stat",
    "astro-ph+cond-mat+gr-qc+math-ph+nlin+physics",
    "hep-ex+hep-lat+hep-ph+hep-th+nucl-ex+nucl-th+quant-ph",
)
"""The feeds of all archives with which a day begins."""
MAX_ITEMS = 2000
"""Of a feed; arXiv leaves out further papers."""
MAX_WAIT = 300.0
"""Longest wait for the rate limiter in seconds."""
PARSE_TIMEOUT = 60.0
CLAIM_SECONDS = 1800.0
"""Time after which a feed is requested again if that failed, or if the process died."""
STALE_PAUSE = 7200.0
"""Seconds after which a feed with papers of another day is read again."""
MIN_REPEATED = 5
"""Cross-lists that show that a feed is stale, if it has nothing else and all papers are known."""
SAVED_AT_ONCE = 500
"""Papers per transaction."""
MAX_LOGGED = 20
"""Invalid items of a feed that are logged one by one."""

_PRECEDENCE = {
    each: number
    for number, each in enumerate(
        (
            AnnouncementType.NEW,
            AnnouncementType.REPLACE,
            AnnouncementType.CROSS,
            AnnouncementType.REPLACE_CROSS,
        )
    )
}
"""Which type remains if several feeds have a paper."""
_REPLACES = AnnouncementType.REPLACE, AnnouncementType.REPLACE_CROSS


class AnnouncementResult(Struct, frozen=True):
    """What one reading of the feeds of a day has received."""

    day: date
    papers: int
    feeds: int
    failures: list[str]
    """Why feeds could not be read."""
    is_complete: bool
    """Whether no feed of the day is missing."""


class FeedClient:
    """Requests feeds; leaving the context closes the connection."""

    def __init__(
        self,
        settings: Settings,
        rate_limiter: RateLimiter,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = settings.rss_url.rstrip("/")
        self._http = BackgroundHttp(settings, RSS, rate_limiter, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def fetch(self, feed: str, day: date) -> RssFeed:
        """Request the feed of a day.

        Raises ArxivFailure if arXiv has none, and QueueTooLong or DatabaseUnavailable if the
        request could not be sent.
        """
        deadline = asyncio.get_running_loop().time() + MAX_WAIT
        response = await self._http.fetch(f"{self._url}/rss/{feed}", {}, deadline)
        parsed = await run_in_new_thread(_parse, response)
        if parsed.date != day:
            raise ArxivFailure(Outcome.SUSPECT, f"the feed is of {parsed.date}, not of {day}")
        return parsed


def _parse(response: HttpResponse) -> RssFeed:
    with map_parse_errors(response):
        feed = parse_feed(response.body, monotonic() + PARSE_TIMEOUT)
    if feed.error is not None or response.status != HTTPStatus.OK:
        raise ArxivFailure(Outcome.REFUSED, f"arXiv rejects the request: {feed.error}")
    return feed


Pause = Callable[[], Awaitable[None]]


async def _pause_never() -> None:
    pass


async def read_announcements(
    store: AnnouncementStore,
    papers: MirrorStore,
    client: FeedClient,
    day: date,
    pause: Pause = _pause_never,
) -> AnnouncementResult:
    """Read the feeds of a day that have not been read, and store their announcements.

    `pause` is awaited before each feed.

    A feed that cannot be read, or has papers of another day, is left for a later call. Raises
    QueueTooLong or DatabaseUnavailable; the next call continues.
    """
    await store.plan_feeds(day, FEEDS)
    announced: set[str] = set()
    num_feeds, failures = 0, []
    while True:
        await pause()
        feed = await store.claim_feed(day, CLAIM_SECONDS)
        if feed is None:
            break
        try:
            announced |= await _read_feed(store, papers, client, day, feed)
            num_feeds += 1
        except (ArxivFailure, RecordRejected) as error:
            failures.append(f"{feed}: {error}")
            logger.warning("cannot read the announcements of %s: %s", feed, error)
    await store.mark_empty_feeds(day, STALE_PAUSE)
    is_complete = await store.fetch_pause(day) is None
    return AnnouncementResult(day, len(announced), num_feeds, failures, is_complete)


async def _read_feed(
    store: AnnouncementStore, papers: MirrorStore, client: FeedClient, day: date, feed: str
) -> set[str]:
    """Read a feed; return which papers were announced."""
    parsed = await client.fetch(feed, day)
    _log_invalid(feed, parsed)
    items = [item for item in parsed.items if item.version is not None]
    earlier = await store.fetch_earlier(day, {item.arxiv_id for item in items})
    repeated = find_repeated(items, earlier)
    fresh = [item for item in items if (item.arxiv_id, item.version) not in repeated]
    # before the announcements, so that each of these has its paper
    for start in range(0, len(fresh), SAVED_AT_ONCE):
        batch = fresh[start : start + SAVED_AT_ONCE]
        await papers.save([create_record(item, day) for item in batch])
    is_full = len(parsed.items) + len(parsed.invalid) >= MAX_ITEMS
    parts = split_feed(feed) if is_full else []
    if is_full and not parts:
        logger.warning("the feed %s is full: arXiv leaves out some announcements", feed)
    if repeated:
        logger.warning("%d papers in the feed %s are of another day", len(repeated), feed)
    state = FeedState(
        feed=feed,
        fetched=int(datetime.now(UTC).timestamp()),
        items=len(parsed.items),
        is_stale=bool(repeated) and not parts,
        pause=STALE_PAUSE,
    )
    announcements = create_announcements(fresh)
    await store.save_feed(day, state, announcements, parts)
    return {announcement.arxiv_id for announcement in announcements}


def _log_invalid(feed: str, parsed: RssFeed) -> None:
    for warning in parsed.warnings:
        logger.warning("%s (feed %s)", warning, feed)
    for name, reason in parsed.invalid[:MAX_LOGGED]:
        logger.warning("an announcement of %s cannot be used: %s (feed %s)", name, reason, feed)
    if (more := len(parsed.invalid) - MAX_LOGGED) > 0:
        logger.warning("%d more announcements cannot be used (feed %s)", more, feed)


def split_feed(feed: str) -> list[str]:
    """Return feeds that together have the papers of a feed; none if it cannot be split.

    An archive is split into categories.
    """
    names = feed.split("+")
    if len(names) == 1:
        names = list_subject_classes(feed)
    half = len(names) // 2
    return ["+".join(names[:half]), "+".join(names[half:])] if half else []


def find_repeated(
    items: Sequence[RssItem], earlier: Iterable[EarlierAnnouncement]
) -> Collection[tuple[str, int | None]]:
    """Return the ids and versions that a stale feed repeats from an earlier day.

    A version of a paper is announced as new or as a replacement once. It may be announced again as
    a cross-list, so those are repetitions only if others in the feed are, or if nothing is new.
    """
    types: dict[tuple[str, int | None], set[AnnouncementType]] = {}
    for announcement in earlier:
        key = announcement.arxiv_id, announcement.version
        types.setdefault(key, set()).add(announcement.type)
    known = [item for item in items if (item.arxiv_id, item.version) in types]
    is_stale = len(known) == len(items) >= MIN_REPEATED or any(
        _is_repeated(item.type, types[item.arxiv_id, item.version]) for item in known
    )
    return {(item.arxiv_id, item.version) for item in known} if is_stale else set()


def _is_repeated(kind: AnnouncementType, earlier: Collection[AnnouncementType]) -> bool:
    if kind == AnnouncementType.CROSS:
        return False
    same = _REPLACES if kind in _REPLACES else (AnnouncementType.NEW,)
    return not set(same).isdisjoint(earlier)


def create_announcements(items: Iterable[RssItem]) -> list[AnnouncementInsert]:
    """Return one announcement of each paper in a feed."""
    found: dict[str, RssItem] = {}
    for item in items:
        other = found.get(item.arxiv_id)
        if other is None or _PRECEDENCE[item.type] < _PRECEDENCE[other.type]:
            found[item.arxiv_id] = item
    return [_create_announcement(item) for item in found.values()]


def _create_announcement(item: RssItem) -> AnnouncementInsert:
    primary = item.primary_category
    own = {primary, get_other_name(primary)}
    return AnnouncementInsert(
        arxiv_id=item.arxiv_id,
        version=item.version or 0,
        type=item.type,
        primary_category=primary,
        cross_categories=[name for name in item.categories if name not in own],
    )


def create_record(item: RssItem, day: date) -> MirrorRecord:
    """Return what a feed tells about a paper."""
    return MirrorRecord(
        source=Source.RSS,
        arxiv_id=item.arxiv_id,
        datestamp=int(datetime.combine(day, time(), UTC).timestamp()),
        version=item.version,
        title=item.title,
        authors=item.authors,
        group_authors=item.group_authors,
        abstract=item.abstract,
        journal=item.journal,
        dois=item.dois,
        primary_category=item.primary_category,
        categories=item.categories,
        license=item.license,
    )


def describe_missing(day: AnnouncedDay) -> str | None:
    """Return why announcements of a day may be missing."""
    if day.date is None:
        return "no announcements are stored; ARXIV_SYNC=daily retrieves those of each day"
    if day.feeds == 0 and has_feeds(day.date):
        return f"the feeds of {day.date} have not been read"
    if day.missing_feeds:
        feeds = f"{day.missing_feeds} of {day.feeds} feeds of {day.date}"
        return f"{feeds} could not be read yet, or have papers of another day"
    return None
