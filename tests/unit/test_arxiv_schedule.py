"""Responses are fresh until arXiv's next announcement, Sunday to Thursday 20:00 US Eastern."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arxiv_schedule import (
    INDEX_LAG,
    find_announced_update,
    latest_publication,
    next_publication,
)

EASTERN = ZoneInfo("America/New_York")


def eastern(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=EASTERN).timestamp()


@pytest.mark.parametrize(
    ("moment", "announced"),
    [
        ("2026-11-23T12:00", "2026-11-23T20:00"),  # a Monday
        ("2026-11-23T19:59", "2026-11-23T20:00"),
        ("2026-11-24T03:00", "2026-11-24T20:00"),
        ("2026-11-26T12:00", "2026-11-26T20:00"),  # a Thursday
        ("2026-11-27T12:00", "2026-11-29T20:00"),  # Friday to Sunday
        ("2026-11-28T23:00", "2026-11-29T20:00"),
        ("2026-03-08T12:00", "2026-03-08T20:00"),  # start of daylight saving time
        ("2026-11-01T12:00", "2026-11-01T20:00"),  # and its end
        ("2026-07-01T12:00", "2026-07-01T20:00"),
    ],
)
def test_results_change_after_announcement_and_index_lag(moment: str, announced: str) -> None:
    assert next_publication(eastern(moment)) == eastern(announced) + INDEX_LAG.total_seconds()


def test_response_between_announcement_and_index_expires_with_index() -> None:
    moment = eastern("2026-11-23T21:00")
    assert next_publication(moment) == eastern("2026-11-23T20:00") + INDEX_LAG.total_seconds()


@given(st.integers(0, 4_000_000_000))
def test_next_publication_is_within_three_days(seconds: int) -> None:
    change = next_publication(seconds)

    assert seconds < change <= seconds + timedelta(days=3, hours=1).total_seconds()
    announced = (datetime.fromtimestamp(change, UTC) - INDEX_LAG).astimezone(EASTERN)
    assert (announced.hour, announced.minute) == (20, 0)
    assert announced.strftime("%a") in {"Sun", "Mon", "Tue", "Wed", "Thu"}
    assert next_publication(change) > change


@pytest.mark.parametrize(
    ("moment", "update"),
    [
        # Monday to Thursday at 20:00 US Eastern time, which is one o'clock UTC in winter
        ("2026-11-24T00:59:59", "2026-11-23T03:30:00"),
        ("2026-11-24T01:00:00", "2026-11-24T03:30:00"),
        ("2026-11-24T04:00:00", "2026-11-24T03:30:00"),
        ("2026-11-28T12:00:00", "2026-11-27T03:30:00"),  # Saturday
        ("2026-07-07T00:00:00", "2026-07-07T02:30:00"),  # in summer
    ],
)
def test_the_update_of_an_announcement_follows_it_by_hours(moment: str, update: str) -> None:
    seconds, expected = (
        int(datetime.fromisoformat(f"{text}+00:00").timestamp()) for text in (moment, update)
    )
    assert find_announced_update(seconds) == expected


@pytest.mark.parametrize("seconds", range(1_795_000_000, 1_795_900_000, 40_000))
def test_search_results_are_those_of_the_latest_publication(seconds: int) -> None:
    latest = latest_publication(seconds)
    assert latest <= seconds
    assert next_publication(latest) == next_publication(seconds)
