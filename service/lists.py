"""Reads the pages of lists, and links them with cursors."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Mapping
from hashlib import blake2b
from math import isfinite
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from msgspec import Struct

from .db.reader import BatchReader, ListSelection, RecordReader
from .errors import InvalidParameter
from .middleware.response_budget import reserve_memory
from .models.filters import Position, SortKey
from .paper_search import PaperSearch
from .problems import AnyRequest

T = TypeVar("T", bound=Struct)

ROW_BYTES = 2**11
"""Memory that a row of a page may use; most have less, with the author list of a paper."""
DIGEST_SIZE = 8
POSITION_PARAMETERS = {"after", "page"}
PRESENTATION_PARAMETERS = POSITION_PARAMETERS | {"items_per_page", "format", "fields"}
"""Parameters that do not change the list, so its cursors stay valid."""


class PageParameters(Protocol):
    """The parameters of a request that select a page."""

    page: int | None
    """From 0; excludes `after`."""
    after: str | None
    """A cursor."""


class ListUrl:
    """The URL of a request for a list, from which the URLs of other pages are derived."""

    def __init__(self, request: AnyRequest, size: int, defaults: Mapping[str, str]) -> None:
        scope = request.scope
        query = scope["query_string"].decode("ascii")
        pairs = [
            pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in defaults
        ]
        pairs += defaults.items()
        filters = sorted(pair for pair in pairs if pair[0] not in PRESENTATION_PARAMETERS)
        self.list_id = f"{scope['path']}?{urlencode(filters)}"
        """Identifies the list, to which its cursors are bound."""
        self.absolute = str(request.url)
        self._path = quote(scope.get("root_path", "") + scope["path"])
        self._pairs = [pair for pair in pairs if pair[0] not in POSITION_PARAMETERS]
        if "items_per_page" not in dict(pairs):
            # without it, most formats would return the whole list
            self._pairs.append(("items_per_page", str(size)))

    def replace(self, **parameters: str | int) -> str:
        """Return the path with these parameters in place of those of the same name."""
        pairs = [pair for pair in self._pairs if pair[0] not in parameters]
        return f"{self._path}?{urlencode([*pairs, *parameters.items()])}"


class ListReader(Generic[T]):
    """Reads the page of a list that a request selects."""

    def __init__(
        self,
        source: RecordReader | PaperSearch,
        selection: ListSelection[T],
        request: AnyRequest,
        query: PageParameters,
        size: int,
        **defaults: str,
    ) -> None:
        """Parse the position of the page, which has `size` rows.

        `defaults`: values of parameters that the request may omit, for links to other pages.
        Raises InvalidParameter for the cursor.
        """
        self._source, self.selection = source, selection
        self.url = ListUrl(request, size, defaults)
        self._size, self._page = size, query.page
        self.position = self._parse_position(query)

    def _parse_position(self, query: PageParameters) -> Position:
        page, after = query.page, query.after
        if after is None:
            return Position(offset=(page or 0) * self._size)
        if page is not None:
            raise InvalidParameter("after", "excludes page; use one of them")
        key_types = tuple(self.selection.definition.key.values())
        position = decode_cursor(after, self.url.list_id, key_types)
        if position.back and self.selection.definition.reverse_statement is None:
            raise _invalid_cursor()
        return position

    async def fetch_page(self) -> tuple[list[T], dict[str, str]]:
        """Read the rows of the requested page, with the paths of other pages by relation."""
        size, position, definition = self._size, self.position, self.selection.definition
        reserve_memory(size * ROW_BYTES)
        # the extra row shows whether there is another page
        rows = await self._source.fetch_page(self.selection, position, size + 1)
        has_more = len(rows) > size
        rows = rows[-size:] if position.back else rows[:size]
        links = {"first": self.url.replace()}
        if rows and (has_more or position.back):
            links["next"] = self.url.replace(after=self._encode_cursor(rows[-1]))
        if self._page:
            links["prev"] = self.url.replace(page=self._page - 1)
        elif (
            rows
            and position.key
            and definition.reverse_statement
            and (has_more or not position.back)
        ):
            cursor = self._encode_cursor(rows[0], back=True)
            links["prev"] = self.url.replace(after=cursor)
        return rows, links

    def stream_batches(self, max_rows: int) -> BatchReader[T]:
        """Read the whole list from the position on, in batches of at most `max_rows`."""
        return self._source.stream_batches(self.selection, self.position, max_rows)

    def _encode_cursor(self, row: T, *, back: bool = False) -> str:
        return encode_cursor(self.selection.definition.get_key(row), self.url.list_id, back=back)


def encode_cursor(key: SortKey, list_id: str, *, back: bool = False) -> str:
    """Return a cursor to the rows after (`back`: before) the row with this key.

    It contains a digest of the key and the list, so that changed cursors and those of other lists
    are rejected. It is not secret: a forged key only selects another page.
    """
    position = msgspec.msgpack.encode((back, *key))
    return _encode_base64(_compute_digest(position, list_id) + position)


def decode_cursor(cursor: str, list_id: str, key_types: tuple[Any, ...]) -> Position:
    """Return the position of a cursor of this list. Raises InvalidParameter for any other."""
    try:
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (Error, ValueError):
        content = b""
    digest, position = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
    # the decoder ignores invalid characters, so the cursor must equal its own encoding
    if digest != _compute_digest(position, list_id) or _encode_base64(content) != cursor:
        raise _invalid_cursor()
    position_type: Any = tuple.__class_getitem__((bool, *key_types))
    try:
        back, *key = msgspec.msgpack.decode(position, type=position_type)
    except msgspec.DecodeError:  # a forged cursor
        raise _invalid_cursor() from None
    if not all(map(isfinite, (value for value in key if isinstance(value, float)))):
        raise _invalid_cursor()  # JSON, which frontends send to backends, has no such numbers
    return Position(tuple(key), back)


def _invalid_cursor() -> InvalidParameter:
    return InvalidParameter(
        "after", "is not a valid cursor for this query; use the one from its Link header"
    )


def _encode_base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _compute_digest(position: bytes, list_id: str) -> bytes:
    key = blake2b(list_id.encode()).digest()
    return blake2b(position, digest_size=DIGEST_SIZE, key=key).digest()
