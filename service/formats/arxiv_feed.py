"""The Atom feeds of arXiv's API, in the form that arXiv sends since November 2025.

Clients of that API depend on more than Atom requires: the prefixes of namespaces, the order of
elements and attributes, white space between elements. The output therefore is, byte for byte, what
arXiv's own serializer, also lxml, makes of the same data.
"""

import re
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha1

from lxml import etree
from msgspec import Struct

from ..metadata.atom_entries import (
    create_doi_link,
    create_paper_links,
    format_entry_id,
    format_time,
)
from ..metadata.unicode_text import XML_FORBIDDEN
from ..models.arxiv import Entry, Link, SentAuthor, SentFields

MEDIA_TYPE = "application/atom+xml; charset=utf-8"
ERRORS_URL = "https://arxiv.org/api/errors"

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV_URI = "http://arxiv.org/schemas/atom"
_ARXIV = f"{{{_ARXIV_URI}}}"
_OPENSEARCH_URI = "http://a9.com/-/spec/opensearch/1.1/"
_OPENSEARCH = f"{{{_OPENSEARCH_URI}}}"
_END = b"</feed>"
_ID_ERROR = "incorrect id format for "
_FORBIDDEN = re.compile(f"[{XML_FORBIDDEN}]")
_NOTHING_SENT = SentFields()


class FeedHead(Struct, frozen=True, kw_only=True):
    """What a feed says about the search and the page."""

    query: str
    """The query as executed by arXiv, without `arXiv Query: `."""
    link: str | None
    updated: datetime
    total: int
    start: int
    items_per_page: int


