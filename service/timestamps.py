"""Conversion between ISO 8601 text in a time zone and Unix seconds."""

import math
import re
from bisect import bisect_left
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EARLIEST = -62_135_510_400
"""0001-01-02T00:00:00 UTC: one day inside datetime's range, so that every zone can represent it."""
LATEST = 253_402_214_400
"""9999-12-31T00:00:00 UTC: one day inside datetime's range, so that every zone can represent it."""

_OFFSET = re.compile(r"([+-])([0-9]{2})(?::?([0-5][0-9]))?")
_MOMENT = re.compile(
    r"(?P<date>[0-9W-]{4,10})(?:[T ](?P<hour>[0-9]{2})"
    r"(?P<minutes>(?P<colon>:?)[0-9]{2}(?:(?P=colon)[0-9]{2}(?:[.,][0-9]{1,9})?)?)?"
    # in a query string, an unencoded + is decoded as a space
    r"(?P<offset> ?Z| ?[+-][0-9]{2}(?::?[0-9]{2})?| [0-9]{2}(?::?[0-9]{2})?)?)?"
)
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
"""ISO 8601 itself is printed with typographic hyphens and minus signs."""
_YEAR = re.compile(r"[0-9]{4}")
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_DAY = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})")
_WEEK = re.compile(r"([0-9]{4})(-?)W([0-9]{2})(?:\2([0-9]))?")
_YEAR_AND_MONTH = re.compile(r"[0-9]{6}")
_DAY_OF_YEAR = re.compile(r"([0-9]{4})-?([0-9]{3})")


def parse_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name or of an offset like +01:00. Raises ValueError."""
    if match := _OFFSET.fullmatch(name):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
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


def to_datetime(seconds: int | None) -> datetime | None:
    """Return Unix seconds as a time in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


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
    """Parse a time; a date or an hour means its start or its end."""
    text = text.translate(_HYPHENS)
    match = _MOMENT.fullmatch(text.upper())
    days = _parse_date(match["date"]) if match else None
    if not match or not days or (match["hour"] and days[0] != days[1]):
        is_month = _YEAR_AND_MONTH.fullmatch(text)
        hint = f"; a month is written {text[:4]}-{text[4:]}" if is_month else ""
        raise ValueError(f"is not an ISO 8601 date or time like 2026-11-23T20:15:00{hint}")
    if not match["hour"]:
        local = (
            datetime.combine(days[1], time(23, 59, 59))
            if end
            else datetime.combine(days[0], time())
        )
        return _localize(local, tz, end=end)
    hour, minutes = match["hour"], match["minutes"] or ""
    is_end_of_day = hour == "24" and not minutes.strip(":.,0")
    local = datetime.combine(days[0], _parse_clock(("00" if is_end_of_day else hour) + minutes))
    if is_end_of_day:
        local += timedelta(days=1)
    elif end and not minutes:
        local += timedelta(minutes=59, seconds=59)
    if match["offset"] is None:
        return _localize(local, tz, end=end)
    return local.replace(tzinfo=_parse_offset(match["offset"].strip()))


def _parse_date(text: str) -> tuple[date, date] | None:
    """Return the first and the last day of a year, month, week or day; None for other text."""
    try:
        return _parse_calendar_date(text) or _parse_week(text) or _parse_day_of_year(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"does not exist ({error})") from error


def _parse_calendar_date(text: str) -> tuple[date, date] | None:
    if _YEAR.fullmatch(text):
        return date(int(text), 1, 1), date(int(text), 12, 31)
    if match := _MONTH.fullmatch(text):
        year, month = map(int, match.groups())
        first = date(year, month, 1)
        return first, first.replace(day=monthrange(year, month)[1])
    if match := _DAY.fullmatch(text):
        day = date(*map(int, match.group(1, 3, 4)))
        return day, day
    return None


def _parse_week(text: str) -> tuple[date, date] | None:
    if not (match := _WEEK.fullmatch(text)):
        return None
    year, week, weekday = match.group(1, 3, 4)
    first = date.fromisocalendar(int(year), int(week), int(weekday or 1))
    return first, first if weekday else first + timedelta(days=6)


def _parse_day_of_year(text: str) -> tuple[date, date] | None:
    if not (match := _DAY_OF_YEAR.fullmatch(text)):
        return None
    year, number = map(int, match.groups())
    day = date(year, 1, 1) + timedelta(days=number - 1)
    if day.year != year:
        raise ValueError(f"{year} has no day {number}")
    return day, day


def _parse_clock(text: str) -> time:
    try:
        return time.fromisoformat(text.replace(",", "."))
    except ValueError as error:
        raise ValueError(f"does not exist ({error})") from error


def _parse_offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    return parse_zone(text if text[0] in "+-" else f"+{text}")


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
