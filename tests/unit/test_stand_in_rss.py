"""The stand-in's feeds of announcements are like arXiv's, which were captured."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest
from lxml import etree

from demo.arxiv import StandIn
from demo.papers import Author, Paper, generate
from demo.rss import EASTERN, Announcement, RssServer
from demo.taxonomy import ARCHIVES
from tests.support.captures import TEST_DATA

RSS = TEST_DATA / "data" / "rss"
NS = {
    "a": "http://www.w3.org/2005/Atom",
    "x": "http://arxiv.org/schemas/atom",
    "dc": "http://purl.org/dc/elements/1.1/",
}
needs_captures = pytest.mark.skipif(not RSS.is_dir(), reason=f"captures are missing: {RSS}")
PAPERS = generate(2000)
TUESDAY = date(2026, 4, 21)
ALL = "+".join(ARCHIVES)
MOMENT = datetime(2026, 4, 20, 12, tzinfo=UTC)


def server(papers: list[Paper] = PAPERS, today: date = TUESDAY) -> RssServer:
    return RssServer(papers, today)


def read_items(rss: RssServer, query: str = ALL) -> list[tuple[str, str]]:
    """Return ids with versions and kinds."""
    root = etree.fromstring(rss.render(query, "rss").content)
    return [
        (
            item.findtext("guid", "").removeprefix("oai:arXiv.org:"),
            item.findtext("x:announce_type", "", NS),
        )
        for item in root.iterfind("channel/item")
    ]


def paper(arxiv_id: str, *categories: str, versions: int = 1) -> Paper:
    return Paper(
        arxiv_id=arxiv_id,
        title="Title of Müller",
        abstract="An abstract.",
        authors=(Author("Ada Novák", ("École",)), Author("Deepti")),
        categories=categories,
        versions=(MOMENT,) * versions,
    )


def hide_build_time(content: bytes) -> bytes:
    return re.sub(rb"<lastBuildDate>[^<]+", b"", content).strip()


@needs_captures
@pytest.mark.parametrize(
    ("query", "name"), [("test", "test_empty"), ("astroph", "error_bad_archive")]
)
def test_feed_without_items_has_the_bytes_of_a_captured_one(query: str, name: str) -> None:
    feed = server(today=date(2024, 11, 28)).render(query, "rss")

    expected = (RSS / f"rss_2024-11-28_{name}.xml").read_bytes()
    assert hide_build_time(feed.content) == hide_build_time(expected)


@needs_captures
def test_items_have_the_bytes_of_captured_ones() -> None:
    content = (RSS / "rss_2024-11-28_all_archives.xml").read_bytes()
    root = etree.fromstring(content)
    captured = re.findall(rb"<item>.*?</item>", content, re.DOTALL)
    day = date(2024, 11, 28)
    announcements = [read_announcement(item) for item in root.iterfind("channel/item")]
    query = root.findtext("channel/link", "").rpartition("/")[2]
    rss = server([], day)
    rss.announcements[day] = announcements

    rendered = rss.render(query, "rss").content

    assert rendered[: rendered.index(b"<item>")].split(b"<lastBuildDate>")[0].strip() == (
        content[: content.index(b"<item>")].split(b"<lastBuildDate>")[0].strip()
    )
    items = re.findall(rb"<item>.*?</item>", rendered, re.DOTALL)
    assert items == captured


def read_announcement(item: etree._Element) -> Announcement:
    """Return an announcement with such an item."""
    arxiv_id, _, version = item.findtext("guid", "").rpartition(":")[2].rpartition("v")
    kind = item.findtext("x:announce_type", "", NS)
    categories = tuple(found.text or "" for found in item.iterfind("category"))
    announced = Paper(
        arxiv_id=arxiv_id,
        title=item.findtext("title", ""),
        abstract=item.findtext("description", "").partition("\nAbstract: ")[2],
        authors=tuple(map(Author, re.split(r", (?![^(]*\))", item.findtext("dc:creator", "", NS)))),
        categories=categories,
        versions=(MOMENT,) * int(version),
        journal_ref=item.findtext("x:journal_reference", None, NS),
        dois=tuple(item.findtext("x:DOI", "", NS).split()),
        license=item.findtext("dc:rights", None, NS),
    )
    action = {"new": "new", "cross": "cross"}.get(kind, "replace")
    return Announcement(announced, action, categories)  # type: ignore[arg-type]


def test_day_has_announcements_of_three_kinds_always_the_same() -> None:
    items = read_items(server())

    assert items == read_items(server())
    assert items != read_items(server(today=TUESDAY + timedelta(1)))
    kinds = Counter(kind for _, kind in items)
    assert kinds.keys() == {"new", "cross", "replace"}
    assert min(kinds.values()) > 3
    assert [kind for _, kind in items] == sorted(
        (kind for _, kind in items), key=["new", "cross", "replace"].index
    )
    assert max(Counter(name for name, _ in items).values()) == 1


def test_kind_depends_on_the_categories_of_the_feed() -> None:
    rss = server([])
    new, replaced = (
        paper("2604.00001", "cs.AI", "math.NA"),
        paper("2604.00002", "cs.AI", "hep-th", versions=2),
    )
    crossed = paper("2604.00003", "cs.AI", "stat.ML")
    rss.announcements[TUESDAY] = [
        Announcement(new, "new", new.categories),
        Announcement(replaced, "replace", replaced.categories),
        Announcement(crossed, "cross", ("stat.ML",)),
    ]

    assert read_items(rss, "cs+math") == [
        ("2604.00001v1", "new"),
        ("2604.00002v2", "replace"),
    ]
    assert read_items(rss, "math.NA") == [("2604.00001v1", "cross")]
    assert read_items(rss, "hep-th") == [("2604.00002v2", "replace-cross")]
    assert read_items(rss, "stat") == [("2604.00003v1", "cross")]
    assert read_items(rss, "CS.ai")[0] == ("2604.00001v1", "new")


def test_sixth_version_is_not_announced() -> None:
    rss = server([])
    rss.announcements[TUESDAY] = [
        Announcement(paper(f"2604.0000{n}", "cs.AI", versions=n), "replace", ("cs.AI",))
        for n in (5, 6)
    ]

    assert read_items(rss) == [("2604.00005v5", "replace")]


def test_feed_has_at_most_2000_items_and_lacks_the_first() -> None:
    rss = server([])
    announced = [paper(f"2604.{n:05}", "cs.AI") for n in range(2003)]
    rss.announcements[TUESDAY] = [Announcement(p, "new", p.categories) for p in announced]
    items = read_items(rss)

    assert len(items) == 2000
    assert items[0] == ("2604.00003v1", "new")


@pytest.mark.parametrize("day", [date(2026, 4, 18), date(2026, 4, 19)])
def test_feed_is_empty_at_weekends(day: date) -> None:
    assert read_items(server(today=day)) == []


def test_papers_that_are_added_or_replaced_are_announced() -> None:
    stand_in = StandIn(PAPERS[:5])
    stand_in.rss.today = TUESDAY
    stand_in.add([paper("2604.00001", "cs.AI")], TUESDAY)
    stand_in.replace(
        replace(paper("2604.00001", "cs.AI", versions=2), arxiv_id=PAPERS[0].arxiv_id), TUESDAY
    )

    assert {("2604.00001v1", "new"), (f"{PAPERS[0].arxiv_id}v2", "replace")} <= {
        *read_items(stand_in.rss)
    }


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("hep-th+", "Invalid archive specification 'hep-th+'."),
        ("cs.XX", "Bad subject class 'XX'. Valid subject classes for the archive 'cs' are: cs.AI,"),
        ("cs.AI.B", "Bad archive/subject class structure 'cs.AI.B'."),
    ],
)
def test_unknown_names_are_an_error_in_a_feed(query: str, message: str) -> None:
    feed = server().render(query, "rss")
    root = etree.fromstring(feed.content)

    assert feed.status == 400
    assert root.findtext("channel/description", "").startswith(message)
    assert root.find("channel/item") is None


def test_stale_feed_has_the_items_of_the_working_day_before_and_a_fresh_date() -> None:
    monday = date(2026, 4, 20)
    rss = server(today=monday)
    rss.stale = {"cs"}
    root = etree.fromstring(rss.render("cs", "rss").content)

    assert read_items(rss, "cs") == read_items(server(today=date(2026, 4, 17)), "cs") != []
    assert read_items(rss, "math") == read_items(server(today=monday), "math")
    assert root.findtext("channel/lastBuildDate") == "Mon, 20 Apr 2026 04:00:02 +0000"
    assert root.findtext("channel/item/pubDate") == "Mon, 20 Apr 2026 00:00:00 -0400"


def test_entry_in_atom_has_the_elements_of_the_documentation() -> None:
    rss = server([])
    announced = replace(
        paper("2604.00001", "cs.AI", "math.NA"),
        journal_ref="J. 1",
        dois=("10.5555/a",),
        license="l",
    )
    rss.announcements[TUESDAY] = [Announcement(announced, "new", announced.categories)]
    feed = rss.render("cs.AI", "atom")
    root = etree.fromstring(feed.content)
    (entry,) = root.iterfind("a:entry", NS)

    assert feed.content_type == "application/atom+xml"
    assert [etree.QName(child).localname for child in entry] == [
        *("id", "title", "updated", "link", "summary", "category", "category", "published"),
        *("announce_type", "rights", "journal_reference", "DOI", "creator"),
    ]
    assert entry.findtext("a:id", "", NS) == "oai:arXiv.org:2604.00001v1"
    assert entry.findtext("a:title", "", NS) == r"Title of M\"uller"
    assert entry.findtext("a:published", "", NS) == "2026-04-21T00:00:00-04:00"
    assert entry.findtext("dc:creator", "", NS) == r"Ada Nov\'ak (\'Ecole),  Deepti"


async def test_feed_can_be_stored_until_midnight_and_validated() -> None:
    stand_in = StandIn(PAPERS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=stand_in)) as http:
        url = "http://127.0.0.1/rss/cs+math"
        first = await http.get(url)
        again = await http.get(url, headers={"if-none-match": first.headers["etag"]})

    midnight = datetime.combine(
        datetime.now(EASTERN).date() + timedelta(1), datetime.min.time(), EASTERN
    )
    left = midnight.timestamp() - datetime.now(UTC).timestamp()
    assert first.headers["content-type"] == "application/rss+xml"
    assert abs(int(first.headers["cache-control"].removeprefix("max-age=")) - left) < 30
    assert (again.status_code, again.content) == (304, b"")
    assert [request.path for request in stand_in.requests] == ["/rss/cs+math"] * 2
