"""Which rows of a list are requested, and which page of them."""

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from .. import timestamps
from .arxiv import Moment
from .records import QueryId

MAX_ITEMS_PER_PAGE = 1000


class PageParams(Struct, frozen=True, kw_only=True):
    """How a list is wanted."""

    format: str | None = None
    fields: str | None = None
    page: int | None = None
    items_per_page: int | None = None
    size: int = 10
    """How many rows a page has: items_per_page, or what is set."""
    after: str | None = None


class QueryFilter(Struct, frozen=True, kw_only=True, tag="queries", forbid_unknown_fields=True):
    """Which searches are wanted; each field given must match."""

    since: Moment = timestamps.EARLIEST
    """Unix seconds, included."""
    until: Moment = timestamps.LATEST
    """Unix seconds, included."""
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    text: str | None = None
    """Part of the query, in capitals or not."""


class ResultFilter(Struct, frozen=True, kw_only=True, tag="results", forbid_unknown_fields=True):
    """Which results are wanted; each field given must match."""

    query_id: QueryId | None = None
    since: Moment = timestamps.EARLIEST
    """Unix seconds, included."""
    until: Moment = timestamps.LATEST
    """Unix seconds, included."""
    author: str | None = None
    """Part of it, in capitals or not, with accents or without; so are the next two."""
    title: str | None = None
    journal: str | None = None
    words: str | None = None
    """As `to_tsquery` understands it: the words of the three above."""
    category: list[str] | None = None
    """One of these, or one of `archive`."""
    archive: list[str] | None = None
    """`cs` stands for all that begin with `cs.`"""


class PaperFilter(Struct, frozen=True, kw_only=True, tag="papers", forbid_unknown_fields=True):
    """Which papers are wanted; each field given must match."""

    since: Moment = timestamps.EARLIEST
    """Unix seconds of version 1, included."""
    until: Moment = timestamps.LATEST
    """Unix seconds of version 1, included."""
    words: str | None = None
    """As `to_tsquery` understands it."""
    author: str | None = None
    """Part of it, in capitals or not, with accents or without; so are the next two."""
    title: str | None = None
    journal: str | None = None
    category: list[str] | None = None
    """One of these, or one of `archive`."""
    archive: list[str] | None = None
    """`cs` stands for all that begin with `cs.`"""
    all_versions: bool = False
    """Whether versions are wanted that are not the latest known."""
    is_full_text: bool = False
    """Whether there is a query to rank by."""
    mark_title: str = ""
    """What to mark in titles, as `to_tsquery` understands it."""
    mark_author: str = ""
    mark_abstract: str = ""


Wanted = TypeVar("Wanted", QueryFilter, ResultFilter, PaperFilter)


class ListQuery(Struct, Generic[Wanted], frozen=True):
    """Which rows of a list are wanted, and how."""

    wanted: Wanted
    listing: PageParams


SortKey = tuple[int | float | str, ...]


class Position(Struct, frozen=True, forbid_unknown_fields=True):
    """Where in a list to begin: after a row, or before it, or after so many rows."""

    key: SortKey | None = None
    """Of that row; None is the beginning."""
    back: bool = False
    """Whether the rows before it are wanted, in the same order."""
    offset: Annotated[int, Meta(ge=0, le=10**12)] = 0
