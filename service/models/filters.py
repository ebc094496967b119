"""Filters of the lists, and the position of a page."""

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from .. import timestamps
from .arxiv import Moment
from .records import QueryId

MAX_ITEMS_PER_PAGE = 1000


class PageParams(Struct, frozen=True, kw_only=True):
    """Format, columns and page of a list, as requested."""

    format: str | None = None
    fields: str | None = None
    page: int | None = None
    items_per_page: int | None = None
    size: int = 10
    """Rows per page: items_per_page, or the default from the settings."""
    after: str | None = None


class QueryFilter(Struct, frozen=True, kw_only=True, tag="queries", forbid_unknown_fields=True):
    """A run matches if it matches every field that is set."""

    since: Moment = timestamps.EARLIEST
    """Unix seconds, inclusive."""
    until: Moment = timestamps.LATEST
    """Unix seconds, inclusive."""
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    text: str | None = None
    """Part of the query; case is ignored."""


class ResultFilter(Struct, frozen=True, kw_only=True, tag="results", forbid_unknown_fields=True):
    """A result matches if it matches every field that is set."""

    query_id: QueryId | None = None
    since: Moment = timestamps.EARLIEST
    """Unix seconds, inclusive."""
    until: Moment = timestamps.LATEST
    """Unix seconds, inclusive."""
    author: str | None = None
    """Part of the text, like the next two; case, accents and punctuation are ignored."""
    title: str | None = None
    journal: str | None = None
    words: str | None = None
    """The words of the three above, in the syntax of `to_tsquery`."""
    category: list[str] | None = None
    """One of these categories, or one of `archive`."""
    archive: list[str] | None = None
    """`cs` matches all categories that begin with `cs.`"""


class PaperFilter(Struct, frozen=True, kw_only=True, tag="papers", forbid_unknown_fields=True):
    """A paper matches if it matches every field that is set."""

    since: Moment = timestamps.EARLIEST
    """Unix seconds of version 1, inclusive."""
    until: Moment = timestamps.LATEST
    """Unix seconds of version 1, inclusive."""
    words: str | None = None
    """In the syntax of `to_tsquery`."""
    author: str | None = None
    """Part of the text, like the next two; case, accents and punctuation are ignored."""
    title: str | None = None
    journal: str | None = None
    category: list[str] | None = None
    """One of these categories, or one of `archive`."""
    archive: list[str] | None = None
    """`cs` matches all categories that begin with `cs.`"""
    all_versions: bool = False
    """Whether versions other than the latest match too."""
    is_full_text: bool = False
    """Whether there is a full-text query to rank by."""
    mark_title: str = ""
    """What to highlight in titles, in the syntax of `to_tsquery`."""
    mark_author: str = ""
    mark_abstract: str = ""


Wanted = TypeVar("Wanted", QueryFilter, ResultFilter, PaperFilter)


class ListQuery(Struct, Generic[Wanted], frozen=True):
    """The rows of a list that were requested, and their presentation."""

    wanted: Wanted
    listing: PageParams


SortKey = tuple[int | float | str, ...]


class Position(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins: after a row, before a row, or after a number of rows."""

    key: SortKey | None = None
    """The key of that row; None is the beginning of the list."""
    back: bool = False
    """Whether the page ends before that row; its order is the same."""
    offset: Annotated[int, Meta(ge=0, le=10**12)] = 0
