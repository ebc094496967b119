"""Responses are fresh until arXiv's next announcement, Sunday to Thursday 20:00 US Eastern."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arxiv_schedule import INDEX_LAG, next_publication

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
