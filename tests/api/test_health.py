"""`/health/live` and `/health/ready`."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.settings import Settings
from tests.conftest import Gateway, Serve

IDLE = {"asking": False, "waiting": 0, "last_request": None, "last_outcome": None}


async def test_arxiv_state_is_empty_before_the_first_search(client: Gateway) -> None:
    assert (await client.get("/health/ready")).json()["arxiv"] == IDLE | {
        "closed_until": None,
        "interval": 0.0,
    }


async def test_last_request_to_arxiv_is_reported(client: Gateway) -> None:
    started_at = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    await client.get("/arxiv?title=testing")
    arxiv = (await client.get("/health/ready")).json()["arxiv"]

    assert arxiv["last_outcome"] == "ok"
    age = datetime.fromisoformat(arxiv["last_request"]) - started_at
    assert 0 <= age.total_seconds() < 600


async def test_running_and_waiting_searches_are_reported(client: Gateway, arxiv: StandIn) -> None:
    arxiv.delay = 30
    searches = [asyncio.create_task(client.get(f"/arxiv?title=testing{n}")) for n in range(3)]
    state = {"waiting": 0, "asking": False}
    async with asyncio.timeout(arxiv.delay):
        # all three need connections first, and one becomes the running one
        while (state["asking"], state["waiting"]) != (True, 2):
            state = (await client.get("/health/ready")).json()["arxiv"]
    for search in searches:
        search.cancel()
    await asyncio.gather(*searches, return_exceptions=True)


async def test_cooldown_is_reported_by_all_instances_which_stay_ready(gateway: Serve) -> None:
    throttling = httpx.MockTransport(lambda _: httpx.Response(429))
    async with gateway(throttling, cooldown=600.0) as one, gateway() as other:
        await one.get("/arxiv?title=testing")
        responses = [await client.get("/health/ready") for client in (one, other)]

    assert [response.status_code for response in responses] == [200, 200]
    states = [response.json()["arxiv"] for response in responses]
    assert [state["last_outcome"] for state in states] == ["busy", None]
    for state in states:
        until = datetime.fromisoformat(state["closed_until"]).replace(tzinfo=UTC)
        assert 590 < (until - datetime.now(UTC)).total_seconds() < 605


async def test_times_are_in_the_configured_zone(gateway: Serve) -> None:
    throttling = httpx.MockTransport(lambda _: httpx.Response(429))
    async with gateway(throttling, timezone="+05:00") as client:
        await client.get("/arxiv?title=testing")
        state = (await client.get("/health/ready")).json()["arxiv"]

    for name in ("last_request", "closed_until"):
        time = datetime.fromisoformat(f"{state[name]}+05:00")
        assert abs((time - datetime.now(UTC)).total_seconds()) < 100


async def test_read_only_instance_does_not_read_the_rate_limiter(
    gateway: Serve, settings: Callable[..., Settings]
) -> None:
    reader = settings().database_ro_url
    async with gateway(database_url=reader, endpoints="results,queries") as client:
        response = await client.get("/health/ready")

    assert (response.status_code, response.json()["arxiv"]) == (200, None)


async def test_database_of_a_newer_release_is_ready_and_reported(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute("insert into migrations (name) values ('9999_of_tomorrow')")
    response = await client.get("/health/ready")

    assert response.status_code == 200
    assert response.json()["detail"].startswith(
        "queries: the database has migrations of a newer release: 9999_of_tomorrow"
    )


async def test_database_without_a_migration_is_not_ready(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute("delete from migrations where name = '0010_reading'")
    response = await client.get("/health/ready")

    assert response.status_code == 503
    assert response.json()["detail"].startswith(
        "queries: the database lacks the migrations 0010_reading"
    )


@pytest.mark.parametrize(("name", "status"), [("gate", 200), ("migrations", 503)])
async def test_locked_table_does_not_block_the_check(
    client: Gateway,
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    status: int,
) -> None:
    monkeypatch.setattr("service.health.CHECK_TIMEOUT", 0.3)
    with db.transaction():
        db.execute(f"lock table {name}")
        started_at = asyncio.get_running_loop().time()
        response = await client.get("/health/ready")

    assert response.status_code == status
    assert response.json()["arxiv"] is None
    assert asyncio.get_running_loop().time() - started_at < 2
