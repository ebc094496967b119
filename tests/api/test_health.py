"""`/health/ready`: what must be there, and what is only shown."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.settings import Settings
from tests.conftest import Gateway, Serve

QUIET = {"asking": False, "waiting": 0, "last_request": None, "last_outcome": None}


async def test_before_the_first_search_there_is_nothing_to_tell_of_arxiv(client: Gateway) -> None:
    assert (await client.get("/health/ready")).json()["arxiv"] == QUIET | {"closed_until": None}


async def test_the_last_request_to_arxiv_is_told(client: Gateway) -> None:
    began = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    await client.get("/arxiv?title=testing")
    arxiv = (await client.get("/health/ready")).json()["arxiv"]

    assert arxiv["last_outcome"] == "ok"
    assert 0 <= (datetime.fromisoformat(arxiv["last_request"]) - began).total_seconds() < 10


async def test_who_asks_and_who_waits_is_told(client: Gateway, arxiv: StandIn) -> None:
    arxiv.delay = 3
    asking = [asyncio.create_task(client.get(f"/arxiv?title=testing{n}")) for n in range(3)]
    told = {"waiting": 0, "asking": False}
    async with asyncio.timeout(arxiv.delay):
        while told["waiting"] < 2 or not told["asking"]:  # all three need connections first
            told = (await client.get("/health/ready")).json()["arxiv"]
    for search in asking:
        search.cancel()
    await asyncio.gather(*asking, return_exceptions=True)

    assert (told["asking"], told["waiting"]) == (True, 2)


async def test_a_pause_of_arxivs_is_told_by_all_and_nobody_is_less_ready(gateway: Serve) -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(429))
    async with gateway(refusing, cooldown=600.0) as one, gateway() as other:
        await one.get("/arxiv?title=testing")
        answers = [await client.get("/health/ready") for client in (one, other)]

    assert [answer.status_code for answer in answers] == [200, 200]
    told = [answer.json()["arxiv"] for answer in answers]
    assert [each["last_outcome"] for each in told] == ["busy", None]
    for each in told:
        until = datetime.fromisoformat(each["closed_until"]).replace(tzinfo=UTC)
        assert 590 < (until - datetime.now(UTC)).total_seconds() < 605


async def test_times_are_in_the_zone_of_the_settings(gateway: Serve) -> None:
    refusing = httpx.MockTransport(lambda _: httpx.Response(429))
    async with gateway(refusing, timezone="+05:00") as client:
        await client.get("/arxiv?title=testing")
        told = (await client.get("/health/ready")).json()["arxiv"]

    for name in ("last_request", "closed_until"):
        shown = datetime.fromisoformat(f"{told[name]}+05:00")
        assert abs((shown - datetime.now(UTC)).total_seconds()) < 100


async def test_an_instance_that_only_reads_looks_at_no_gate(
    gateway: Serve, settings: Callable[..., Settings]
) -> None:
    reader = settings().database_ro_url
    async with gateway(database_url=reader, endpoints="results,queries") as client:
        answer = await client.get("/health/ready")

    assert (answer.status_code, answer.json()["arxiv"]) == (200, None)


async def test_a_database_that_is_ahead_is_ready_and_told(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute("insert into migrations (name) values ('9999_of_tomorrow')")
    answer = await client.get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["detail"].startswith(
        "queries: the database is ahead of this release by 9999_of_tomorrow"
    )


async def test_a_database_that_is_behind_is_not_ready(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute("delete from migrations where name = '0010_reading'")
    answer = await client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["detail"].startswith(
        "queries: the database lacks the migrations 0010_reading"
    )


@pytest.mark.parametrize(("name", "status"), [("gate", 200), ("migrations", 503)])
async def test_a_table_that_is_locked_is_not_waited_for(
    client: Gateway,
    db: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    status: int,
) -> None:
    monkeypatch.setattr("service.handlers.health.PATIENCE", 0.3)
    with db.transaction():
        db.execute(f"lock table {name}")
        began = asyncio.get_running_loop().time()
        answer = await client.get("/health/ready")

    assert answer.status_code == status
    assert answer.json()["arxiv"] is None
    assert asyncio.get_running_loop().time() - began < 2
