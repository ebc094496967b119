"""Parser for arXiv's daily RSS feeds of announcements. Pure functions from bytes to structs."""

import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from lxml import etree

from .. import timestamps
from ..arxiv_xml import MAX_ITEMS, MAX_WORD_CHARS
from ..metadata.arxiv_ids import parse_arxiv_id
from ..models.mirror import AnnouncementType
from ..untrusted_xml import ChildReader, InvalidResponse, get_text, parse_or_repair
from .text_form import (
    InvalidRecord,
    clean_abstract,
    clean_dois,
    clean_note,
    clean_title,
    split_categories,
    split_raw_authors,
)

MAX_REASON_CHARS = 1_000

_EASTERN = ZoneInfo("America/New_York")
_ARXIV = "{http://arxiv.org/schemas/atom}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_ERROR_TITLE = "Feed error"
_PREFIX = re.compile(r"arXiv:\S+\s+Announce Type:\s*\S+\s+Abstract:")
"""What the description has before the abstract."""


_TYPES = {each.value: each for each in AnnouncementType}


class RssItem(NamedTuple):
    """A paper that was announced. Texts are not empty: a missing one is None."""

    arxiv_id: str
    version: int | None
    type: AnnouncementType
    title: str
    authors: list[str]
    group_authors: list[str]
    abstract: str
    categories: list[str]
    primary_category: str
    license: str | None
    dois: list[str]
    journal: str | None


class RssFeed(NamedTuple):
    """The papers announced on one day; none at a weekend, or if there is an error."""

    date: date
    """The day of the announcement in US Eastern time."""
    built: int
    """When arXiv created the feed, in Unix seconds."""
    items: list[RssItem]
    invalid: list[tuple[str, str]]
    """The identifier of each item that cannot be used (or its position), and the reason."""
    error: str | None
    """The message of an error feed."""
    warnings: list[str]
    """How the feed differs from what arXiv sent."""


def parse_feed(body: bytes | bytearray, deadline: float = math.inf) -> RssFeed:
    """Parse an RSS feed of arXiv.

    An item that cannot be used is reported in `invalid`. Raises InvalidResponse if the bytes are
    not a complete RSS feed with its date, and TimeoutError at `deadline` (in seconds of
    `time.monotonic`).
    """
    return parse_or_repair(
        body, lambda pieces, warnings: _FeedParser(deadline).parse(pieces, warnings)
    )


class _FeedParser:
    """Parses one feed."""

    def __init__(self, deadline: float) -> None:
        self._reader = ChildReader("rss", frozenset({"channel"}), "item", deadline)
        self._head: dict[str, str] = {}
        self._items: list[RssItem] = []
        self._invalid: list[tuple[str, str]] = []
        self._position = 0

    def parse(self, pieces: Iterator[bytes], warnings: list[str]) -> RssFeed:
        for element in self._reader.read(pieces):
            if element.tag == "item":
                self._take_item(element)
            elif element.tag in {"title", "description", "pubDate", "lastBuildDate"}:
                self._head.setdefault(str(element.tag), " ".join(get_text(element).split()))
        is_error = self._head.get("title", "").startswith(_ERROR_TITLE)
        reason = self._head.get("description", "")[:MAX_REASON_CHARS] or "no reason given"
        return RssFeed(
            date=self._parse_time("pubDate").astimezone(_EASTERN).date(),
            built=int(self._parse_time("lastBuildDate").timestamp()),
            items=self._items,
            invalid=self._invalid,
            error=reason if is_error else None,
            warnings=warnings,
        )

    def _parse_time(self, name: str) -> datetime:
        text = self._head.get(name, "")[:MAX_WORD_CHARS]
        try:
            moment = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S %z")
        except ValueError as error:
            raise InvalidResponse(f"{name} is {text!r}, not a time") from error
        if not timestamps.EARLIEST <= moment.timestamp() <= timestamps.LATEST:
            raise InvalidResponse(f"{name} is {text!r}, which cannot be stored")
        return moment

    def _take_item(self, element: etree._Element) -> None:
        self._position += 1
        name = " ".join(_read(element, "guid").split())
        try:
            self._items.append(_parse_item(element, name))
        except InvalidRecord as error:
            self._invalid.append((name[:100] or f"item {self._position}", str(error)))


def _parse_item(item: etree._Element, guid: str) -> RssItem:
    found = parse_arxiv_id(guid)
    if found is None:
        raise InvalidRecord(f"guid is {guid[:100]!r}, not an identifier of arXiv")
    announced = _read(item, f"{_ARXIV}announce_type")
    if announced not in _TYPES:
        raise InvalidRecord(f"announce_type is {announced[:100]!r}")
    authors = split_raw_authors(_read(item, f"{_DC}creator"))
    texts = [get_text(each) for each in item.iterchildren("category")]
    categories = split_categories(" ".join(texts[: MAX_ITEMS + 1]))
    return RssItem(
        arxiv_id=found.name,
        version=found.version,
        type=_TYPES[announced],
        title=clean_title(_read(item, "title")),
        authors=authors.names,
        group_authors=authors.groups,
        abstract=clean_abstract(_remove_prefix(_read(item, "description"))),
        categories=categories,
        primary_category=categories[0],
        license=clean_note(_read(item, f"{_DC}rights"), "rights"),
        dois=clean_dois(_read(item, f"{_ARXIV}DOI")),
        journal=clean_note(_read(item, f"{_ARXIV}journal_reference"), "journal_reference"),
    )


def _remove_prefix(description: str) -> str:
    match = _PREFIX.match(description)
    return description[match.end() :] if match else description


def _read(item: etree._Element, tag: str) -> str:
    child = next(item.iterchildren(tag), None)
    return "" if child is None else get_text(child).strip()
