"""Filters of the lists, and the position of a page."""

from typing import Annotated

from msgspec import Meta, Struct

from .. import timestamps
from .arxiv import Moment
from .records import QueryId

MAX_ITEMS_PER_PAGE = 1000


class _TimeFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row matches if it matches every field that is set."""

    since: Moment = timestamps.EARLIEST
    """Unix seconds, inclusive, as `until`."""
    until: Moment = timestamps.LATEST


class QueryFilter(_TimeFilter, frozen=True, kw_only=True, tag="queries"):
    """Which runs match, by the time of the search."""

    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    text: str | None = None
    """Part of the query; case is ignored."""


class _TextFilter(_TimeFilter, frozen=True, kw_only=True):
    author: str | None = None
    """Part of the text, like the next two; case, accents and punctuation are ignored."""
    title: str | None = None
    journal: str | None = None
    words: str | None = None
    """A full-text query in the syntax of `to_tsquery`, built by `full_text`."""
    category: list[str] | None = None
    """One of these categories, or one of `archive`."""
    archive: list[str] | None = None
    """`cs` matches all categories that begin with `cs.`"""


class ResultFilter(_TextFilter, frozen=True, kw_only=True, tag="results"):
    """Which results match, by the time of the search."""

    query_id: QueryId | None = None


class PaperFilter(_TextFilter, frozen=True, kw_only=True, tag="papers"):
    """Which papers match, by the submission of version 1."""

    all_versions: bool = False
    """Whether versions other than the latest match too."""
    is_full_text: bool = False
    """Whether there is a full-text query to rank by."""
    mark_title: str = ""
    """What to highlight in titles, in the syntax of `to_tsquery`."""
    mark_author: str = ""
    mark_abstract: str = ""


SortKey = tuple[int | float | str, ...]


class Position(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins: after a row, before a row, or after a number of rows."""

    key: SortKey | None = None
    """The key of that row; None is the beginning of the list."""
    back: bool = False
    """Whether the page ends before that row; its order is the same."""
    offset: Annotated[int, Meta(ge=0, le=10**12)] = 0
