"""Rows of the tables, as they are written, queued and read."""

from datetime import date as Day  # noqa: N812 - fields have the name `date`
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from msgspec import Meta, Struct, field

from .. import models
from . import describe
from .arxiv import MAX_RESULTS, Link, Moment, Outcome, Remarks, SentFields
from .mirror import AnnouncementType

INT2_MAX = 32_767
INT4_MAX = 2_147_483_647
INT8_MAX = 9_223_372_036_854_775_807
QueryId = Annotated[int, Meta(ge=1, le=INT8_MAX)]
Text = Annotated[str, Meta(max_length=100_000, pattern="^[^\\x00]*$")]
"""PostgreSQL stores any text without NUL."""
Time = TypeVar("Time")
QueryNumber = Annotated[int, describe("number of the recorded search", 42)]
SearchTime = Annotated[str, describe("time of the search", "2026-11-23T20:15:00")]
UnixTime = Annotated[int, models.UNIX_TIME]
Status = Annotated[int, describe("HTTP status of arXiv's response; 0 if there was none", 200)]
NumResults = Annotated[int, describe("number of matching papers at arXiv", 214_881)]
NumEntries = Annotated[int, describe("number of papers in this response, which are stored", 10)]
QueryText = Annotated[
    str,
    describe("the query as sent to arXiv", "ArXiv Query: search_query=ti:testing&max_results=9"),
]
OutcomeName = Annotated[str, describe("outcome of the search in one word", "ok", "unreachable")]
ResultNumber = Annotated[int, describe("position in the search results, from 0", 0)]
ArxivId = Annotated[str, describe("arXiv identifier without a version", "2611.00001")]
AnyArxivId = Annotated[str | None, models.NULLABLE_ID]
Version = Annotated[int | None, models.VERSION]
Title = Annotated[str, models.TITLE]
Url = Annotated[str | None, models.URL]
Journal = Annotated[str | None, models.JOURNAL]


AnnouncementDate = Annotated[
    Day, describe("day of the announcement, in US Eastern time", "2026-11-24")
]
AnnouncementKind = Annotated[
    AnnouncementType,
    describe("why the paper was announced: new, cross, replace, replace-cross", "new"),
]


class PaperFields(Struct, Generic[Time], frozen=True):
    """What is known of one version of a paper; responses have times as text."""

    arxiv_id: AnyArxivId
    version: Version
    title: Title
    authors: Annotated[list[str], models.AUTHORS]
    affiliations: Annotated[list[list[str]] | None, models.AFFILIATIONS]
    abstract: Annotated[str | None, models.ABSTRACT]
    """None if only author, title and journal are known."""
    journal: Journal
    comment: Annotated[str | None, models.COMMENT]
    published: Time | None
    """When version 1 was submitted."""
    updated: Time | None
    """When this version was submitted."""
    dois: Annotated[list[str], models.DOIS]
    primary_category: Annotated[str | None, models.PRIMARY_CATEGORY]
    categories: Annotated[list[str], models.CATEGORIES]
    links: Any
    """Structs, or the objects in the column."""
    withdrawn: Annotated[
        bool, describe("whether the comment marks the paper as withdrawn", False)  # noqa: FBT003
    ]
    timestamp: Time
    """Time of the search that returned this data."""
    group_authors: Annotated[list[str], models.GROUP_AUTHORS] = []
    """Other releases omit it in messages of the queue and between frontend and backend."""


class PaperInsert(PaperFields[int], frozen=True):
    """A paper to be written to the table `papers`; times are Unix seconds."""

    links: list[Link] | None
    sent: SentFields | None = None


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
    feed_link: str | None = None

    @property
    def recorded_at(self) -> int:
        """The start of its age."""
        return self.acknowledged


class QueryRow(Struct, frozen=True, gc=False):
    """A row of the table `queries`."""

    query_id: QueryNumber
    timestamp: UnixTime
    status: Status
    num_results: NumResults
    num_entries: NumEntries
    query: QueryText
    outcome: OutcomeName

    @property
    def heading(self) -> str:
        """The query with the prefix of arXiv's feed title, which is not stored."""
        return f"ArXiv Query: {self.query}"


class RecordedSearch(QueryRow, frozen=True, kw_only=True):
    """A row of the table `queries` as the response to a search."""

    remarks: Annotated[
        Remarks | None, describe("peculiarities of arXiv's response", {"missing_ids": []})
    ] = None
    recorded_at: Annotated[int, describe("start of its age, in Unix seconds", 1_795_464_901)] = (
        field(name="recorded")  # frontends of other releases expect this JSON key
    )
    """By the database's clock, or that of the process that published the record, if queued."""
    feed_link: Annotated[
        str | None,
        describe("link of arXiv's feed", "https://arxiv.org/api/query?search_query=ti:testing"),
    ] = None