def render_head(head: FeedHead) -> bytes:
    """Return a feed up to its first entry."""
    feed = _create_feed()
    _add(feed, f"{_ATOM}id", f"https://arxiv.org/api/{_compute_digest(head.query)}")
    _add(feed, f"{_ATOM}title", f"arXiv Query: {head.query}")
    _add(feed, f"{_ATOM}updated", format_time(head.updated))
    if head.link:
        _add_link(feed, Link(head.link, type="application/atom+xml"))
    _add_counts(feed, head.items_per_page, head.total, head.start)
    text = etree.tostring(feed, encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return text.rstrip().removesuffix(_END)


def render_entries(entries: Iterable[Entry]) -> bytes:
    """Return entries, cut out of a feed that declares their namespaces."""
    feed = _create_feed()
    for entry in entries:
        _add_entry(feed, entry)
    if not len(feed):
        return b""
    text = etree.tostring(feed, encoding="UTF-8", pretty_print=True)
    return text[text.index(b">\n") + 2 :].rstrip().removesuffix(_END)


def render_end() -> bytes:
    """Return what follows the last entry."""
    return _END + b"\n"


def render_error(message: str, moment: datetime) -> bytes:
    """Return the feed in which arXiv reports an error."""
    feed, url = _create_feed(), _get_error_url(message)
    time = format_time(moment)
    _add(feed, f"{_ATOM}id", "https://arxiv.org/")
    _add(feed, f"{_ATOM}title", "arXiv Search Results")
    _add(feed, f"{_ATOM}updated", time)
    _add_counts(feed, 1, 1, 0)
    entry = etree.SubElement(feed, f"{_ATOM}entry")
    _add(entry, f"{_ATOM}id", url)
    _add(entry, f"{_ATOM}title", "Error")
    _add(entry, f"{_ATOM}updated", time)
    _add_link(entry, Link(url, "alternate", type="text/html"))
    _add(entry, f"{_ATOM}summary", message)
    _add_author(entry, SentAuthor("arXiv api core"))
    return etree.tostring(feed, encoding="UTF-8", xml_declaration=True, pretty_print=True)


def _get_error_url(message: str) -> str:
    """Return the id of an error entry: arXiv has pages for errors in parameters only."""
    if message.startswith(("sortBy must be in", "sortOrder must be in")):
        return "https://arxiv.org/help/api/user-manual#sort"
    if message.startswith(_ID_ERROR):
        return f"{ERRORS_URL}#{_ID_ERROR.replace(' ', '_')}{message.removeprefix(_ID_ERROR)}"
    if message.startswith(("start must be", "max_results must be")):
        return f"{ERRORS_URL}#{message.replace(' ', '_')}"
    return ERRORS_URL


def _compute_digest(query: str) -> str:
    digest = sha1(query.encode(), usedforsecurity=False).digest()
    return b64encode(digest).decode().rstrip("=")


def _create_feed() -> etree._Element:
    namespaces = {"opensearch": _OPENSEARCH_URI, "arxiv": _ARXIV_URI, None: _ATOM[1:-1]}
    return etree.Element(f"{_ATOM}feed", nsmap=namespaces)  # type: ignore[arg-type] # None is valid


def _add_counts(feed: etree._Element, items_per_page: int, total: int, start: int) -> None:
    _add(feed, f"{_OPENSEARCH}itemsPerPage", str(items_per_page))
    _add(feed, f"{_OPENSEARCH}totalResults", str(total))
    _add(feed, f"{_OPENSEARCH}startIndex", str(start))


def _add_entry(feed: etree._Element, entry: Entry) -> None:
    sent = entry.sent or _NOTHING_SENT
    element = etree.SubElement(feed, f"{_ATOM}entry")
    entry_id = sent.id or (entry.arxiv_id and format_entry_id(entry.arxiv_id, entry.version))
    dois = entry.dois if sent.dois is None else sent.dois
    paper_links = create_paper_links(entry.arxiv_id, entry.version)
    _add_optional(element, f"{_ATOM}id", entry_id)
    _add(element, f"{_ATOM}title", sent.title or entry.title)
    _add_time(element, "updated", sent.updated, entry.updated)
    for link in paper_links if sent.links is None else sent.links:
        _add_link(element, link)
    _add(element, f"{_ATOM}summary", sent.summary or entry.summary)
    for category in entry.categories:
        _add(element, f"{_ATOM}category", term=category, scheme=_ARXIV_URI)
    _add_time(element, "published", sent.published, entry.published)
    _add_optional(element, f"{_ARXIV}comment", sent.comment or entry.comment)
    if entry.primary_category:
        _add(element, f"{_ARXIV}primary_category", term=entry.primary_category)
    _add_optional(element, f"{_ARXIV}journal_ref", sent.journal or entry.journal)
    for author in _get_authors(entry) if sent.authors is None else sent.authors:
        _add_author(element, author)
    for doi in dois:
        _add(element, f"{_ARXIV}doi", doi)
        if sent.links is None:
            link = create_doi_link(doi)
            _add(element, f"{_ATOM}link", rel=link.rel, href=link.href, title=link.title)


def _get_authors(entry: Entry) -> list[SentAuthor]:
    affiliations = entry.affiliations or [[]] * len(entry.authors)
    return list(map(SentAuthor, entry.authors, affiliations))


def _add_author(entry: etree._Element, author: SentAuthor) -> None:
    element = etree.SubElement(entry, f"{_ATOM}author")
    _add(element, f"{_ATOM}name", author.name)
    for affiliation in author.affiliations:
        _add(element, f"{_ARXIV}affiliation", affiliation)


def _add_time(entry: etree._Element, name: str, sent: str | None, moment: datetime | None) -> None:
    _add_optional(entry, f"{_ATOM}{name}", sent or (format_time(moment) if moment else None))


def _add_link(parent: etree._Element, link: Link) -> None:
    _add(parent, f"{_ATOM}link", href=link.href, rel=link.rel, type=link.type, title=link.title)


def _add_optional(parent: etree._Element, tag: str, text: str | None) -> None:
    if text:
        _add(parent, tag, text)


def _add(
    parent: etree._Element, tag: str, text: str | None = None, **attributes: str | None
) -> None:
    element = etree.SubElement(parent, tag)
    if text is not None:
        element.text = _FORBIDDEN.sub("", text)
    for name, value in attributes.items():
        if value is not None:
            element.set(name, _FORBIDDEN.sub("", value))
