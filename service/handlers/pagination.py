"""Pages and exports of lists, in any format, with Link headers and cursors.

`ListResponse` is the path of one request: PageQuery -> page of rows -> format -> Response.
JSON is returned in pages. Other formats contain all matching rows, from `after` on if it is given,
unless `page` or `items_per_page` requests a page.
"""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode
from uuid import NAMESPACE_URL, uuid5

import msgspec
from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from .. import formats
from ..context import Context
from ..db.reader import BatchReader, Filter, ListDefinition, ListSelection
from ..errors import InvalidParameter
from ..middleware.response_budget import release_memory, reserve_memory
from ..models.filters import PaperFilter, Position, SortKey
from ..problems import AnyRequest
from .params import PageQuery

T = TypeVar("T", bound=Struct)

MAX_BATCH_ROWS, MAX_BATCH_REFERENCES = 1500, 200
BATCH_BYTES = 2**18
"""Target size of a batch of an export: an author list may have thousands of names."""
EXPORT_BYTES = 2**20
"""Memory that one export may use: its rows, references and text, and the state of compression."""
EXPANSION = 5
"""Memory of references relative to their JSON: a name of 13 characters takes 70 bytes."""
ROW_BYTES = 2**11
"""Memory that a row of a page may use; most have less, with the author list of a paper."""
MIN_BATCH_ROWS = 10
"""Of an export with very large rows."""
DIGEST_SIZE = 8
POSITION_PARAMETERS = {"after", "page"}
PRESENTATION_PARAMETERS = POSITION_PARAMETERS | {"items_per_page", "format", "fields"}
"""Parameters that do not change the list, so its cursors stay valid."""


class ListView(Struct, Generic[T], frozen=True):
    """How one list is read and presented."""

    definition: ListDefinition[T]
    title: str
    file_name: str
    """Without the extension."""
    columns: tuple[str, ...]
    """Of a row in JSON, NDJSON and CSV."""
    convert_rows: Callable[[Sequence[T]], Sequence[Struct]]
    """Converts rows to structs with these columns."""
    create_references: Callable[[Sequence[T]], Awaitable[Sequence[formats.Reference]]]
    """Converts rows for bibliographies and feeds."""
    has_one_date: bool = False
    """Whether the references of a whole list have the same date."""


