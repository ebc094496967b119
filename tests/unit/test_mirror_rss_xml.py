"""RSS feeds become the papers announced on a day, or errors with the reason."""

import json
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mirror.rss_xml import RssFeed, parse_feed
from service.models.mirror import AnnouncementType
from service.untrusted_xml import RECOVERED, InvalidResponse
from tests.support.mirror_data import DATA, RSS, needs_data, read_rss

ITEM = """<item>
<title>A title</title><link>https://arxiv.org/abs/2411.17701</link>
<description>arXiv:2411.17701v2 Announce Type: replace-cross
Abstract: An abstract
  in two lines.</description>
<guid isPermaLink="false">oai:arXiv.org:2411.17701v2</guid>
<category>cs.AI</category><category>math.CO</category>
<arxiv:announce_type>replace-cross</arxiv:announce_type>
<dc:rights>http://example.org/by</dc:rights>
<arxiv:DOI>10.5555/a</arxiv:DOI><arxiv:journal_reference>J. l'\\'Ecole 1</arxiv:journal_reference>
<dc:creator>Ada Example (Paris), Bo  Sample, Jos\\'e Test</dc:creator>
</item>"""


def make_feed(
    items: str = ITEM,
    *,
    title: str = "cs updates on arXiv.org",
    published: str = "Thu, 28 Nov 2024 00:00:00 -0500",
    built: str = "Thu, 28 Nov 2024 05:00:20 +0000",
    head: str = "",
) -> bytes:
    return (
        f'{head}<rss xmlns:arxiv="http://arxiv.org/schemas/atom" version="2.0"'
        f' xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>{title}</title>'
        f"<description>why</description><lastBuildDate>{built}</lastBuildDate>"
        f"<pubDate>{published}</pubDate>{items}</channel></rss>"
    ).encode()


def read_reason(body: bytes) -> str:
    with pytest.raises(InvalidResponse) as refused:
        parse_feed(body)
    return str(refused.value)


def test_item_has_the_announcement_and_the_metadata() -> None:
    feed = parse_feed(make_feed())
    [item] = feed.items
    assert (item.arxiv_id, item.version) == ("2411.17701", 2)
    assert item.type is AnnouncementType.REPLACE_CROSS
    assert (item.title, item.abstract) == ("A title", "An abstract in two lines.")
    assert item.authors == ["Ada Example", "Bo Sample", "José Test"]
    assert (item.primary_category, item.categories) == ("cs.AI", ["cs.AI", "math.CO"])
    assert (item.license, item.dois, item.journal) == (
        "http://example.org/by",
        ["10.5555/a"],
        "J. l'École 1",
    )


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ("Thu, 28 Nov 2024 00:00:00 -0500", date(2024, 11, 28)),
        ("Mon, 27 Apr 2026 00:00:00 -0400", date(2026, 4, 27)),
        ("Mon, 27 Apr 2026 04:00:00 +0000", date(2026, 4, 27)),
        ("Mon, 27 Apr 2026 03:59:59 +0000", date(2026, 4, 26)),
    ],
)
def test_date_is_the_day_in_us_eastern_time(published: str, expected: date) -> None:
    assert parse_feed(make_feed(published=published)).date == expected


def test_time_of_the_build_is_returned() -> None:
    assert parse_feed(make_feed()).built == 1732770020


def test_feed_of_a_weekend_is_empty() -> None:
    feed = parse_feed(make_feed(""))
    assert (feed.items, feed.invalid, feed.error) == ([], [], None)


def test_error_feed_has_the_reason() -> None:
    feed = parse_feed(make_feed("", title="Feed error for query: http://x"))
    assert (feed.items, feed.error) == ([], "why")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("_type>replace-cross<", "_type>absonly<", "announce_type is 'absonly'"),
        ("_type>replace-cross<", "_type><", "announce_type is ''"),
        ("oai:arXiv.org:2411.17701v2<", "x<", "guid is 'x'"),
        ("<title>A title", "<title>", "no title"),
        ("<category>cs.AI</category><category>math.CO</category>", "", "no categories"),
        ("A title", "a" * 5001, "5001 characters"),
    ],
)
def test_item_that_cannot_be_used_is_reported(old: str, new: str, reason: str) -> None:
    feed = parse_feed(make_feed(ITEM.replace(old, new) + ITEM))
    assert len(feed.items) == 1
    assert [found for _, found in feed.invalid if reason in found]


