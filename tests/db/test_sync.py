"""The sync with OAI-PMH: what it stores, and how it goes on after any failure."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from time import monotonic, time
from types import SimpleNamespace
from typing import Any

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.db.mirror import MirrorStore
from service.db.pool import DatabasePools
from service.db.rate_limiter import Priority, RateLimiter
from service.errors import (
    QueueTooLong,
    SyncInProgress,
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRejected,
    UpstreamUnreachable,
)
from service.mirror import sync as sync_module
from service.mirror import sync_state
from service.mirror.oai_client import OaiClient
from service.mirror.sync import FORMATS, Selection, SyncProgress, SyncResult, sync
from service.models.mirror import SyncState
from service.settings import Settings
from tests.support.waiting import wait_until

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).date()
PAPERS = "select count(distinct arxiv_id) from papers"


class Mirror:
    """A store, a client of the stand-in, and what a sync reports."""

    def __init__(self, pools: DatabasePools, settings: Settings, transport: Any = None) -> None:
        self.store = MirrorStore(pools)
        limiter = RateLimiter(pools, interval=0, lease=31, priority=Priority.BACKGROUND)
        self.client = OaiClient(settings, limiter, transport)
        self.reports: list[SyncProgress] = []

    async def sync(self, **selection: Any) -> SyncResult:
        return await sync(
            self.store, self.client, Selection(**selection), report=self.reports.append
        )

    async def state(self, set_spec: str = "") -> SyncState:
        return await self.store.fetch_sync(set_spec)


Opening = Callable[..., Any]


@pytest.fixture(autouse=True)
def _few_windows_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "RETRY_PAUSE", 0.001)
    monkeypatch.setattr(sync_state, "WINDOW", timedelta(days=1000))


@pytest.fixture
def papers(arxiv_server: tuple[StandIn, str]) -> Iterator[StandIn]:
    """The stand-in with pages of 50 records."""
    stand_in, _ = arxiv_server
    stand_in.reset()
    original = stand_in.papers
    stand_in.oai.max_records = 50
    yield stand_in
    stand_in.oai.max_records = 2500
    stand_in.papers = original
    stand_in.__post_init__()


@pytest.fixture
def open_mirror(
    settings: Callable[..., Settings], arxiv_server: tuple[StandIn, str]
) -> Callable[..., Any]:
    @asynccontextmanager
    async def opening(transport: Any = None) -> AsyncIterator[Mirror]:
        made = settings(oai_url=arxiv_server[1].replace("/api/query", "/oai"))
        async with DatabasePools(made.database_url) as pools:
            mirror = Mirror(pools, made, transport)
            async with mirror.client:
                yield mirror

    return opening


@pytest.fixture
async def mirror(open_mirror: Opening) -> AsyncIterator[Mirror]:
    async with open_mirror() as opened:
        yield opened


def lists(stand_in: StandIn) -> list[dict[str, str]]:
    """The arguments of the requests to OAI-PMH."""
    return [request.params for request in stand_in.requests if request.path == "/oai"]


def count_papers(db: psycopg.Connection) -> int:
    [number] = db.execute(PAPERS).fetchone() or [0]
    return int(number)


def datestamps(stand_in: StandIn) -> list[date]:
    return sorted(paper.datestamp for paper in stand_in.papers)


async def stop_after(mirror: Mirror, pages: int, **selection: Any) -> None:
    """Cancel a sync after some pages, as at the end of a process."""
    task = asyncio.create_task(mirror.sync(**selection))
    number = len(mirror.reports)
    await wait_until(lambda: len(mirror.reports) >= number + pages or task.done())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# What a sync receives


async def test_sync_stores_all_papers_in_both_formats(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    result = await mirror.sync()

    state = await mirror.state()
    assert count_papers(db) == len(papers.papers)
    assert db.execute("select count(*) from paper_details").fetchone() == (len(papers.papers),)
    assert result.records == 2 * len(papers.papers)
    assert result.is_complete
    assert (state.covered_from, state.covered_until) == (date(2005, 9, 16), TODAY)
    assert state.synced_at
    assert time() - state.synced_at < 300
    assert (state.run_from, state.token, state.error) == (None, None, None)
    prefixes = {each.get("metadataPrefix") for each in lists(papers)} - {None}
    assert prefixes == {*FORMATS}


async def test_long_ranges_are_split_into_windows_and_the_last_has_no_end(
    papers: StandIn, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_state, "WINDOW", timedelta(days=31))
    await mirror.sync(since=TODAY - timedelta(days=400), formats=FORMATS[:1])

    firsts = [each for each in lists(papers) if "from" in each]
    assert len(firsts) >= 12
    for window, following in pairwise(firsts):
        length = date.fromisoformat(window["until"]) - date.fromisoformat(window["from"])
        assert length < timedelta(days=31)
        assert date.fromisoformat(following["from"]) == date.fromisoformat(window["until"]) + DAY
    assert "until" not in firsts[-1]


async def test_next_sync_receives_only_what_has_changed_since(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    await mirror.sync()
    papers.requests.clear()
    papers.add([replace(papers.papers[0], arxiv_id="2611.00001")])
    result = await mirror.sync()

    assert result.records == 2 * sum(day >= TODAY for day in datestamps(papers))
    assert count_papers(db) == 1001
    assert [{**each} for each in lists(papers)] == [
        {"verb": "ListRecords", "metadataPrefix": prefix, "from": TODAY.isoformat()}
        for prefix in FORMATS
    ]


async def test_sync_without_changes_is_complete(papers: StandIn, mirror: Mirror) -> None:
    await mirror.sync(since=TODAY - DAY)
    papers.papers = [paper for paper in papers.papers if paper.datestamp < TODAY - 2 * DAY]
    papers.oai.set_papers(papers.papers)
    result = await mirror.sync()

    assert (result.records, result.is_complete) == (0, True)
    assert (await mirror.state()).covered_until == TODAY


async def test_sync_of_a_set_receives_its_papers_and_has_its_own_progress(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    expected = {
        paper.arxiv_id
        for paper in papers.papers
        if any(category.startswith("cs.") for category in paper.categories)
    }
    await mirror.sync(set_spec="cs", formats=FORMATS[:1])

    stored = {row[0] for row in db.execute("select arxiv_id from papers").fetchall()}
    assert stored == expected
    assert (await mirror.state("cs")).covered_until == TODAY
    assert (await mirror.state()).covered_until is None


async def test_sync_of_some_days_receives_only_these(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    days = datestamps(papers)
    since, until = days[300], days[500]
    result = await mirror.sync(since=since, until=until, formats=FORMATS[:1])

    state = await mirror.state()
    assert count_papers(db) == result.records == sum(since <= day <= until for day in days)
    assert (state.covered_from, state.covered_until) == (since, until)
    assert state.synced_at is None


async def test_days_that_follow_each_other_are_covered_together_and_others_are_not(
    mirror: Mirror, papers: StandIn
) -> None:
    del papers
    for since, until in ((10, 8), (7, 5), (3, 2)):
        await mirror.sync(since=TODAY - since * DAY, until=TODAY - until * DAY, formats=FORMATS[:1])

    state = await mirror.state()
    assert (state.covered_from, state.covered_until) == (TODAY - 10 * DAY, TODAY - 5 * DAY)


async def test_sync_continues_after_an_import(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    newest = datestamps(papers)[900]
    seconds = int(datetime(newest.year, newest.month, newest.day, tzinfo=UTC).timestamp())
    insert = "insert into mirror_imports values (%s, 'f', 1, 1, 0, %s, %s, 2, '', %s)"
    for is_whole in (True, False):
        newest_of_file = seconds if is_whole else seconds + 86_400
        db.execute(insert, [str(is_whole), newest_of_file, int(time()), is_whole])
    await mirror.sync()

    state = await mirror.state()
    assert lists(papers)[0]["from"] == newest.isoformat()
    assert (state.covered_from, state.covered_until) == (date(2005, 9, 16), TODAY)


async def test_day_before_the_first_and_after_today_are_not_requested(
    papers: StandIn, mirror: Mirror
) -> None:
    await mirror.sync(since=date(1991, 1, 1), until=TODAY + 9 * DAY, formats=FORMATS[:1])

    assert lists(papers)[0]["from"] == "2005-09-16"
    assert max(each.get("until", "") for each in lists(papers)) < TODAY.isoformat()


# Interruptions


@pytest.mark.parametrize("pages", [1, 7, 30])
async def test_sync_continues_where_it_was_interrupted(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection, pages: int
) -> None:
    await mirror.sync()
    complete = len(lists(papers))
    db.execute("truncate papers, paper_details, mirror_syncs")
    papers.requests.clear()

    await stop_after(mirror, pages)
    await mirror.sync()
    await mirror.sync()

    # one request may have been interrupted; the last sync requests today's records again
    assert complete <= len(lists(papers)) <= complete + 1 + len(FORMATS)
    assert count_papers(db) == len(papers.papers)
    assert (await mirror.state()).covered_from == date(2005, 9, 16)


async def test_sync_of_some_days_continues_with_the_same_days(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    days = datestamps(papers)
    selection = {"since": days[300], "until": days[800], "formats": FORMATS[:1]}
    await stop_after(mirror, 3, **selection)
    received = count_papers(db)
    assert 0 < received < 500
    result = await mirror.sync(**selection)

    assert result.records + received <= len(papers.papers) - 150
    assert count_papers(db) == sum(days[300] <= day <= days[800] for day in days)


async def test_expired_token_costs_one_window(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    papers.oai.max_records = 5
    await stop_after(mirror, 40, formats=FORMATS[:1])
    state = await mirror.state()
    assert state.token
    papers.requests.clear()
    papers.oai.expired_tokens = 1
    result = await mirror.sync(formats=FORMATS[:1])

    assert state.run_next
    first, second = lists(papers)[:2]
    assert first["resumptionToken"] == state.token
    assert second["from"] == state.run_next.isoformat()
    assert result.is_complete
    assert count_papers(db) == len(papers.papers)


async def test_only_one_process_syncs(open_mirror: Opening, papers: StandIn) -> None:
    papers.delay = 0.05
    async with open_mirror() as one, open_mirror() as other:
        first = asyncio.create_task(one.sync())
        await wait_until(lambda: bool(one.reports))
        with pytest.raises(SyncInProgress):
            await other.sync()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        papers.delay = 0
        assert (await other.sync()).is_complete


async def test_sync_of_a_dead_process_is_continued_after_its_lease(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    del papers
    db.execute(
        "insert into mirror_syncs (set_spec, holder, held_until)"
        " values ('', gen_random_uuid(), clock_timestamp() + '1.5 s')"
    )
    result = await sync(mirror.store, mirror.client, Selection(since=TODAY), max_wait=20)

    assert result.is_complete


async def test_process_that_lost_its_right_stores_nothing_more(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    papers.delay = 0.02
    running = asyncio.create_task(mirror.sync())
    await wait_until(lambda: bool(mirror.reports))
    db.execute("update mirror_syncs set holder = gen_random_uuid(), held_until = 'infinity'")
    with pytest.raises(SyncInProgress):
        await running
    assert count_papers(db) < len(papers.papers)


# Failures of the server


async def test_days_that_are_unavailable_are_skipped_and_reported(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_state, "WINDOW", timedelta(days=31))
    days = [day for day in sorted(set(datestamps(papers))) if day > TODAY - timedelta(days=500)]
    since, first, second = days[0], days[3], days[9]
    changed = [day for day in datestamps(papers) if day >= since]
    papers.oai.unavailable_dates = {first, second}
    result = await mirror.sync(since=since, formats=FORMATS[:1])

    state = await mirror.state()
    assert not result.is_complete
    assert state.skipped == [first, second]
    assert (state.covered_from, state.covered_until) == (since, first - DAY)
    assert state.synced_at is None
    assert first.isoformat() in (state.error or "")
    assert count_papers(db) == sum(day not in {first, second} for day in changed)

    papers.oai.unavailable_dates = set()
    papers.requests.clear()
    result = await mirror.sync(since=since, formats=FORMATS[:1])

    state = await mirror.state()
    assert result.is_complete
    assert (state.covered_until, state.skipped, state.error) == (TODAY, [], None)
    assert state.synced_at
    assert count_papers(db) == len(changed)
    assert len(lists(papers)) == 3  # today and both days


async def test_unavailable_arxiv_ends_the_sync_after_a_few_days(
    papers: StandIn, mirror: Mirror
) -> None:
    days = set(datestamps(papers))
    papers.oai.unavailable_dates = {min(days) + n * DAY for n in range(9000)}
    with pytest.raises(UpstreamError):
        await mirror.sync()

    assert len(lists(papers)) < 100
    assert (await mirror.state()).error


async def test_retry_after_of_zero_closes_nothing_for_searches(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    papers.oai.unavailable_dates = {TODAY}
    with pytest.raises(UpstreamError):
        await mirror.sync(since=TODAY)

    assert db.execute("select refusals from gate").fetchone() == (0,)


async def test_demanded_pause_applies_to_all_processes(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.mirror.oai_client.MAX_WAIT", 0.5)
    papers.retry_after = 77
    with pytest.raises(QueueTooLong):
        await mirror.sync()

    left = db.execute("select extract(epoch from closed_until - now()) from gate").fetchone()
    assert 70 < float((left or [0])[0]) <= 77
    assert (await mirror.state()).error


async def test_token_that_repeats_for_ever_is_an_error(papers: StandIn, mirror: Mirror) -> None:
    papers.oai.max_records = 2
    papers.oai.repeats_token = True
    with pytest.raises(UpstreamInvalidResponse, match="same page"):
        await mirror.sync(formats=FORMATS[:1])

    assert len(lists(papers)) < 3000


async def test_response_to_another_request_is_not_stored(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    day = datestamps(papers)[500].isoformat()
    papers.oai.answered = {
        "verb": "ListRecords",
        "metadataPrefix": "arXivRaw",
        "from": day,
        "until": day,
    }
    with pytest.raises(UpstreamInvalidResponse, match="another request"):
        await mirror.sync(since=TODAY)

    assert count_papers(db) == 0


async def test_truncated_response_is_requested_again(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    papers.truncates = True
    running = asyncio.create_task(mirror.sync(formats=FORMATS[:1]))
    await wait_until(lambda: len(lists(papers)) > 1)
    papers.truncates = False
    result = await running

    assert result.is_complete
    assert count_papers(db) == len(papers.papers)


async def test_empty_response_to_a_token_does_not_end_the_list(
    papers: StandIn, open_mirror: Opening, db: psycopg.Connection
) -> None:
    real = httpx.AsyncHTTPTransport()
    failures = [1]

    async def lose_records(request: httpx.Request) -> httpx.Response:
        """The response to the first token is an error that means an empty list."""
        response = await real.handle_async_request(request)
        body = await response.aread()
        if "resumptionToken" in request.url.params and failures:
            failures.pop()
            start, end = body.index(b"<ListRecords>"), body.index(b"</ListRecords>") + 14
            error = b'<error code="noRecordsMatch">none</error>'
            body = body[:start] + error + body[end:]
        return httpx.Response(response.status_code, content=body)

    async with real, open_mirror(httpx.MockTransport(lose_records)) as mirror:
        await mirror.sync(formats=FORMATS[:1])

    assert not failures
    assert count_papers(db) == len(papers.papers)


async def test_unknown_set_is_a_clear_error(papers: StandIn, mirror: Mirror) -> None:
    with pytest.raises(UpstreamRejected, match="Set does not exist"):
        await mirror.sync(set_spec="moo")

    assert len(lists(papers)) == 1


async def test_unreachable_server_is_not_asked_for_each_day(open_mirror: Opening) -> None:
    requests: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise httpx.ConnectError("refused")

    async with open_mirror(httpx.MockTransport(refuse)) as mirror:
        with pytest.raises(UpstreamUnreachable):
            await mirror.sync()

    assert len(requests) == sync_module.MAX_ATTEMPTS


async def test_clock_ahead_of_the_server_does_not_stop_the_sync(
    papers: StandIn, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(days=300))
    monkeypatch.setattr(sync_module, "datetime", clock)
    result = await mirror.sync(since=TODAY - 3 * DAY)

    assert result.is_complete
    assert (await mirror.state()).covered_until == TODAY
    assert any("until" not in each for each in lists(papers))


async def test_invalid_record_is_counted_and_the_others_are_stored(
    papers: StandIn, open_mirror: Opening, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    days = datestamps(papers)
    since = days[-40]
    papers.oai.max_records = 2500
    real = httpx.AsyncHTTPTransport()

    async def damage(request: httpx.Request) -> httpx.Response:
        """The first record loses its title."""
        response = await real.handle_async_request(request)
        body = await response.aread()
        damaged = body.replace(b"<title>", b"<other>", 1).replace(b"</title>", b"</other>", 1)
        return httpx.Response(response.status_code, content=damaged)

    async with real, open_mirror(httpx.MockTransport(damage)) as mirror:
        result = await mirror.sync(since=since, until=days[-1], formats=FORMATS[:1])
        state = await mirror.state()

    assert (result.invalid, result.is_complete) == (1, False)
    assert count_papers(db) == result.records == sum(day >= since for day in days) - 1
    assert state.covered_until == days[-1]
    assert state.run_invalid == 1
    assert "is invalid: " in caplog.text


async def test_invalid_records_before_an_interruption_belong_to_the_run(
    papers: StandIn, mirror: Mirror, db: psycopg.Connection
) -> None:
    name = papers.papers[0].arxiv_id
    db.execute(f"alter table papers add constraint bad check (arxiv_id <> '{name}')".encode())
    papers.delay = 0.1
    await stop_after(mirror, 1, formats=FORMATS[:1])
    papers.delay = 0
    assert (await mirror.state()).run_invalid == 1
    await mirror.sync(formats=FORMATS[:1])

    assert (await mirror.state()).run_invalid == 1
    await mirror.sync(formats=FORMATS[:1])
    assert (await mirror.state()).run_invalid == 0


# Searches during a sync


async def test_search_waits_for_at_most_one_request_of_a_sync(
    papers: StandIn, mirror: Mirror, settings: Callable[..., Settings]
) -> None:
    papers.delay = 0.1
    running = asyncio.create_task(mirror.sync())
    await wait_until(lambda: len(mirror.reports) > 1)
    async with DatabasePools(settings().database_url) as pools:
        search = RateLimiter(pools, interval=0, lease=31)
        for _ in range(5):
            number, started = len(lists(papers)), monotonic()
            async with search.acquire(asyncio.get_running_loop().time() + 30):
                assert len(lists(papers)) <= number + 1
                assert monotonic() - started < 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
