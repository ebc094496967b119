"""XML that may be hostile or damaged, parsed in pieces.

Elements are handed over and freed as soon as they are complete, so that memory stays bounded.
Document type declarations are rejected: arXiv sends none, and entities are used for attacks.
"""

import codecs
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, TypeVar

from lxml import etree

from .metadata.unicode_text import XML_FORBIDDEN

T = TypeVar("T")

PIECE_BYTES = 64 * 2**10
"""How much is parsed at once; the deadline and the size of an item are checked in between."""
MAX_ITEM_BYTES = 8 * 2**20
"""From the end of one item to that of the next; 3,000 authors with affiliations take 1 MiB."""
MAX_ITEM_MARKUP = 200_000
"""Characters `<` and `=` in these bytes, because each element and attribute takes 300 bytes of
memory; 3,000 authors with two affiliations each take 24,000."""

RECOVERED = (
    "arXiv sent characters that XML or UTF-8 forbids: they are missing or replaced by U+FFFD"
)

_OTHER_ENCODING = re.compile(
    rb"""\xff\xfe|\xfe\xff|.?\0|<\?xml[^>]*?\sencoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE
)
_FORBIDDEN = re.compile(f"[{XML_FORBIDDEN}]")
"""Also as references."""
_REFERENCE = re.compile(r"&#(?:([0-9]{1,20})|x([0-9A-Fa-f]{1,20}));")
_CUT_REFERENCE = re.compile(r"&[#0-9A-Za-z]{0,22}\Z")


class InvalidResponse(ValueError):
    """The bytes are not what arXiv sends; the message is the reason."""


class _NotWellFormed(InvalidResponse):
    """The XML is truncated or malformed, or has forbidden characters."""


def parse_or_repair(body: bytes | bytearray, parse: Callable[[Iterator[bytes], list[str]], T]) -> T:
    """Call `parse` with the pieces of a body and a list for its warnings.

    If the XML is not well-formed, it is called again, and the list contains RECOVERED: characters
    that XML forbids are left out then, and bytes that are not UTF-8 are replaced.
    """
    try:
        return parse(_split(body), [])
    except _NotWellFormed:
        if _OTHER_ENCODING.match(body):
            raise
    return parse(_repair(body), [RECOVERED])


class ChildReader:
    """Reads the children of one element of a document: of the root, or of a child of the root."""

    def __init__(
        self, root: str, parents: frozenset[str], item: str, deadline: float = math.inf
    ) -> None:
        """`item` is the tag of the children that have bounds of their own.

        `parents` are the possible tags of their parent.
        """
        self._root_tag, self._parents, self._item = root, parents, item
        self._deadline = deadline
        self._parser = _create_parser([root, *parents])
        self._root: etree._Element | None = None
        self.parent: etree._Element | None = None
        self._bytes = self._markup = 0
        """Since the end of the last item."""

    @property
    def root(self) -> etree._Element:
        """The root element, with those children that were complete when it was read.

        Raises InvalidResponse before it has been read.
        """
        if self._root is None:
            raise InvalidResponse("it has no root element")
        return self._root

    def read(self, pieces: Iterable[bytes]) -> Iterator[etree._Element]:
        """Yield complete children, each of which exists until the next one is requested.

        Raises InvalidResponse unless the document is complete and has this root, and TimeoutError
        at the deadline.
        """
        try:
            for piece in pieces:
                yield from self._read_piece(piece)
            root = self._parser.close()
        except etree.XMLSyntaxError as error:
            raise _NotWellFormed(f"not well-formed XML: {str(error)[:200]}") from error
        self._check_root(root)
        self._root = root
        if self.parent is not None:
            yield from self.parent

    def _read_piece(self, piece: bytes) -> Iterator[etree._Element]:
        if monotonic() > self._deadline:
            raise TimeoutError
        self._parser.feed(piece)
        self._bytes += len(piece)
        self._markup += piece.count(b"<") + piece.count(b"=")
        self._find_parent()
        if self.parent is not None:
            complete = list(self.parent)[:-1]  # the last one may be incomplete
            for child in complete:
                if child.tag == self._item:
                    self._bytes = self._markup = 0
                yield child
            del self.parent[: len(complete)]
        if self._bytes > MAX_ITEM_BYTES or self._markup > MAX_ITEM_MARKUP:
            raise InvalidResponse("an item, or what is before it, is larger than that of any paper")

    def _find_parent(self) -> None:
        # always emptied: elements of these names may occur deeper as well
        starts: list[Any] = [element for _, element in self._parser.read_events()]
        for element in starts:
            if self._root is None:
                self._root = element
                self._check_root(element)
            if self.parent is None and element.tag in self._parents and self._is_top(element):
                self.parent = element

    def _is_top(self, element: etree._Element) -> bool:
        return element is self._root or element.getparent() is self._root

    def _check_root(self, root: etree._Element) -> None:
        if root.getroottree().docinfo.internalDTD is not None:
            raise InvalidResponse("it has a document type declaration")
        if root.tag != self._root_tag or root.getparent() is not None:
            found, expected = str(root.tag)[:100], self._root_tag.rpartition("}")[2]
            raise InvalidResponse(f"the root element is {found}, not that of arXiv: {expected}")


def get_text(element: etree._Element) -> str:
    """Return the text of an element and of all elements in it."""
    return "".join(map(str, element.itertext())) if len(element) else element.text or ""


def get_name(tag: str) -> str:
    """Return the name of a tag without its namespace."""
    return tag.rpartition("}")[2]


def _create_parser(tags: list[str]) -> etree.XMLPullParser:
    """Return a parser that loads nothing and keeps libxml2's limits of depth and size."""
    return etree.XMLPullParser(
        events=("start",),
        tag=tags,
        # False would accept undefined entities, True would open external ones
        resolve_entities="internal",  # type: ignore[arg-type]  # lxml-stubs
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        # do not add collect_ids=False: libxml2 then opens an external DTD despite load_dtd=False
    )


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