class ResultFields(Struct, Generic[Time], frozen=True, gc=False):
    """A paper as found by one search; responses have times as text."""

    author: Annotated[str, describe("authors, separated by commas", "Emmy Noether, Felix Klein")]
    title: Title
    journal: Journal
    query_id: QueryNumber
    timestamp: Time
    result_number: ResultNumber
    arxiv_id: AnyArxivId
    version: Version


class ResultRow(ResultFields[int], frozen=True, gc=False):
    """A row of the table `results`."""

    timestamp: UnixTime


class Run(QueryRow, frozen=True):
    """A row of the table `queries`, with the key that identifies its search."""

    search_key: Annotated[UUID | None, describe("digest that identical searches share")]
    remarks: Annotated[
        Remarks | None, describe("peculiarities of the response; null in lists of runs")
    ] = None


class PaperRow(PaperFields[int], frozen=True, gc=False):
    """A row of the table `papers`; times are Unix seconds."""

    arxiv_id: str
    version: int
    """0 if unknown."""
    links: list[dict[str, str]] | None


class RankedPaperRow(PaperRow, frozen=True, gc=False):
    """A paper found by a full-text query."""

    generation: int = 0
    """Identifies the state of the index in which the paper has this rank."""
    rank: int = 0
    """The number of papers that match better."""


class SimilarPaperRow(PaperRow, frozen=True, gc=False):
    """A paper that is similar to another one."""

    shared_terms: list[str] = []
    """Significant words of both papers, the most significant first."""


class AnnouncedPaperRow(PaperRow, frozen=True, gc=False):
    """A paper that was announced on a day."""

    date: Day = Day.min
    type: AnnouncementType = AnnouncementType.NEW
    type_rank: int = 1
    """The position of the type in a list."""


class Announcement(Struct, frozen=True):
    """When a paper was announced."""

    date: AnnouncementDate
    type: AnnouncementKind
    version: Annotated[int, describe("version that was announced", 2)]


class AnnouncedDay(Struct, frozen=True):
    """A day of announcements."""

    date: Day | None
    """None if none is stored."""
    counts: dict[AnnouncementType, int]
    previous: Day | None
    """The day of announcements before it."""
    next: Day | None
    feeds: int
    """Number of its feeds; 0 if none was to be read."""
    missing_feeds: int
    """How many of them could not be read, or have papers of another day."""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameter with which links still select this day after the next announcement."""
        return {"date": self.date.isoformat()} if self.date else {}


PaperVersion = tuple[str, int]
"""The id of a paper and its version, 0 if unknown."""


class Count(Struct, frozen=True):
    """The number of papers with a value of a facet; the facet `total` counts all of them."""

    facet: str
    value: str
    count: int


class SearchCount(Struct, frozen=True):
    """The number of searches in a period with an outcome and a source of the response."""

    period: int
    outcome: str
    answered_by: str
    searches: int
    waited: int
    """Searches that waited for the rate limiter."""
    wait_seconds: float
    longest_wait: float


class TableSize(Struct, frozen=True):
    """The size of a table with its indexes."""

    name: str
    bytes: int
    rows: int | None
    """An estimate; None before the first vacuum or analyze."""


class DatabaseServer(Struct, frozen=True):
    """A PostgreSQL that is read."""

    version: str
    is_replica: bool
    migration: str | None
    """The latest one."""
    bytes: int


class DatabaseStatus(Struct, frozen=True):
    """A PostgreSQL that is read, and its tables, the largest first."""

    system: str
    server: DatabaseServer
    tables: list[TableSize]


class Gap(Struct, frozen=True, kw_only=True):
    """A row of the table `harvest_gaps`: papers that a harvest skipped."""

    gap_id: int = 0
    """0 until it is stored."""
    harvest_id: int
    submitted_from: int
    start: int
    stop: int
    missing: int
    reason: str


class Harvest(Struct, frozen=True, kw_only=True):
    """A row of the table `harvests`: the progress of a harvest."""

    harvest_id: int
    query: str
    submitted_to: int
    submitted_from: int
    start: int
    page: int
    finished: bool
    stop: int | None = None
    """Where a gap that is retried ends."""
    skipped: Gap | None = None
    """The gap that is stored with this progress."""
    retried: Gap | None = None
    """The gap that this progress begins to retry; it is deleted."""


class ApiKeyRow(Struct, frozen=True, kw_only=True):
    """An API key without its digest."""

    name: str
    beginning: str
    """Its first characters."""
    quota: int
    seconds: int
    made: int
    revoked: int | None
