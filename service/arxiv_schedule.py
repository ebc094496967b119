"""When arXiv's search results change: once a day, after its announcement.

New papers are announced from Sunday to Thursday at 20:00 US Eastern time
(https://info.arxiv.org/help/availability.html). arXiv's holidays are ignored: they only cause one
unnecessary request per search.
"""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
ANNOUNCEMENT_TIME = time(20)
ANNOUNCEMENT_DAYS = frozenset({6, 0, 1, 2, 3})
"""Sunday to Thursday, as numbered by `datetime.weekday`."""
OAI_TIME = time(22, 30)
"""When OAI-PMH has the papers that were announced on the same evening."""
INDEX_LAG = timedelta(hours=4)
"""arXiv's search index is updated after the announcement; its feeds used to be dated midnight."""


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


def latest_oai_update(seconds: float) -> int:
    """Return when OAI-PMH was updated last before this time, in Unix seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    day = moment.astimezone(ZONE).date()
    while True:
        update = datetime.combine(day, OAI_TIME, ZONE)
        if day.weekday() in ANNOUNCEMENT_DAYS and update <= moment:
            return int(update.timestamp())
        day -= timedelta(days=1)
