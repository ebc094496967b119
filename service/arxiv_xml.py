"""Parser for arXiv's Atom feeds. Pure functions from bytes to structs.

The feeds of arXiv before and after November 2025 differ in the order of elements, in http and
https, and in white space. Elements are therefore found by namespace and name, links by their
attributes, and runs of white space become one space.

A response may be hostile or damaged. It is parsed in pieces, elements are freed as soon as they
are complete, and everything that is kept has a bound.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple

from lxml import etree

from . import timestamps
from .arxiv_query import QUERY_PREFIX
from .metadata.arxiv_ids import parse_arxiv_id
from .metadata.atom_entries import (
    create_links,
    format_entry_id,
    format_time,
)
from .metadata.dois import parse_dois, replace_doi_links
from .metadata.person_names import Authors, split_authors
from .models.arxiv import MAX_RESULTS, Entry, Feed, Link, SentAuthor, SentFields
from .models.records import INT4_MAX
from .untrusted_xml import ChildReader, InvalidResponse, get_name, get_text, parse_or_repair

MAX_QUERY_CHARS = 200_000
"""Length of a feed's title, which repeats the query: arXiv adds a field and an operator to each of
its words, of which 10,000 characters contain 5,000."""
MAX_QUERY_URL_CHARS = 1_000_000
"""Length of a feed's link: percent-encoding makes the query longer, up to twelve times."""

# the fields of an entry; each bound is several times the largest value known at arXiv
MAX_TITLE_CHARS = 5_000
MAX_ABSTRACT_CHARS = 20_000
MAX_NOTE_CHARS = 5_000
"""Length of a comment or a journal reference."""
MAX_NAME_CHARS = 1_000
"""Length of an author, an affiliation or a DOI."""
MAX_URL_CHARS = 2_000
MAX_WORD_CHARS = 100
"""Length of a date or category, and of the relation, title and type of a link."""
MAX_AUTHORS = 10_000
MAX_ITEMS = 100
"""Number of DOIs, categories or links of an entry, or of affiliations of an author."""
MAX_COMBINING = 30
"""Length of a run of combining characters, as in the Stream-Safe Text Format (UAX #15, section 13):
the time that PostgreSQL takes to normalize a run is quadratic in its length."""

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"
_FEED, _ENTRY, _LINK = f"{_ATOM}feed", f"{_ATOM}entry", f"{_ATOM}link"
_TITLE, _TOTAL = f"{_ATOM}title", f"{_OPENSEARCH}totalResults"
_PAGE_SIZE, _START = f"{_OPENSEARCH}itemsPerPage", f"{_OPENSEARCH}startIndex"
_UPDATED = f"{_ATOM}updated"
_HEAD = {_TITLE, _UPDATED, _TOTAL, _PAGE_SIZE, _START}

_PAPER_URL = re.compile(r"https?://(?:[\w.-]+\.)?arxiv\.org/abs/")
_ERROR_IDS = ("/api/errors", "/help/api/user-manual#")
_SYMBOLS = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_COMBINING + 1},}}")
"""A run of combining characters, or of other characters that are not in words."""

_SENT_UNCHANGED = SentFields()


def parse_feed(
    body: bytes | bytearray, max_entries: int = MAX_RESULTS, deadline: float = math.inf
) -> Feed:
    """Parse a response of arXiv; entries after the first `max_entries` are only counted.

    Raises InvalidResponse unless it is a complete Atom feed with arXiv's totals, and TimeoutError
    at `deadline` (in seconds of `time.monotonic`).
    """
    return parse_or_repair(
        body,
        lambda pieces, warnings: _FeedParser(max_entries, deadline, warnings).parse(pieces),
    )


