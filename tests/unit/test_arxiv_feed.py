"""Feeds are rendered as arXiv sends them, and nothing in an entry is lost on the way."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import feedparser
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from demo import feed as demo_feed
from demo.papers import generate
from service.arxiv_xml import parse_feed
from service.db.records import create_entry, create_record
from service.formats.arxiv_feed import (
    FeedHead,
    render_end,
    render_entries,
    render_error,
    render_head,
)
from service.models.arxiv import ArxivResponse, Entry, Feed
from service.models.records import PaperInsert
from tests.support.captures import CAPTURES, captured
from tests.support.cases import CASES, read_case
from tests.support.measure import measure_cpu, retry

NOW = datetime(2026, 11, 30, tzinfo=UTC)
OPENING = (
    '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom"'
    ' xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"><title>arXiv Query: x</title>'
    "<opensearch:totalResults>1</opensearch:totalResults>"
)


def wrap(*entries: str) -> bytes:
    """Return a feed with these entries."""
    return f"{OPENING}{''.join(entries)}</feed>".encode()


def get_head(feed: Feed) -> FeedHead:
    return FeedHead(
        query=feed.query or "",
        link=feed.link,
        updated=feed.updated or NOW,
        total=feed.total,
        start=feed.start or 0,
        items_per_page=feed.items_per_page or 10,
    )


def rendered(feed: Feed, entries: Iterable[Entry] | None = None) -> bytes:
    rendered = render_entries(feed.entries if entries is None else entries)
    return render_head(get_head(feed)) + rendered + render_end()


def stored(entry: Entry) -> Entry:
    """Return the entry as it is read from the table `papers`."""
    response = ArxivResponse(timestamp=0, status=200, num_results=1, query="", entries=[entry])
    [paper] = create_record(response).papers
    return create_entry(msgspec.json.decode(msgspec.json.encode(paper), type=PaperInsert))


def parsed_again(body: bytes, read: Callable[[Entry], Entry] = lambda entry: entry) -> None:
    """Check that the feed and its rendering are parsed to the same, at once and once stored."""
    feed = parse_feed(body)
    again = parse_feed(rendered(feed, map(read, feed.entries)))
    assert again.entries == feed.entries
    assert (again.query or None, again.link, again.total) == (feed.query, feed.link, feed.total)


# Captured and generated feeds


def is_error(path: Path) -> bool:
    return "error" in path.name or "_abc_" in path.name


@captured
@pytest.mark.parametrize("read", [lambda entry: entry, stored], ids=["parsed", "stored"])
def test_rendering_of_captured_feed_is_parsed_to_the_same(
    path: Path, read: Callable[[Entry], Entry]
) -> None:
    parsed_again(path.read_bytes(), read)


@captured
def test_captured_new_feed_is_rendered_byte_for_byte(path: Path) -> None:
    if not path.name.startswith("new") or is_error(path):
        pytest.skip("an old feed, or an error")
    body = path.read_bytes()
    feed = parse_feed(body)

    assert rendered(feed).rstrip() == body.rstrip()
    assert rendered(feed, map(stored, feed.entries)).rstrip() == body.rstrip()


def test_captured_error_is_rendered_byte_for_byte() -> None:
    paths = [path for path in CAPTURES if path.name.startswith("new") and is_error(path)]
    if not paths:
        pytest.skip("captured feeds are missing")
    for path in paths:
        body = path.read_bytes()
        feed = parse_feed(body)
        assert feed.error
        assert feed.updated
        assert render_error(feed.error, feed.updated).rstrip() == body.rstrip()


def read_as_clients(body: bytes) -> dict[str, Any]:
    """Return what feedparser makes of a feed, without the time of the response."""
    tree = feedparser.parse(body)
    assert not tree.bozo
    tree.feed.pop("updated")
    tree.feed.pop("updated_parsed")
    return {"feed": tree.feed, "entries": tree.entries, "version": tree.version}


@captured
def test_clients_read_the_same_from_captured_new_feed_and_its_rendering(path: Path) -> None:
    if not path.name.startswith("new") or is_error(path):
        pytest.skip("an old feed, or an error")
    body = path.read_bytes()
    feed = parse_feed(body)

    ours = rendered(structs.replace(feed, updated=NOW), map(stored, feed.entries))
    assert read_as_clients(ours) == read_as_clients(body)


@pytest.mark.parametrize("family", ["new", "old"])
@pytest.mark.parametrize("read", [lambda entry: entry, stored], ids=["parsed", "stored"])
def test_rendering_of_generated_feed_is_parsed_to_the_same(
    family: demo_feed.Family, read: Callable[[Entry], Entry]
) -> None:
    parsed_again(demo_feed.render(generate(300), family=family), read)


def test_generated_new_feed_is_rendered_byte_for_byte() -> None:
    body = demo_feed.render(generate(300), updated=NOW)

    assert rendered(parse_feed(body)) == body


CASE_NAMES = sorted(path.stem for path in CASES.glob("*.atom") if path.stem != "caseredirect")


@pytest.mark.parametrize(
    "name", CASE_NAMES or [pytest.param("", marks=pytest.mark.skip(reason="cases are missing"))]
)
def test_rendering_of_unusual_feed_is_parsed_to_the_same(name: str) -> None:
    params = httpx.QueryParams(search_query=name, id_list="", start="0", max_results="50")
    body = read_case(name, params)

    parsed_again(body)
    parsed_again(body, stored)


# Arbitrary entries

SPACES = st.sampled_from(["", " ", "\n  ", "\t", "\r", "\u00a0", "\u0085", "\u2028", "\u3000"])
MARKS = st.sampled_from(["e\u0301" * 40, "x" + "\u0301" * 31, "x" + "\u0301" * 90, "\u20ac" * 40])
PLAIN = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=12
).map(lambda text: "".join(c for c in text if c >= " " or c in "\t\n\r"))
WORDS = st.one_of(
    PLAIN, MARKS, st.sampled_from(["0", "<f_c>", "&amp;", "a  b", "]]>", '"', "x" * 6000])
)
TEXTS = st.builds(lambda *parts: "".join(parts), SPACES, WORDS, SPACES, WORDS, SPACES)
DOI_TEXTS = st.sampled_from(
    [
        *("10.5555/a", "10.5555/a,", "10.5555/a;10.5555/b", "doi:10.5555/a", "DOI:", "10.5555/A"),
        *("https://doi.org/10.5555/a", "10.5555/a\n 10.5555/b", " 10.5555/c ", "", "none"),
        *("10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2", "x" * 1200),
    ]
)
NAMES = TEXTS | st.sampled_from(
    [" H1 Collaboration", "Workshop:", ":", "A: B, C", "Ada Example", "J. -P. Example", "", "-"]
)
TIMES = st.sampled_from(
    [
        *("", "2020-01-02T03:04:05Z", "2020-01-02T03:04:05-04:00", "2020-01-02T03:04:05.678Z"),
        *("2020-01-02", "2020-01-02T03:04:05", " 2020-01-02T03:04:05Z\n", "yesterday", "x" * 200),
        *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00"),
        *("2020-01-02T03:04:05+00:00", "1969-12-31T23:59:59.5Z", "2020-02-30T00:00:00Z"),
    ]
)
IDS = st.sampled_from(
    [
        *("http://arxiv.org/abs/2101.00001v1", "http://arxiv.org/abs/2101.00001", "", "x"),
        *("https://arxiv.org/abs/2101.00001v2", "http://arxiv.org/abs/math.GT/0309199v1"),
        *("http://arxiv.org/abs/hep-th/9901001v12", " http://arxiv.org/abs/2101.00001v1\n"),
        *("http://export.arxiv.org/abs/2101.00001V3", "http://arxiv.org/abs/9999.99999v1"),
        *("http://arxiv.org/abs/2101.00001v0", "http://arxiv.org/abs/" + "9" * 3000),
    ]
)
VALUES = st.none() | WORDS | SPACES | st.sampled_from(["x" * 101, "related", "pdf", "doi"])
HREFS = st.sampled_from(
    [
        *("https://arxiv.org/abs/2101.00001v1", "https://doi.org/10.5555/a", "", "x" * 2001),
        *("http://dx.doi.org/10.5555/a", "javascript:x", "a\tb\nc", "https://doi.org/DOI:"),
    ]
)


def element(name: str, text: str | None = None, **attributes: str | None) -> str:
    pairs = (f" {key}={quote(value)}" for key, value in attributes.items() if value is not None)
    inner = "" if text is None else escape(text, {"\r": "&#13;"})
    return f"<{name}{''.join(pairs)}>{inner}</{name}>"


def quote(value: str) -> str:
    return quoteattr(value, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


def optional(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(strategy, max_size=2)


LINKS = st.builds(
    lambda href, rel, title, kind: element("link", href=href, rel=rel, title=title, type=kind),
    HREFS,
    VALUES,
    VALUES,
    VALUES,
)
AUTHORS = st.builds(
    lambda names, affiliations: (
        f"<author>{''.join(element('name', name) for name in names)}"
        f"{''.join(element('arxiv:affiliation', text) for text in affiliations)}</author>"
    ),
    optional(NAMES),
    optional(NAMES),
)
PARTS: list[st.SearchStrategy[str]] = [
    *(TEXTS.map(lambda text, name=name: element(name, text)) for name in ("title", "summary")),  # type: ignore[misc]
    *(
        TEXTS.map(lambda text, name=name: element(f"arxiv:{name}", text))  # type: ignore[misc]
        for name in ("comment", "journal_ref")
    ),
    *(TIMES.map(lambda text, name=name: element(name, text)) for name in ("published", "updated")),  # type: ignore[misc]
    IDS.map(lambda text: element("id", text)),
    DOI_TEXTS.map(lambda text: element("arxiv:doi", text)),
    DOI_TEXTS.map(
        lambda text: (
            element("arxiv:doi", text)
            + element("link", rel="related", href=f"https://doi.org/{text}", title="doi")
        )
    ),
    VALUES.map(lambda term: element("category", term=term)),
    VALUES.map(lambda term: element("arxiv:primary_category", term=term)),
    LINKS,
    AUTHORS,
]
ENTRIES = st.lists(st.one_of(PARTS), max_size=14).map(
    lambda parts: f"<entry>{''.join(parts)}</entry>"
)


@given(st.lists(ENTRIES, max_size=3))
def test_rendering_of_any_entries_is_parsed_to_the_same(entries: list[str]) -> None:
    parsed_again(wrap(*entries))


@given(st.lists(ENTRIES, max_size=3))
def test_rendering_of_any_stored_entries_is_parsed_to_the_same_texts(entries: list[str]) -> None:
    feed = parse_feed(wrap(*entries))

    assert rendered(feed, map(stored, feed.entries)) == rendered(feed)


def test_rendering_takes_at_most_twice_the_time_of_parsing() -> None:
    body = demo_feed.render(generate(500), max_results=500)
    feed = parse_feed(body)

    def check() -> None:
        rendering, parsing = (
            measure_cpu(lambda: rendered(feed)),
            measure_cpu(lambda: parse_feed(body)),
        )
        assert rendering < 2 * parsing, (rendering, parsing)

    retry(check)
