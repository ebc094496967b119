"""Lists of `/results`, `/queries` and the backend: pages, cursors, filters, fields, formats."""

import csv
import io
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import feedparser
import httpx
import psycopg
import pytest
import rispy
from bibtexparser.entrypoint import parse_string as parse_bibtex

from service import lists
from tests.conftest import Gateway, Serve

NOON = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp())
HOUR, DAY = 3600, 86_400
LISTS = ("/results", "/read-results", "/queries", "/read-queries")
Rows = list[dict[str, Any]]


@pytest.fixture
def rows(db: psycopg.Connection) -> psycopg.Connection:
    """Eleven searches with up to four results, many in the same second, inserted out of order."""
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
    return {str(rel): link["url"] for rel, link in response.links.items()}


def keys(found: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["query_id"], row.get("result_number", 0)) for row in found]


async def walk(client: Gateway, url: str, rel: str = "next") -> list[httpx.Response]:
    """Return the pages from this one on, following the links."""
    pages = [await client.get(url)]
    while further := links(pages[-1]).get(rel):
        assert len(pages) < 100, "the links form a cycle"
        pages.append(await client.get(further))
    assert {page.status_code for page in pages} == {200}
    return pages


def join_pages(pages: Iterable[httpx.Response]) -> Rows:
    return [row for page in pages for row in page.json()]


