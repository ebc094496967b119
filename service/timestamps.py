"""Conversion between ISO 8601 text in a time zone and Unix seconds."""

import math
import re
from bisect import bisect_left
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EARLIEST = -62_135_510_400
"""0001-01-02T00:00:00 UTC: one day inside datetime's range, so that every zone can represent it."""
LATEST = 253_402_214_400
"""9999-12-31T00:00:00 UTC: one day inside datetime's range, so that every zone can represent it."""

_OFFSET = re.compile(r"([+-])(\d\d):?([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)"
    r"( ?(?:Z|[+-]\d\d:?\d\d)| \d\d:?\d\d)?",
    re.IGNORECASE,
)


def parse_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name or of an offset like +01:00. Raises ValueError."""
    if match := _OFFSET.fullmatch(name):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if offset < timedelta(hours=24):
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"{name!r} is neither an IANA time zone nor an offset like +01:00"
        ) from error


def format_zone(tz: tzinfo) -> str:
    """Return a text that `parse_zone` converts back."""
    return str(tz).removeprefix("UTC") or "UTC"


def format_iso(seconds: int, tz: tzinfo) -> str:
    """Return the local time without an offset: 2026-11-23T20:15:00."""
    return datetime.fromtimestamp(seconds, tz).isoformat()[:19]


class IsoFormatter(dict[int, str]):
    """Caches `format_iso` for the rows of one export, many of which have the same timestamp."""

    def __init__(self, tz: tzinfo) -> None:
        super().__init__()
        self._tz = tz

    def __missing__(self, seconds: int) -> str:
        self[seconds] = text = format_iso(seconds, self._tz)
        return text

    __call__ = dict.__getitem__


def parse_range_start(text: str, tz: tzinfo) -> int:
    """Return the first whole second of a range that starts at this time or with this day."""
    return _limit(math.ceil(_parse(text, tz, end=False).timestamp()))


def parse_range_end(text: str, tz: tzinfo) -> int:
    """Return the last whole second of a range that ends at this time or with this day."""
    return _limit(math.floor(_parse(text, tz, end=True).timestamp()))


def _limit(seconds: int) -> int:
    return min(max(seconds, EARLIEST), LATEST)


def _parse(text: str, tz: tzinfo, *, end: bool) -> datetime:
    """Parse a date with time, or a date, which means its start or its end."""
    if _DATE.fullmatch(text):
        clock_time = time(23, 59, 59) if end else time()
        return _localize(datetime.combine(_parse_iso(text).date(), clock_time), tz, end=end)
    if not (match := _DATE_TIME.fullmatch(text)):
        raise ValueError("is not an ISO 8601 date or time like 2026-11-23T20:15:00")
    date, clock_text, offset = match.groups()
    local = _parse_iso(f"{date}T{clock_text.replace(',', '.')}")
    if offset is None:
        return _localize(local, tz, end=end)
    offset = offset.strip()
    if offset in {"Z", "z"}:
        return local.replace(tzinfo=UTC)
    # in a query string, an unencoded + is decoded as a space
    return local.replace(tzinfo=parse_zone(offset if offset[0] in "+-" else f"+{offset}"))


def _localize(local: datetime, tz: tzinfo, *, end: bool) -> datetime:
    """Attach the zone to a local time so that a range never misses rows at clock changes.

    A time that occurs twice is its first occurrence at the start of a range and the second at the
    end. A time that is skipped is the time of the clock change.
    """
    later, earlier = (local.replace(tzinfo=tz, fold=fold).timestamp() for fold in (1, 0))
    if later >= earlier:
        return local.replace(tzinfo=tz, fold=int(end))
    seconds = range(math.floor(later), math.ceil(earlier))
    change = seconds.start + bisect_left(
        seconds, local, key=lambda second: datetime.fromtimestamp(second, tz).replace(tzinfo=None)
    )
    return datetime.fromtimestamp(change - int(end), tz)


def _parse_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"does not exist ({error})") from error
