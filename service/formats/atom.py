"""Atom (RFC 4287), with arXiv's own elements."""

from collections.abc import Sequence
from datetime import datetime

from lxml import etree
from msgspec import Struct

from .. import __version__
from ..metadata.atom_entries import format_time
from ..metadata.dois import format_doi_url
from .references import Reference
from .sanitize import to_single_line
from .serializer import Serializer

_ATOM = "http://www.w3.org/2005/Atom"
_ARXIV = "http://arxiv.org/schemas/atom"
_END = b"</feed>"


class FeedHead(Struct, frozen=True, kw_only=True):
    """Metadata of a feed."""

    title: str
    uri: str
    """Permanent identifier, independent of the address of the service."""
    self_url: str
    updated: datetime


class Atom(Serializer[Reference]):
    """A feed with one entry per reference; arxiv-gateway is the author of entries without one."""

    def __init__(self, head: FeedHead) -> None:
        self._head = head

    def begin(self) -> bytes:
        """Return everything before the first entry."""
        feed = _create_feed()
        _add_element(feed, "id", self._head.uri)
        _add_element(feed, "title", self._head.title)
        _add_element(feed, "updated", format_time(self._head.updated))
        _add_element(_add_element(feed, "author"), "name", "arxiv-gateway")
        self_url = self._head.self_url
        _add_element(feed, "link", rel="self", type="application/atom+xml", href=self_url)
        _add_element(feed, "generator", "arxiv-gateway", version=__version__)
        text = etree.tostring(feed, encoding="utf-8", xml_declaration=True)
        return text.removesuffix(_END) + b"\n"

    def serialize(self, rows: Sequence[Reference]) -> bytes:
        """Return entries, cut out of a feed that declares their namespaces."""
        feed = _create_feed()
        for reference in rows:
            self._add_entry(feed, reference)
        text = etree.tostring(feed, encoding="utf-8")
        return text[text.index(b">") + 1 :].removesuffix(_END)

    def end(self) -> bytes:
        """Close the feed."""
        return _END + b"\n"

    def _add_entry(self, feed: etree._Element, reference: Reference) -> None:
        entry = _add_element(feed, "entry")
        updated = reference.updated or reference.published or self._head.updated
        _add_element(entry, "id", reference.uri)
        _add_element(entry, "title", reference.title)
        _add_element(entry, "updated", format_time(updated))
        if reference.published:
            _add_element(entry, "published", format_time(reference.published))
        for author in filter(None, map(to_single_line, reference.authors)):
            _add_element(_add_element(entry, "author"), "name", author)
        if reference.url:
            _add_element(entry, "link", rel="alternate", href=reference.url)
        for doi in reference.dois:
            url = format_doi_url(to_single_line(doi))
            _add_element(entry, "link", rel="related", title="doi", href=url)
        # RFC 4287, 4.1.2: an entry without a link to its content must contain it
        _add_element(entry, "summary" if reference.url else "content", reference.abstract)
        for category in reference.categories:
            _add_element(entry, "category", term=category, scheme=_ARXIV)
        _add_arxiv_elements(entry, reference)
        entry.tail = "\n"


def _add_arxiv_elements(entry: etree._Element, reference: Reference) -> None:
    """Add arXiv's extensions of Atom."""
    if term := reference.primary_category:
        _add_element(entry, "primary_category", namespace=_ARXIV, term=term, scheme=_ARXIV)
    for doi in reference.dois:
        _add_element(entry, "doi", doi, namespace=_ARXIV)
    if reference.journal:
        _add_element(entry, "journal_ref", reference.journal, namespace=_ARXIV)
    if reference.comment:
        _add_element(entry, "comment", reference.comment, namespace=_ARXIV)


def _create_feed() -> etree._Element:
    namespaces = {None: _ATOM, "arxiv": _ARXIV}
    return etree.Element(f"{{{_ATOM}}}feed", nsmap=namespaces)  # type: ignore[arg-type] # None is valid


def _add_element(
    parent: etree._Element,
    name: str,
    text: str | None = None,
    *,
    namespace: str = _ATOM,
    **attributes: str,
) -> etree._Element:
    element = etree.SubElement(parent, f"{{{namespace}}}{name}")
    element.text = to_single_line(text) or None
    for key, value in attributes.items():
        element.set(key, to_single_line(value))
    return element