def test_description_without_its_prefix_is_the_abstract() -> None:
    item = ITEM.replace("arXiv:2411.17701v2 Announce Type: replace-cross\nAbstract: ", "")
    assert parse_feed(make_feed(item)).items[0].abstract == "An abstract in two lines."


def test_forbidden_characters_are_left_out_with_a_warning() -> None:
    feed = parse_feed(make_feed(ITEM.replace("A title", "A \x01title")))
    assert (feed.items[0].title, feed.warnings) == ("A title", [RECOVERED])


NOT_FEEDS = {
    "nothing": b"",
    "HTML": b"<html><body>Maintenance</body></html>",
    "Atom": b'<feed xmlns="http://www.w3.org/2005/Atom"/>',
    "cut": make_feed()[:-20],
    "no channel": b'<rss version="2.0"/>',
    "no date": make_feed(published=""),
    "impossible date": make_feed(published="Sat, 30 Feb 2024 00:00:00 -0500"),
    "date without a zone": make_feed(published="Thu, 28 Nov 2024 00:00:00"),
    "first day": make_feed(published="Mon, 01 Jan 0001 00:00:00 +2300"),
    "last day": make_feed(published="Fri, 31 Dec 9999 23:59:59 -2300"),
    "no time of the build": make_feed(built="now"),
    "document type": make_feed(head='<!DOCTYPE rss [<!ENTITY e "x">]>'),
    "undeclared entity": make_feed(ITEM.replace("A title", "&nbsp;")),
    "deeply nested": make_feed("<item>" + "<a>" * 5_000 + "</a>" * 5_000 + "</item>"),
    "large item": make_feed(ITEM.replace("A title", "a" * 9_000_000)),
}


@pytest.mark.parametrize("body", NOT_FEEDS.values(), ids=NOT_FEEDS)
def test_other_bytes_are_rejected_with_a_reason(body: bytes) -> None:
    assert 0 < len(read_reason(body)) < 400


@needs_data
def test_captured_feed_of_all_archives_is_parsed() -> None:
    body = read_rss("rss_2024-11-28_all_archives")
    feed = parse_feed(body)
    assert (len(feed.items), feed.invalid) == (body.count(b"<item>"), [])
    assert {str(item.type) for item in feed.items} == {"new", "cross", "replace"}
    assert all(item.abstract and not item.abstract.startswith("arXiv:") for item in feed.items)
    assert all(item.authors and item.version and item.license for item in feed.items)
    assert feed.date == date(2024, 11, 28)


@needs_data
@pytest.mark.parametrize("path", RSS, ids=lambda path: path.stem)
def test_captured_feeds_are_parsed(path: object) -> None:
    feed: RssFeed = parse_feed(path.read_bytes())  # type: ignore[attr-defined]
    assert feed.invalid == []
    assert (feed.error is not None) == ("error" in str(path))


@needs_data
def test_all_kinds_of_announcements_that_arxiv_used_are_known() -> None:
    papers = json.loads((DATA / "rss" / "derived_2026-04-20_replace-cross.json").read_text())
    assert {each["announce_type"] for each in papers["papers"]} <= set(AnnouncementType)


@given(st.binary())
def test_random_bytes_raise_only_the_declared_exception(body: bytes) -> None:
    with suppress(InvalidResponse):
        parse_feed(body)


BODIES = [
    make_feed(),
    make_feed("", title="Feed error"),
    *(path.read_bytes()[:20_000] for path in RSS),
]


@settings(max_examples=300)
@given(st.sampled_from(BODIES), st.floats(0, 1), st.binary(max_size=8), st.integers(0, 60))
def test_changed_feeds_raise_only_the_declared_exception(
    body: bytes, place: float, data: bytes, removed: int
) -> None:
    start = int(place * len(body))
    with suppress(InvalidResponse):
        parse_feed(body[:start] + data + body[start + removed :])


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_random_times_raise_only_the_declared_exception(text: str) -> None:
    text = text.replace("&", "").replace("<", "")
    for body in (make_feed(published=text), make_feed(built=text)):
        with suppress(InvalidResponse):
            parse_feed(body)
