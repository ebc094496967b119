"""The daily sync within the service, and how current the mirror is shown to be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any
from uuid import UUID

import psycopg
import pytest

from demo.arxiv import StandIn
from service import arxiv_schedule
from service.context import LocalContext
from service.mirror import daily_sync as daily_module
from service.mirror import daily_task
from service.mirror import sync as sync_module
from service.mirror.daily_sync import DailySync
from service.settings import Settings
from tests.conftest import Serve
from tests.support.waiting import wait_until

TODAY = datetime.now(UTC).date()
SYNCED = "select synced_at from mirror_syncs where set_spec = ''"


@pytest.fixture
def oai_url(arxiv_server: tuple[StandIn, str]) -> str:
    return arxiv_server[1].replace("/api/query", "/oai")


@pytest.fixture
async def contexts(
    settings: Callable[..., Settings], arxiv: StandIn, oai_url: str, db: psycopg.Connection
) -> AsyncIterator[list[LocalContext]]:
    """Three processes with a mirror that lacks what was changed today."""
    del arxiv
    db.execute(
        "insert into mirror_syncs (set_spec, covered_from, covered_until, synced_at)"
        " values ('', '2005-09-16', %s, %s)",
        [TODAY, int(time()) - 9 * 86_400],
    )
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(LocalContext(settings(oai_url=oai_url)))
            for _ in range(3)
        ]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_module, "POLL_SECONDS", 0.05)
    for name in ("START_DELAY", "RETRY_PAUSE"):
        monkeypatch.setattr(daily_task, name, 0.05)
    monkeypatch.setattr(sync_module, "RETRY_PAUSE", 0.001)


@pytest.fixture
def _failing_with_long_pauses(arxiv: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_task, "RETRY_PAUSE", 77.0)
    arxiv.oai.unavailable_dates = {TODAY}


def create_daily(context: LocalContext, clock: Callable[[], float] = time) -> DailySync:
    return DailySync(context.mirror_store, context.oai, clock)


def quiet_clock() -> float:
    """The current time, except around arXiv's announcement."""
    return time() + arxiv_schedule.find_rush_left(time())


def synced_at(db: psycopg.Connection) -> int:
    [seconds] = db.execute(SYNCED).fetchone() or [0]
    return int(seconds or 0)


def retry_pause(db: psycopg.Connection) -> float:
    """Seconds until a sync that failed may be repeated."""
    pause = "select extract(epoch from retry_at - now()) from mirror_syncs where retry_at > now()"
    [seconds] = db.execute(pause).fetchone() or [0]
    return float(seconds)


def requests(arxiv: StandIn) -> list[Any]:
    return [request for request in arxiv.requests if request.path == "/oai"]


async def test_overdue_mirror_is_synced_at_once_by_one_of_several_processes(
    contexts: list[LocalContext], arxiv: StandIn, db: psycopg.Connection
) -> None:
    async with AsyncExitStack() as stack:
        for context in contexts:
            await stack.enter_async_context(create_daily(context, quiet_clock))
        await wait_until(lambda: synced_at(db) > time() - 60)
        await asyncio.sleep(0.5)

    assert len(requests(arxiv)) == 2  # one for each format


async def test_current_mirror_is_not_synced(
    contexts: list[LocalContext], arxiv: StandIn, db: psycopg.Connection
) -> None:
    db.execute("update mirror_syncs set synced_at = %s", [int(time())])
    async with create_daily(contexts[0], quiet_clock):
        await asyncio.sleep(0.5)

    assert not requests(arxiv)


async def test_nothing_is_requested_during_the_announcement(
    contexts: list[LocalContext], arxiv: StandIn
) -> None:
    moment = datetime(2026, 11, 30, 20, 0, tzinfo=arxiv_schedule.ZONE).timestamp()
    async with create_daily(contexts[0], lambda: moment):
        await asyncio.sleep(0.5)

    assert not requests(arxiv)


async def test_failed_sync_is_repeated(
    contexts: list[LocalContext], arxiv: StandIn, db: psycopg.Connection
) -> None:
    arxiv.oai.unavailable_dates = {TODAY}
    async with create_daily(contexts[0], quiet_clock):
        await wait_until(lambda: len(requests(arxiv)) > sync_module.MAX_ATTEMPTS)
        arxiv.oai.unavailable_dates = set()
        await wait_until(lambda: synced_at(db) > time() - 60)


@pytest.mark.usefixtures("_failing_with_long_pauses")
async def test_failed_sync_is_repeated_by_one_process_and_not_by_each(
    contexts: list[LocalContext], arxiv: StandIn, db: psycopg.Connection
) -> None:
    async with AsyncExitStack() as stack:
        for context in contexts:
            await stack.enter_async_context(create_daily(context, quiet_clock))
        await wait_until(lambda: len(requests(arxiv)) >= sync_module.MAX_ATTEMPTS)
        await asyncio.sleep(0.7)
        number = len(requests(arxiv))
        seconds = retry_pause(db)
        db.execute("update mirror_syncs set retry_at = now()")
        await wait_until(lambda: len(requests(arxiv)) > sync_module.MAX_ATTEMPTS)

    assert number == sync_module.MAX_ATTEMPTS
    assert 30 < seconds < 120