class ListResponse(Generic[T]):
    """The response to one request for a list."""

    def __init__(
        self,
        request: AnyRequest,
        context: Context,
        view: ListView[T],
        query: PageQuery,
        filters: Filter,
        **defaults: str,
    ) -> None:
        """Validate the request. Raises InvalidParameter for the format, a field or the cursor.

        `defaults`: values of parameters that the request may omit, for links to other pages.
        """
        is_papers = isinstance(filters, PaperFilter)
        self._source = context.paper_search if is_papers else context.reader
        self._serializations = context.serializations
        self._view = view
        self._query = query
        self._selection = ListSelection(view.definition, filters, query.is_reversed)
        self._size = query.items_per_page or context.settings.items_per_page
        self.format = formats.select_format(query.format, request.headers.get("accept"))
        self._columns = _select_columns(view.columns, query.fields, self.format)
        self._url = _ListUrl(request, self._size, defaults)
        self._position = self._parse_position()
        self._is_page = query.page is not None or bool(query.items_per_page) or self._position.back

    def _parse_position(self) -> Position:
        page, after = self._query.page, self._query.after
        if after is None:
            return Position(offset=(page or 0) * self._size)
        if page is not None:
            raise InvalidParameter("after", "excludes page; use one of them")
        key_types = tuple(self._view.definition.key.values())
        position = decode_cursor(after, self._url.list_id, key_types)
        if position.back and self._view.definition.reverse_statement is None:
            raise _invalid_cursor()
        return position

    async def respond(self, *, export_json: bool = False) -> Response[Any]:
        """Return a page or the whole list; `export_json`: JSON is a page only on request."""
        if self._is_page or (self.format.name == "json" and not export_json):
            rows, links = await self.fetch_page()
            return self.create_response(await self.serialize(rows), links)
        return await self._export()

    async def fetch_page(self) -> tuple[list[T], dict[str, str]]:
        """Read the rows of the requested page, with the paths of other pages by relation."""
        size, position, definition = self._size, self._position, self._view.definition
        reserve_memory(size * ROW_BYTES)
        # the extra row shows whether there is another page
        rows = await self._source.fetch_page(self._selection, position, size + 1)
        has_more = len(rows) > size
        rows = rows[-size:] if position.back else rows[:size]
        links = {"first": self._url.replace()}
        if rows and (has_more or position.back):
            links["next"] = self._url.replace(after=self._encode_cursor(rows[-1]))
        if self._query.page:
            links["prev"] = self._url.replace(page=self._query.page - 1)
        elif (
            rows
            and position.key
            and definition.reverse_statement
            and (has_more or not position.back)
        ):
            cursor = self._encode_cursor(rows[0], back=True)
            links["prev"] = self._url.replace(after=cursor)
        return rows, links

    def _encode_cursor(self, row: T, *, back: bool = False) -> str:
        return encode_cursor(self._view.definition.get_key(row), self._url.list_id, back=back)

    async def serialize(self, rows: Sequence[T]) -> bytes:
        """Return a complete file with these rows."""
        serializer, content = await self._serialize_batch(rows)
        return serializer.begin() + content + serializer.end()

    def format_url(self, **parameters: str) -> str:
        """Return the path of this list with other values of parameters, from its beginning."""
        return self._url.replace(**parameters)

    def create_response(self, content: bytes, links: Mapping[str, str] | None) -> Response[bytes]:
        """Return a complete file, with links as a header (RFC 8288). Raises TooManyResponses."""
        reserve_memory(len(content))
        headers = self._create_headers()
        if links:
            headers["link"] = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items())
        return Response(content, headers=headers)

    async def _export(self) -> Response[Any]:
        """Send the whole list while it is read. Raises TooManyResponses."""
        reserve_memory(EXPORT_BYTES)
        is_table = isinstance(self.format, formats.TableFormat)
        max_rows = MAX_BATCH_ROWS if is_table else MAX_BATCH_REFERENCES
        batches = self._source.stream_batches(self._selection, self._position, max_rows)
        with closing(batches):
            # read before the status is sent, which then shows whether the database is available
            rows = await batches.fetch_batch(read_ahead=False)
        if batches.is_complete:  # the whole list
            return self.create_response(await self.serialize(rows), None)
        serializer, content = await self._serialize_batch(rows)
        # what was reserved for the rows of the first batch is replaced by the size of its text
        release_memory(EXPORT_BYTES + len(content))
        reserve_memory(EXPORT_BYTES + len(content))
        self._limit_batches(batches, rows, content)
        stream = self._stream(batches, serializer, serializer.begin() + content)
        return Stream(stream, headers=self._create_headers())

    async def _stream(
        self, batches: BatchReader[T], serializer: formats.Serializer[Any], content: bytes
    ) -> AsyncIterator[bytes]:
        """Yield the first batch, then the others. A stalled stream holds no rows in memory."""
        with closing(batches):
            with batches.drop_if_stalled():
                yield content
            release_memory(EXPORT_BYTES)
            while rows := await batches.fetch_batch():
                _, content = await self._serialize_batch(rows, serializer)
                self._limit_batches(batches, rows, content)
                del rows
                with batches.drop_if_stalled():
                    yield content
            yield serializer.end()

    async def _serialize_batch(
        self, rows: Sequence[T], serializer: formats.Serializer[Any] | None = None
    ) -> tuple[formats.Serializer[Any], bytes]:
        """Serialize rows; the first batch creates the serializer, and reserves memory for them."""
        if isinstance(self.format, formats.TableFormat):
            serializer = serializer or self.format.create_serializer(self._columns)
            return serializer, serializer.serialize(self._view.convert_rows(rows))
        size = 0 if serializer else _compute_size(rows)
        reserve_memory(size)
        references = await self._view.create_references(rows)
        if serializer is None:
            reserve_memory(size + EXPANSION * _compute_size(references))
            serializer = self.format.create_serializer(self._create_head(references))
        async with self._serializations:
            return serializer, await serialize_in_turns(serializer, references)

    def _limit_batches(self, batches: BatchReader[T], rows: Sequence[T], content: bytes) -> None:
        """Adapt the following batches to the size of the rows of this one."""
        size = len(content) or 1
        if isinstance(self.format, formats.ReferenceFormat):  # which contains a paper only once
            size = max(size, _compute_size(rows))
        batches.limit_rows(max(MIN_BATCH_ROWS, len(rows) * BATCH_BYTES // size))

    def _create_head(self, references: Sequence[formats.Reference]) -> formats.FeedHead:
        now = datetime.now(UTC)
        is_known = self._is_page or self._selection.newest or self._view.has_one_date
        times = [
            time for reference in references if (time := reference.updated or reference.published)
        ]
        return formats.FeedHead(
            title=f"arxiv-gateway: {self._view.title}",
            uri=uuid5(NAMESPACE_URL, self._url.list_id).urn,
            self_url=self._url.absolute,
            # the newest row of an export in ascending order is not known at its start
            updated=max(times, default=now) if is_known else now,
        )

    def _create_headers(self) -> dict[str, str]:
        # as a header, since Litestar would append a charset to a media type
        headers = {"content-type": self.format.media_type, "vary": "Accept"}
        if self.format.name != "json":
            disposition = "inline" if self.format.name == "atom" else "attachment"
            file_name = f"{self._view.file_name}.{self.format.extension}"
            headers["content-disposition"] = f"{disposition}; filename={file_name}"
        return headers


async def serialize_in_turns(
    serializer: formats.Serializer[Any], references: Sequence[formats.Reference]
) -> bytes:
    """Serialize references, and run other requests after each: 3,000 authors take 40 ms."""
    content = []
    for reference in references:
        content.append(serializer.serialize([reference]))
        await asyncio.sleep(0)
    return b"".join(content)


def _compute_size(items: Sequence[Struct]) -> int:
    return len(msgspec.json.encode(items))


class _ListUrl:
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


def _select_columns(
    columns: tuple[str, ...], fields: str | None, list_format: formats.Format
) -> tuple[str, ...]:
    """Return the columns in the parameter `fields`, in its order."""
    if fields is None:
        return columns
    if isinstance(list_format, formats.ReferenceFormat):
        tables = [
            table.name
            for table in formats.FORMATS.values()
            if isinstance(table, formats.TableFormat)
        ]
        raise InvalidParameter(
            "fields",
            f"requires one of the formats {', '.join(tables)}; {list_format.name} has fixed fields",
        )
    selected = tuple(name.strip() for name in fields.split(","))
    for name in selected:
        if name not in columns:
            raise InvalidParameter(
                "fields", f"{name!r} is not a field; use some of {', '.join(columns)}"
            )
        if selected.count(name) > 1:
            raise InvalidParameter("fields", f"{name} is given {selected.count(name)} times")
    return selected


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
