"""`/status`: the state of the service and charts of the last days."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import psycopg
import pytest
from lxml import html

from demo.arxiv import StandIn
from service.app import add_outer_middleware
from service.models.records import SearchCount
from service.pages.status import create_charts, format_bytes
from service.settings import Settings
from tests.conftest import Gateway, Serve, make_app, running, served
from tests.support.pages import parse

THROTTLING = httpx.MockTransport(lambda _: httpx.Response(429))
NOTHING = "\N{EN DASH}"
SECTIONS = ["service", "limiter", "responses", "days", "mirror", "index", "database"]


@asynccontextmanager
async def open_frontend(url: str) -> AsyncIterator[Gateway]:
    """Run a frontend of this backend."""
    app = make_app(Settings(backend_url=url))
    wire = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
    async with (
        running(app),
        httpx.AsyncClient(transport=wire, base_url="http://x", timeout=60) as client,
    ):
        yield client


async def fetch(client: Gateway) -> html.HtmlElement:
    response = await client.get("/status")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    return parse(response)


def read(page: html.HtmlElement, section: str) -> str:
    [element] = page.xpath("//section[@aria-labelledby=$name]", name=section)
    return " ".join(" ".join(element.itertext()).split())


def read_table(page: html.HtmlElement, caption: str) -> list[list[str]]:
    """The cells of a table, with its headings."""
    [table] = page.xpath("//table[caption[normalize-space()=$text]]", text=caption)
    rows = table.xpath(".//tr")
    return [[" ".join(cell.text_content().split()) for cell in row.xpath("th|td")] for row in rows]


def fill(db: psycopg.Connection, days_ago: int, *rows: tuple[Any, ...]) -> None:
    """Store counts of noon on a day: outcome, answered_by, searches, waited, sum, longest."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    hour = int((noon - timedelta(days=days_ago)).timestamp())
    for row in rows:
        db.execute(
            "insert into search_statistics values (%s, %s, %s, %s, %s, %s, %s)", [hour, *row]
        )


async def test_new_service_has_a_status(client: Gateway) -> None:
    page = await fetch(client)
    assert page.xpath("//h1/text()") == ["Status"]
    assert page.xpath("//main/section/@aria-labelledby") == SECTIONS
    assert "State ready" in read(page, "service")
    assert "Cooldown none In progress no request Waiting 0 searches" in read(page, "limiter")
    assert "No responses are recorded" in read(page, "responses")
    assert read(page, "days").count("Nothing was recorded in this time.") == 3
    assert "No sync is recorded" in read(page, "mirror")
    assert "cannot be shown" not in page.text_content()
    assert not page.xpath("//meta[@http-equiv]")
    assert page.xpath("//a[@href='/status'][.='Refresh']")


async def test_responses_of_arxiv_are_listed_with_the_last_one_first(client: Gateway) -> None:
    for title in ("testing", "<b>bold</b>", "\u202egnitset"):
        await client.get("/arxiv", params={"title": title})
    page = await fetch(client)
    rows = page.xpath("//section[@aria-labelledby='responses']//tbody/tr")
    assert [row.xpath("string(td[2])") for row in rows] == ["✓ complete"] * 3
    queries = [row.xpath("string(td[5]//bdi)") for row in rows]
    assert ["testing" in query for query in queries] == [False, False, True]
    links = [row.xpath("string(td[5]/a/@href)") for row in rows]
    numbers = [int(link.removeprefix("/searches/")) for link in links]
    assert numbers == sorted(numbers, reverse=True)
    assert not page.xpath("//b")


async def test_cooldown_and_failed_responses_are_shown(gateway: Serve) -> None:
    async with gateway(THROTTLING, cooldown=600.0, interval=3.0) as client:
        await client.get("/arxiv?title=testing")
        page = await fetch(client)
    assert "arXiv has asked for a pause: no requests until 20" in read(page, "limiter")
    assert "Interval 3 seconds between two requests" in read(page, "limiter")
    assert "arXiv was overloaded 429 0 of 0" in read(page, "responses")