async def test_pause_that_another_process_has_just_stored_is_kept(
    contexts: list[LocalContext],
    arxiv: StandIn,
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = contexts[0].mirror_store
    acquire = store.acquire_sync

    async def fail_elsewhere_and_acquire(holder: UUID, seconds: float) -> bool:
        db.execute("update mirror_syncs set retry_at = now() + interval '1 hour'")
        return await acquire(holder, seconds)

    monkeypatch.setattr(store, "acquire_sync", fail_elsewhere_and_acquire)
    async with create_daily(contexts[0], quiet_clock):
        await wait_until(lambda: retry_pause(db) > 0)
        await asyncio.sleep(0.5)

    assert not requests(arxiv)


@pytest.mark.usefixtures("_failing_with_long_pauses")
async def test_pause_after_a_failure_is_stored_before_another_process_can_sync(
    contexts: list[LocalContext], db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = contexts[0].mirror_store
    release, pauses = store.release_sync, []

    async def read_and_release(holder: UUID) -> None:
        pauses.append(retry_pause(db))
        await release(holder)

    monkeypatch.setattr(store, "release_sync", read_and_release)
    async with create_daily(contexts[0], quiet_clock):
        await wait_until(lambda: bool(pauses))

    assert pauses[0] > 30


async def test_process_that_lost_its_lease_stores_neither_an_error_nor_a_pause(
    contexts: list[LocalContext],
    arxiv: StandIn,
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sync_module, "RETRY_PAUSE", 0.05)
    arxiv.oai.unavailable_dates = {TODAY}
    async with create_daily(contexts[0], quiet_clock):
        await wait_until(lambda: len(requests(arxiv)) > 0)
        db.execute(
            "update mirror_syncs"
            " set holder = gen_random_uuid(), held_until = now() + interval '1 hour'"
        )
        await wait_until(lambda: len(requests(arxiv)) == sync_module.MAX_ATTEMPTS)
        await asyncio.sleep(0.5)

    assert retry_pause(db) == 0
    assert db.execute("select error from mirror_syncs").fetchone() == (None,)


async def test_shutdown_interrupts_a_sync_within_a_second(
    contexts: list[LocalContext], arxiv: StandIn, db: psycopg.Connection
) -> None:
    arxiv.delay = 20
    async with create_daily(contexts[0], quiet_clock):
        await wait_until(lambda: bool(requests(arxiv)))
        started = monotonic()
    seconds = monotonic() - started
    arxiv.delay = 0

    assert seconds < 2
    assert db.execute("select held_until = '-infinity' from mirror_syncs").fetchone() == (True,)
    assert db.execute("select holder from gate").fetchone() == (None,)


async def test_service_with_a_daily_sync_fills_its_mirror(
    gateway: Serve, arxiv: StandIn, oai_url: str, db: psycopg.Connection, monkeypatch: Any
) -> None:
    monkeypatch.setattr(arxiv_schedule, "find_rush_left", lambda _: 0.0)
    monkeypatch.setattr("service.mirror.sync_state.EARLIEST", TODAY)
    del arxiv
    async with gateway(
        sync="daily", oai_url=oai_url, rss_url=oai_url.removesuffix("/oai")
    ) as client:
        await wait_until(lambda: synced_at(db) > 0)
        health = (await client.get("/health/ready")).json()
        metrics = (await client.get("/metrics")).text

    mirror = health["mirror"]
    assert mirror["covered_until"] == TODAY.isoformat()
    assert mirror["synced_at"] == datetime.fromtimestamp(synced_at(db), UTC).isoformat()[:19]
    assert (mirror["running"], mirror["error"]) == (False, None)
    lines = [line for line in metrics.splitlines() if not line.startswith("#")]
    values: dict[str, str] = dict(line.rsplit(" ", 1) for line in lines)
    assert float(values["arxiv_gateway_mirror_synced_timestamp_seconds"]) == synced_at(db)
    due = arxiv_schedule.next_oai_update(synced_at(db))
    assert float(values["arxiv_gateway_mirror_due_timestamp_seconds"]) == due


async def test_service_without_a_mirror_shows_none(gateway: Serve) -> None:
    async with gateway() as client:
        health = (await client.get("/health/ready")).json()

    assert health["mirror"] is None


async def test_error_of_the_latest_sync_is_shown(gateway: Serve, db: psycopg.Connection) -> None:
    db.execute(
        "insert into mirror_syncs (set_spec, error, run_invalid) values ('', 'arXiv is away', 3)"
    )
    async with gateway() as client:
        health = (await client.get("/health/ready")).json()

    assert health["mirror"]["error"] == "arXiv is away"
    assert health["mirror"]["invalid"] == 3
    assert health["status"] == "ready"
