"""References as an Atom feed (RFC 4287), with arXiv's own elements."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from lxml import etree
from msgspec import Struct

from .. import __version__
from ..models.responses import Reference
from .sanitize import line
from .serializer import Serializer

_ATOM = "http://www.w3.org/2005/Atom"
_ARXIV = "http://arxiv.org/schemas/atom"
_END = b"</feed>"


class FeedHead(Struct, frozen=True, kw_only=True):
    """What a feed says of itself."""

    title: str
    uri: str
    """Its name everywhere and forever."""
    self_url: str
    updated: datetime
    """When it last changed."""


class Atom(Serializer[Reference]):
    """A feed of entries, which names its maker as the author of those that have none."""

    def __init__(self, head: FeedHead) -> None:
        """Begin with this head."""
        self._head = head

    def begin(self) -> bytes:
        """All before the first entry."""
        feed = _feed()
        _add(feed, "id", self._head.uri)
        _add(feed, "title", self._head.title)
        _add(feed, "updated", _moment(self._head.updated))
        _add(_add(feed, "author"), "name", "arxiv-gateway")
        _add(feed, "link", rel="self", type="application/atom+xml", href=self._head.self_url)
        _add(feed, "generator", "arxiv-gateway", version=__version__)
        text = etree.tostring(feed, encoding="utf-8", xml_declaration=True)
        return text.removesuffix(_END) + b"\n"

    def rows(self, batch: Sequence[Reference]) -> bytes:
        """Entries, written inside a feed that is then taken off them: it declares their names."""
        feed = _feed()
        for reference in batch:
            self._entry(feed, reference)
        text = etree.tostring(feed, encoding="utf-8")
        return text[text.index(b">") + 1 :].removesuffix(_END)

    def end(self) -> bytes:
        """Close the feed."""
        return _END + b"\n"

    def _entry(self, feed: etree._Element, reference: Reference) -> None:
        entry = _add(feed, "entry")
        updated = reference.updated or reference.published or self._head.updated
        _add(entry, "id", reference.uri)
        _add(entry, "title", reference.title)
        _add(entry, "updated", _moment(updated))
        if reference.published:
            _add(entry, "published", _moment(reference.published))
        for author in filter(None, map(line, reference.authors)):
            _add(_add(entry, "author"), "name", author)
        if reference.url:
            _add(entry, "link", rel="alternate", href=reference.url)
        for doi in reference.dois:
            _add(entry, "link", rel="related", title="doi", href=_doi_url(doi))
        # what has no link to its content must hold it
        _add(entry, "summary" if reference.url else "content", reference.abstract)
        for category in reference.categories:
            _add(entry, "category", term=category, scheme=_ARXIV)
        _add_arxiv(entry, reference)
        entry.tail = "\n"


def _add_arxiv(entry: etree._Element, reference: Reference) -> None:
    """The elements that arXiv adds to Atom's."""
    if term := reference.primary_category:
        _add(entry, "primary_category", space=_ARXIV, term=term, scheme=_ARXIV)
    for doi in reference.dois:
        _add(entry, "doi", doi, space=_ARXIV)
    if reference.journal:
        _add(entry, "journal_ref", reference.journal, space=_ARXIV)
    if reference.comment:
        _add(entry, "comment", reference.comment, space=_ARXIV)


def _feed() -> etree._Element:
    names = {None: _ATOM, "arxiv": _ARXIV}
    return etree.Element(f"{{{_ATOM}}}feed", nsmap=names)  # type: ignore[arg-type] # None is right


def _add(
    parent: etree._Element,
    name: str,
    text: str | None = None,
    *,
    space: str = _ATOM,
    **attributes: str,
) -> etree._Element:
    element = etree.SubElement(parent, f"{{{space}}}{name}")
    element.text = line(text) or None
    for key, value in attributes.items():
        element.set(key, line(value))
    return element


def _moment(moment: datetime) -> str:
    """RFC 3339."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _doi_url(doi: str) -> str:
    return "https://doi.org/" + quote(line(doi), safe="/:;()")
