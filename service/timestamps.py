"""Between ISO 8601 text in the configured zone and Unix seconds."""

import math
import re
from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EARLIEST = -62_135_510_400
"""Unix seconds of 0001-01-02T00:00:00 UTC: a day inside datetime's range, for any zone."""
LATEST = 253_402_214_400
"""Unix seconds of 9999-12-31T00:00:00 UTC: a day inside datetime's range, for any zone."""

_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)"
    r"( ?(?:Z|[+-]\d\d:?\d\d)| \d\d:?\d\d)?",
    re.IGNORECASE,
)


def parse_zone(name: str) -> tzinfo:
    """The time zone of an IANA name, or of an offset +HH:MM. Raises ValueError for any other."""
    if offset := _OFFSET.fullmatch(name):
        sign, hours, minutes = offset.groups()
        shift = timedelta(hours=int(hours), minutes=int(minutes))
        if shift < timedelta(hours=24):
            return timezone(-shift if sign == "-" else shift)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is neither an IANA time zone nor an offset like +01:00"
        ) from error


def format_zone(tz: tzinfo) -> str:
    """What `zone` makes this zone of."""
    return str(tz).removeprefix("UTC") or "UTC"


def format_iso(seconds: int, tz: tzinfo) -> str:
    """Unix seconds as wall-clock time of the zone, without an offset: 2026-11-23T20:15:00."""
    return datetime.fromtimestamp(seconds, tz).isoformat()[:19]


class IsoFormatter(dict[int, str]):
    """Unix seconds as wall-clock time of one zone, for many rows: most share theirs."""

    def __init__(self, tz: tzinfo) -> None:
        """Show the time of this zone."""
        super().__init__()
        self._tz = tz

    def __missing__(self, seconds: int) -> str:
        """The time, as `to_iso` writes it."""
        self[seconds] = shown = format_iso(seconds, self._tz)
        return shown

    __call__ = dict.__getitem__


def parse_range_start(text: str, tz: tzinfo) -> int:
    """The first whole second not before the moment (or day) named; Unix seconds."""
    return _within_range(math.ceil(_parse(text, tz, end=False).timestamp()))


def parse_range_end(text: str, tz: tzinfo) -> int:
    """The last whole second not after the moment (or in the day) named; Unix seconds."""
    return _within_range(math.floor(_parse(text, tz, end=True).timestamp()))


def _within_range(seconds: int) -> int:
    """The nearest second that every zone can show: no row is older or younger."""
    return min(max(seconds, EARLIEST), LATEST)


def _parse(text: str, tz: tzinfo, *, end: bool) -> datetime:
    """Read a date, which stands for its start or its end, or a date with time."""
    if _DATE.fullmatch(text):
        day = _checked(text).date()
        clock = time(23, 59, 59) if end else time()
        return _in_zone(datetime.combine(day, clock), tz, end=end)
    if not (parts := _MOMENT.fullmatch(text)):
        raise ValueError("is not an ISO 8601 date or time like 2026-11-23T20:15:00")
    date, clock_text, offset = parts.groups()
    moment = _checked(f"{date}T{clock_text.replace(',', '.')}")
    if offset is None:
        return _in_zone(moment, tz, end=end)
    offset = offset.strip()
    if offset in {"Z", "z"}:
        return moment.replace(tzinfo=UTC)
    # an unencoded + in a query string arrives as a space
    signed = offset if offset[0] in "+-" else f"+{offset}"
    return moment.replace(tzinfo=parse_zone(signed))


def _in_zone(wall: datetime, tz: tzinfo, *, end: bool) -> datetime:
    """When the clocks of a zone show this.

    An hour that a clock change repeats is its first occurrence at the start of a range and its
    second at the end; one that it skips is the change itself. So no row is left out.
    """
    before, after = (wall.replace(tzinfo=tz, fold=fold).timestamp() for fold in (1, 0))
    if before >= after:
        return wall.replace(tzinfo=tz, fold=int(end))
    seconds = range(math.floor(before), math.ceil(after))
    change = seconds.start + bisect_left(
        seconds, wall, key=lambda second: datetime.fromtimestamp(second, tz).replace(tzinfo=None)
    )
    return datetime.fromtimestamp(change - int(end), tz)


def _checked(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"does not exist ({error})") from error