# Pages


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("order", ["", "&order=oldest", "&order=newest"])
@pytest.mark.parametrize("path", LISTS)
async def test_pages_and_cursors_return_the_same_rows_in_both_directions(
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

        assert join_pages(forth) == whole
        assert len(forth) == len(back) == count  # without an empty page at either end
        assert [page.json() for page in back[::-1]] == [page.json() for page in forth]
        assert join_pages(forth_again) == whole
        assert [page.json() for page in numbered] == [page.json() for page in forth]
        assert numbered_back[0].json() == []
        assert join_pages(numbered_back[::-1]) == whole
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
async def test_empty_list_has_no_next_page(client: Gateway, path: str) -> None:
    for place in ("", "&page=0", "&order=newest"):
        response = await client.get(f"{path}?items_per_page=5{place}")
        assert response.json() == []
        assert set(links(response)) == {"first"}
    beyond = await client.get(f"{path}?page=3")
    assert beyond.json() == []
    assert set(links(beyond)) == {"first", "prev"}


@pytest.mark.parametrize("path", LISTS)
async def test_cursors_are_stable_while_rows_are_inserted(
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
        seen = keys(join_pages(pages))

        assert len(seen) == len(set(seen))
        old = [key for key in seen if key[0] < 100]
        assert old == (keys(whole) if order == "oldest" else keys(whole)[::-1])
        # rows inserted behind the reader are not returned, those ahead of it are
        met = {key[0] % 2 for key in seen if key[0] >= 100 + (order == "newest") * 50}
        assert met <= ({1} if order == "oldest" else {0, 1})


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", LISTS)
async def test_links_keep_the_parameters(client: Gateway, path: str) -> None:
    url = f"{path}?fields=query_id&order=newest&items_per_page=2"
    pages = await walk(client, f"{url}&page=0")

    assert all(list(row) == ["query_id"] for row in join_pages(pages))
    for page in pages:
        for link in links(page).values():
            query = httpx.URL(link).params
            assert {"fields": "query_id", "order": "newest", "items_per_page": "2"}.items() <= (
                dict(query).items()
            )
            assert link.startswith(path)


@pytest.mark.usefixtures("rows")
async def test_links_of_default_size_pages_lead_to_pages(gateway: Serve) -> None:
    """Without `page`, most formats contain the whole list."""
    async with gateway(items_per_page=4) as client:
        for path in LISTS:
            for name in ("json", "csv", "ndjson", "bibtex", "ris", "atom"):
                forth = await walk(client, f"{path}?format={name}&page=0")
                back = await walk(client, str(forth[-1].url), "prev")
                first = await client.get(links(forth[1])["first"])
                numbered = await client.get(f"{path}?format={name}&page=1")

                assert len(forth) == len(back) > 2, (path, name)
                assert all("next" in links(page) for page in back[1:])
                if name != "atom":  # it names its own address
                    assert forth[0].content == first.content
                    assert forth[1].content == numbered.content


REFUSED = [
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
]


@pytest.mark.parametrize("path", LISTS)
async def test_invalid_list_parameter_is_named(client: Gateway, path: str) -> None:
    for query, name in REFUSED:
        response = await client.get(f"{path}?{query}")

        assert response.status_code == 400, (query, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["parameter"] == name, query
        assert problem["detail"].startswith(f"{name}: ")


async def test_error_lists_the_valid_values(client: Gateway) -> None:
    for query, named in (
        ("fields=titel", "author, title, journal, query_id, timestamp, result_number, arxiv_id"),
        ("format=xml", "json, ndjson, csv, bibtex, ris, atom"),
        ("fields=title&format=ris", "json, ndjson, csv"),
        ("fields=title,title", "title is given 2 times"),
        ("titel=x", "title"),
    ):
        assert named in (await client.get(f"/results?{query}")).json()["detail"]


async def test_page_and_cursor_are_mutually_exclusive(
    client: Gateway, rows: psycopg.Connection
) -> None:
    del rows
    cursor = links(await client.get("/results?items_per_page=2"))["next"]
    response = await client.get(f"{cursor}&page=0")

    assert response.status_code == 400
    assert response.json()["parameter"] == "after"


async def test_last_possible_page_is_empty(client: Gateway, rows: psycopg.Connection) -> None:
    del rows
    for path in LISTS:
        response = await client.get(f"{path}?page=1000000000&items_per_page=1000")
        assert (response.status_code, response.json()) == (200, [])


# Cursors


def cursor_of(response: httpx.Response, rel: str = "next") -> str:
    return httpx.URL(links(response)[rel]).params["after"]


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", ["/results", "/read-queries"])
async def test_modified_cursor_is_rejected(client: Gateway, path: str) -> None:
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
async def test_cursor_is_bound_to_its_list(client: Gateway) -> None:
    """The list is identified by its path, filters and order."""
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
async def test_cursor_is_valid_for_any_presentation_of_its_list(gateway: Serve) -> None:
    """Also in another process, with other settings."""
    async with gateway() as client:
        first = await client.get("/results?title=paper&author=A&items_per_page=4")
    cursor = cursor_of(first)
    async with gateway(items_per_page=3, timezone="Asia/Kolkata") as client:
        whole = (await client.get("/results?title=paper&author=A&items_per_page=1000")).json()
        for presentation in (
            "",
            "&items_per_page=2",
            "&fields=query_id,result_number",
            "&format=json",
            "&format=ndjson&items_per_page=3",
        ):
            url = f"/results?author=A&title=paper&after={cursor}{presentation}"
            response = await client.get(url)
            lines = response.text.splitlines()
            found = (
                [json.loads(line) for line in lines]
                if "ndjson" in presentation
                else response.json()
            )
            size = 2 if "_page=2" in presentation else 3
            assert keys(found) == keys(whole)[4 : 4 + size]
        rest = await client.get(f"/results?author=A&title=paper&after={cursor}&format=csv")
        assert len(rest.text.splitlines()) == 1 + len(whole) - 4


async def test_forged_cursor_returns_a_page_or_400(client: Gateway) -> None:
    forged_keys: list[tuple[Any, ...]] = [
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
        (1, 1),
        (1, "a\0", 1),
        (1, "a", 1),
    ]
    for path in ("/results", "/queries", "/papers"):
        statuses = []
        for key in forged_keys:
            cursor = lists.encode_cursor(key, f"{path}?")
            response = await client.get(f"{path}?after={cursor}")
            statuses.append(response.status_code)
            if response.status_code != 200:
                assert response.json()["parameter"] == "after", (key, response.text)
        assert set(statuses) == {200, 400}


# Filters


@pytest.fixture
def nobel(db: psycopg.Connection) -> psycopg.Connection:
    """Two searches, on two days, that found papers with unusual names."""
    papers = [
        (1, 0, "Emmy Noether, Felix Klein", "Invariants of differential expressions", "Math. Ann."),
        (1, 1, "Emmy Klein, Felix Noether", "Expressions of anything", None),
        (1, 2, "Michał Zając, José Núñez", "Schrödinger's cat & <x> in AdS/CFT", "Phys.Rev. D 12"),
        (2, 0, "D. He, Q. O'Neil", "100% of $x_1$ at 50\\% of NGC-4258", "J.Phys. A"),
        (2, 1, "Иван Петров", "量子 computing of THE graphs", "ЖЭТФ 5 (1999)"),
    ]
    for query_id, number, author, title, journal in papers:
        db.execute(
            "insert into results (query_id, timestamp, result_number, author, title, journal,"
            " arxiv_id, version) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                *(query_id, NOON + (query_id - 1) * DAY, number, author, title, journal),
                *(f"2611.0000{query_id}", number or None),
            ),
        )
        db.execute(
            "insert into papers (arxiv_id, version, timestamp, title, authors, categories)"
            " values (%s, %s, %s, %s, %s, %s)",
            (
                *(f"2611.0000{query_id}", number, NOON, title, author.split(", ")),
                [["cs.SE", "math.DG"], ["math-ph"], ["hep-th", "cs.AI"]][number],
            ),
        )
    db.execute(
        "insert into results (query_id, timestamp, result_number, author, title)"
        " values (3, %s, 0, '', 'Nameless')",
        (NOON + 2 * DAY,),
    )
    return db


ALL = ["1.0", "1.1", "1.2", "2.0", "2.1", "3.0"]


@pytest.mark.usefixtures("nobel")
async def test_results_are_filtered(client: Gateway) -> None:
    for filters, expected_rows in (
        ({}, ALL),
        ({"query_id": 2}, ["2.0", "2.1"]),
        ({"query_id": 9}, []),
        ({"author": "Emmy Noether"}, ["1.0"]),
        ({"author": "noether"}, ["1.0", "1.1"]),
        ({"author": "Felix"}, ["1.0", "1.1"]),
        ({"author": "Noether Emmy"}, []),
        ({"author": "Zając"}, ["1.2"]),
        ({"author": "zajac"}, ["1.2"]),
        ({"author": "Nunez"}, ["1.2"]),
        ({"author": "Núñez"}, ["1.2"]),
        ({"author": "He"}, ["2.0"]),
        ({"author": "O'Neil"}, ["2.0"]),
        ({"author": "петров"}, ["2.1"]),
        ({"author": "invariants"}, []),
        ({"title": "Emmy"}, []),
        ({"title": "differential expressions"}, ["1.0"]),
        ({"title": "EXPRESSION"}, ["1.0", "1.1"]),
        ({"title": "of anything"}, ["1.1"]),
        ({"title": "ads/cft"}, ["1.2"]),
        ({"title": "cat & <x>"}, ["1.2"]),
        ({"title": "50\\% of"}, ["2.0"]),
        ({"title": "schrodinger"}, ["1.2"]),
        ({"title": "ngc 4258"}, ["2.0"]),
        ({"title": "' | !x:* \\ % 100"}, []),
        ({"title": "量子"}, ["2.1"]),
        ({"journal": "Phys.Rev."}, ["1.2"]),
        ({"journal": "phys.rev. d"}, ["1.2"]),
        ({"journal": "Math"}, ["1.0"]),
        ({"journal": "ЖЭТФ"}, ["2.1"]),
        ({"journal": "expressions"}, []),
        ({"category": "cs.SE"}, ["1.0", "2.0"]),
        ({"category": "cs.*"}, ["1.0", "1.2", "2.0"]),
        ({"category": "CS.se"}, ["1.0", "2.0"]),
        ({"category": "math.*"}, ["1.0", "2.0"]),
        ({"category": "hep-th"}, ["1.2"]),
        ({"category": ["hep-th", "math-ph"]}, ["1.1", "1.2", "2.1"]),
        ({"category": ["hep-th", "math.*"]}, ["1.0", "1.2", "2.0"]),
        ({"category": "cs.LG"}, []),
        ({"since": "2026-11-24"}, ["2.0", "2.1", "3.0"]),
        ({"until": "2026-11-23"}, ["1.0", "1.1", "1.2"]),
        ({"since": "2026-11-24", "until": "2026-11-24"}, ["2.0", "2.1"]),
        ({"since": "2026-11-24T12:00:00", "until": "2026-11-24T12:00"}, ["2.0", "2.1"]),
        ({"since": "2026-11-24T12:00:00.1"}, ["3.0"]),
        ({"since": "2026-11-24T13:00:00+01:00"}, ["2.0", "2.1", "3.0"]),
        ({"until": "2026-11-24T13:59:59+02:00"}, ["1.0", "1.1", "1.2"]),
        ({"since": "2026-11-25T12:00:00Z"}, ["3.0"]),
        ({"author": "", "title": "", "journal": "", "category": ""}, ALL),
        ({"author": "Felix", "title": "expressions", "query_id": 1}, ["1.0", "1.1"]),
        ({"author": "Felix", "category": "cs.*", "until": "2026-11-23"}, ["1.0"]),
        ({"author": "Felix", "journal": "math ann", "title": "invariant"}, ["1.0"]),
        ({"author": "Felix", "query_id": 2}, []),
    ):
        for path in ("/results", "/read-results"):
            for order in ("oldest", "newest"):
                params: dict[str, Any] = filters | {"order": order}
                response = await client.get(path, params=params)
                places = [f"{query_id}.{number}" for query_id, number in keys(response.json())]
                assert places == (expected_rows if order == "oldest" else expected_rows[::-1]), (
                    params
                )


@pytest.mark.usefixtures("nobel")
async def test_dates_are_days_of_the_configured_zone(gateway: Serve) -> None:
    async with gateway(timezone="+14:00") as client:
        day = (await client.get("/results?since=2026-11-24&until=2026-11-24")).json()

    assert {row["timestamp"] for row in day} == {"2026-11-24T02:00:00"}


BAD_FILTERS = [
    *((name, text) for name in ("author", "title", "journal") for text in (" ", "-", "$%&", "()")),
    *(("category", text) for text in ("cs.", "*", "cs.*.*", "no thing", "cs.AI,cs.SE")),
    *((name, text) for name in ("since", "until") for text in ("", "tomorrow", "2026-02-30", "5")),
    ("since", "2026-11-23T12:00:00+25:00"),
    *(("query_id", text) for text in ("0", "-1", "x", str(2**63), "1.5")),
    ("title", "x" * 501),
]


async def test_invalid_filter_is_named(client: Gateway) -> None:
    for name, text in BAD_FILTERS:
        response = await client.get("/results", params={name: text})
        assert response.status_code == 400, (name, text)
        assert response.json()["parameter"] == name
        assert response.json()["detail"].startswith(f"{name}: ")
    backwards = await client.get("/results?since=2026-11-24&until=2026-11-23")
    assert backwards.json()["detail"] == "until: must not be before since"


TEXTS = [
    'search_query=ti:"testing"&id_list=&start=0',
    "search_query=au:Zając AND ti:100%",
    "search_query=all:a_b\\c",
    "search_query=all:axb/c?d*[e]'f\"",
]


@pytest.fixture
def searches(db: psycopg.Connection) -> psycopg.Connection:
    for query_id, text in enumerate(TEXTS, 1):
        db.execute(
            "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
            " values (%s, %s, %s, 1, 1, %s)",
            (query_id, NOON + query_id * HOUR, [0, 200, 429, 200][query_id - 1], text),
        )
    return db


@pytest.mark.usefixtures("searches")
async def test_searches_are_filtered_by_status_text_and_time(client: Gateway) -> None:
    for filters, expected_rows in (
        ({}, [1, 2, 3, 4]),
        ({"status": 200}, [2, 4]),
        ({"status": 0}, [1]),
        ({"status": 999}, []),
        ({"text": "TESTING"}, [1]),
        ({"text": '"testing"&id_list='}, [1]),
        ({"text": "ZAJĄC"}, [2]),
        ({"text": "%"}, [2]),
        ({"text": "_"}, [1, 2, 3, 4]),
        ({"text": "a_b"}, [3]),
        ({"text": "\\"}, [3]),
        ({"text": "b\\c"}, [3]),
        ({"text": "c?d*[e]'f\""}, [4]),
        ({"text": "a%b"}, []),
        ({"text": ""}, [1, 2, 3, 4]),
        ({"text": "all:", "status": 200}, [4]),
        ({"text": "all:", "status": 429, "start_timestamp": NOON, "end_timestamp": NOON}, []),
        ({"start_timestamp": NOON + 2 * HOUR, "end_timestamp": NOON + 3 * HOUR}, [2, 3]),
    ):
        for order in ("oldest", "newest"):
            expected = expected_rows if order == "oldest" else expected_rows[::-1]
            params: dict[str, Any] = filters | {"order": order}
            stored = await client.get("/read-queries", params=params)
            for name in ("start_timestamp", "end_timestamp"):
                if name in params:
                    params[name] = datetime.fromtimestamp(params[name], UTC).isoformat()
            listed = await client.get("/queries", params=params)
            posted = await client.post("/queries", json=params)

            assert [row["query_id"] for row in stored.json()] == expected, params
            assert [row["query_id"] for row in listed.json()] == expected, params
            assert posted.json() == listed.json()
            assert posted.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/queries", "/read-queries"])
async def test_invalid_status_or_text_is_named(client: Gateway, path: str) -> None:
    for name, text in (("status", "-1"), ("status", "1000"), ("status", "ok"), ("text", "x" * 501)):
        response = await client.get(path, params={name: text})
        assert response.status_code == 400, (name, text)
        assert response.json()["parameter"] == name
    for body, name in (
        ({"status": 1000}, "status"),
        ({"text": "a\0b"}, "text"),
        ({"text": "x" * 501}, "text"),
        ({"order": "best"}, "order"),
        ({"format": "csv"}, "format"),
        ({"page": 0}, "page"),
    ):
        response = await client.post("/queries", json=body)
        assert response.status_code == 400, body
        assert name in response.json()["detail"]


@pytest.mark.parametrize("path", LISTS)
async def test_read_delay_applies_to_every_list_and_format(
    gateway: Serve, db: psycopg.Connection, path: str
) -> None:
    now = int(datetime.now(UTC).timestamp())
    record(db, 1, now - 100, 1)
    record(db, 2, now - 20, 1)
    db.execute("update queries set recorded = timestamp")
    async with gateway(settle=60) as client:
        for query in ("", "&order=newest", "&page=0", "&format=ndjson", "&format=csv"):
            response = await client.get(f"{path}?fields=query_id{query}")
            assert re.findall(r"\d+", response.text) == ["1"], query
        for name in ("bibtex", "ris", "atom"):
            text = (await client.get(f"{path}?format={name}")).text
            assert "query1" in text.replace("queries/1", "query1")
            assert "query2" not in text.replace("queries/2", "query2")
        if path == "/queries":
            assert keys((await client.post(path, json={})).json()) == [(1, 0)]


# Fields


@pytest.mark.usefixtures("nobel", "searches")
@pytest.mark.parametrize("path", LISTS)
async def test_fields_selects_columns_in_the_given_order(client: Gateway, path: str) -> None:
    whole = (await client.get(f"{path}?items_per_page=100")).json()
    for names in (["query_id"], ["timestamp", "query_id"], list(whole[0])[::-1], list(whole[0])):
        picked = [{name: row[name] for name in names} for row in whole]
        for comma in (",", ", "):
            url = f"{path}?items_per_page=100&fields={comma.join(names)}"
            as_json = (await client.get(url)).json()
            lines = (await client.get(f"{url}&format=ndjson")).text.splitlines()
            table = list(csv.reader(io.StringIO((await client.get(f"{url}&format=csv")).text)))

            assert [list(row.items()) for row in as_json] == [list(row.items()) for row in picked]
            assert [json.loads(line) for line in lines] == picked
            assert table[0] == names
            assert len(table) == 1 + len(whole)


# Formats

TYPES = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8; header=present",
    "bibtex": "application/x-bibtex; charset=utf-8",
    "ris": "application/x-research-info-systems; charset=utf-8",
    "atom": "application/atom+xml; charset=utf-8",
}
EXTENSIONS = {"json": "json", "bibtex": "bib"}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", LISTS)
async def test_format_is_selected_by_name_or_accept(client: Gateway, path: str) -> None:
    file = "results" if "results" in path else "query_data"
    for name, media_type in TYPES.items():
        plain_type = media_type.partition(";")[0]
        by_name = await client.get(f"{path}?format={name}")
        for accept in (plain_type, media_type, f"text/html, {plain_type};q=0.9, */*;q=0.1"):
            accepted = await client.get(path, headers={"accept": accept})
            assert accepted.headers["content-type"] == by_name.headers["content-type"] == media_type
            if name != "atom":
                assert accepted.content == by_name.content
        over = await client.get(f"{path}?format={name}", headers={"accept": "image/png"})
        assert over.headers["content-type"] == media_type
        head = await client.head(f"{path}?format={name}")
        assert (head.status_code, head.content) == (200, b"")

        disposition = by_name.headers.get("content-disposition")
        assert head.headers.get("content-disposition") == disposition
        assert head.headers["content-type"] == media_type
        if name == "json":
            download = f"attachment; filename={file}.json"
            assert disposition == (download if path == "/queries" else None)
        else:
            how = "inline" if name == "atom" else "attachment"
            assert disposition == f"{how}; filename={file}.{EXTENSIONS.get(name, name)}"
        for response in (by_name, head, over):
            assert len(response.headers.get_list("content-type")) == 1
            assert "Accept" in response.headers["vary"].split(", ")

    refused = await client.get(path, headers={"accept": "image/png, application/json;q=0"})
    assert refused.status_code == 406
    assert refused.headers["content-type"] == "application/problem+json"
    for media_type in TYPES.values():
        assert media_type.partition(";")[0] in refused.json()["detail"]


NASTY = [
    "plain",
    '=HYPERLINK("http://x","y")',
    "+1 -1 @x",
    'quotes " and , commas; \t tabs',
    "lines\nand\r\nmore\u2028still",
    "{braces} } { \\backslash\\ $x_1^2$ 100% & # _ ~",
    "Zając, Erdős and 量子 \U0001f600 e\u0301",
    "<b>&amp;</b> ]]> <!-- -->",
    "ER  - ",
    "@article{x, title={y}}",
    "and",
    "'",
    "\x01\x7f control",
    "TY  - JOUR\nER  - \n",
]


@pytest.fixture
def special_texts(db: psycopg.Connection) -> psycopg.Connection:
    """Each text in every column; two searches found each paper."""
    for query_id in (1, 2):
        for number, text in enumerate(NASTY):
            db.execute(
                "insert into results (query_id, timestamp, result_number, author, title, journal,"
                " arxiv_id, version) values (%s, %s, %s, %s, %s, %s, %s, 1)",
                (query_id, NOON + query_id, number, text, text, text, f"2611.{number:05}"),
            )
            if number % 2:
                db.execute(
                    "insert into papers (arxiv_id, version, timestamp, title, authors, journal,"
                    " abstract, comment, categories) values (%s, 1, 1, %s, %s, %s, %s, %s, %s)"
                    " on conflict do nothing",
                    (f"2611.{number:05}", text, [text, text], text, text, text, ["cs.SE"]),
                )
    for number, text in enumerate(NASTY):
        db.execute(
            "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
            " values (%s, %s, 200, 1, 1, %s)",
            (10 + number, NOON, text),
        )
    return db


def cell(value: Any) -> str:
    """Return the CSV cell for a value that must not be evaluated."""
    return "" if value is None else str(value)


@pytest.mark.usefixtures("special_texts")
@pytest.mark.parametrize("path", LISTS)
async def test_every_format_contains_the_same_rows(client: Gateway, path: str) -> None:
    whole = (await client.get(f"{path}?items_per_page=1000")).json()
    assert len(whole) == len(NASTY) * (2 if "results" in path else 1)
    for part, rows in (("", whole), ("&items_per_page=5&page=1", whole[5:10])):
        responses = {
            name: (await client.get(f"{path}?format={name}{part}")).content.decode()
            for name in TYPES
            if name != "json"
        }
        assert [json.loads(line) for line in responses["ndjson"].split("\n")[:-1]] == rows
        table = csv.DictReader(io.StringIO(responses["csv"], newline=""))
        for written, row in zip(table, rows, strict=True):
            for column, value in row.items():
                assert written[column] in {cell(value), f"'{cell(value)}"}, column
                assert not written[column].startswith(("=", "+", "@"))
        # each once, in the order of the rows
        names = list(
            dict.fromkeys(row.get("arxiv_id") or f"query{row['query_id']}" for row in rows)
        )
        bibtex = parse_bibtex(responses["bibtex"])
        assert [entry.key.removesuffix("v1") for entry in bibtex.entries] == names
        assert not bibtex.failed_blocks
        ris = rispy.loads(responses["ris"])
        assert [record["id"].removesuffix("v1") for record in ris] == names
        feed = feedparser.parse(responses["atom"])
        assert not feed.bozo
        found = [entry.link.rpartition("/")[2].removesuffix("v1") for entry in feed.entries]
        assert [name if "." in name else f"query{name}" for name in found] == names


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("path", LISTS)
async def test_exports_contain_the_whole_list(gateway: Serve, path: str) -> None:
    async with gateway(items_per_page=3) as client:
        whole = (await client.get(f"{path}?items_per_page=1000")).json()
        first = await client.get(f"{path}?page=0&items_per_page=4")
        taken = (await client.get(f"{path}?format=ndjson")).text.splitlines()
        after = await client.get(links(first)["next"].replace("items_per_page=4&", ""))
        page = (await client.get(f"{path}?format=ndjson&page=1")).text.splitlines()
        listed = (await client.get(path)).json()

    assert [json.loads(line) for line in taken] == whole
    assert after.json() == (whole[4:] if "queries" in path else whole[4:7])
    assert [json.loads(line) for line in page] == whole[3:6]
    assert listed == (whole if "queries" in path else whole[:3])


@pytest.mark.parametrize("path", LISTS)
async def test_empty_list_is_well_formed_in_every_format(client: Gateway, path: str) -> None:
    responses = {name: (await client.get(f"{path}?format={name}")).text for name in TYPES}

    assert json.loads(responses["json"]) == []
    assert responses["ndjson"] == responses["bibtex"] == responses["ris"] == ""
    [header] = csv.reader(io.StringIO(responses["csv"]))
    assert "query_id" in header
    feed = feedparser.parse(responses["atom"])
    assert (feed.bozo, feed.entries) == (False, [])
    assert feed.feed.id.startswith("urn:uuid:")