async def test_only_the_latest_responses_are_listed_and_none_of_the_mirror(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute(
        "insert into queries (query_id, timestamp, status, num_results, num_entries, query,"
        " outcome, remarks) select n, 1700000000 + n, 200, 1, 1,"
        " 'search_query=' || repeat('x', 100000), 'ok',"
        ' case when n % 2 = 0 then \'{"source": ["mirror"]}\'::json end'
        " from generate_series(1, 60) as n"
    )
    page = await fetch(client)
    numbers = page.xpath("//section[@aria-labelledby='responses']//tbody//a/text()")
    assert numbers == [str(number) for number in range(59, 20, -2)]
    assert len(html.tostring(page)) < 60_000


async def test_charts_show_the_recorded_days(client: Gateway, db: psycopg.Connection) -> None:
    fill(
        db,
        0,
        ("ok", "arxiv", 2, 2, 9.0, 6.0),
        ("ok", "process", 5, 0, 0, 0),
        ("ok", "flight", 1, 0, 0, 0),
        ("ok", "mirror", 2, 0, 0, 0),
        ("turned_away", "nobody", 4, 0, 0, 0),
    )
    fill(db, 13, ("busy", "nobody", 1, 1, 2.5, 2.5), ("some new outcome", "nobody", 7, 0, 0, 0))
    fill(db, 14, ("suspect", "arxiv", 99, 0, 0, 0))
    page = await fetch(client)

    heading, first, *between, last = read_table(page, "Searches by outcome")
    assert heading[1:] == [
        "answered",
        "failed at arXiv",
        "rejected: wait too long",
        "failed otherwise",
    ]
    assert first[1:] == ["0", "1", "0", "7"]
    assert last[1:] == ["10", "0", "4", "0"]
    assert [row[1:] for row in between] == [["0"] * 4] * 12
    assert last[0] == f"{datetime.now(UTC).day} {datetime.now(UTC):%b}"
    assert [row[1] for row in read_table(page, "Cache hit ratio")[1:]] == [NOTHING] * 13 + ["75 %"]
    waits = read_table(page, "Waiting time for arXiv")
    assert (waits[0], waits[1][1:], waits[-1][1:]) == (
        ["Day", "mean", "longest"],
        ["2.5 s", "2.5 s"],
        ["4.5 s", "6 s"],
    )


async def test_days_are_those_of_the_configured_zone(
    gateway: Serve, db: psycopg.Connection
) -> None:
    zone = "+12:00"  # noon in UTC is midnight
    fill(db, 3, ("ok", "arxiv", 1, 0, 0, 0))
    async with gateway(timezone=zone) as client:
        rows = read_table(await fetch(client), "Searches by outcome")
    day = datetime.now(UTC).date() - timedelta(days=2)
    assert [row[0] for row in rows if row[1] == "1"] == [f"{day.day} {day:%b}"]


async def test_series_differ_by_more_than_their_color(
    client: Gateway, db: psycopg.Connection
) -> None:
    outcomes = ("ok", "suspect", "busy", "turned_away", "abandoned", "failed")
    fill(db, 0, *((outcome, "nobody", 1, 1, 1.0, 1.0) for outcome in outcomes))
    page = await fetch(client)
    [figure] = page.xpath("//figure[figcaption='Searches by outcome']")
    fills = figure.xpath(".//svg[@role='img']/rect/@fill")
    assert len(set(fills)) == 5  # the first one is solid
    patterns = set(page.xpath("//pattern/@id"))
    assert {each.removeprefix("url(#").removesuffix(")") for each in fills} <= patterns
    [waits] = page.xpath("//figure[figcaption='Waiting time for arXiv']")
    assert waits.xpath(".//svg[@role='img']/circle")
    assert waits.xpath(".//svg[@role='img']/rect")
    assert not page.xpath("//@style")


async def test_mirror_and_imports_are_shown(client: Gateway, db: psycopg.Connection) -> None:
    db.execute(
        "insert into mirror_syncs (set_spec, covered_from, covered_until, synced_at, error)"
        " values ('', '2005-09-16', '2026-11-24', 1795464901, 'arXiv <is> away')"
    )
    db.execute(
        "insert into mirror_imports values"
        " ('a', 'old.json', 12345, 1, 6, 0, 1795464900, 1795464999),"
        " ('b', '<i>new.json', 7, 1, 0, 0, 1795465000, null)"
    )
    page = await fetch(client)
    text = read(page, "mirror")
    assert "records changed from 2005-09-16 to 2026-11-24" in text
    assert "Latest error arXiv <is> away" in text
    rows = read_table(page, "Latest imports of snapshot files")[1:]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["<i>new.json", "not yet", "7", "0"],
        ["old.json", "2026-11-23 20:16:39", "12,345", "6"],
    ]


