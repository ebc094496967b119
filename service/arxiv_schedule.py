"""When arXiv's search results and records change: once a day, after its announcement.

New papers are announced from Sunday to Thursday at 20:00 US Eastern time
(https://info.arxiv.org/help/availability.html). arXiv's holidays are ignored: they only cause one
unnecessary request per search.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
ANNOUNCEMENT_TIME = time(20)
ANNOUNCEMENT_DAYS = frozenset({6, 0, 1, 2, 3})
"""Sunday to Thursday, as numbered by `datetime.weekday`."""
OAI_TIME = time(22, 30)
"""When OAI-PMH has the papers that were announced on the same evening."""
FEED_TIME = time(0, 30)
"""When the daily feeds are read, which are built at midnight."""
INDEX_LAG = timedelta(hours=4)
"""arXiv's search index is updated after the announcement; its feeds used to be dated midnight."""
RUSH_BEGIN, RUSH_END = time(19, 55), time(20, 15)
"""Around its announcement, arXiv asks clients to send no requests."""


@lru_cache(maxsize=4096)
def next_publication(seconds: float) -> int:
    """Return when arXiv's search results may change next after this time, in Unix seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    # start one day early: the lag may extend beyond midnight
    day = (moment - INDEX_LAG).astimezone(ZONE).date() - timedelta(days=1)
    while True:
        if day.weekday() in ANNOUNCEMENT_DAYS:
            announcement = datetime.combine(day, ANNOUNCEMENT_TIME, ZONE).astimezone(UTC)
            if announcement + INDEX_LAG > moment:
                return int((announcement + INDEX_LAG).timestamp())
        day += timedelta(days=1)


def has_feeds(day: date) -> bool:
    """Whether arXiv's daily feeds have papers on a day: those of the announcement before it."""
    return (day.weekday() - 1) % 7 in ANNOUNCEMENT_DAYS


def find_announced_update(seconds: float) -> int:
    """Return when OAI-PMH has what was announced last before this time, in Unix seconds.

    This may be up to 2.5 hours later than the time.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    day = moment.astimezone(ZONE).date()
    while True:
        announcement = datetime.combine(day, ANNOUNCEMENT_TIME, ZONE)
        if day.weekday() in ANNOUNCEMENT_DAYS and announcement <= moment:
            return int(datetime.combine(day, OAI_TIME, ZONE).timestamp())
        day -= timedelta(days=1)


def latest_publication(seconds: float) -> int:
    """Return since when search results of this time may be unchanged, in Unix seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day = moment.astimezone(ZONE).date()
    while True:
        if day.weekday() in ANNOUNCEMENT_DAYS:
            announcement = datetime.combine(day, ANNOUNCEMENT_TIME, ZONE).astimezone(UTC)
            if announcement + INDEX_LAG <= moment:
                return int((announcement + INDEX_LAG).timestamp())
        day -= timedelta(days=1)


def next_oai_update(seconds: float) -> int:
    """Return when OAI-PMH is updated next after this time, in Unix seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day = moment.astimezone(ZONE).date()
    while True:
        update = datetime.combine(day, OAI_TIME, ZONE)
        if day.weekday() in ANNOUNCEMENT_DAYS and update > moment:
            return int(update.timestamp())
        day += timedelta(days=1)


def find_rush_left(seconds: float) -> float:
    """Return the seconds until arXiv can be asked again around its announcement; otherwise 0."""
    moment = datetime.fromtimestamp(seconds, ZONE)
    if moment.weekday() not in ANNOUNCEMENT_DAYS or not RUSH_BEGIN <= moment.time() < RUSH_END:
        return 0.0
    end = datetime.combine(moment.date(), RUSH_END, ZONE)
    return end.timestamp() - seconds


def find_feed_day(seconds: float) -> date | None:
    """Return the day whose feeds can be read at this time; None if there are none to read."""
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(ZONE)
    is_built = has_feeds(moment.date()) and moment.time() >= FEED_TIME
    return moment.date() if is_built else None
