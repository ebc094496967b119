"""What the mirror does with impossible times, with empty lists that are none, and with errors."""

import asyncio
import time
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from service import arxiv_schedule
from service.arxiv_http import ArxivFailure
from service.db.mirror import is_temporary
from service.errors import DatabaseUnavailable
from service.mirror import daily_sync, daily_task
from service.mirror.daily_announcements import DailyAnnouncements
from service.mirror.daily_sync import DailySync
from service.mirror.oai_client import ListRequest, _check_request
from service.mirror.oai_xml import OaiError, OaiPage, parse_page
from service.untrusted_xml import InvalidResponse
from tests.support.waiting import wait_until


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2999-01-01T00:00:00Z",
    ],
)
def test_response_of_an_impossible_time_is_not_used(moment: str) -> None:
    body = (
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
        f"<responseDate>{moment}</responseDate>"
        '<request verb="ListRecords">http://x</request><error code="noRecordsMatch">n</error>'
        "</OAI-PMH>"
    )
    with pytest.raises(InvalidResponse, match="responseDate"):
        parse_page(body.encode(), verb="ListRecords", metadata_prefix="arXivRaw")


def create_error(code: str, request: dict[str, str]) -> OaiPage:
    return OaiPage([], [], None, [], int(time.time()), None, OaiError(code, "x"), request, [])


def test_empty_list_must_name_its_request_and_other_errors_need_not() -> None:
    request = ListRequest("arXivRaw", date(2026, 11, 1), None, "")
    _check_request(create_error("badArgument", {}), request)
    _check_request(create_error("noRecordsMatch", request.arguments), request)
    with pytest.raises(ArxivFailure, match="another request"):
        _check_request(create_error("noRecordsMatch", {}), request)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (psycopg.errors.ReadOnlySqlTransaction(), True),
        (psycopg.errors.FeatureNotSupported(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), False),
    ],
)
def test_failover_is_waited_for_like_a_lost_connection(cause: Exception, *, expected: bool) -> None:
    error = DatabaseUnavailable("away")
    error.__cause__ = cause
    assert is_temporary(error) == expected


class BrokenStore:
    """Fails in an unexpected way."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object) -> None:
            self.calls += 1
            raise OverflowError(name)

        return fail


async def test_daily_tasks_go_on_after_any_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(daily_task, "START_DELAY", 0)
    monkeypatch.setattr(daily_task, "RETRY_PAUSE", 0.001)
    monkeypatch.setattr(daily_sync, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(arxiv_schedule, "find_feed_day", lambda _: date(2026, 11, 24))
    store: Any = BrokenStore()
    nothing: Any = None
    for task in (DailySync(store, nothing), DailyAnnouncements(store, store, nothing)):
        store.calls = 0
        async with task:
            await wait_until(lambda: store.calls > 1)
    assert "OverflowError: fetch_sync" in caplog.text
    assert "OverflowError: plan_feeds" in caplog.text


class EmptyStore:
    """Has one feed to read, and counts the claims."""

    def __init__(self) -> None:
        self.claims = 0

    async def plan_feeds(self, *_: object) -> None:
        pass

    mark_empty_feeds = plan_feeds
    fetch_pause = plan_feeds

    async def claim_feed(self, *_: object) -> None:
        self.claims += 1


async def test_no_feed_is_requested_around_the_announcement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daily_task, "START_DELAY", 0)
    store: Any = EmptyStore()
    for clock, expected in ("20:00", 0), ("20:16", 1):
        moment = datetime.fromisoformat(f"2026-11-30T{clock}").replace(tzinfo=arxiv_schedule.ZONE)
        daily = DailyAnnouncements(store, store, store, moment.timestamp)
        async with daily:
            await asyncio.sleep(0.05)
        assert store.claims == expected
