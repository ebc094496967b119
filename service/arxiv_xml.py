"""Parser for arXiv's Atom feeds. Pure functions from bytes to structs.

The feeds of arXiv before and after November 2025 differ in the order of elements, in http and
https, and in white space. Elements are therefore found by namespace and name, links by their
attributes, and runs of white space become one space.
"""

import re
from datetime import UTC, datetime

from lxml import etree

from .arxiv_query import QUERY_PREFIX
from .metadata.arxiv_ids import parse_arxiv_id
from .metadata.dois import parse_dois, replace_doi_links
from .models.arxiv import Entry, Feed, Link
from .models.records import INT4_MAX

_ATOM = "{http://www.w3.org/2005/Atom}"
_ARXIV = "{http://arxiv.org/schemas/atom}"
_OPENSEARCH = "{http://a9.com/-/spec/opensearch/1.1/}"

_PAPER_URL = re.compile(r"https?://(?:[\w.-]+\.)?arxiv\.org/abs/")
_ERROR_IDS = ("/api/errors", "/help/api/user-manual#")


class InvalidFeed(ValueError):
    """The bytes are not an Atom feed of arXiv; the message is the reason."""


def parse_feed(body: bytes) -> Feed:
    """Parse a response of arXiv.

    Raises InvalidFeed unless it is a complete Atom feed with arXiv's totals. Document type
    declarations are rejected as well: arXiv sends none, and entities are used for attacks.
    """
    try:
        root = etree.fromstring(body, _create_parser())
    except etree.XMLSyntaxError as error:
        raise InvalidFeed(f"not well-formed XML: {str(error)[:200]}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidFeed("it has a document type declaration")
    if root.tag != f"{_ATOM}feed":
        raise InvalidFeed(f"the root element is {str(root.tag)[:100]}, not an Atom feed")
    if (total := _parse_number(root, "totalResults")) is None:
        text = _get_text(root, f"{_OPENSEARCH}totalResults")[:20]
        raise InvalidFeed(f"totalResults is {text!r}, not a number of papers")
    title = _get_text(root, f"{_ATOM}title")
    prefix = QUERY_PREFIX.match(title)
    links = _parse_links(root)
    entries = [(element, _parse_entry(element)) for element in root.iterfind(f"{_ATOM}entry")]
    errors = (_find_error(element, entry) for element, entry in entries)
    return Feed(
        query=title[prefix.end() :] if prefix else None,
        link=links[0].href if links else None,
        total=total,
        items_per_page=_parse_number(root, "itemsPerPage"),
        entries=[entry for _, entry in entries],
        error=next(filter(None, errors), None),
    )


def _create_parser() -> etree.XMLParser:
    """Return a parser that loads nothing and keeps libxml2's limits of depth and size."""
    return etree.XMLParser(
        # False would accept undefined entities, True would open external ones
        resolve_entities="internal",  # type: ignore[arg-type]  # lxml-stubs
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        # do not add collect_ids=False: libxml2 then opens an external DTD despite load_dtd=False
    )


def _find_error(element: etree._Element, entry: Entry) -> str | None:
    """Return the message of an error feed, which only the id of its entry reveals."""
    entry_id = _get_text(element, f"{_ATOM}id")
    if entry.arxiv_id is None and any(error_id in entry_id for error_id in _ERROR_IDS):
        return entry.summary or "no reason given"
    return None


def _parse_entry(element: etree._Element) -> Entry:
    url = _get_text(element, f"{_ATOM}id")
    arxiv_id, version = (_PAPER_URL.match(url) and parse_arxiv_id(url)) or (None, None)
    dois = parse_dois(_get_texts(element, f"{_ARXIV}doi"))
    authors = [
        (_get_text(author, f"{_ATOM}name"), _get_texts(author, f"{_ARXIV}affiliation"))
        for author in element.iterfind(f"{_ATOM}author")
    ]
    categories = map(_get_term, element.iterfind(f"{_ATOM}category"))
    primary = element.find(f"{_ARXIV}primary_category")
    return Entry(
        arxiv_id=arxiv_id,
        version=version,
        authors=[name for name, _ in authors if name],
        affiliations=[affiliations for name, affiliations in authors if name],
        title=_get_text(element, f"{_ATOM}title"),
        journal=_get_text(element, f"{_ARXIV}journal_ref") or None,
        summary=_get_text(element, f"{_ATOM}summary"),
        comment=_get_text(element, f"{_ARXIV}comment") or None,
        published=_parse_date(_get_text(element, f"{_ATOM}published")),
        updated=_parse_date(_get_text(element, f"{_ATOM}updated")),
        dois=dois,
        primary_category=None if primary is None else _get_term(primary) or None,
        categories=[term for term in categories if term],
        links=replace_doi_links(_parse_links(element), dois),
    )


def _parse_links(element: etree._Element) -> list[Link]:
    return [
        Link(href, link.get("rel"), link.get("title"), link.get("type"))
        for link in element.iterfind(f"{_ATOM}link")
        if (href := link.get("href"))
    ]


def _get_term(category: etree._Element) -> str:
    return " ".join(category.get("term", "").split())


def _get_text(element: etree._Element, tag: str) -> str:
    """Return the text of the first child with this tag, or an empty text."""
    child = element.find(tag)
    return "" if child is None else _join_text(child)


def _get_texts(element: etree._Element, tag: str) -> list[str]:
    return [text for child in element.iterfind(tag) if (text := _join_text(child))]


def _join_text(element: etree._Element) -> str:
    return " ".join("".join(map(str, element.itertext())).split())


def _parse_date(text: str) -> datetime | None:
    """Parse an RFC 3339 date in UTC; None if it is missing or does not exist."""
    try:
        date = datetime.fromisoformat(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse_number(root: etree._Element, name: str) -> int | None:
    text = _get_text(root, f"{_OPENSEARCH}{name}")
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= INT4_MAX else None
