"""What all lists have in common: a page or the whole, in any format, with links to the next page.

JSON comes by pages. The other formats are for taking away: they hold everything that matches, from
`after` on where that is given, unless `page` or `items_per_page` asks for a page of them.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, urlencode
from uuid import NAMESPACE_URL, uuid5

from litestar import Response
from litestar.response import Stream
from msgspec import Struct

from .. import formats
from ..db.reader import ListDefinition, RecordReader
from ..errors import InvalidParameter
from ..formats import FeedHead, Format, Serializer
from ..middleware.scope import header
from ..models.filters import ListQuery, Position
from ..models.responses import Reference
from ..problems import AnyRequest
from . import cursors

T = TypeVar("T", bound=Struct)
Row_contra = TypeVar("Row_contra", bound=Struct, contravariant=True)

TABULAR = ("json", "ndjson", "csv")
ROWS, REFERENCES = 1500, 200
"""Of a whole list at once, at most."""
PIECE = 2**20
"""Bytes of a whole list at once, more or less: an author list may have thousands of names."""
SLICE = 10
"""References that are written before others have their turn: TeX takes its time."""
PLACES = ("after", "page")
PRESENTATION = (*PLACES, "items_per_page", "format", "fields")
"""Parameters that leave the list as it is, so that its cursors stay good."""


class ListView(Protocol[Row_contra]):
    """How the rows of one list are answered."""

    name: str
    """Of the list, for people."""
    file: str
    """Name of its files, without the extension."""
    columns: tuple[str, ...]
    """Of a row in JSON, NDJSON and CSV."""

    def shown(self, rows: Sequence[Row_contra]) -> Sequence[Struct]:
        """The rows as clients see them."""

    async def references(self, rows: Sequence[Row_contra]) -> Sequence[Reference]:
        """The rows as bibliographies and feeds have them."""


class Page(Struct, Generic[T], frozen=True):
    """Some rows, and where to find those around them: a Link header (RFC 8288)."""

    rows: list[T]
    links: str


class ListResponse(Generic[T]):
    """One list, as one request wants it."""

    def __init__(
        self,
        request: AnyRequest,
        reader: RecordReader,
        kind: ListDefinition[T],
        asked: ListQuery[Any],
        view: ListView[T],
        *,
        newest: bool = False,
    ) -> None:
        """Raises BadInput for a format, a field or a cursor that is none."""
        # what is needed of the request is taken now: a list is remembered longer than that
        self._reader = reader
        self._kind = kind
        self._wanted = asked.wanted
        self._newest = newest
        self._view = view
        self._asked = listing = asked.listing
        accepted = header(request.scope, b"accept")
        self.format = formats.choose(listing.format, accepted and accepted.decode("latin-1"))
        self.columns = _picked(view.columns, listing.fields, self.format)
        query = request.scope["query_string"].decode("ascii")
        self._given = parse_qsl(query, keep_blank_values=True)
        same = sorted(pair for pair in self._given if pair[0] not in PRESENTATION)
        path = request.scope["path"]
        self._query = f"{path}?{urlencode(same)}"
        self._path = quote(request.scope.get("root_path", "") + path)
        self._url = "" if self.is_tabular else str(request.url)
        if listing.after is not None and listing.page is not None:
            raise InvalidParameter("after", "and page exclude each other")
        self._place = Position(offset=(listing.page or 0) * listing.size)
        if listing.after is not None:
            self._place = cursors.read(listing.after, self._query, kind.key_types)
            if self._place.back and kind.reverse_statement is None:
                raise cursors.refused()

    @property
    def is_tabular(self) -> bool:
        """Whether it comes as rows of columns."""
        return self.format.name in TABULAR

    @property
    def is_page(self) -> bool:
        """Whether a page is asked for expressly."""
        asked = self._asked
        return asked.page is not None or asked.items_per_page is not None or self._place.back

    async def answer(self, *, whole: bool = False) -> Response[Any]:
        """The list. JSON too is the whole unless a page is asked for, where it says so."""
        if self.is_page or (self.format.name == "json" and not whole):
            page = await self.page()
            return self.response(await self.file(page.rows), page.links)
        return await self._stream()

    async def file(self, rows: list[T]) -> bytes:
        """These rows as a whole file."""
        writer, written = await self._written(rows)
        return writer.begin() + written + writer.end()

    async def page(self) -> Page[T]:
        """The page that is asked for."""
        return self._page(await self._read())

    async def _read(self) -> list[T]:
        """Its rows, and one more, to see whether there is another page."""
        return await self._reader.fetch_page(
            self._kind, self._wanted, self._place, self._asked.size + 1, newest=self._newest
        )

    def _page(self, read: list[T]) -> Page[T]:
        size, place = self._asked.size, self._place
        is_more = len(read) > size
        rows = read[-size:] if place.back else read[:size]
        links = [self._link("first")]
        if rows and (is_more or place.back):
            links.append(self._link("next", after=self._cursor(rows[-1])))
        if self._asked.page:
            links.append(self._link("prev", page=self._asked.page - 1))
        elif rows and place.key and self._kind.reverse_statement and (is_more or not place.back):
            cursor = self._cursor(rows[0], back=True)
            links.append(self._link("prev", after=cursor))
        return Page(rows, ", ".join(links))

    def response(self, content: bytes, links: str | None) -> Response[bytes]:
        """The answer with a page in it."""
        headers = self._headers() | ({"link": links} if links else {})
        return Response(content, headers=headers)

    async def _stream(self) -> Response[Any]:
        most = size = ROWS if self.is_tabular else REFERENCES
        batches = self._reader.stream_batches(
            self._kind, self._wanted, self._place, lambda: size, newest=self._newest
        )
        # before the first byte, so that a database that is away is told by the status
        first: list[T] = await anext(batches, [])
        if len(first) < self._kind.first_batch_size:  # that is all
            return self.response(await self.file(first), None)
        writer, rows = await self._written(first)

        async def context() -> AsyncIterator[bytes]:
            nonlocal size
            async with aclosing(batches):
                yield writer.begin() + rows
                async for batch in batches:
                    _, part = await self._written(batch, writer)
                    size = max(SLICE, min(most, len(batch) * PIECE // max(1, len(part))))
                    yield part
                yield writer.end()

        return Stream(context(), headers=self._headers())

    async def _written(
        self, rows: list[T], writer: Serializer[Any] | None = None
    ) -> tuple[Serializer[Any], bytes]:
        """The rows in the format, and what wrote them."""
        if self.is_tabular:
            writer = writer or formats.tabular(self.format.name, self.columns)
            return writer, writer.rows(self._view.shown(rows))
        references = await self._view.references(rows)
        writer = writer or formats.bibliographic(self.format.name, self._head(references))
        context = []
        for begin in range(0, len(references), SLICE):
            context.append(writer.rows(references[begin : begin + SLICE]))
            await asyncio.sleep(0)
        return writer, b"".join(context)

    def _head(self, references: Sequence[Reference]) -> FeedHead:
        now = datetime.now(UTC)
        moments = [moment for each in references if (moment := each.updated or each.published)]
        return FeedHead(
            title=f"arxiv-gateway: {self._view.name}",
            uri=uuid5(NAMESPACE_URL, self._query).urn,
            self_url=self._url,
            # what a whole list ends with is not known at its start
            updated=max(moments, default=now) if self.is_page or self._newest else now,
        )

    def _headers(self) -> dict[str, str]:
        """What depends on the format: whether a file is meant, and its name."""
        # not as a media type, to which Litestar would add another charset
        headers = {"content-type": self.format.media_type, "vary": "Accept"}
        if self.format.name == "atom":
            headers["content-disposition"] = f"inline; filename={self._view.file}.atom"
        elif self.format.name != "json":
            name = f"{self._view.file}.{self.format.extension}"
            headers["content-disposition"] = f"attachment; filename={name}"
        return headers

    def _cursor(self, row: T, *, back: bool = False) -> str:
        return cursors.write(self._kind.get_key(row), self._query, back=back)

    def _link(self, rel: str, **place: str | int) -> str:
        query = "&".join(filter(None, (self._same, urlencode(place))))
        return f'<{self._path}?{query}>; rel="{rel}"'

    @cached_property
    def _same(self) -> str:
        """What links have in common."""
        same = [pair for pair in self._given if pair[0] not in PLACES]
        if self._asked.items_per_page is None:
            # in most formats it would not be a page without it
            same.append(("items_per_page", str(self._asked.size)))
        return urlencode(same)


def _picked(known: tuple[str, ...], fields: str | None, wanted: Format) -> tuple[str, ...]:
    """The columns that `fields` picks, in its order."""
    if fields is None:
        return known
    if wanted.name not in TABULAR:
        raise InvalidParameter("fields", f"are for {', '.join(TABULAR)}; {wanted.name} has its own")
    names = tuple(name.strip() for name in fields.split(","))
    for name in names:
        if name not in known:
            raise InvalidParameter("fields", f"there is no {name!r}; there are {', '.join(known)}")
        if names.count(name) > 1:
            raise InvalidParameter("fields", f"{name} is given {names.count(name)} times")
    return names
