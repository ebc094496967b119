"""Rows of the tables, as they are written, queued and read."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from .arxiv import MAX_RESULTS, Link, Moment, Outcome, Remarks

INT2_MAX = 32_767
INT4_MAX = 2_147_483_647
INT8_MAX = 9_223_372_036_854_775_807
QueryId = Annotated[int, Meta(ge=1, le=INT8_MAX)]


class PaperInsert(Struct, frozen=True):
    """A paper to be written to the table `papers`; times are Unix seconds."""

    timestamp: int
    """The timestamp of the search that found it."""
    arxiv_id: str | None
    version: int | None
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None
    """None if no author has any."""
    abstract: str | None
    """None if only author, title and journal are known."""
    journal: str | None
    comment: str | None
    published: int | None
    updated: int | None
    dois: list[str]
    primary_category: str | None
    categories: list[str]
    links: list[Link] | None
    withdrawn: bool


class ResultInsert(Struct, frozen=True):
    """A result to be written to the table `results`."""

    author: str
    title: str
    journal: str | None
    arxiv_id: str | None = None
    version: int | None = None


class Record(Struct, kw_only=True, eq=False, weakref=True):
    """A run with everything that is stored for it; as JSON, the message in the queue."""

    query_id: QueryId
    """0 until one is taken from the sequence."""
    timestamp: Moment
    status: Annotated[int, Meta(ge=0, le=999)]
    num_results: Annotated[int, Meta(ge=0, le=INT4_MAX)]
    num_entries: Annotated[int, Meta(ge=0, le=MAX_RESULTS)]
    query: str
    outcome: Outcome
    write_key: UUID
    """The same in every attempt to write this record, so that it is stored once."""
    search_key: UUID | None
    """None if the search cannot be served from the cache."""
    remarks: Remarks | None
    acknowledged: Moment
    """When the record was created; Unix seconds of this machine's clock."""
    results: list[ResultInsert]
    papers: list[PaperInsert]

    @property
    def recorded(self) -> int:
        """The time from which its age counts."""
        return self.acknowledged


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
        """The query as arXiv's feed titles it: the prefix is not stored with every row."""
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
    """A row of the table `queries`, with what makes it the same search as another."""

    search_key: UUID | None


class PaperRow(Struct, frozen=True, gc=False):
    """A row of the table `papers`."""

    arxiv_id: str
    version: int
    """0 where it was not told."""
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None
    abstract: str | None
    journal: str | None
    comment: str | None
    published: int | None
    """Unix seconds of version 1."""
    updated: int | None
    """Unix seconds of this version."""
    dois: list[str]
    primary_category: str | None
    categories: list[str]
    links: list[dict[str, str]] | None
    withdrawn: bool
    timestamp: int
    """Unix seconds of the search that told all this."""


class RankedPaperRow(PaperRow, frozen=True):
    """A paper found by its words; the smaller its distance, the better it matches."""

    distance: float
    marked_title: str | None
    """Folded, with the matching words between full_text.START and STOP."""
    marked_author: str | None
    marked_abstract: str | None


PaperVersion = tuple[str, int]
"""The id of a paper and its version, 0 where that was not told."""


class Count(Struct, frozen=True):
    """How many papers have this value of a facet; of the facet `total`, how many there are."""

    facet: str
    value: str
    count: int


class Harvest(Struct, frozen=True, kw_only=True):
    """A row of the table `harvests`: how far a long job has come."""

    harvest_id: int
    query: str
    submitted_to: int
    submitted_from: int
    start: int
    page: int
    finished: bool


class ApiKeyRow(Struct, frozen=True, kw_only=True):
    """An API key, as operators see it."""

    name: str
    beginning: str
    """Its first characters."""
    quota: int
    seconds: int
    made: int
    revoked: int | None
