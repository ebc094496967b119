"""When the daily sync runs."""

from datetime import UTC, datetime

import pytest

from service.arxiv_schedule import ZONE, find_rush_left, next_oai_update


def eastern(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-23T12:00", "2026-11-23T22:30"),  # a Monday
        ("2026-11-23T22:29:59", "2026-11-23T22:30"),
        ("2026-11-23T22:30", "2026-11-24T22:30"),
        ("2026-11-26T23:00", "2026-11-29T22:30"),  # Thursday: the next one is on Sunday
        ("2026-11-28T12:00", "2026-11-29T22:30"),
        ("2026-07-01T22:00", "2026-07-01T22:30"),  # summer time
    ],
)
def test_update_follows_each_announcement_in_eastern_time(now: str, expected: str) -> None:
    assert next_oai_update(eastern(now)) == eastern(expected)


def test_update_in_summer_is_an_hour_earlier_in_utc() -> None:
    hours = {
        datetime.fromtimestamp(next_oai_update(eastern(day)), UTC).hour
        for day in ("2026-07-01T12:00", "2026-12-01T12:00")
    }
    assert hours == {2, 3}


@pytest.mark.parametrize(
    ("now", "left"),
    [
        ("2026-11-23T19:54:59", 0),
        ("2026-11-23T19:55", 1200),
        ("2026-11-23T20:00", 900),
        ("2026-11-23T20:14:30", 30),
        ("2026-11-23T20:15", 0),
        ("2026-11-27T20:00", 0),  # Friday: nothing is announced
    ],
)
def test_nothing_is_requested_around_the_announcement(now: str, left: float) -> None:
    assert find_rush_left(eastern(now)) == left