class _FeedParser:
    """Parses one feed."""

    def __init__(self, max_entries: int, deadline: float, warnings: list[str]) -> None:
        self.warnings = warnings
        self._max_entries = max_entries
        self._reader = ChildReader(_FEED, frozenset({_FEED}), _ENTRY, deadline)
        self._head: dict[str, str] = {}
        """The texts of elements of the feed itself, and its link."""
        self._entries: list[Entry] = []
        self._num_entries = 0
        self._error: str | None = None
        self._oversized: set[str] = set()
        """The fields that exceeded their bounds."""

    def parse(self, pieces: Iterator[bytes]) -> Feed:
        for element in self._reader.read(pieces):
            if element.tag == _ENTRY:
                self._take_entry(element)
            else:
                self._take_head(element)
        return self._create_feed()

    def _take_entry(self, element: etree._Element) -> None:
        self._num_entries += 1
        if self._num_entries <= self._max_entries:
            entry = _parse_entry(element, self._oversized)
            self._entries.append(entry)
            self._error = self._error or _find_error(element, entry)

    def _take_head(self, element: etree._Element) -> None:
        if element.tag in _HEAD:
            self._head.setdefault(str(element.tag), get_text(element).strip())
        elif element.tag == _LINK and (href := element.get("href")):
            self._head.setdefault(_LINK, href)

    def _create_feed(self) -> Feed:
        if (total := self._parse_number(_TOTAL)) is None:
            text = self._head.get(_TOTAL, "")[:20]
            raise InvalidResponse(f"totalResults is {text!r}, not a number of papers")
        title = self._get_head(_TITLE, MAX_QUERY_CHARS) or ""
        prefix = QUERY_PREFIX.match(title)
        link = self._get_head(_LINK, MAX_QUERY_URL_CHARS)
        if self._oversized:
            names = ", ".join(sorted(self._oversized))
            self.warnings.append(f"arXiv sent too much text or too many items: cut in {names}")
        return Feed(
            query=title[prefix.end() :] if prefix else None,
            updated=_parse_date(self._head.get(_UPDATED, "")),
            link=link,
            total=total,
            items_per_page=self._parse_number(_PAGE_SIZE),
            start=self._parse_number(_START),
            entries=self._entries,
            num_ignored=self._num_entries - len(self._entries),
            error=self._error,
            warnings=self.warnings,
        )

    def _get_head(self, tag: str, limit: int) -> str | None:
        """Return a text of the feed; None if it is too long, because a part would mislead."""
        text = self._head.get(tag)
        if text is None or len(text) <= limit:
            return text
        self._oversized.add(f"feed {get_name(tag)}")
        return None

    def _parse_number(self, tag: str) -> int | None:
        text = self._head.get(tag, "")
        return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= INT4_MAX else None


def _find_error(element: etree._Element, entry: Entry) -> str | None:
    """Return the message of an error feed, which only the id of its entry reveals."""
    entry_id = _read_text(element, f"{_ATOM}id", MAX_URL_CHARS, set()).text
    if entry.arxiv_id is None and any(error_id in entry_id for error_id in _ERROR_IDS):
        return entry.summary or "no reason given"
    return None


def _parse_entry(element: etree._Element, oversized: set[str]) -> Entry:
    """Parse an entry; the names of fields that exceed their bounds are added to `oversized`."""
    read = partial(_read_text, element, oversized=oversized)
    url = read(f"{_ATOM}id", MAX_URL_CHARS)
    arxiv_id, version = (_PAPER_URL.match(url.text) and parse_arxiv_id(url.text)) or (None, None)
    title, summary = read(_TITLE, MAX_TITLE_CHARS), read(f"{_ATOM}summary", MAX_ABSTRACT_CHARS)
    journal = read(f"{_ARXIV}journal_ref", MAX_NOTE_CHARS)
    comment = read(f"{_ARXIV}comment", MAX_NOTE_CHARS)
    published = read(f"{_ATOM}published", MAX_WORD_CHARS)
    updated = read(f"{_ATOM}updated", MAX_WORD_CHARS)
    published_at, updated_at = _parse_date(published.text), _parse_date(updated.text)
    authors, sent_authors = _parse_authors(element, oversized)
    sent_dois = _read_texts(element, f"{_ARXIV}doi", oversized)
    dois = parse_dois(doi.text for doi in sent_dois)
    links = _parse_links(element, oversized)
    raw_dois = [doi.sent or doi.text for doi in sent_dois]
    derived_links = create_links(arxiv_id, version, raw_dois)
    categories = _find_children(element, f"{_ATOM}category", MAX_ITEMS, oversized)
    terms = [_get_term(category, oversized) for category in categories]
    primary = next(element.iterchildren(f"{_ARXIV}primary_category"), None)
    entry_id = format_entry_id(arxiv_id, version) if arxiv_id else ""
    sent = SentFields(
        id=None if url.text == entry_id else url.text,
        title=title.sent,
        summary=summary.sent,
        published=_get_other_time(published, published_at),
        updated=_get_other_time(updated, updated_at),
        comment=comment.sent,
        journal=journal.sent,
        authors=sent_authors,
        dois=None if raw_dois == dois else raw_dois,
        links=None if links == derived_links else links,
    )
    return Entry(
        arxiv_id=arxiv_id,
        version=version,
        authors=authors.names,
        affiliations=authors.affiliations,
        group_authors=authors.groups,
        title=title.text,
        journal=journal.text or None,
        summary=summary.text,
        comment=comment.text or None,
        published=published_at,
        updated=updated_at,
        dois=dois,
        primary_category=None if primary is None else _get_term(primary, oversized) or None,
        categories=[term for term in terms if term],
        links=replace_doi_links(links, dois),
        sent=None if sent == _SENT_UNCHANGED else sent,
    )


