"""Responses with lists: a page or an export in any format, with Link headers.

`ListResponse` is the path of one request: PageQuery -> page of rows -> format -> Response.
JSON is returned in pages. Other formats contain all matching rows, from `after` on if it is given,
unless `page` or `items_per_page` requests a page.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import NAMESPACE_URL, uuid5

import msgspec
from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from .. import formats
from ..context import Context
from ..db.reader import BatchReader, Filter, ListDefinition, ListSelection
from ..errors import InvalidParameter
from ..lists import ListReader
from ..middleware.response_budget import release_memory, reserve_memory
from ..models.filters import PaperFilter
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
MIN_BATCH_ROWS = 10
"""Of an export with very large rows."""


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
        self._serializations = context.serializations
        self._view = view
        self.format = formats.select_format(query.format, request.headers.get("accept"))
        self._columns = _select_columns(view.columns, query.fields, self.format)
        self.reader = ListReader(
            context.paper_search if isinstance(filters, PaperFilter) else context.reader,
            ListSelection(view.definition, filters, query.is_reversed),
            request,
            query,
            query.items_per_page or context.settings.items_per_page,
            **defaults,
        )
        self._is_page = bool(
            query.page is not None or query.items_per_page or self.reader.position.back
        )

    async def respond(self, *, export_json: bool = False) -> Response[Any]:
        """Return a page or the whole list; `export_json`: JSON is a page only on request."""
        if self._is_page or (self.format.name == "json" and not export_json):
            rows, links = await self.reader.fetch_page()
            return self.create_response(await self.serialize(rows), links)
        return await self._export()

    async def serialize(self, rows: Sequence[T]) -> bytes:
        """Return a complete file with these rows."""
        serializer, content = await self._serialize_batch(rows)
        return serializer.begin() + content + serializer.end()

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
        batches = self.reader.stream_batches(max_rows)
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
        is_known = self._is_page or self.reader.selection.newest or self._view.has_one_date
        times = [
            time for reference in references if (time := reference.updated or reference.published)
        ]
        return formats.FeedHead(
            title=f"arxiv-gateway: {self._view.title}",
            uri=uuid5(NAMESPACE_URL, self.reader.url.list_id).urn,
            self_url=self.reader.url.absolute,
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
