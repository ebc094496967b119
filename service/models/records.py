"""Rows of the tables, as they are written, queued and read."""

from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from .arxiv import MAX_RESULTS, Link, Moment, Outcome, Remarks

INT2_MAX = 32_767
INT4_MAX = 2_147_483_647
INT8_MAX = 9_223_372_036_854_775_807
QueryId = Annotated[int, Meta(ge=1, le=INT8_MAX)]
Time = TypeVar("Time")


class PaperFields(Struct, Generic[Time], frozen=True):
    """What is known of one version of a paper; responses have times as text."""

    arxiv_id: str | None
    version: int | None
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None
    """The affiliations of each author; None if no author has any."""
    abstract: str | None
    """None if only author, title and journal are known."""
    journal: str | None
    comment: str | None
    published: Time | None
    """When version 1 was submitted."""
    updated: Time | None
    """When this version was submitted."""
    dois: list[str]
    primary_category: str | None
    categories: list[str]
    links: Any
    """Structs, or the objects in the column."""
    withdrawn: bool
    """Detected from the comment."""
    timestamp: Time
    """When the search that found all this was answered."""


class PaperInsert(PaperFields[int], frozen=True):
    """A paper to be written to the table `papers`; times are Unix seconds."""

    links: list[Link] | None


class ResultInsert(Struct, frozen=True):
    """The part of a paper that the table `results` keeps."""

    author: str
    title: str
    journal: str | None
    arxiv_id: str | None = None
    version: int | None = None


class Record(Struct, frozen=True, kw_only=True):
    """All that is stored of a search that arXiv was asked, as it waits in the queue."""

    query_id: QueryId
    timestamp: Moment
    status: Annotated[int, Meta(ge=0, le=999)]
    num_results: Annotated[int, Meta(ge=0, le=INT4_MAX)]
    num_entries: Annotated[int, Meta(ge=0, le=MAX_RESULTS)]
    query: str
    outcome: Outcome
    write_key: UUID
    search_key: UUID | None
    remarks: Remarks | None
    acknowledged: Moment
    """When it was answered; Unix seconds of the clock of who asked."""
    results: list[ResultInsert]
    papers: list[PaperInsert]


class QueryRow(Struct, frozen=True, gc=False):
    """A row of the table `queries`."""

    query_id: int
    timestamp: int
    status: int
    num_results: int
    num_entries: int
    query: str
    outcome: str

    @property
    def heading(self) -> str:
        """The query with the prefix of arXiv's feed title, which is not stored."""
        return f"ArXiv Query: {self.query}"


class RecordedSearch(QueryRow, frozen=True, kw_only=True):
    """A row of the table `queries` that answers a later search."""

    remarks: Remarks | None = None
    recorded: int
    """Unix seconds of the database's clock, or of who asked if it waited in a queue then."""


class ResultRow(Struct, frozen=True, gc=False):
    """A row of the table `results`."""

    author: str
    title: str
    journal: str | None
    query_id: int
    timestamp: int
    result_number: int
    arxiv_id: str | None
    version: int | None


class Run(QueryRow, frozen=True):
    """A row of the table `queries`, with the key that identifies its search."""

    search_key: UUID | None


class PaperRow(PaperFields[int], frozen=True, gc=False):
    """A row of the table `papers`; times are Unix seconds."""

    arxiv_id: str
    version: int
    """0 if unknown."""
    links: list[dict[str, str]] | None


class RankedPaperRow(PaperRow, frozen=True):
    """A paper found by full-text search, with its texts unaccented and matches highlighted."""

    distance: float
    """Smaller for better matches."""
    marked_title: str | None
    """Matches are between full_text.START and STOP; None if there is nothing to highlight."""
    marked_author: str | None
    marked_abstract: str | None


PaperVersion = tuple[str, int]
"""The id of a paper and its version, 0 if unknown."""


class Count(Struct, frozen=True):
    """The number of papers with a value of a facet; the facet `total` counts all of them."""

    facet: str
    value: str
    count: int


class Harvest(Struct, frozen=True, kw_only=True):
    """A row of the table `harvests`: the progress of a harvest."""

    harvest_id: int
    query: str
    submitted_to: int
    submitted_from: int
    start: int
    page: int
    finished: bool


class ApiKeyRow(Struct, frozen=True, kw_only=True):
    """An API key without its digest."""

    name: str
    beginning: str
    """Its first characters."""
    quota: int
    seconds: int
    made: int
    revoked: int | None
