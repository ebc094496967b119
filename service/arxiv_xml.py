"""Parser for arXiv's Atom feeds. Pure functions from bytes to structs.

The feeds of arXiv before and after November 2025 differ in the order of elements, in http and
https, and in white space. Elements are therefore found by namespace and name, links by their
attributes, and runs of white space become one space.

A response may be hostile or damaged. It is parsed in pieces, elements are freed as soon as they
are complete, and everything that is kept has a bound.
"""

import codecs
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, islice
from time import monotonic
from typing import Any, NamedTuple

from lxml import etree

from . import timestamps
from .arxiv_query import QUERY_PREFIX
from .metadata.arxiv_ids import parse_arxiv_id
from .metadata.atom_entries import (
    create_doi_link,
    create_paper_links,
    format_entry_id,
    format_time,
)
from .metadata.dois import parse_dois, replace_doi_links
from .metadata.person_names import Authors, split_authors
from .metadata.unicode_text import XML_FORBIDDEN
from .models.arxiv import MAX_RESULTS, Entry, Feed, Link, SentAuthor, SentFields
from .models.records import INT4_MAX

PIECE_BYTES = 64 * 2**10
"""How much is parsed at once; the deadline and the size of an entry are checked in between."""
MAX_ENTRY_BYTES = 8 * 2**20
"""From the end of one entry to that of the next; 3,000 authors with affiliations take 1 MiB."""
MAX_ENTRY_MARKUP = 200_000
"""Characters `<` and `=` in these bytes, because each element and attribute takes 300 bytes of
memory; 3,000 authors with two affiliations each take 24,000."""
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

RECOVERED = (
    "arXiv sent characters that XML or UTF-8 forbids: they are missing or replaced by U+FFFD"
)

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

