"""Atom bytes of arXiv's API to structs: pure, no client, no clock, no log.

Two families of feeds exist, from before and after November 2025; they differ in the order of
elements, in http and https, and in how text is padded. Elements are therefore found by namespace
and name, links by their attributes, and runs of white space become one space.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from lxml import etree

from service.arxiv_query import HEADING
from service.models import INT4_MAX, Entry, Feed, Link

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"

_PAPER = re.compile(
    r"https?://(?:[\w.-]+\.)?arxiv\.org/abs/(?P<id>[^?#\s]+?)(?:v(?P<version>\d{1,4}))?"
)
_ERRORS = ("/api/errors", "/help/api/user-manual#")


class NotAFeed(ValueError):
    """The bytes are no Atom feed of arXiv's; the message says why."""


def parse(body: bytes) -> Feed:
    """Read one answer.

    Raises NotAFeed for anything but a complete Atom feed with arXiv's totals, and for any document
    type declaration: arXiv sends none, and entities are how XML is made to attack its reader.
    """
    try:
        root = etree.fromstring(body, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise NotAFeed(f"not well-formed XML: {str(error)[:200]}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise NotAFeed("it has a document type declaration")
    if root.tag != f"{_ATOM}feed":
        raise NotAFeed(f"the root element is {str(root.tag)[:100]}, not an Atom feed")
    if (total := _number(root, "totalResults")) is None:
        said = _text(root.find(f"{_OPENSEARCH}totalResults"))[:20]
        raise NotAFeed(f"totalResults is {said!r}, not a number of papers")
    entries = [_entry(element) for element in root.iterfind(f"{_ATOM}entry")]
    title = HEADING.match(heading := _text(root.find(f"{_ATOM}title")))
    return Feed(
        query=heading[title.end() :] if title else None,
        link=next((link.href for link in _links(root)), None),
        total=total,
        items_per_page=_number(root, "itemsPerPage"),
        entries=entries,
        error=_complaint(root),
    )


def _parser() -> etree.XMLParser:
    """A parser that opens and expands nothing, and keeps libxml2's limits of depth and size."""
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _complaint(root: etree._Element) -> str | None:
    """What an error feed says. It is known by its entry's id, for its status may be 200."""
    for element in root.iterfind(f"{_ATOM}entry"):
        name = _text(element.find(f"{_ATOM}id"))
        if any(mark in name for mark in _ERRORS):
            return _text(element.find(f"{_ATOM}summary")) or "no reason given"
    return None


def _entry(element: etree._Element) -> Entry:
    once: dict[str, etree._Element] = {}
    authors: list[str] = []
    affiliations: list[list[str]] = []
    dois: list[str] = []
    categories: list[str] = []
    for child in element:
        tag = child.tag
        if tag == f"{_ATOM}author":
            if name := _text(child.find(f"{_ATOM}name")):
                authors.append(name)
                places = (_text(place) for place in child.iterfind(f"{_ARXIV}affiliation"))
                affiliations.append([place for place in places if place])
        elif tag == f"{_ARXIV}doi":
            if doi := _text(child):
                dois.append(doi)
        elif tag == f"{_ATOM}category":
            if term := _squeeze(child.get("term", "")):
                categories.append(term)
        else:
            once.setdefault(tag, child)
    paper = _PAPER.fullmatch(_text(once.get(f"{_ATOM}id")))
    primary = once.get(f"{_ARXIV}primary_category")
    return Entry(
        arxiv_id=paper["id"] if paper else None,
        version=int(paper["version"]) if paper and paper["version"] else None,
        authors=authors,
        affiliations=affiliations,
        title=_text(once.get(f"{_ATOM}title")),
        journal=_text(once.get(f"{_ARXIV}journal_ref")) or None,
        summary=_text(once.get(f"{_ATOM}summary")),
        comment=_text(once.get(f"{_ARXIV}comment")) or None,
        published=_moment(once.get(f"{_ATOM}published")),
        updated=_moment(once.get(f"{_ATOM}updated")),
        dois=dois,
        primary_category=None if primary is None else _squeeze(primary.get("term", "")) or None,
        categories=categories,
        links=list(_links(element)),
    )


def _links(element: etree._Element) -> Iterator[Link]:
    for link in element.iterfind(f"{_ATOM}link"):
        if href := link.get("href"):
            yield Link(href, link.get("rel"), link.get("title"), link.get("type"))


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def _text(element: etree._Element | None) -> str:
    """All text inside the element, white space normalised; empty where there is no element."""
    if element is None:
        return ""
    text = "".join(map(str, element.itertext())) if len(element) else element.text
    return _squeeze(text or "")


def _moment(element: etree._Element | None) -> datetime | None:
    """A date of RFC 3339 in UTC; None where there is none that exists."""
    try:
        moment = datetime.fromisoformat(_text(element))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _number(root: etree._Element, name: str) -> int | None:
    """One of arXiv's counts; None where it says none that can be."""
    text = _text(root.find(f"{_OPENSEARCH}{name}"))
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= INT4_MAX else None
