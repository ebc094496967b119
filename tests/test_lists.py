"""The lists of `/results`, `/queries` and the backend: pages, cursors, filters, fields, formats."""

import csv
import io
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import bibtexparser
import feedparser
import httpx
import psycopg
import pytest
import rispy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Gateway, Serve

NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 86_400
LISTS = ("/results", "/read-results", "/queries", "/read-queries")
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(db: psycopg.Connection) -> psycopg.Connection:
    """Eleven searches of up to four results, many in the same second, recorded out of order."""
    for query_id in (7, 3, 11, 1, 2, 10, 4, 9, 5, 8, 6):
        record(db, query_id, NOON + query_id // 3, query_id % 5)
    return db


def record(db: psycopg.Connection, query_id: int, timestamp: int, results: int) -> None:
    db.execute(
        "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
        " values (%s, %s, 200, 40, %s, %s)",
        (query_id, timestamp, results, f"search_query=ti:{query_id}"),
    )
    for number in reversed(range(results)):
        db.execute(
            "insert into results (query_id, timestamp, result_number, author, title)"
            " values (%s, %s, %s, 'A, B', %s)",
            (query_id, timestamp, number, f"paper {query_id}.{number}"),
        )


def links(response: httpx.Response) -> dict[str, str]:
    return {rel: link["url"] for rel, link in response.links.items()}


def keys(found: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["query_id"], row.get("result_number", 0)) for row in found]


async def walk(client: Gateway, url: str, rel: str = "next") -> list[httpx.Response]:
    """The pages from this one on, by their links."""
    pages = [await client.get(url)]
    while further := links(pages[-1]).get(rel):
        assert len(pages) < 100, "the links lead in a circle"
        pages.append(await client.get(further))
    assert {page.status_code for page in pages} == {200}
    return pages


def together(pages: Iterable[httpx.Response]) -> Rows:
    return [row for page in pages for row in page.json()]


