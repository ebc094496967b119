"""Cursors: where in a list a page begins, as text that only its own list takes back.

A cursor is the key of a row, with a digest of it and of the query it belongs to: one that was
changed, or comes from another query, is found out. It is no secret, and needs none: whoever makes
up a key only gets another page.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import blake2b
from typing import Any

import msgspec

from ..errors import InvalidParameter
from ..models.filters import Position, SortKey

SIZE = 8
"""Bytes of the digest."""


def write(key: SortKey, query: str, *, back: bool = False) -> str:
    """The cursor of the place after this row, or before it, in the answer to a query."""
    place = msgspec.msgpack.encode((back, *key))
    return _text(_digest(place, query) + place)


def read(cursor: str, query: str, shape: tuple[Any, ...]) -> Position:
    """The place. Raises BadInput for anything but a cursor of this query, with such a key."""
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (Error, ValueError):
        content = b""
    digest, place = content[:SIZE], content[SIZE:]
    # the decoder passes over odd characters: only what it would write itself is the cursor
    if digest != _digest(place, query) or _text(content) != cursor:
        raise refused()
    kind: Any = tuple.__class_getitem__((bool, *shape))
    try:
        back, *key = msgspec.msgpack.decode(place, type=kind)
    except msgspec.DecodeError:  # made up
        raise refused() from None
    return Position(tuple(key), back)


def refused() -> InvalidParameter:
    """What is said of a cursor that is none of this query."""
    return InvalidParameter(
        "after",
        "is no cursor of this query: take it from the Link of an answer to the same one",
    )


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _digest(place: bytes, query: str) -> bytes:
    return blake2b(place, digest_size=SIZE, key=blake2b(query.encode()).digest()).digest()