_OTHER_ENCODING = re.compile(
    rb"""\xff\xfe|\xfe\xff|.?\0|<\?xml[^>]*?\sencoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE
)
_SENT_UNCHANGED = SentFields()
_FORBIDDEN = re.compile(f"[{XML_FORBIDDEN}]")
"""Also as references."""
_REFERENCE = re.compile(r"&#(?:([0-9]{1,20})|x([0-9A-Fa-f]{1,20}));")
_CUT_REFERENCE = re.compile(r"&[#0-9A-Za-z]{0,22}\Z")


class InvalidFeed(ValueError):
    """The bytes are not an Atom feed of arXiv; the message is the reason."""


class _NotWellFormed(InvalidFeed):
    """The XML is truncated or malformed, or has forbidden characters."""


def parse_feed(
    body: bytes | bytearray, max_entries: int = MAX_RESULTS, deadline: float = math.inf
) -> Feed:
    """Parse a response of arXiv; entries after the first `max_entries` are only counted.

    Raises InvalidFeed unless it is a complete Atom feed with arXiv's totals. Document type
    declarations are rejected as well: arXiv sends none, and entities are used for attacks.
    Characters that XML forbids are left out, and bytes that are not UTF-8 are replaced.

    Raises TimeoutError at `deadline` (in seconds of `time.monotonic`).
    """
    try:
        return _FeedParser(max_entries, deadline).parse(_split(body))
    except _NotWellFormed:
        if _OTHER_ENCODING.match(body):
            raise
    feed_parser = _FeedParser(max_entries, deadline)
    feed_parser.warnings.append(RECOVERED)
    return feed_parser.parse(_repair(body))


class _FeedParser:
    """Parses one feed."""

    def __init__(self, max_entries: int, deadline: float) -> None:
        self.warnings: list[str] = []
        self._max_entries, self._deadline = max_entries, deadline
        self._parser = _create_parser()
        self._root: etree._Element | None = None
        self._head: dict[str, str] = {}
        """The texts of elements of the feed itself, and its link."""
        self._entries: list[Entry] = []
        self._num_entries = 0
        self._error: str | None = None
        self._oversized: set[str] = set()
        """The fields that exceeded their bounds."""
        self._bytes = self._markup = 0
        """Since the end of the last entry."""

    def parse(self, pieces: Iterable[bytes]) -> Feed:
        try:
            for piece in pieces:
                self._parse_piece(piece)
            root = self._parser.close()
        except etree.XMLSyntaxError as error:
            raise _NotWellFormed(f"not well-formed XML: {str(error)[:200]}") from error
        _check_root(root)
        self._take(root)
        return self._create_feed()

    def _parse_piece(self, piece: bytes) -> None:
        if monotonic() > self._deadline:
            raise TimeoutError
        self._parser.feed(piece)
        self._bytes += len(piece)
        self._markup += piece.count(b"<") + piece.count(b"=")
        # always emptied: feeds inside the feed are events too
        starts: list[Any] = [element for _, element in self._parser.read_events()]
        if self._root is None and starts:
            self._root = starts[0]
            _check_root(starts[0])
        if self._root is not None:
            complete = list(self._root)[:-1]  # the last one may be incomplete
            self._take(complete)
            del self._root[: len(complete)]
        if self._bytes > MAX_ENTRY_BYTES or self._markup > MAX_ENTRY_MARKUP:
            raise InvalidFeed("an entry, or what is before it, is larger than that of any paper")

    def _take(self, elements: Iterable[etree._Element]) -> None:
        """Parse complete elements of the feed."""
        for element in elements:
            if element.tag != _ENTRY:
                self._take_head(element)
                continue
            self._bytes = self._markup = 0
            self._num_entries += 1
            if self._num_entries <= self._max_entries:
                entry = _parse_entry(element, self._oversized)
                self._entries.append(entry)
                self._error = self._error or _find_error(element, entry)

    def _take_head(self, element: etree._Element) -> None:
        if element.tag in _HEAD:
            self._head.setdefault(str(element.tag), _get_text(element).strip())
        elif element.tag == _LINK and (href := element.get("href")):
            self._head.setdefault(_LINK, href)

    def _create_feed(self) -> Feed:
        if (total := self._parse_number(_TOTAL)) is None:
            text = self._head.get(_TOTAL, "")[:20]
            raise InvalidFeed(f"totalResults is {text!r}, not a number of papers")
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
        self._oversized.add(f"feed {_get_name(tag)}")
        return None

    def _parse_number(self, tag: str) -> int | None:
        text = self._head.get(tag, "")
        return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= INT4_MAX else None


def _create_parser() -> etree.XMLPullParser:
    """Return a parser that loads nothing and keeps libxml2's limits of depth and size."""
    return etree.XMLPullParser(
        events=("start",),
        tag=_FEED,
        # False would accept undefined entities, True would open external ones
        resolve_entities="internal",  # type: ignore[arg-type]  # lxml-stubs
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        # do not add collect_ids=False: libxml2 then opens an external DTD despite load_dtd=False
    )


def _check_root(root: etree._Element) -> None:
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidFeed("it has a document type declaration")
    if root.tag != _FEED or root.getparent() is not None:
        raise InvalidFeed(f"the root element is {str(root.tag)[:100]}, not an Atom feed")


def _split(body: bytes | bytearray) -> Iterator[bytes]:
    with memoryview(body) as view:
        for start in range(0, len(view), PIECE_BYTES):
            yield bytes(view[start : start + PIECE_BYTES])


def _repair(body: bytes | bytearray) -> Iterator[bytes]:
    """Yield the body without forbidden characters, in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in _split(body):
        text = rest + decoder.decode(piece)
        reference = _CUT_REFERENCE.search(text)
        end = reference.start() if reference else len(text)
        yield _remove_forbidden(text[:end])
        rest = text[end:]
    yield _remove_forbidden(rest + decoder.decode(b"", final=True))


def _remove_forbidden(text: str) -> bytes:
    text = _FORBIDDEN.sub("", text)
    return _REFERENCE.sub(_remove_forbidden_reference, text).encode()


def _remove_forbidden_reference(match: re.Match[str]) -> str:
    decimal, hexadecimal = match.groups()
    code = int(decimal) if decimal else int(hexadecimal, 16)
    is_forbidden = code > sys.maxunicode or _FORBIDDEN.match(chr(code))
    return "" if is_forbidden else match[0]


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
    derived_links = [*create_paper_links(arxiv_id, version), *map(create_doi_link, raw_dois)]
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
        oversized.add(_get_name(tag))
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
    sent = _get_text(element)
    text = " ".join(sent.split())
    bounded = _bound_text(text, limit, tag, oversized)
    is_unchanged = text == sent or not text or bounded != text or len(sent) > limit
    return _Text(bounded, None if is_unchanged else sent)


def _get_text(element: etree._Element) -> str:
    return "".join(map(str, element.itertext())) if len(element) else element.text or ""


def _bound_text(text: str, limit: int, tag: str, oversized: set[str]) -> str:
    """Return a text with at most `limit` characters and only short runs of combining ones."""
    if len(text) <= limit and (text.isascii() or not _SYMBOLS.search(text)):
        return text
    bounded = _SYMBOLS.sub(_shorten_run, text[:limit]).rstrip()
    if bounded != text:
        oversized.add(_get_name(tag))
    return bounded


def _shorten_run(match: re.Match[str]) -> str:
    runs = groupby(match[0], key=lambda character: unicodedata.combining(character) > 0)
    return "".join("".join(islice(run, MAX_COMBINING if marks else None)) for marks, run in runs)


def _get_name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _parse_date(text: str) -> datetime | None:
    """Parse an RFC 3339 date in UTC; None if it is missing, or if it cannot be stored."""
    try:
        date = datetime.fromisoformat(text)
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if timestamps.EARLIEST <= moment.timestamp() <= timestamps.LATEST else None
