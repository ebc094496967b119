"""Filters of the lists, and the position of a page."""

from datetime import date as Day  # noqa: N812 - a field has the name `date`
from typing import Annotated

from msgspec import Meta, Struct

from .. import timestamps
from . import describe
from .arxiv import Moment
from .mirror import AnnouncementType
from .records import QueryId

MAX_ITEMS_PER_PAGE = 1000


class _TimeFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row matches if it matches every field that is set."""

    since: Annotated[Moment, describe("earliest time, in Unix seconds")] = timestamps.EARLIEST
    until: Annotated[Moment, describe("latest time, in Unix seconds")] = timestamps.LATEST


class QueryFilter(_TimeFilter, frozen=True, kw_only=True, tag="queries"):
    """Which runs match, by the time of the search."""

    status: Annotated[
        Annotated[int, Meta(ge=0, le=999)] | None, describe("HTTP status of arXiv's response")
    ] = None
    text: Annotated[str | None, describe("part of the query, ignoring case")] = None


class _TextFilter(_TimeFilter, frozen=True, kw_only=True):
    # case, accents, TeX and punctuation of these three are ignored
    author: Annotated[str | None, describe("part of the authors")] = None
    title: Annotated[str | None, describe("part of the title")] = None
    journal: Annotated[str | None, describe("part of the journal reference")] = None
    category: Annotated[list[str] | None, describe("categories; or one of `archive`")] = None
    archive: Annotated[list[str] | None, describe("archives: `cs` matches all `cs.*`")] = None


class ResultFilter(_TextFilter, frozen=True, kw_only=True, tag="results"):
    """Which results match, by the time of the search."""

    query_id: Annotated[QueryId | None, describe("number of the recorded search")] = None
    words: Annotated[str | None, describe("words in the syntax of `to_tsquery`")] = None


class PaperFilter(_TextFilter, frozen=True, kw_only=True, tag="papers"):
    """Which papers match, by the submission of version 1."""

    q: Annotated[str | None, describe("full-text query")] = None
    all_versions: Annotated[bool, describe("whether older versions match too")] = False

    @property
    def is_empty(self) -> bool:
        """Whether every paper matches; versions do not matter."""
        return self == PaperFilter(all_versions=self.all_versions)


class AnnouncementFilter(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="announcements"
):
    """Which announcements of a day match."""

    date: Annotated[Day | None, describe("day of the announcement; null: the latest one")] = None
    types: Annotated[
        list[AnnouncementType] | None, describe("types, in the categories if there are any")
    ] = None
    category: Annotated[list[str] | None, describe("categories")] = None


SortKey = tuple[int | float | str, ...]


class Position(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins: after a row, before a row, or after a number of rows."""

    key: Annotated[
        SortKey | None, describe("sort key of that row; null for the beginning of the list")
    ] = None
    back: Annotated[bool, describe("whether the page ends before that row, in the same order")] = (
        False
    )
    offset: Annotated[int, describe("number of rows to skip", ge=0, le=10**12)] = 0
