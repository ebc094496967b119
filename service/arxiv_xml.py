"""Atom bytes of arXiv's API to structs: pure, no client, no clock, no log.

Two families of feeds exist, from before and after November 2025; they differ in the order of
elements, in http and https, and in how text is padded. Elements are therefore found by namespace
and name, links by their attributes, and runs of white space become one space.
"""

import re
from datetime import UTC, datetime
from io import BytesIO

from lxml import etree

from .arxiv_query import QUERY_PREFIX
from .models.arxiv import Entry, Feed, Link
from .models.records import INT4_MAX

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"

_ENTRY = f"{_ATOM}entry"
_ID = f"{_ATOM}id"
_TITLE = f"{_ATOM}title"
_SUMMARY = f"{_ATOM}summary"
_AUTHOR = f"{_ATOM}author"
_NAME = f"{_ATOM}name"
_AFFILIATION = f"{_ARXIV}affiliation"
_CATEGORY = f"{_ATOM}category"
_LINK = f"{_ATOM}link"
_DOI = f"{_ARXIV}doi"

# an id without a v in it, as nearly all are, is not tried letter by letter
_PAPER = re.compile(r"https?://(?:[\w.-]+\.)?arxiv\.org/abs/([^?#\sv]+|[^?#\s]+?)(?:v(\d{1,4}))?")
_ERRORS = ("/api/errors", "/help/api/user-manual#")


class InvalidFeed(ValueError):
    """The bytes are no Atom feed of arXiv's; the message says why."""


def parse_feed(body: bytes) -> Feed:
    """Read one answer.

    Raises NotAFeed for anything but a complete Atom feed with arXiv's totals, and for any document
    type declaration: arXiv sends none, and entities are how XML is made to attack its reader.
    """
    entries: list[Entry] = []
    error: str | None = None
    reader = _reader(body)
    try:
        for _, element in reader:
            if _is_of_the_feed(element):
                entries.append(entry := _entry(element))
                error = error or _complaint(element, entry)
    except etree.XMLSyntaxError as wrong:
        raise InvalidFeed(f"not well-formed XML: {str(wrong)[:200]}") from wrong
    root = reader.root
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidFeed("it has a document type declaration")
    if root.tag != f"{_ATOM}feed":
        raise InvalidFeed(f"the root element is {str(root.tag)[:100]}, not an Atom feed")
    if (total := _number(root, "totalResults")) is None:
        said = _text(root.find(f"{_OPENSEARCH}totalResults"))[:20]
        raise InvalidFeed(f"totalResults is {said!r}, not a number of papers")
    title = QUERY_PREFIX.match(heading := _text(root.find(_TITLE)))
    return Feed(
        query=heading[title.end() :] if title else None,
        link=next((link.href for link in map(_link, root.iterfind(_LINK)) if link), None),
        total=total,
        items_per_page=_number(root, "itemsPerPage"),
        entries=entries,
        error=error,
    )


def _reader(body: bytes) -> "etree.iterparse[tuple[str, etree._Element]]":
    """Entries as they end, which is while they are in the processor's cache: a fifth faster.

    Opens and expands nothing, and keeps libxml2's limits of depth and size.
    """
    return etree.iterparse(
        BytesIO(body),
        tag=_ENTRY,
        # without, it would pass over one that is unknown, and begin anew with what follows
        resolve_entities="internal",
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _is_of_the_feed(element: etree._Element) -> bool:
    """Whether it is a child of the root: an entry in an entry is none of arXiv's."""
    parent = element.getparent()
    return parent is not None and parent.getparent() is None


def _complaint(element: etree._Element, entry: Entry) -> str | None:
    """What an error feed says. It is known by its entry's id, for its status may be 200."""
    if entry.arxiv_id is not None:  # so the id is not looked for again in thousands of papers
        return None
    name = _text(element.find(_ID))
    return (entry.summary or "no reason given") if any(m in name for m in _ERRORS) else None


def _entry(element: etree._Element) -> Entry:
    """One pass over the children: to look for each by its name is one pass for each name."""
    once: dict[str, etree._Element] = {}
    authors: list[str] = []
    affiliations: list[list[str]] = []
    dois: list[str] = []
    categories: list[str] = []
    links: list[Link] = []
    for child in element:
        tag = child.tag
        if tag == _AUTHOR:
            name, places = _author(child)
            if name:
                authors.append(name)
                affiliations.append(places)
        elif tag == _LINK:
            if link := _link(child):
                links.append(link)
        elif tag == _CATEGORY:
            if term := _squeeze(child.get("term", "")):
                categories.append(term)
        elif tag == _DOI:
            if doi := _text(child):
                dois.append(doi)
        else:
            once.setdefault(tag, child)
    paper = _PAPER.fullmatch(_text(once.get(_ID)))
    arxiv_id, version = paper.groups() if paper else (None, None)
    primary = once.get(f"{_ARXIV}primary_category")
    return Entry(
        arxiv_id=arxiv_id,
        version=int(version) if version else None,
        authors=authors,
        affiliations=affiliations,
        title=_text(once.get(_TITLE)),
        journal=_text(once.get(f"{_ARXIV}journal_ref")) or None,
        summary=_text(once.get(_SUMMARY)),
        comment=_text(once.get(f"{_ARXIV}comment")) or None,
        published=_moment(once.get(f"{_ATOM}published")),
        updated=_moment(once.get(f"{_ATOM}updated")),
        dois=dois,
        primary_category=None if primary is None else _squeeze(primary.get("term", "")) or None,
        categories=categories,
        links=links,
    )


def _author(element: etree._Element) -> tuple[str | None, list[str]]:
    """Name and affiliations."""
    name: str | None = None
    places: list[str] = []
    for part in element:
        tag = part.tag
        if tag == _NAME:
            name = _text(part) if name is None else name
        elif tag == _AFFILIATION and (place := _text(part)):
            places.append(place)
    return name, places


def _link(element: etree._Element) -> Link | None:
    get = element.get
    return Link(href, get("rel"), get("title"), get("type")) if (href := get("href")) else None


def _text(element: etree._Element | None) -> str:
    """All text inside the element, white space normalised; empty where there is no element."""
    if element is None:
        return ""
    text = "".join(map(str, element.itertext())) if len(element) else element.text
    return _squeeze(text) if text else ""


def _squeeze(text: str) -> str:
    """The words with single spaces. Most texts are so already: to see that takes half the time."""
    if text.isprintable() and "  " not in text:  # a space is the only white space that is printable
        return text.strip()
    return " ".join(text.split())


def _moment(element: etree._Element | None) -> datetime | None:
    """A date of RFC 3339 in UTC; None where there is none that exists."""
    try:
        moment = datetime.fromisoformat(_text(element))
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _number(root: etree._Element, name: str) -> int | None:
    """One of arXiv's counts; None where it says none that can be."""
    text = _text(root.find(f"{_OPENSEARCH}{name}"))
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= INT4_MAX else None