def _parse_authors(
    element: etree._Element, oversized: set[str]
) -> tuple[Authors, list[SentAuthor] | None]:
    """Return the authors, and as arXiv sent them if that differs."""
    names, affiliations = [], []
    for author in _find_children(element, f"{_ATOM}author", MAX_AUTHORS, oversized):
        names.append(_read_text(author, f"{_ATOM}name", MAX_NAME_CHARS, oversized))
        affiliations.append(_read_texts(author, f"{_ARXIV}affiliation", oversized))
    authors = split_authors(
        [name.text for name in names], [[one.text for one in each] for each in affiliations]
    )
    sent = [
        SentAuthor(name.sent or name.text, [one.sent or one.text for one in each])
        for name, each in zip(names, affiliations, strict=True)
    ]
    unchanged = list(map(SentAuthor, authors.names, authors.affiliations))
    return authors, None if sent == unchanged else sent


def _get_other_time(text: "_Text", moment: datetime | None) -> str | None:
    """Return a time as arXiv sent it, unless it has the usual form."""
    return text.text if text.text and (not moment or format_time(moment) != text.text) else None


def _parse_links(element: etree._Element, oversized: set[str]) -> list[Link]:
    links = []
    for link in _find_children(element, _LINK, MAX_ITEMS, oversized):
        href, *values = (link.get(name) for name in ("href", "rel", "title", "type"))
        if href and len(href) > MAX_URL_CHARS:
            oversized.add("link")
        elif href:
            rel, title, media_type = (
                value and _bound_text(value, MAX_WORD_CHARS, "link", oversized) for value in values
            )
            links.append(Link(href, rel, title, media_type))
    return links


def _get_term(category: etree._Element, oversized: set[str]) -> str:
    """Return the name of a category, or an empty text if it is too long."""
    term = " ".join(category.get("term", "").split())
    if len(term) <= MAX_WORD_CHARS:
        return term
    oversized.add("category")
    return ""


def _find_children(
    element: etree._Element, tag: str, limit: int, oversized: set[str]
) -> list[etree._Element]:
    children = list(islice(element.iterchildren(tag), limit + 1))
    if len(children) > limit:
        oversized.add(get_name(tag))
    return children[:limit]


class _Text(NamedTuple):
    """A text with normalized white space, and as arXiv sent it if that differs."""

    text: str
    sent: str | None = None


def _read_text(element: etree._Element, tag: str, limit: int, oversized: set[str]) -> _Text:
    """Return the text of the first child with this tag, or an empty text."""
    child = next(element.iterchildren(tag), None)
    return _Text("") if child is None else _normalize_text(child, limit, tag, oversized)


def _read_texts(element: etree._Element, tag: str, oversized: set[str]) -> list[_Text]:
    children = _find_children(element, tag, MAX_ITEMS, oversized)
    texts = (_normalize_text(child, MAX_NAME_CHARS, tag, oversized) for child in children)
    return [text for text in texts if text.text]


def _normalize_text(element: etree._Element, limit: int, tag: str, oversized: set[str]) -> _Text:
    sent = get_text(element)
    text = " ".join(sent.split())
    bounded = _bound_text(text, limit, tag, oversized)
    is_unchanged = text == sent or not text or bounded != text or len(sent) > limit
    return _Text(bounded, None if is_unchanged else sent)


def _bound_text(text: str, limit: int, tag: str, oversized: set[str]) -> str:
    """Return a text with at most `limit` characters and only short runs of combining ones."""
    if len(text) <= limit and (text.isascii() or not _SYMBOLS.search(text)):
        return text
    bounded = _SYMBOLS.sub(_shorten_run, text[:limit]).rstrip()
    if bounded != text:
        oversized.add(get_name(tag))
    return bounded


def _shorten_run(match: re.Match[str]) -> str:
    runs = groupby(match[0], key=lambda character: unicodedata.combining(character) > 0)
    return "".join("".join(islice(run, MAX_COMBINING if marks else None)) for marks, run in runs)


def _parse_date(text: str) -> datetime | None:
    """Parse an RFC 3339 date in UTC; None if it is missing, or if it cannot be stored."""
    try:
        date = datetime.fromisoformat(text)
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if timestamps.EARLIEST <= moment.timestamp() <= timestamps.LATEST else None
