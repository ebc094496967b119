"""When arXiv's answers change: once a day, with its announcements.

New papers are announced from Sunday to Thursday at 20:00 US Eastern time
(https://info.arxiv.org/help/availability.html). On arXiv's holidays there is none; then an answer
is merely asked for once more than it need be.
"""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
ANNOUNCEMENT_TIME = time(20)
ANNOUNCEMENT_DAYS = frozenset({6, 0, 1, 2, 3})
"""Sunday to Thursday, as `datetime.weekday` counts them."""
INDEX_LAG = timedelta(hours=4)
"""The search index follows the announcement; arXiv's feeds used to be dated at midnight."""


@lru_cache(maxsize=4096)
def next_publication(seconds: float) -> int:
    """The first moment after this one at which arXiv's answers may have changed; Unix seconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    # begin a day early: the lag may reach past midnight
    day = (moment - INDEX_LAG).astimezone(ZONE).date() - timedelta(days=1)
    while True:
        if day.weekday() in ANNOUNCEMENT_DAYS:
            change = datetime.combine(day, ANNOUNCEMENT_TIME, ZONE).astimezone(UTC) + INDEX_LAG
            if change > moment:
                return int(change.timestamp())
        day += timedelta(days=1)
