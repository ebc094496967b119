"""Announcements: reading arXiv's daily feeds, `/announcements`, and its feed."""

import asyncio
import csv
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import feedparser
import httpx
import psycopg
import pytest
import rispy
from bibtexparser.entrypoint import parse_string as parse_bibtex

from demo import rss as demo_rss
from demo.arxiv import StandIn
from demo.papers import Paper, generate
from demo.rss import Announcement
from service.arxiv_schedule import ZONE
from service.context import LocalContext
from service.metadata import categories
from service.mirror import announcements
from service.mirror.announcements import FEEDS, AnnouncementResult, read_announcements, split_feed
from service.mirror.daily_announcements import DailyAnnouncements
from service.models.mirror import MirrorRecord, Source
from service.settings import Settings
from tests.conftest import Gateway, Serve
from tests.support.captures import TEST_DATA

FRIDAY, MONDAY, TUESDAY = date(2026, 4, 24), date(2026, 4, 27), date(2026, 4, 28)
SATURDAY = date(2026, 4, 25)
REAL = TEST_DATA / "data" / "rss" / "rss_2024-11-28_all_archives.xml"
PAPERS = generate(300)
Read = Callable[..., Any]
Rows = list[dict[str, Any]]


@asynccontextmanager
async def open_context(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[LocalContext]:
    async with LocalContext(settings, transport) as context:
        yield context


async def read_with(context: LocalContext, day: date) -> AnnouncementResult:
    return await read_announcements(
        context.announcement_store, context.mirror_store, context.feed_client, day
    )


@pytest.fixture
def read(settings: Callable[..., Settings]) -> Read:
    """Read the feeds of a day."""

    async def read_day(
        day: date, transport: httpx.AsyncBaseTransport | None = None
    ) -> AnnouncementResult:
        async with open_context(settings(), transport) as context:
            return await read_with(context, day)

    return read_day


def paper(number: int, *categories: str, versions: int = 1) -> Paper:
    moment = datetime(2026, 4, 20, 12, tzinfo=UTC)
    return replace(
        PAPERS[number],
        arxiv_id=f"2604.{number:05}",
        categories=categories,
        versions=(moment,) * versions,
    )


def announce(arxiv: StandIn, day: date, *entries: Announcement) -> None:
    arxiv.rss.today = day
    arxiv.rss.announcements[day] = list(entries)


def new(number: int, *categories: str) -> Announcement:
    made = paper(number, *categories)
    return Announcement(made, "new", made.categories)


def replaced(number: int, *categories: str, versions: int = 2) -> Announcement:
    made = paper(number, *categories, versions=versions)
    return Announcement(made, "replace", made.categories)


def cross(number: int, *categories: str, into: tuple[str, ...]) -> Announcement:
    return Announcement(paper(number, *categories), "cross", into)


def fill(number: int) -> list[Announcement]:
    """Return three announcements, one in each feed but that of cs."""
    names = ("econ.EM", "nlin.CD", "hep-lat")
    return [new(number + place, name) for place, name in enumerate(names)]


MIXED = [
    new(1, "cs.LG", "stat.ML"),
    new(2, "math-ph", "math.MP", "hep-th"),
    new(3, "hep-ph"),
    replaced(4, "stat.ML", "cs.LG"),
    replaced(5, "eess.SY", "cs.SY"),
    cross(6, "quant-ph", "cs.ET", into=("cs.ET",)),
    cross(7, "math-ph", "math.MP", "hep-th", into=("hep-th",)),
]


def stored(db: psycopg.Connection, day: date) -> dict[str, str]:
    """The types of the announcements of a day, by the number of the paper."""
    statement = "select arxiv_id, type from announcements where date = %s"
    return dict(db.execute(statement, [day]))


def numbers(db: psycopg.Connection, day: date) -> dict[int, str]:
    return {int(name.removeprefix("2604.")): kind for name, kind in stored(db, day).items()}


def feed_rows(db: psycopg.Connection, day: date) -> dict[str, tuple[int | None, bool]]:
    """The number of items of each feed, None if it was not read, and whether it is stale."""
    statement = "select feed, case when fetched > 0 then items end, is_stale"
    rows = db.execute(f"{statement} from announcement_feeds where date = %s".encode(), [day])
    return {feed: (items, is_stale) for feed, items, is_stale in rows}


def let_time_pass(db: psycopg.Connection) -> None:
    """Let the pauses of all feeds end."""
    db.execute("update announcement_feeds set not_before = '-infinity'")


def count_requests(arxiv: StandIn) -> Counter[str]:
    return Counter(each.path for each in arxiv.requests if each.path.startswith("/rss/"))


async def list_types(client: Gateway, query: str) -> dict[int, str]:
    response = await client.get(f"/announcements?items_per_page=1000&{query}")
    assert response.status_code == 200, response.text
    return {
        int(row["arxiv_id"].removeprefix("2604.")): row["type"]
        for row in response.json()["announcements"]
    }


# Reading the feeds


async def test_each_paper_of_a_day_is_recorded_once_with_its_type(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    announce(arxiv, MONDAY, *MIXED)

    result = await read(MONDAY)

    assert numbers(db, MONDAY) == {
        1: "new",
        2: "new",
        3: "new",
        4: "replace",
        5: "replace",
        6: "cross",
        7: "cross",
    }
    assert (result.feeds, result.is_complete, result.failures) == (len(FEEDS), True, [])
    assert set(count_requests(arxiv).values()) == {1}
    assert len(count_requests(arxiv)) == len(FEEDS)


@pytest.mark.skipif(not REAL.is_file(), reason=f"the captured feed is missing: {REAL}")
async def test_real_feed_is_recorded_with_its_papers(
    db: psycopg.Connection, read: Read, gateway: Serve
) -> None:
    day = date(2024, 11, 28)

    def respond(request: httpx.Request) -> httpx.Response:
        name = "all_archives" if request.url.path == f"/rss/{FEEDS[0]}" else "test_empty"
        return httpx.Response(200, content=(REAL.parent / f"rss_{day}_{name}.xml").read_bytes())

    result = await read(day, httpx.MockTransport(respond))

    assert result.papers == 78
    assert Counter(stored(db, day).values()) == {"new": 40, "replace": 32, "cross": 6}
    async with gateway() as client:
        body = (await client.get("/announcements?items_per_page=100")).json()
    assert (body["date"], body["total"]) == ("2024-11-28", 78)
    assert body["counts"] == {"new": 40, "cross": 6, "replace": 32, "replace-cross": 0}
    rows = {row["arxiv_id"]: row for row in body["announcements"]}
    assert rows["2411.17755"]["categories"] == ["eess.SP", "cond-mat.mtrl-sci", "cs.LG"]
    assert rows["2411.17755"]["primary_category"] == "eess.SP"
    assert all(row["title"] and row["authors"] and row["abstract"] for row in rows.values())
    assert {row["version"] for row in rows.values()} == {1, 2, 3, 4, 5}
    sources = {source for (source,) in db.execute("select source from papers")}
    assert sources == {"rss"}


async def test_feed_does_not_change_a_stored_paper(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    db.execute(
        "insert into papers (arxiv_id, version, timestamp, title, authors, source)"
        " values ('2604.00001', 1, 1, 'As the API has it', array['A'], 'api')"
    )
    announce(arxiv, MONDAY, new(1, "cs.LG"), new(2, "cs.LG"))

    await read(MONDAY)

    rows = db.execute("select arxiv_id, source, title from papers order by 1").fetchall()
    assert rows[0] == ("2604.00001", "api", "As the API has it")
    assert rows[1][:2] == ("2604.00002", "rss")


async def test_any_richer_source_replaces_what_comes_from_a_feed(
    arxiv: StandIn, db: psycopg.Connection, read: Read, settings: Callable[..., Settings]
) -> None:
    announce(arxiv, MONDAY, new(1, "cs.LG"))
    await read(MONDAY)
    earlier = int(datetime.combine(FRIDAY, time(), UTC).timestamp())
    record = MirrorRecord(
        source=Source.ARXIV_RAW,
        arxiv_id="2604.00001",
        datestamp=earlier,  # the day of the feed is not that of a change
        version=1,
        title="As OAI-PMH has it",
        authors=["A. Author"],
        abstract="Text.",
        primary_category="cs.LG",
        categories=["cs.LG"],
    )

    async with open_context(settings()) as context:
        await context.mirror_store.save([record])

    assert db.execute("select title, source from papers").fetchall() == [
        ("As OAI-PMH has it", "arXivRaw")
    ]


async def test_full_feed_is_split_until_nothing_is_missing(
    arxiv: StandIn, db: psycopg.Connection, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_rss, "_MAX_ITEMS", 20)
    monkeypatch.setattr(announcements, "MAX_ITEMS", 20)
    names = ["cs.AI", "cs.LG", "cs.CV", "cs.SY", "math.CO", "stat.ML", "hep-th", "gr-qc"]
    made = [new(number, names[number % 8], "cs.CL") for number in range(120)]
    announce(arxiv, MONDAY, *made)

    await read(MONDAY)

    split = {feed for feed, (items, _) in feed_rows(db, MONDAY).items() if items == 20}
    assert {"cs", "econ+eess+math+q-bio+q-fin+stat"} <= split
    assert numbers(db, MONDAY).keys() == set(range(120))
    own = {number for number, kind in numbers(db, MONDAY).items() if kind == "new"}
    assert own == set(range(120))


def test_feeds_cover_all_archives_and_parts_cover_what_was_split() -> None:
    names = sorted(name for feed in FEEDS for name in feed.split("+"))
    assert names == sorted(categories.list_archives())
    for feed in (*FEEDS, "math", "hep-th+quant-ph"):
        parts = split_feed(feed)
        together = [name for part in parts for name in part.split("+")]
        if "+" in feed:
            assert together == feed.split("+")
        else:
            assert together == categories.list_subject_classes(feed)
        assert len(parts) == 2
    assert split_feed("hep-th") == split_feed("cs.AI") == []


async def test_stale_feed_is_not_recorded_and_read_again_later(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    announce(arxiv, FRIDAY, new(1, "cs.LG"), replaced(2, "cs.AI"), *fill(10))
    await read(FRIDAY)
    announce(arxiv, MONDAY, new(4, "cs.LG"), *fill(20))
    arxiv.rss.stale = {"cs"}

    first = await read(MONDAY)

    assert numbers(db, MONDAY).keys() == {20, 21, 22}
    assert feed_rows(db, MONDAY)["cs"] == (2, True)
    assert not first.is_complete
    arxiv.rss.stale = set()
    assert (await read(MONDAY)).feeds == 0  # not at once
    let_time_pass(db)
    again = await read(MONDAY)
    assert (again.feeds, again.papers, again.is_complete) == (1, 1, True)
    assert numbers(db, MONDAY).keys() == {4, 20, 21, 22}
    assert sorted(count_requests(arxiv).values()) == [2, 2, 2, 3]


async def test_items_of_one_stale_category_are_found_among_those_of_others(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    old = [new(1, "math.CO"), cross(2, "stat.ML", "math.CO", into=("math.CO",))]
    announce(arxiv, FRIDAY, *old)
    await read(FRIDAY)
    announce(arxiv, MONDAY, *old, new(3, "cs.LG"), *fill(20))

    await read(MONDAY)

    assert numbers(db, MONDAY).keys() == {3, 20, 21, 22}
    assert [name for name, (_, is_stale) in feed_rows(db, MONDAY).items() if is_stale] == [
        "econ+eess+math+q-bio+q-fin+stat"
    ]


async def test_paper_may_be_cross_listed_or_replaced_after_it_was_new(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    announce(arxiv, FRIDAY, new(1, "cs.LG"), new(2, "cs.LG"), new(3, "cs.AI"))
    await read(FRIDAY)
    later = [cross(1, "cs.LG", "math.CO", into=("math.CO",)), replaced(2, "cs.LG")]
    announce(arxiv, MONDAY, *later, *fill(20))

    await read(MONDAY)

    assert numbers(db, MONDAY) | {1: "cross", 2: "replace"} == numbers(db, MONDAY)
    assert not any(is_stale for _, is_stale in feed_rows(db, MONDAY).values())


async def test_empty_feed_is_read_again_if_others_have_papers(
    arxiv: StandIn, db: psycopg.Connection, read: Read
) -> None:
    announce(arxiv, MONDAY, new(1, "cs.LG"))
    assert not (await read(MONDAY)).is_complete
    states = feed_rows(db, MONDAY)
    assert {feed for feed, (_, is_stale) in states.items() if is_stale} == {*FEEDS} - {"cs"}

    announce(arxiv, MONDAY, *(new(n, c) for n, c in enumerate(("math.CO", "physics.optics"), 2)))
    let_time_pass(db)
    await read(MONDAY)

    assert numbers(db, MONDAY).keys() == {1, 2, 3}


async def test_all_feeds_are_empty_on_a_holiday(
    arxiv: StandIn, db: psycopg.Connection, read: Read, gateway: Serve
) -> None:
    announce(arxiv, FRIDAY, new(1, "cs.LG"), new(2, "math.CO"), new(3, "nlin.CD"), new(4, "hep-th"))
    await read(FRIDAY)
    announce(arxiv, MONDAY)

    result = await read(MONDAY)

    assert (result.papers, result.is_complete) == (0, True)
    assert set(feed_rows(db, MONDAY).values()) == {(0, False)}
    async with gateway() as client:
        holiday = (await client.get(f"/announcements?date={MONDAY}")).json()
        latest = (await client.get("/announcements")).json()
    assert (holiday["announcements"], "warnings" in holiday) == ([], False)
    assert holiday["previous"]["date"] == latest["date"] == str(FRIDAY)


BROKEN = {
    "html": (200, b"<html><body>Service unavailable</body></html>"),
    "empty": (200, b""),
    "truncated": (200, b"<rss version='2.0'><channel><title>cs updates</title><item>"),
    "entities": (200, b"<!DOCTYPE rss [<!ENTITY a 'b'>]><rss><channel>&a;</channel></rss>"),
    "deep": (200, b"<rss><channel>" + 100_000 * b"<a>"),
    "no date": (200, b"<rss version='2.0'><channel><title>cs updates</title></channel></rss>"),
    "error": (500, b"<html>Internal Server Error</html>"),
    "not found": (404, b""),
    "redirect": (302, b""),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_unusable_response_leaves_the_feed_for_later(
    arxiv: StandIn, db: psycopg.Connection, read: Read, name: str
) -> None:
    announce(arxiv, MONDAY, new(1, "cs.LG"), new(2, "math.CO"), new(3, "nlin.CD"), new(4, "hep-th"))
    status, content = BROKEN[name]

    def respond(request: httpx.Request) -> httpx.Response:
        feed = request.url.path.removeprefix("/rss/")
        if feed == "cs":
            return httpx.Response(status, content=content)
        return httpx.Response(200, content=arxiv.rss.render(feed, "rss").content)

    result = await read(MONDAY, httpx.MockTransport(respond))

    assert [failure.partition(":")[0] for failure in result.failures] == ["cs"]
    assert not result.is_complete
    assert numbers(db, MONDAY).keys() == {2, 3, 4}
    assert feed_rows(db, MONDAY)["cs"] == (None, False)
    assert (await read(MONDAY)).feeds == 0
    let_time_pass(db)
    assert (await read(MONDAY)).is_complete
    assert numbers(db, MONDAY).keys() == {1, 2, 3, 4}


async def test_feed_of_another_day_and_error_feed_are_not_recorded(
    arxiv: StandIn, db: psycopg.Connection, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(arxiv, FRIDAY, new(1, "cs.LG"))
    monkeypatch.setattr(announcements, "FEEDS", ("cs", "no-such-archive"))

    result = await read(MONDAY)

    assert result.feeds == 0
    assert "the feed is of 2026-04-24, not of 2026-04-27" in str(result.failures)
    assert "Bad archive 'no-such-archive'" in str(result.failures)
    assert stored(db, MONDAY) == {}


async def test_throttling_ends_the_reading_until_the_cooldown_is_over(
    db: psycopg.Connection, read: Read
) -> None:
    sent: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        return httpx.Response(429, headers={"retry-after": "7000"})

    with pytest.raises(Exception, match="throttles"):
        await read(MONDAY, httpx.MockTransport(respond))

    assert len(sent) == 1
    assert all(items is None for items, _ in feed_rows(db, MONDAY).values())


async def test_processes_share_the_feeds(
    arxiv: StandIn, db: psycopg.Connection, settings: Callable[..., Settings]
) -> None:
    announce(arxiv, MONDAY, *MIXED)

    async with open_context(settings()) as one, open_context(settings()) as other:
        results = await asyncio.gather(*(read_with(each, MONDAY) for each in (one, other)))

    assert set(count_requests(arxiv).values()) == {1}
    assert sum(result.feeds for result in results) == len(FEEDS)
    assert len(stored(db, MONDAY)) == len(MIXED)


async def test_feed_of_a_process_that_died_is_read_after_a_while(
    arxiv: StandIn, db: psycopg.Connection, read: Read, settings: Callable[..., Settings]
) -> None:
    announce(arxiv, MONDAY, *MIXED)
    async with open_context(settings()) as context:
        await context.announcement_store.plan_feeds(MONDAY, FEEDS)
        died = await context.announcement_store.claim_feed(MONDAY, 1800)

    first = await read(MONDAY)

    assert first.feeds == len(FEEDS) - 1
    assert not first.is_complete
    let_time_pass(db)
    second = await read(MONDAY)
    assert count_requests(arxiv)[f"/rss/{died}"] == 1
    assert second.is_complete
    assert len(stored(db, MONDAY)) == len(MIXED)


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-04-27T00:10", None),  # before the feeds are surely there
        ("2026-04-27T00:30", MONDAY),
        ("2026-04-27T23:59", MONDAY),
        ("2026-04-24T12:00", FRIDAY),
        ("2026-04-25T12:00", None),
        ("2026-04-26T12:00", None),
    ],
)
async def test_service_reads_the_feeds_of_working_days_in_new_york(
    arxiv: StandIn,
    db: psycopg.Connection,
    settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    day: date | None,
) -> None:
    monkeypatch.setattr("service.mirror.daily_task.START_DELAY", 0)
    now = datetime.fromisoformat(moment).replace(tzinfo=ZONE)
    announce(arxiv, now.date(), *MIXED)

    async with open_context(settings()) as context:
        daily = DailyAnnouncements(
            context.announcement_store,
            context.mirror_store,
            context.feed_client,
            clock=now.timestamp,
        )
        async with daily:
            for _ in range(600 if day else 2):
                await asyncio.sleep(0.05)
                if day and len(stored(db, day)) == len(MIXED):
                    break

    assert len(count_requests(arxiv)) == (len(FEEDS) if day else 0)


async def test_service_reads_announcements_daily_only_if_it_is_set(
    arxiv: StandIn,
    arxiv_server: tuple[StandIn, str],
    db: psycopg.Connection,
    gateway: Serve,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.mirror.daily_task.START_DELAY", 0)
    monkeypatch.setattr("service.arxiv_schedule.find_feed_day", lambda _: MONDAY)
    announce(arxiv, MONDAY, *MIXED)
    async with gateway() as client:
        await asyncio.sleep(0.3)
        assert (await client.get("/announcements")).json()["date"] is None

    url = arxiv_server[1].removesuffix("/api/query")
    async with gateway(sync="daily", oai_url=f"{url}/oai") as client:
        for _ in range(600):
            if len(stored(db, MONDAY)) == len(MIXED):
                break
            await asyncio.sleep(0.05)
        assert (await client.get("/announcements")).json()["total"] == len(MIXED)


# Lists


@pytest.fixture
async def monday(arxiv: StandIn, read: Read) -> None:
    """The announcements of a Friday and the Monday after it."""
    announce(arxiv, FRIDAY, new(8, "cs.LG"))
    await read(FRIDAY)
    announce(arxiv, MONDAY, *MIXED)
    await read(MONDAY)


@pytest.mark.usefixtures("monday")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("category=cs.LG", {1: "new", 4: "replace-cross"}),
        ("category=stat.ML", {1: "cross", 4: "replace"}),
        ("category=cs.LG&category=stat.ML", {1: "new", 4: "replace"}),
        ("category=cs", {1: "new", 4: "replace-cross", 5: "replace", 6: "cross"}),
        ("category=cs.*&type=cross", {6: "cross"}),
        ("category=STAT.ml&type=replace&type=cross", {1: "cross", 4: "replace"}),
        ("category=cs.SY", {5: "replace"}),  # two names of one category
        ("category=math", {2: "new"}),  # of which math-ph is math.MP
        ("category=math-ph", {2: "new"}),  # 7 was cross-listed elsewhere
        ("category=hep-th", {2: "cross", 7: "cross"}),
        ("category=quant-ph", {}),  # 6 was cross-listed elsewhere
        ("category=physics", {}),
        ("type=new", {1: "new", 2: "new", 3: "new"}),
        ("type=replace-cross", {}),
        (
            "type=",
            dict(zip(range(1, 4), 3 * ["new"], strict=True))
            | {4: "replace", 5: "replace", 6: "cross", 7: "cross"},
        ),
    ],
)
async def test_type_is_the_one_in_the_requested_categories(
    client: Gateway, query: str, expected: dict[int, str]
) -> None:
    assert await list_types(client, query) == expected


@pytest.mark.usefixtures("monday")
async def test_latest_day_is_the_default_and_other_days_are_linked(client: Gateway) -> None:
    latest = (await client.get("/announcements?category=cs.LG&items_per_page=1")).json()
    assert latest["date"] == str(MONDAY)
    assert latest["counts"] == {"new": 1, "cross": 0, "replace": 0, "replace-cross": 1}
    assert (latest["total"], latest["next"]) == (2, None)
    assert "warnings" not in latest

    before = (await client.get(latest["previous"]["url"])).json()
    assert [row["arxiv_id"] for row in before["announcements"]] == ["2604.00008"]
    assert (before["date"], before["previous"]) == (str(FRIDAY), None)
    assert (await client.get(before["next"]["url"])).json()["announcements"] == (
        latest["announcements"]
    )
    weekend = (await client.get(f"/announcements?date={SATURDAY}")).json()
    assert (weekend["announcements"], weekend["total"]) == ([], 0)
    assert (weekend["previous"]["date"], weekend["next"]["date"]) == (str(FRIDAY), str(MONDAY))
    assert "warnings" not in weekend
    unread = (await client.get("/announcements?date=2026-04-22")).json()
    assert unread["warnings"] == ["the feeds of 2026-04-22 have not been read"]


async def test_missing_feeds_are_a_warning(arxiv: StandIn, read: Read, client: Gateway) -> None:
    nothing = (await client.get("/announcements")).json()
    assert (nothing["date"], nothing["announcements"]) == (None, [])
    assert "ARXIV_SYNC=daily" in nothing["warnings"][0]

    announce(arxiv, MONDAY, new(1, "cs.LG"))
    await read(MONDAY)

    [warning] = (await client.get("/announcements")).json()["warnings"]
    assert warning.startswith("3 of 4 feeds of 2026-04-27 could not be read yet")


@pytest.mark.usefixtures("monday")
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
async def test_pages_contain_each_paper_once_new_ones_first(client: Gateway, size: int) -> None:
    whole = (await client.get("/announcements?items_per_page=100")).json()["announcements"]
    assert [row["type"] for row in whole] == 3 * ["new"] + 2 * ["cross"] + 2 * ["replace"]
    pages = [await client.get(f"/announcements?items_per_page={size}")]
    while further := pages[-1].links.get("next"):
        pages.append(await client.get(further["url"]))
    back = [await client.get(str(pages[-1].url))]
    while further := back[-1].links.get("prev"):
        back.append(await client.get(further["url"]))

    assert [row for page in pages for row in page.json()["announcements"]] == whole
    assert [row for page in back[::-1] for row in page.json()["announcements"]] == whole
    numbered = [
        await client.get(f"/announcements?items_per_page={size}&page={page}")
        for page in range(len(pages))
    ]
    assert [row for page in numbered for row in page.json()["announcements"]] == whole


@pytest.mark.usefixtures("monday")
async def test_pages_keep_the_day_when_the_next_one_is_announced(
    client: Gateway, arxiv: StandIn, read: Read
) -> None:
    first = await client.get("/announcements?items_per_page=4")
    announce(arxiv, TUESDAY, new(20, "cs.LG"), new(21, "math.CO"), new(22, "nlin.CD"))
    await read(TUESDAY)

    second = (await client.get(first.links["next"]["url"])).json()

    assert second["date"] == str(MONDAY)
    assert len(second["announcements"]) == 3
    assert (await client.get("/announcements")).json()["date"] == str(TUESDAY)


@pytest.mark.usefixtures("monday")
async def test_every_format_contains_the_whole_day(client: Gateway) -> None:
    whole = (await client.get("/announcements?items_per_page=100")).json()["announcements"]
    texts = {
        name: (await client.get(f"/announcements?format={name}")).text
        for name in ("ndjson", "csv", "bibtex", "ris", "atom")
    }

    assert [json.loads(line) for line in texts["ndjson"].splitlines()] == whole
    table = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert [(row["date"], row["type"], row["arxiv_id"]) for row in table] == [
        (row["date"], row["type"], row["arxiv_id"]) for row in whole
    ]
    names = [f"{row['arxiv_id']}v{row['version']}" for row in whole]
    assert [entry.key for entry in parse_bibtex(texts["bibtex"]).entries] == names
    assert [record["id"] for record in rispy.loads(texts["ris"])] == names
    feed = feedparser.parse(texts["atom"])
    assert [entry.link.rpartition("/")[2] for entry in feed.entries] == names
    assert {entry.published for entry in feed.entries} == {"2026-04-27T04:00:00Z"}
    assert [*whole[0]][:4] == ["date", "type", "arxiv_id", "version"]
    two = await client.get("/announcements?fields=type,arxiv_id&items_per_page=1")
    assert two.json()["announcements"] == [{"type": "new", "arxiv_id": "2604.00001"}]


@pytest.mark.usefixtures("monday")
@pytest.mark.parametrize(
    "path", ["/announcements", "/announcements/feed", "/announcements?format=csv"]
)
async def test_unchanged_response_is_304(client: Gateway, path: str) -> None:
    first = await client.get(path)

    again = await client.get(path, headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304
    assert (await client.head(path)).status_code == 200


@pytest.mark.parametrize(
    ("query", "parameter", "remedy"),
    [
        ("date=yesterday", "date", "YYYY-MM-DD"),
        ("date=2026-02-30", "date", "YYYY-MM-DD"),
        ("date=20260427", "date", "YYYY-MM-DD"),
        ("date=", "date", "YYYY-MM-DD"),
        ("date=2026-W18-1", "date", "YYYY-MM-DD"),
        ("date=0000-00-00", "date", "YYYY-MM-DD"),
        ("date=2026-04-27&date=2026-04-28", "date", "give it once"),
        ("category=cs.XX", "category", "closest: "),
        ("category=math.MPP", "category", "math.MP"),
        ("type=updated", "type", "new, cross, replace, replace-cross"),
        ("type=new&type=all", "type", "new, cross, replace, replace-cross"),
        ("fields=none", "fields", "type"),
        ("format=rss", "format", "atom"),
        ("after=none", "after", "Link header"),
        ("page=-1", "page", ""),
        ("items_per_page=1001", "items_per_page", ""),
        ("order=newest", "order", "date"),
        ("q=x", "q", "category"),
    ],
)
async def test_invalid_parameter_is_rejected_with_the_remedy(
    client: Gateway, query: str, parameter: str, remedy: str
) -> None:
    response = await client.get(f"/announcements?{query}")

    assert response.status_code == 400, response.text
    assert response.json()["parameter"] == parameter
    assert remedy in response.json()["detail"]
    if parameter in {"category", "type"}:
        assert (await client.get(f"/announcements/feed?{query}")).json()["detail"] == (
            response.json()["detail"]
        )


@pytest.mark.usefixtures("monday")
async def test_cursor_is_valid_for_its_list_only(client: Gateway) -> None:
    first = await client.get("/announcements?items_per_page=1")
    cursor = first.links["next"]["url"].rpartition("after=")[2]

    for query in (f"date={FRIDAY}", "category=cs.LG", "type=new"):
        response = await client.get(f"/announcements?after={cursor}&{query}")
        assert response.status_code == 400, query


# Feed


async def test_feed_has_the_papers_of_the_latest_days_each_version_once(
    client: Gateway, arxiv: StandIn, read: Read
) -> None:
    days = [FRIDAY - timedelta(days=4) + timedelta(days=number) for number in (0, 1, 2, 3, 4, 7, 8)]
    for number, day in enumerate(days):
        filler = [new(100 + 4 * number + n, c) for n, c in enumerate(("math.CO", "nlin.CD"))]
        announce(arxiv, day, new(number, "cs.LG"), *filler)
        if day == TUESDAY:
            again = cross(5, "cs.LG", "cs.AI", into=("cs.AI",))
            announce(arxiv, day, new(number, "cs.LG"), again, *filler)
        await read(day)

    response = await client.get("/announcements/feed?category=cs")

    feed = feedparser.parse(response.text)
    assert response.headers["content-type"] == "application/atom+xml; charset=utf-8"
    assert not feed.bozo
    names = [entry.link.rpartition("/")[2] for entry in feed.entries]
    assert names == [f"2604.{number:05}v1" for number in (6, 5, 4, 3, 2)]
    assert feed.entries[0].published == feed.feed.updated == "2026-04-28T04:00:00Z"
    assert feed.entries[-1].published == "2026-04-22T04:00:00Z"
    assert feed.feed.title == "arxiv-gateway: announcements, cs"
    wider = feedparser.parse((await client.get("/announcements/feed")).text)
    assert len(wider.entries) == 15
    assert wider.feed.id != feed.feed.id  # which stays the same on other days
    only = feedparser.parse((await client.get("/announcements/feed?type=cross")).text)
    assert [entry.link.rpartition("/")[2] for entry in only.entries] == ["2604.00005v1"]


async def test_feed_without_announcements_is_well_formed(client: Gateway) -> None:
    feed = feedparser.parse((await client.get("/announcements/feed?category=cs.LG")).text)

    assert (feed.bozo, feed.entries) == (False, [])


async def test_feed_is_limited(
    client: Gateway, arxiv: StandIn, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.handlers.announcements.FEED_PAPERS", 2)
    announce(arxiv, FRIDAY, *(new(number, "cs.LG") for number in (8, 9)))
    await read(FRIDAY)
    announce(arxiv, MONDAY, *MIXED)
    await read(MONDAY)

    feed = feedparser.parse((await client.get("/announcements/feed")).text)

    assert [entry.link[-7:] for entry in feed.entries] == ["00001v1", "00002v1"]


# Papers


async def test_paper_has_its_announcements_the_latest_first(
    client: Gateway, arxiv: StandIn, read: Read
) -> None:
    announce(arxiv, FRIDAY, new(1, "cs.LG"), new(2, "cs.LG"))
    await read(FRIDAY)
    announce(arxiv, MONDAY, replaced(1, "cs.LG"))
    await read(MONDAY)

    found = [(await client.get(f"/papers/2604.{number:05}")).json() for number in (1, 2)]

    assert found[0]["announcements"] == [
        {"date": str(MONDAY), "type": "replace", "version": 2},
        {"date": str(FRIDAY), "type": "new", "version": 1},
    ]
    assert found[1]["announcements"] == [{"date": str(FRIDAY), "type": "new", "version": 1}]
    assert set(found[0]["sources"].values()) == {"rss"}


@pytest.fixture(autouse=True)
def _feeds_without_limits(arxiv: StandIn) -> Iterator[None]:
    """Reset the stand-in also after the test: it is shared."""
    yield
    arxiv.reset()