# Pages


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("order", ["", "&order=oldest", "&order=newest"])
@pytest.mark.parametrize("path", LISTS)
async def test_pages_and_cursors_lead_through_the_same_rows_both_ways(
    client: Gateway, path: str, order: str
) -> None:
    whole = (await client.get(f"{path}?items_per_page=1000{order}")).json()
    for size in (1, 3, 4, len(whole), len(whole) + 1):
        url = f"{path}?items_per_page={size}{order}"
        forth = await walk(client, url)
        back = await walk(client, str(forth[-1].url), "prev")
        forth_again = await walk(client, str(back[-1].url))
        count = -(-len(whole) // size)
        numbered = [await client.get(f"{url}&page={page}") for page in range(count)]
        numbered_back = await walk(client, f"{url}&page={count}", "prev")

        assert together(forth) == whole
        assert len(forth) == len(back) == count  # no empty page at either end
        assert [page.json() for page in back[::-1]] == [page.json() for page in forth]
        assert together(forth_again) == whole
        assert [page.json() for page in numbered] == [page.json() for page in forth]
        assert numbered_back[0].json() == []
        assert together(numbered_back[::-1]) == whole
        assert "next" not in links(numbered[-1])
        for page in (*forth, *back, *numbered, *numbered_back):
            assert (await client.get(links(page)["first"])).json() == whole[:size]
        for page in (*back[1:], *numbered[:-1]):
            assert (await client.get(links(page)["next"])).json()[0] in whole
        for page in (forth[0], back[-1], numbered[0]):
            assert "prev" not in links(page)

    expected = [(each, number) for each in range(1, 12) for number in range(each % 5)]
    if "queries" in path:
        expected = [(each, 0) for each in range(1, 12)]
    assert keys(whole) == (expected[::-1] if "newest" in order else expected)


@pytest.mark.parametrize("path", LISTS)
async def test_an_empty_list_has_no_further_pages(client: Gateway, path: str) -> None:
    for place in ("", "&page=0", "&order=newest"):
        response = await client.get(f"{path}?items_per_page=5{place}")
        assert response.json() == []
        assert set(links(response)) == {"first"}
    beyond = await client.get(f"{path}?page=3")
    assert beyond.json() == []
    assert set(links(beyond)) == {"first", "prev"}


@pytest.mark.parametrize("path", LISTS)
async def test_rows_that_come_meanwhile_move_no_cursor(
    client: Gateway, rows: psycopg.Connection, path: str
) -> None:
    whole = (await client.get(f"{path}?items_per_page=1000")).json()
    for order in ("oldest", "newest"):
        pages = [await client.get(f"{path}?items_per_page=4&order={order}")]
        while further := links(pages[-1]).get("next"):
            new = 100 + 2 * len(pages) + (order == "newest") * 50
            record(rows, new, NOON - DAY, 2)
            record(rows, new + 1, NOON + DAY, 2)
            pages.append(await client.get(further))
            if len(pages) > 30:
                break
        seen = keys(together(pages))

        assert len(seen) == len(set(seen))
        old = [key for key in seen if key[0] < 100]
        assert old == (keys(whole) if order == "oldest" else keys(whole)[::-1])
        # what comes before the reader stays there, what comes after is met
        met = {key[0] % 2 for key in seen if key[0] >= 100 + (order == "newest") * 50}
        assert met <= ({1} if order == "oldest" else {0, 1})


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", LISTS)
async def test_links_keep_what_was_asked_for(client: Gateway, path: str) -> None:
    asked = f"{path}?fields=query_id&order=newest&items_per_page=2"
    pages = await walk(client, f"{asked}&page=0")

    assert all(list(row) == ["query_id"] for row in together(pages))
    for page in pages:
        for link in links(page).values():
            query = httpx.URL(link).params
            assert {"fields": "query_id", "order": "newest", "items_per_page": "2"}.items() <= (
                dict(query).items()
            )
            assert link.startswith(path)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("format_name", ["json", "csv", "ndjson", "bibtex", "ris", "atom"])
@pytest.mark.parametrize("path", LISTS)
async def test_pages_of_the_default_size_lead_to_pages(
    gateway: Serve, path: str, format_name: str
) -> None:
    """In every format, though without `page` most of them hold the whole list."""
    async with gateway(items_per_page=4) as client:
        url = f"{path}?format={format_name}&page=0"
        forth = await walk(client, url)
        back = await walk(client, str(forth[-1].url), "prev")
        numbered = await client.get(f"{path}?format={format_name}&page=1")

        assert len(forth) == len(back) > 2
        assert forth[1].content == numbered.content or format_name == "atom"
        assert (await client.get(links(forth[1])["first"])).content == forth[0].content or (
            format_name == "atom"
        )


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("page=0&after=x", "after"),
        ("page=-1", "page"),
        ("page=", "page"),
        ("page=1000000001", "page"),
        ("items_per_page=0", "items_per_page"),
        ("items_per_page=1001", "items_per_page"),
        ("items_per_page=ten", "items_per_page"),
        ("after=", "after"),
        ("after=%C3%A9", "after"),
        ("after=" + "A" * 1001, "after"),
        ("order=best", "order"),
        ("order=", "order"),
        ("format=xml", "format"),
        ("format=", "format"),
        ("format=JSON", "format"),
        ("fields=", "fields"),
        ("fields=query_id,", "fields"),
        ("fields=nothing", "fields"),
        ("fields=query_id,timestamp,query_id", "fields"),
        ("fields=query_id&format=bibtex", "fields"),
        ("fields=query_id&format=ris", "fields"),
        ("fields=query_id&format=atom", "fields"),
        ("colour=red", "colour"),
    ],
)
async def test_a_list_refuses_what_it_does_not_know_by_name(
    client: Gateway, path: str, query: str, name: str
) -> None:
    response = await client.get(f"{path}?{query}")

    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["parameter"] == name
    assert problem["detail"].startswith(f"{name}: ")


async def test_a_page_and_a_cursor_exclude_each_other(
    client: Gateway, rows: psycopg.Connection
) -> None:
    del rows
    cursor = links(await client.get("/results?items_per_page=2"))["next"]
    response = await client.get(f"{cursor}&page=0")

    assert response.status_code == 400
    assert response.json()["parameter"] == "after"


async def test_the_furthest_page_is_empty(client: Gateway, rows: psycopg.Connection) -> None:
    del rows
    for path in LISTS:
        response = await client.get(f"{path}?page=1000000000&items_per_page=1000")
        assert (response.status_code, response.json()) == (200, [])


