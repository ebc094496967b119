"""Conversion between text and Unix seconds in any time zone."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.timestamps import (
    EARLIEST,
    LATEST,
    IsoFormatter,
    format_iso,
    parse_range_end,
    parse_range_start,
    parse_zone,
)

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # changes clocks at midnight
    "America/Havana",  # repeats the hour before 1:00
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # changes clocks by half an hour
    "Pacific/Apia",  # skipped a day in 2011
    "Pacific/Kiritimati",
    "+23:59",
    "-23:59",
    "+05:30",
]


def seconds(text: str) -> int:
    """Return the Unix seconds of a time with offset."""
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T20:15:00", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23T20:15", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23 20:15:00", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23t20:15:00z", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23T20:15:00Z", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23T20:15:00 Z", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23T20:15:00+01:00", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T20:15:00-0130", "2026-11-23T21:45:00+00:00"),
        ("2026-11-23T20:15+05:30", "2026-11-23T14:45:00+00:00"),
        ("2026-11-23T20:15:00 +01:00", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T20:15:00 01:00", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T20:15:00 0100", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T00:15:00+14:00", "2026-11-22T10:15:00+00:00"),
        ("20261123T201500Z", "2026-11-23T20:15:00+00:00"),
        ("20261123T2015", "2026-11-23T20:15:00+00:00"),
        ("20261123t201500+0130", "2026-11-23T18:45:00+00:00"),
        ("2026-W48-1T20:15Z", "2026-11-23T20:15:00+00:00"),
        ("2026W481T2015-03", "2026-11-23T23:15:00+00:00"),
        ("2026-327T20:15:00", "2026-11-23T20:15:00+00:00"),
        ("2026-11-23T20:15:00+01", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T20:15:00 01", "2026-11-23T19:15:00+00:00"),
        ("2026-11-23T24:00", "2026-11-24T00:00:00+00:00"),
        ("20261231T240000", "2027-01-01T00:00:00+00:00"),
        ("2026-11-23T24:00:00.000Z", "2026-11-24T00:00:00+00:00"),
        ("2026\u201011\u201123T20:15:00\u221201:00", "2026-11-23T21:15:00+00:00"),
        ("2024-02-29T00:00:00", "2024-02-29T00:00:00+00:00"),
        ("1969-12-31T23:59:59", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_time_is_the_same_second_at_both_ends(text: str, moment: str) -> None:
    assert parse_range_start(text, UTC) == parse_range_end(text, UTC) == seconds(moment)


@pytest.mark.parametrize("mark", [".", ","])
@pytest.mark.parametrize("digits", ["5", "25", "000001", "999999999"])
def test_fraction_is_rounded_into_the_range(mark: str, digits: str) -> None:
    text = f"2026-11-23T20:15:07{mark}{digits}"

    assert parse_range_start(text, UTC) == seconds("2026-11-23T20:15:08+00:00")
    assert parse_range_end(text, UTC) == seconds("2026-11-23T20:15:07+00:00")


def test_zero_fraction_is_the_second_itself() -> None:
    assert parse_range_start("2026-11-23T20:15:07.000", UTC) == seconds("2026-11-23T20:15:07+00:00")


def test_offset_in_text_overrides_zone() -> None:
    text = "2026-07-01T12:00:00-03:00"

    assert parse_range_start(text, BERLIN) == seconds(text)
    assert parse_range_end(text, BERLIN) == seconds(text)


@pytest.mark.parametrize(
    ("day", "tz", "start", "end"),
    [
        ("2026-11-23", "UTC", "2026-11-23T00:00:00+00:00", "2026-11-23T23:59:59+00:00"),
        ("2026-11-23", "+05:30", "2026-11-23T00:00:00+05:30", "2026-11-23T23:59:59+05:30"),
        ("2026-11-23", "-0330", "2026-11-23T00:00:00-03:30", "2026-11-23T23:59:59-03:30"),
        # 23 and 25 hours
        ("2026-03-29", "Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-29T23:59:59+02:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00"),
        # begins at 1:00: midnight is skipped
        (
            "2018-11-04",
            "America/Sao_Paulo",
            "2018-11-04T01:00:00-02:00",
            "2018-11-04T23:59:59-02:00",
        ),
        # ends with the second of two 23:00 hours
        (
            "2018-02-17",
            "America/Sao_Paulo",
            "2018-02-17T00:00:00-02:00",
            "2018-02-17T23:59:59-03:00",
        ),
        # begins with the first of two 0:00 hours
        ("2026-11-01", "America/Havana", "2026-11-01T00:00:00-04:00", "2026-11-01T23:59:59-05:00"),
    ],
)
def test_day_covers_all_its_seconds(day: str, tz: str, start: str, end: str) -> None:
    assert parse_range_start(day, parse_zone(tz)) == seconds(start)
    assert parse_range_end(day, parse_zone(tz)) == seconds(end)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2021", "2021-01-01T00:00:00", "2021-12-31T23:59:59"),
        ("2021-01", "2021-01-01T00:00:00", "2021-01-31T23:59:59"),
        ("2024-02", "2024-02-01T00:00:00", "2024-02-29T23:59:59"),
        ("2021-12", "2021-12-01T00:00:00", "2021-12-31T23:59:59"),
        ("20210101", "2021-01-01T00:00:00", "2021-01-01T23:59:59"),
        ("2021-W05", "2021-02-01T00:00:00", "2021-02-07T23:59:59"),
        ("2021W05", "2021-02-01T00:00:00", "2021-02-07T23:59:59"),
        ("2020-w53", "2020-12-28T00:00:00", "2021-01-03T23:59:59"),
        ("2021-W05-3", "2021-02-03T00:00:00", "2021-02-03T23:59:59"),
        ("2021W053", "2021-02-03T00:00:00", "2021-02-03T23:59:59"),
        ("2021-032", "2021-02-01T00:00:00", "2021-02-01T23:59:59"),
        ("2021032", "2021-02-01T00:00:00", "2021-02-01T23:59:59"),
        ("2024-366", "2024-12-31T00:00:00", "2024-12-31T23:59:59"),
        ("2021-01-01T10", "2021-01-01T10:00:00", "2021-01-01T10:59:59"),
        ("20210101T10", "2021-01-01T10:00:00", "2021-01-01T10:59:59"),
        ("2021-01-01 23", "2021-01-01T23:00:00", "2021-01-01T23:59:59"),
    ],
)
def test_period_covers_all_its_seconds(text: str, first: str, last: str) -> None:
    assert parse_range_start(text, UTC) == seconds(f"{first}+00:00")
    assert parse_range_end(text, UTC) == seconds(f"{last}+00:00")
    # in the zone of the service
    assert format_iso(parse_range_start(text, BERLIN), BERLIN) == first
    assert format_iso(parse_range_end(text, BERLIN), BERLIN) == last


def test_hour_with_offset_covers_all_its_seconds() -> None:
    assert parse_range_start("2021-01-01T10+05:30", BERLIN) == seconds("2021-01-01T10:00:00+05:30")
    assert parse_range_end("20210101T10Z", BERLIN) == seconds("2021-01-01T10:59:59+00:00")


def test_month_without_hyphen_is_rejected_with_the_correct_form() -> None:
    with pytest.raises(ValueError, match="a month is written 2021-01"):
        parse_range_start("202101", UTC)


def test_skipped_day_has_no_seconds() -> None:
    apia = ZoneInfo("Pacific/Apia")

    assert parse_range_start("2011-12-30", apia) == parse_range_end("2011-12-30", apia) + 1
    assert parse_range_start("2011-12-31", apia) == parse_range_end("2011-12-29", apia) + 1


def test_repeated_hour_is_included_twice() -> None:
    assert parse_range_start("2026-10-25T02:30:00", BERLIN) == seconds("2026-10-25T02:30:00+02:00")
    assert parse_range_end("2026-10-25T02:30:00", BERLIN) == seconds("2026-10-25T02:30:00+01:00")


@pytest.mark.parametrize("clock", ["02:00:00", "02:00:01", "02:30:00", "02:59:59.5"])
def test_skipped_hour_is_the_clock_change(clock: str) -> None:
    text = f"2026-03-29T{clock}"

    assert parse_range_start(text, BERLIN) == seconds("2026-03-29T03:00:00+02:00")
    assert parse_range_end(text, BERLIN) == seconds("2026-03-29T01:59:59+01:00")


def test_skipped_half_hour_is_the_clock_change() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")

    assert parse_range_start("2026-10-04T02:15:00", lord_howe) == seconds(
        "2026-10-04T02:30:00+11:00"
    )
    assert parse_range_end("2026-10-04T02:15:00", lord_howe) == seconds("2026-10-04T01:59:59+10:30")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "202611", "20", "2026-", "2026-W4", "2026-1123", "202611-23"),
        *("2026-W481", "2026W48-1", "+2026-11-23", "23.11.2026", "2026T10", "2026-11T10"),
        *("2026-W48T10", "20261123T", "20261123T2", "20261123T201"),
        *("2026-11-23T", "2026-11-23T20:15:00.", "2026-11-23T20:15:00+1:00"),
        *("2026-11-23T20:15:00+01:0", "2026-11-23T20:15:00++01:00", " 2026-11-23", "2026-11-23 "),
        *("2026-11-23\n", "2026-11-23T20:15:00Z\n", "-2026-11-23", "2026-1-1", "1795464900"),
        *("2026-11-23T20:15:00.1234567890", "2026-11-23T20:15:00Europe/Berlin", "2026/11/23"),
        # too many digits, or an offset without sign
        *("2026-11-23T20:15:0001:00", "2026-11-23T20:151500", "2026-11-23T20:15:3000"),
        *("2026-11-23T20:15:00\t01:00", "2026-11-23T20:15:00\u00a001:00"),
        # digits that are not ASCII
        *("\u0662\u0660\u0662\u0666-\u0661\u0661-\u0662\u0663", "\uff12026", "2026-11-2\u0663"),
        *("2026-11-23T2\u0660:15", "2026-11-23T20:15:00+0\u0661:00"),
    ],
)
def test_invalid_date_is_rejected(text: str) -> None:
    for second in (parse_range_start, parse_range_end):
        with pytest.raises(ValueError, match="is not an ISO 8601 date or time"):
            second(text, UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "0000-01-01", "2026-01-00"),
        *("2026-11-23T24:00:01", "2026-11-23T24:30", "2026-11-23T25:00:00"),
        *("2026-11-23T20:60:00", "2016-12-31T23:59:60"),
        *("0000", "2026-13", "20261301", "2026-W54", "2026-W00", "2026-W48-8", "2026-W48-0"),
        *("2026-366", "2024-367", "2026-000", "9999-W52", "20261123T25", "20261123T2060"),
    ],
)
def test_nonexistent_date_is_rejected(text: str) -> None:
    for second in (parse_range_start, parse_range_end):
        with pytest.raises(ValueError, match="does not exist"):
            second(text, UTC)


@pytest.mark.parametrize("offset", ["+24:00", "-24:00", "+99:99", "+00:60"])
def test_nonexistent_offset_is_rejected(offset: str) -> None:
    with pytest.raises(ValueError, match="offset"):
        parse_range_start(f"2026-11-23T20:15:00{offset}", UTC)


@pytest.mark.parametrize(
    ("name", "hours"), [("+01:00", 1), ("-0330", -3.5), ("+23:59", 23 + 59 / 60), ("-00:00", 0)]
)
def test_zone_can_be_an_offset(name: str, hours: float) -> None:
    assert parse_zone(name).utcoffset(None) == timedelta(hours=hours)


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires"])
def test_zone_can_be_a_name(name: str) -> None:
    assert parse_zone(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "Europe", "Europe/Atlantis", "europe/", "+24:00", "1:00", "+1", "UTC+1", "Berlin "),
        *("/etc/passwd", "../../etc/passwd", "tzdata.zi", "__init__.py", "a\0b", "é", "x" * 5000),
    ],
)
def test_invalid_zone_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="neither an IANA time zone nor an offset"):
        parse_zone(name)


def test_seconds_are_formatted_in_zone() -> None:
    moment = seconds("2026-07-01T22:30:05+00:00")

    assert format_iso(moment, UTC) == "2026-07-01T22:30:05"
    assert format_iso(moment, BERLIN) == "2026-07-02T00:30:05"
    assert format_iso(moment, parse_zone("-03:30")) == "2026-07-01T19:00:05"


SECONDS = st.integers(EARLIEST, LATEST)
ANY_ZONE = st.sampled_from(ZONES).map(parse_zone) | st.integers(-1439, 1439).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


@given(SECONDS, ANY_ZONE)
@example(seconds("2026-10-25T00:30:00+00:00"), BERLIN)
@example(seconds("2026-10-25T01:30:00+00:00"), BERLIN)
@example(EARLIEST, parse_zone("-23:59"))
@example(EARLIEST, parse_zone("+23:59"))
@example(LATEST, parse_zone("-23:59"))
@example(LATEST, parse_zone("+23:59"))
def test_formatted_timestamp_finds_its_second(second: int, tz: tzinfo) -> None:
    written = format_iso(second, tz)

    assert parse_range_start(written, tz) <= second <= parse_range_end(written, tz)
    # a clock change repeats an hour or more, but never a day
    assert parse_range_end(written, tz) - parse_range_start(written, tz) < 86_400


@given(SECONDS, ANY_ZONE)
def test_timestamp_is_within_its_day(second: int, tz: tzinfo) -> None:
    day = format_iso(second, tz)[:10]
    try:
        start, end = parse_range_start(day, tz), parse_range_end(day, tz)
    except ValueError:
        # EARLIEST and LATEST exclude the first and last day
        assert second < EARLIEST + 86_400 or second > LATEST - 86_400
        return

    assert start <= second <= end


_WALLS = st.datetimes(datetime(1950, 1, 1), datetime(2040, 1, 1))  # noqa: DTZ001 - local times


@given(_WALLS, ANY_ZONE)
@example(datetime(2026, 3, 29, 2, 30), BERLIN)  # noqa: DTZ001
@example(datetime(2011, 12, 30, 12), ZoneInfo("Pacific/Apia"))  # noqa: DTZ001
def test_range_includes_every_local_time_between_its_ends(wall: datetime, tz: tzinfo) -> None:
    text = wall.isoformat(timespec="seconds")
    start, end = parse_range_start(text, tz), parse_range_end(text, tz)

    # local times before the start are earlier, those after the end are later
    for step in (1, 60, 1800, 3599):
        assert format_iso(start - step, tz) < text
        assert format_iso(end + step, tz) > text
    assert format_iso(start, tz) >= text
    assert format_iso(end, tz) <= text


@given(
    st.sampled_from(["0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31"]),
    st.sampled_from(["", "T00:00:00", "T23:59:59", "T23:59:59.999999"]),
    st.sampled_from(["", "+23:59", "-23:59", "Z"]),
    ANY_ZONE,
)
def test_extreme_dates_are_limited(day: str, clock: str, offset: str, tz: tzinfo) -> None:
    text = f"{day}{clock}{offset if clock else ''}"
    for second in (parse_range_start, parse_range_end):
        found = second(text, tz)
        assert EARLIEST <= found <= LATEST
        assert len(format_iso(found, tz)) == len("2026-11-23T20:15:00")


@given(st.text("0123456789-:T Z+.,tz", max_size=40) | st.text(max_size=40), ANY_ZONE)
def test_any_text_is_a_time_or_a_value_error(text: str, tz: tzinfo) -> None:
    for second in (parse_range_start, parse_range_end):
        try:
            found = second(text, tz)
        except ValueError as error:
            assert str(error)  # noqa: PT017
        else:
            assert EARLIEST <= found <= LATEST


@given(st.lists(SECONDS, min_size=1, max_size=5), ANY_ZONE)
@example([-5_000_000_000, -4_999_999_999, -5_000_000_000], ZoneInfo("Europe/Amsterdam"))
def test_iso_formatter_equals_format_iso(seconds: list[int], tz: tzinfo) -> None:
    clock = IsoFormatter(tz)
    nearby = [second + shift for second in seconds for shift in (0, 0, 1)]
    nearby = [min(max(second, EARLIEST), LATEST - 60) for second in nearby]
    assert [clock(second) for second in nearby] == [format_iso(each, tz) for each in nearby]
