"""Answers to words that were asked before: as if each request were read anew."""

import tracemalloc
from typing import Any

import httpx
import psycopg
import pytest

from service.handlers.pagination import ListResponse
from tests.api.test_lists import record
from tests.conftest import Gateway, Serve

NOON = 1_795_435_200
RESULTS = (
    "/results",
    "/results/",
    "/results?items_per_page=2&page=1",
    "/results?order=newest&items_per_page=1",
    "/results?title=paper&fields=title,query_id",
    "/results?format=ndjson&items_per_page=2",
    "/results?format=csv&page=0",
    "/results?format=csv",
    "/results?format=bibtex&items_per_page=2",
    "/results?format=atom&items_per_page=2",
    "/results?page=999",
)
ACCEPTED = ("*/*", "application/json", "text/csv", "application/atom+xml", "text/html;q=0.1, */*")


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """What is the same of equal answers."""
    fields = dict(answer.headers)
    name = fields.pop("x-request-id").encode()
    return answer.status_code, fields, answer.content.replace(name, b"")


async def failures(client: Gateway, status: str) -> float:
    labels = f'app_name="arxiv-gateway",method="GET",path="/results",status_code="{status}"'
    for line in (await client.get("/metrics")).text.splitlines():
        if line.startswith(f"http_requests_total{{{labels}}}"):
            return float(line.split()[-1])
    return 0


@pytest.fixture
def rows(db: psycopg.Connection) -> psycopg.Connection:
    for query_id in range(1, 4):
        record(db, query_id, NOON + query_id, 3)
    return db


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", RESULTS)
async def test_a_page_is_answered_again_as_it_was(gateway: Serve, path: str) -> None:
    async with gateway() as client:
        for method in ("GET", "HEAD"):
            for accepted in ACCEPTED:
                headers = {"accept": accepted, "accept-encoding": "identity"}
                first, second, third = [
                    await client.request(method, path, headers=headers) for _ in range(3)
                ]
                # a feed has the time at which it was made, of which HEAD tells by its tag
                if not first.headers["content-type"].startswith("application/atom+xml"):
                    assert told(first) == told(second) == told(third)


@pytest.mark.usefixtures("rows")
async def test_the_same_words_in_another_format_are_another_answer(gateway: Serve) -> None:
    async with gateway() as client:
        types = [
            (await client.get("/results?items_per_page=1", headers={"accept": kind})).headers[
                "content-type"
            ]
            for kind in ("application/json", "text/csv", "application/json", "text/csv")
        ]

    assert types[0] == types[2] == "application/json"
    assert types[1] == types[3] != types[0]


async def test_a_page_has_what_was_recorded_before_it_was_asked_for(
    gateway: Serve, rows: psycopg.Connection
) -> None:
    async with gateway() as client:
        for query_id in range(4, 30):
            record(rows, query_id, NOON + query_id, 1)
            found = await client.get("/results?order=newest&items_per_page=1")
            assert found.json()[0]["query_id"] == query_id


async def test_a_search_is_answered_again_as_it_was_but_for_its_age(gateway: Serve) -> None:
    async with gateway() as client:
        await client.get("/arxiv?title=testing")
        answers = [await client.get("/arxiv?title=testing") for _ in range(3)]

    names = ("cache-status", "cache-control", "age")
    first, second, third = [
        (status, {name: fields[name] for name in fields if name not in names}, content)
        for status, fields, content in map(told, answers)
    ]
    assert first == second == third
    assert all(name in answer.headers for name in names for answer in answers)


@pytest.mark.usefixtures("rows")
async def test_an_accident_is_counted_as_one(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: ListResponse[Any]) -> None:
        raise RuntimeError("an accident")

    async with gateway() as client:
        before = await failures(client, "500")
        assert (await client.get("/results?page=0")).status_code == 200
        monkeypatch.setattr(ListResponse, "ready", fail)
        assert (await client.get("/results?page=0")).status_code == 500
        assert await failures(client, "500") == before + 1


async def test_a_page_that_cannot_be_read_again_is_an_error_that_is_counted(
    gateway: Serve, rows: psycopg.Connection
) -> None:
    async with gateway() as client:
        before = await failures(client, "503")
        assert (await client.get("/results")).status_code == 200
        rows.execute("alter table results rename to away")
        answer = await client.get("/results")
        rows.execute("alter table away rename to results")
        again = await client.get("/results")
        after = await failures(client, "503")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the database is not migrated: run the migrations"
    assert again.status_code == 200
    assert after == before + 1


async def test_long_rows_are_not_kept_with_the_pages_that_show_little_of_them(
    gateway: Serve, rows: psycopg.Connection
) -> None:
    rows.execute("update results set author = repeat('A, ', 350000)")
    pages = [f"/results?fields=query_id&items_per_page={size}" for size in range(1, 10)]
    async with gateway() as client:
        await client.get("/results?fields=query_id&items_per_page=10")
        tracemalloc.start()
        try:
            for path in pages * 3:
                assert len((await client.get(path)).content) < 1000
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    # each read a megabyte for every row, 45 of them in all
    assert kept < 5_000_000