# Cursors


def cursor_of(response: httpx.Response, rel: str = "next") -> str:
    return httpx.URL(links(response)[rel]).params["after"]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", ["/results", "/read-queries"])
async def test_a_cursor_that_was_changed_is_refused(client: Gateway, path: str) -> None:
    url = f"{path}?items_per_page=2"
    cursor = cursor_of(await client.get(url))
    assert (await client.get(url, params={"after": cursor})).status_code == 200
    changed = [cursor[:end] for end in range(len(cursor))]
    changed += [f"{cursor}{end}" for end in ("=", "==", "A", "AAAA", " ", "\n", "é", "\\")]
    changed += [f" {cursor}", f"A{cursor}", f"AAAA{cursor}", cursor * 2, cursor.swapcase()]
    for place, character in enumerate(cursor):
        for other in ("A", "_", "b", "+", "%", " ", "."):
            if other != character:
                changed.append(cursor[:place] + other + cursor[place + 1 :])

    for each in changed:
        response = await client.get(path, params={"items_per_page": 2, "after": each})
        assert response.status_code == 400, each
        assert response.json()["parameter"] == "after"


@pytest.mark.usefixtures("rows")
async def test_a_cursor_belongs_to_one_list(client: Gateway) -> None:
    """To its path, its filters and its order."""
    lists = [
        "/results?",
        "/read-results?",
        "/queries?",
        "/read-queries?",
        "/papers?",
        "/results?order=newest",
        "/results?title=paper",
        "/results?author=A",
        "/results?query_id=4",
        "/results?since=2026-11-23",
        "/read-results?order=newest",
        "/queries?order=newest",
        "/queries?text=ti",
        "/queries?status=200",
        "/queries?start_timestamp=2026-11-23",
    ]
    cursors = {}
    for url in lists:
        if url != "/papers?":
            cursors[url] = cursor_of(await client.get(f"{url}&items_per_page=2"))
    for own, cursor in cursors.items():
        for url in lists:
            response = await client.get(f"{url}&items_per_page=2&after={cursor}")
            if url == own:
                assert response.status_code == 200
            else:
                assert response.status_code == 400, (own, url)
                assert response.json()["parameter"] == "after"


@pytest.mark.usefixtures("rows")
async def test_a_cursor_is_good_however_its_list_is_shown(gateway: Serve) -> None:
    """And over another process, with other settings."""
    async with gateway() as client:
        first = await client.get("/results?title=paper&author=A&items_per_page=4")
    cursor = cursor_of(first)
    async with gateway(items_per_page=3, timezone="Asia/Kolkata") as client:
        whole = (await client.get("/results?title=paper&author=A&items_per_page=1000")).json()
        for shown in (
            "",
            "&items_per_page=2",
            "&fields=query_id,result_number",
            "&format=json",
            "&format=ndjson&items_per_page=3",
        ):
            url = f"/results?author=A&title=paper&after={cursor}{shown}"
            response = await client.get(url)
            lines = response.text.splitlines()
            found = [json.loads(line) for line in lines] if "ndjson" in shown else response.json()
            size = 2 if "_page=2" in shown else 3
            assert keys(found) == keys(whole)[4 : 4 + size]
        rest = await client.get(f"/results?author=A&title=paper&after={cursor}&format=csv")
        assert len(rest.text.splitlines()) == 1 + len(whole) - 4


async def test_a_made_up_cursor_does_no_harm(client: Gateway) -> None:
    """Whoever knows how cursors are made gets a page, or 400."""
    from service.handlers import cursors  # noqa: PLC0415 - as an attacker would

    keys_made_up: list[tuple[Any, ...]] = [
        (),
        (1,),
        (1, 2, 3, 4),
        ("a", "b", "c"),
        (2**63, 1, 1),
        (1, 1, 40_000),
        (1.5, 1, 1),
        (None, None, None),
        ([], {}, True),
        (1, 1, 1),
    ]
    for key in keys_made_up:
        cursor = cursors.write(key, "/results?")
        response = await client.get(f"/results?after={cursor}")
        assert response.status_code in {200, 400}, (key, response.text)
