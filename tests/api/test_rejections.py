"""Responses that PostgreSQL cannot store, and recording while another search waits."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any

import httpx
import psycopg
import pytest

from demo import feed
from demo.papers import generate
from service import word_tsquery
from service.db import records as records_module
from tests.conftest import Serve

PAPERS = generate(4)
TRIGGER = """
    create function reject() returns trigger language plpgsql as $$ begin {body} end $$;
    create trigger reject before insert on {table} for each row execute function reject();
"""
RAISE = "raise exception 'no % here', tg_table_name;"


class Upstream:
    """An arXiv that counts its requests."""

    def __init__(self) -> None:
        self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        query = request.url.params["search_query"]
        return httpx.Response(200, content=feed.render(PAPERS[:3], query=query))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (TRIGGER.format(table="results", body=RAISE), "no results here"),
        (TRIGGER.format(table="papers", body=RAISE), "no papers here"),
        ("alter table results add check (title = '')", "violates check constraint"),
        (
            TRIGGER.format(table="papers", body="perform 1 / 0; return new;"),
            "division by zero",
        ),
        (
            TRIGGER.format(
                table="papers", body="raise exception 'too large' using errcode = '54000';"
            ),
            "too large",
        ),
    ],
    ids=["raise on results", "raise on papers", "23", "22", "54"],
)
async def test_rejected_response_is_recorded_at_once_without_results(
    gateway: Serve, db: psycopg.Connection, statement: str, reason: str
) -> None:
    db.execute(statement.encode())
    upstream = Upstream()
    async with gateway(httpx.MockTransport(upstream)) as client:
        started = monotonic()
        response = await client.get("/arxiv", params={"title": "x"})
        taken = monotonic() - started

    assert response.status_code == 502, response.text
    assert reason in response.json()["detail"]
    assert taken < 25  # less than retries would take
    assert upstream.requests == 1
    [row] = db.execute("select query_id, outcome, num_entries, status from queries").fetchall()
    assert row == (response.json()["query_id"], "broken", 0, 200)
    assert db.execute("select count(*) from results").fetchone() == (0,)
    assert db.execute("select count(*) from gate where holder is not null").fetchone() == (0,)


async def test_database_that_rejects_every_record_is_a_bad_gateway(
    gateway: Serve, db: psycopg.Connection
) -> None:
    db.execute(TRIGGER.format(table="queries", body=RAISE).encode())
    async with gateway(httpx.MockTransport(Upstream())) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 502
    assert "no queries here" in response.json()["detail"]
    assert "query_id" not in response.json()


async def test_write_that_takes_too_long_is_not_repeated(
    gateway: Serve, db: psycopg.Connection, database: str
) -> None:
    db.execute(TRIGGER.format(table="papers", body="perform pg_sleep(60); return new;").encode())
    upstream = Upstream()
    url = f"{database} options='-c statement_timeout=500ms'"
    async with gateway(httpx.MockTransport(upstream), database_url=url) as client:
        started = monotonic()
        response = await client.get("/arxiv", params={"title": "x"})
        taken = monotonic() - started

    assert response.status_code == 502
    assert "takes too long" in response.json()["detail"]
    assert taken < 25
    assert upstream.requests == 1
    assert db.execute("select outcome from queries").fetchall() == [("broken",)]


async def test_expired_record_is_served_if_the_new_response_is_rejected(
    gateway: Serve, db: psycopg.Connection
) -> None:
    async with gateway(httpx.MockTransport(Upstream())) as client:
        first = await client.get("/arxiv", params={"title": "x"})
    db.execute("update queries set recorded = recorded - 7 * 86400")
    db.execute(TRIGGER.format(table="results", body=RAISE).encode())
    async with gateway(httpx.MockTransport(Upstream())) as client:
        second = await client.get("/arxiv", params={"title": "x"})

    assert second.json() == first.json()
    assert "detail=stale" in second.headers["cache-status"]


@pytest.mark.parametrize("lost", [False, True], ids=["unavailable", "connection lost"])
async def test_only_the_first_attempt_to_record_delays_other_searches(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    insert = records_module.RecordStore._insert  # noqa: SLF001
    attempts: list[str] = []
    other_came = asyncio.Event()

    async def fail(*arguments: Any) -> int:
        record = arguments[1]
        attempts.append(record.query)
        if "other" in record.query:
            other_came.set()
            return await insert(*arguments)
        if lost and len(attempts) > 2:
            return await insert(*arguments)
        if not lost and len(attempts) > 4:
            return await insert(*arguments)
        if len(attempts) > 1:  # would be endless if the other search waited for this attempt
            with suppress(TimeoutError):
                await asyncio.wait_for(other_came.wait(), 20)
        raise psycopg.OperationalError if lost else psycopg.errors.DiskFull

    monkeypatch.setattr(records_module.RecordStore, "_insert", fail)
    async with gateway(httpx.MockTransport(Upstream())) as client:
        first = asyncio.create_task(client.get("/arxiv", params={"title": "first"}))
        while not attempts:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
        other = await client.get("/arxiv", params={"title": "other"})
        response = await first

    assert (response.status_code, other.status_code) == (200, 200)
    assert ["other" in query for query in attempts].index(True) <= 2


HUGE: list[tuple[str, str, Any]] = [
    ("id", "<id>http://arxiv.org/abs/{}</id>", "1" * 6000),
    ("category", '<category term="{}"/>', "c" * 9000),
    ("primary category", '<arxiv:primary_category term="{}"/>', "c" * 9000),
    ("combining", "<summary>{}</summary>", "e" + "\u0301" * 48_000),
    ("combining title", "<title>{}</title>", "\u0301\u0653" * 24_000),
    ("words", "<summary>{}</summary>", " ".join(f"word{number}" for number in range(200_000))),
    ("one word", "<title>{}</title>", "x" * 500_000),
    ("ideographs", "<summary>{}</summary>", " ".join(map(chr, range(0x4E00, 0x9FFF))) * 3),
    ("names", "<author><name>{}</name></author>", "n" * 50_000),
    ("doi", "<arxiv:doi>{}</arxiv:doi>", "10.5555/" + "d" * 50_000),
    ("link", '<link href="{}"/>', "https://x.example/" + "l" * 50_000),
    ("authors", "{}", "<author><name>A. Name</name></author>" * 15_000),
]


@pytest.mark.parametrize(
    ("part", "content"), [row[1:] for row in HUGE], ids=[row[0] for row in HUGE]
)
async def test_oversized_field_does_not_lose_the_response(
    gateway: Serve, db: psycopg.Connection, part: str, content: str
) -> None:
    entry = f"<entry><title>Odd</title>{part.format(content)}</entry>".encode()
    body = feed.render(PAPERS[:3], total=4).replace(b"</feed>", entry + b"</feed>")
    body = body.replace(b"<feed ", b'<feed xmlns:arxiv="http://arxiv.org/schemas/atom" ', 1)
    body = body.replace(
        b' xmlns:arxiv="http://arxiv.org/schemas/atom"', b"", body.count(b"xmlns:arxiv") - 1
    )
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with gateway(transport) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 200, response.text
    assert response.json()["num_entries"] == 4
    assert db.execute("select count(*) from results").fetchone() == (4,)


@pytest.mark.parametrize("parameters", [["author"], ["author", "title"]])
async def test_tsquery_that_is_too_large_is_rejected(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch, parameters: list[str]
) -> None:
    nested = "(" * 20_000 + "'x'" + ")" * 20_000
    monkeypatch.setattr(word_tsquery, "build_word_tsqueries", lambda _: [nested])
    async with gateway() as client:
        response = await client.get("/results", params=dict.fromkeys(parameters, "x"))

    assert response.status_code == 400, response.text
    names = ", ".join(parameters)
    assert response.json()["parameter"] == names
    assert response.json()["detail"].startswith(f"{names}: PostgreSQL cannot search for it: ")