async def test_size_of_the_database_is_shown(client: Gateway, db: psycopg.Connection) -> None:
    db.execute("analyze gate")
    page = await fetch(client)
    rows = read_table(page, "Tables with their indexes")[1:]
    rows_of = {row[0]: row[2] for row in rows}
    assert (rows_of["gate"], rows_of["queries"]) == ("1", "unknown")
    found = db.execute(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert {row[0] for row in rows} == {name for (name,) in found}
    [latest] = db.execute("select max(name) from migrations").fetchall()
    assert f"Latest migration {latest[0]}" in read(page, "database")


async def test_part_that_cannot_be_read_does_not_hide_the_others(
    client: Gateway, db: psycopg.Connection
) -> None:
    await client.get("/arxiv?title=testing")
    db.execute("drop table search_statistics")
    page = await fetch(client)
    assert "This part cannot be shown: the database is not migrated" in read(page, "days")
    assert "testing" in read(page, "responses")
    assert "State ready" in read(page, "service")


async def test_frontends_cannot_request_periods_without_an_order(client: Gateway) -> None:
    for starts in ([2, 1], [], [2**63]):
        response = await client.post("/read-archive", json={"type": "searches", "starts": starts})
        assert response.status_code == 400
        assert "starts" in response.json()["detail"]


async def test_page_is_served_without_a_database(gateway: Serve) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    async with gateway(database_url=url, database_ro_url=url) as client:
        page = await fetch(client)
    assert "State not ready" in read(page, "service")
    for section in ("responses", "days", "database"):
        assert "This part cannot be shown: " in read(page, section)


async def test_frontend_shows_the_status_of_its_backend(
    settings: Callable[..., Settings],
    arxiv: StandIn,  # noqa: ARG001 - resets it
    db: psycopg.Connection,
) -> None:
    fill(db, 0, ("ok", "arxiv", 3, 1, 1.0, 1.0))
    with served(settings(interval=2.0)) as url:
        async with open_frontend(url) as client:
            await client.get("/arxiv?title=testing")
            page = await fetch(client)
    assert "cannot be shown" not in page.text_content()
    assert "Interval 2 seconds" in read(page, "limiter")
    assert "testing" in read(page, "responses")
    assert read_table(page, "Searches by outcome")[-1][1] == "3"
    assert "State ready" in read(page, "index") or "State building" in read(page, "index")
    assert "search_statistics" in read(page, "database")


async def test_frontend_without_its_backend_explains_each_part() -> None:
    async with open_frontend("http://127.0.0.1:1") as client:
        page = await fetch(client)
    assert "State not ready: backend: the backend is unavailable" in read(page, "service")
    for section in ("responses", "days", "database"):
        assert "cannot be shown: the backend is unavailable" in read(page, section)


def test_hit_ratio_is_that_of_answered_searches() -> None:
    counts = [
        SearchCount(0, "ok", source, searches, 0, 0, 0)
        for source, searches in (("database", 1), ("stale", 1), ("arxiv", 2), ("nobody", 50))
    ]
    _, hits, waits = create_charts(["today"], counts)
    assert hits.series[0].values == [50]
    assert waits.is_empty


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (8192, "8.19 kB"), (5.5e9, "5.5 GB"), (2e13, "20,000 GB")],
)
def test_sizes_have_units(size: float, text: str) -> None:
    assert format_bytes(size) == text
