"""The structs that travel: arXiv's entries, searches and answers, stored rows, responses.

Field names are those of the tables and of the JSON that clients see.
"""

from datetime import datetime
from enum import StrEnum
from time import time
from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID, uuid4

from msgspec import Meta, Struct, field

from . import timestamps
from .errors import UpstreamError

MAX_RESULTS = 2000
"""Papers of one search (arXiv's manual)."""
MAX_ITEMS_PER_PAGE = 1000
INT2_MAX = 32_767
INT4_MAX = 2_147_483_647
INT8_MAX = 9_223_372_036_854_775_807


class Link(Struct, frozen=True, gc=False, omit_defaults=True):
    """A link of an entry, as Atom has it (RFC 4287, 4.2.7)."""

    href: str
    rel: str | None = None
    title: str | None = None
    type: str | None = None


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    """One paper of an answer, with everything arXiv sends; white space is normalised."""

    arxiv_id: str | None
    """Without the version: 2101.00001 or hep-th/9901001; None where the entry names no paper."""
    version: int | None
    authors: list[str]
    affiliations: list[list[str]]
    """Those of each author, in the order of `authors`; mostly empty."""
    title: str
    journal: str | None
    """The journal reference."""
    summary: str
    comment: str | None
    published: datetime | None
    """When version 1 was submitted."""
    updated: datetime | None
    """When this version was submitted."""
    dois: list[str]
    """Those of the journal, not arXiv's own."""
    primary_category: str | None
    categories: list[str]
    links: list[Link]

    @property
    def author(self) -> str:
        """The authors as the table `results` keeps them."""
        return ", ".join(self.authors)


class Feed(Struct, frozen=True, kw_only=True):
    """One answer of arXiv's API, parsed."""

    query: str | None
    """What arXiv says it searched, without `arXiv Query: `; None where its title says no query."""
    link: str | None
    """The feed's own link, which shows how arXiv read the query."""
    total: int
    """How many papers match in all."""
    entries: list[Entry]
    error: str | None
    """What arXiv complains about, where the feed is an error feed."""
    items_per_page: int | None = None
    """How many papers arXiv means to send at once; None where it does not say."""


Term = Annotated[str, Meta(max_length=5000, pattern="^[^\\x00]*$")]
QueryId = Annotated[int, Meta(ge=1, le=INT8_MAX)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
"""A SHA-256, in hexadecimal."""
Moment = Annotated[int, Meta(ge=timestamps.EARLIEST, le=timestamps.LATEST)]
"""Unix seconds."""

SortBy = Literal["relevance", "lastUpdatedDate", "submittedDate"]
SortOrder = Literal["descending", "ascending"]


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client wants arXiv to look for; each field given must match."""

    author: Term | None = None
    title: Term | None = None
    journal: Term | None = None
    abstract: Term | None = None
    comment: Term | None = None
    any: Term | None = None
    category: tuple[Term, ...] = ()
    """Any of these."""
    id_list: tuple[Term, ...] = ()
    query: Term | None = None
    """In arXiv's own query language."""
    submitted_from: Moment | None = None
    """Unix seconds of version 1, included."""
    submitted_to: Moment | None = None
    start: Annotated[int, Meta(ge=0)] = 0
    max_results: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] | None = None
    sort_by: SortBy = "relevance"
    sort_order: SortOrder = "descending"


class Outcome(StrEnum):
    """What came of a search, as the column `outcome` says it."""

    OK = "ok"
    SUSPECT = "suspect"
    REFUSED = "refused"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    INTERRUPTED = "interrupted"


Remarks = dict[str, list[str]]
"""What is odd about an answer: `differences` (sentences) and `missing_ids`, where there are any."""


class ArxivResponse(Struct, frozen=True, kw_only=True):
    """What arXiv made of a search: papers, or a failure that is worth recording too."""

    timestamp: int
    """Unix seconds: arXiv's Date header, else this machine's clock."""
    status: int
    """HTTP status of arXiv's answer; 0 where there was none."""
    num_results: int
    query: str
    outcome: Outcome = Outcome.OK
    entries: list[Entry] = []
    failure: UpstreamError | None = None
    remarks: Remarks = {}
    search_key: UUID | None = None
    """Which search it answers; None where it was not asked as one."""
    write_key: UUID = field(default_factory=uuid4)
    """Under which it is recorded once, however often that is tried."""
    query_id: int = 0
    """Under which it is recorded, once it is."""

    @property
    def recorded(self) -> "RecordedSearch":
        """The row that records it."""
        return RecordedSearch(
            query_id=self.query_id,
            timestamp=self.timestamp,
            status=self.status,
            num_results=self.num_results,
            num_entries=len(self.entries),
            query=self.query,
            outcome=self.outcome,
            remarks=self.remarks,
            recorded=int(time()),
        )


class PaperInsert(Struct, frozen=True):
    """A paper as it is sent to the table `papers`; times are Unix seconds."""

    timestamp: int
    """That of the search that tells all this."""
    arxiv_id: str | None
    version: int | None
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None
    """None where nobody has any."""
    abstract: str | None
    """None where only author, title and journal are known."""
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


# Rows as they are stored, and answered by the backend: no cycles begin in them, and there may be
# thousands at once, so that the collector need not look at them


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


class Listing(Struct, frozen=True, kw_only=True):
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


class Asked(Struct, Generic[Wanted], frozen=True):
    """Which rows of a list are wanted, and how."""

    wanted: Wanted
    listing: Listing


Key = tuple[int | float | str, ...]


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """Where in a list to begin: after a row, or before it, or after so many rows."""

    key: Key | None = None
    """Of that row; None is the beginning."""
    back: bool = False
    """Whether the rows before it are wanted, in the same order."""
    offset: Annotated[int, Meta(ge=0, le=10**12)] = 0


class Harvest(Struct, frozen=True, kw_only=True):
    """A row of the table `harvests`: how far a long job has come."""

    harvest_id: int
    query: str
    submitted_to: int
    submitted_from: int
    start: int
    page: int
    finished: bool


# Responses of the frontend: the same with timestamps as ISO 8601 in the configured zone


class SearchSummary(Struct, kw_only=True, omit_defaults=True):
    """What `/arxiv` answers: where the search is recorded, and what came of it."""

    query_id: int
    timestamp: str
    status: int
    num_results: int
    num_entries: int
    warnings: list[str] = []
    """Where arXiv searched something else than was meant, or left papers out."""
    missing_ids: list[str] = []
    """Those of `id_list` that arXiv did not send."""
    results: list["Result"] | None = None
    """The papers, where `include=results` asks for them."""


class Query(Struct, frozen=True, gc=False):
    """A recorded search, as `/queries` answers it."""

    query_id: int
    query: str
    timestamp: str
    status: int
    num_results: int
    num_entries: int
    outcome: str


class Result(Struct, frozen=True, gc=False):
    """A stored result, as `/results` answers it."""

    author: str
    title: str
    journal: str | None
    query_id: int
    timestamp: str
    result_number: int
    arxiv_id: str | None
    version: int | None


class QueryWithResults(Query, frozen=True):
    """What `/queries/{query_id}` answers."""

    results: list[Result]


class Moved(Struct, frozen=True, kw_only=True):
    """A paper that is in another place of a search than in the run before."""

    arxiv_id: str | None
    title: str
    result_number: int
    previous_result_number: int


class NewVersion(Struct, frozen=True, kw_only=True):
    """A paper that a search found in another version than the run before."""

    arxiv_id: str
    title: str
    version: int | None
    previous_version: int | None
    result_number: int


class Changes(Struct, frozen=True, kw_only=True):
    """What `/queries/{query_id}/changes` answers: a search against its previous run."""

    query: Query
    previous: Query | None
    """None where there was none: then nothing is told to have changed."""
    came: list[Result]
    went: list[Result]
    moved: list[Moved]
    new_versions: list[NewVersion]


class Paper(Struct, frozen=True):
    """A paper, in one version, as `/papers` answers it."""

    arxiv_id: str
    version: int | None
    title: str
    authors: list[str]
    affiliations: list[list[str]] | None
    """Those of each author; None where there are none."""
    abstract: str | None
    journal: str | None
    comment: str | None
    published: str | None
    """When version 1 was submitted."""
    updated: str | None
    """When this version was submitted."""
    dois: list[str]
    primary_category: str | None
    categories: list[str]
    links: list[Link]
    withdrawn: bool
    """As far as the comment tells."""
    timestamp: str
    """Of the search that told all this."""


class PaperWithVersions(Paper, frozen=True):
    """What `/papers/{arxiv_id}` answers."""

    versions: list[int]
    """Those that searches have found."""


class FoundPaper(Paper, frozen=True):
    """A paper that full text search found."""

    highlights: dict[str, str]
    """Texts in which words match, as HTML with them in <mark>; by the name of the field."""


class FacetCount(Struct, frozen=True):
    """How many papers have a value."""

    value: str
    count: int


class Facets(Struct, frozen=True, kw_only=True):
    """How many of the papers that match are in each category, and of each year of version 1."""

    category: list[FacetCount]
    year: list[FacetCount]


class Papers(Struct, frozen=True, kw_only=True):
    """What `/papers` answers; all but the papers only with the first page."""

    papers: list[FoundPaper]
    total: int | None = None
    """How many papers are counted: all that match, but at most 100,000, the newest."""
    total_is_exact: bool | None = None
    """Whether these are all that match."""
    facets: Facets | None = None
    """Of the papers that are counted."""


# Responses of the backend


class ArxivApiAnswer(Struct, frozen=True, kw_only=True):
    """What `/arxiv-api` answers: the papers themselves, nothing recorded."""

    data: list[Entry]
    timestamp: int
    status: int
    num_results: int
    num_entries: int
    query: str


class Sequence(Struct, frozen=True):
    """A number for one search."""

    sequence: int


class Message(Struct, frozen=True):
    """What was done, for a person."""

    message: str


class ArxivState(Struct, frozen=True, kw_only=True):
    """How things stand with arXiv; all but the last request is that of all processes together."""

    last_request: str | None = None
    """When this process last asked arXiv."""
    last_outcome: Outcome | None = None
    asking: bool
    """Whether arXiv is being asked."""
    waiting: int
    """Searches that wait for their turn."""
    closed_until: str | None = None
    """Until when arXiv wants to be left alone."""


class Health(Struct, frozen=True, kw_only=True):
    """Whether the service lives, or is ready; `detail` tells what is missing or odd."""

    status: str
    detail: str | None = None
    queue: str | None = None
    """`connected` or `away`, where searches are recorded through a queue."""
    arxiv: ArxivState | None = None


# Bodies of requests

Text = Annotated[str, Meta(max_length=100_000, pattern="^[^\\x00]*$")]
"""PostgreSQL stores any text but NUL."""


Name = Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]


ArxivId = Annotated[str, Meta(max_length=100, pattern=r"^(\d{4}\.\d{4,5}|[a-z-]+/\d{7})$(?!\n)")]
"""Without a version."""


class QueryRange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /queries`: what the parameters of `GET /queries` are."""

    start_timestamp: Annotated[str, Meta(max_length=64)] | None = None
    end_timestamp: Annotated[str, Meta(max_length=64)] | None = None
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    text: Annotated[str, Meta(max_length=500, pattern="^[^\\x00]*$")] | None = None
    order: Literal["oldest", "newest"] = "oldest"


class WriteQueryRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/write-queries`."""

    query_id: QueryId
    timestamp: Moment
    status: Annotated[int, Meta(ge=0, le=999)]
    num_results: Annotated[int, Meta(ge=0, le=INT4_MAX)]
    num_entries: Annotated[int, Meta(ge=0, le=MAX_RESULTS)]
    query: Text
    outcome: Outcome = Outcome.OK


class ResultPayload(Struct, frozen=True, kw_only=True):
    """One paper in the body of `/write-results`; entries of `/arxiv-api` are taken as they are.

    With `summary` it is a full account, and what `/papers` knows of the paper is replaced by it.
    """

    authors: list[Text] | Text
    title: Text
    journal: Text | None = None
    arxiv_id: ArxivId | None = None
    version: Annotated[int, Meta(ge=1, le=9999)] | None = None
    affiliations: list[list[Text]] = []
    summary: Text | None = None
    comment: Text | None = None
    published: datetime | None = None
    updated: datetime | None = None
    dois: list[Text] = []
    primary_category: Name | None = None
    categories: list[Name] = []
    links: list[Link] = []


class WriteResultsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/write-results`."""

    query_id: QueryId
    timestamp: Moment
    results: Annotated[list[ResultPayload], Meta(max_length=MAX_RESULTS)]


class SearchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-answer`."""

    asked: Search
    """Not `search`, which is a dependency: Litestar takes the client's mistakes in it for ours."""
    anew: bool = False
    """Whether arXiv is to be asked in any case."""


class ResultsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-results`."""

    query_id: QueryId


class ApiKeysRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-keys`."""

    digests: Annotated[list[Digest], Meta(max_length=10_000)]


class ApiKeyInfo(Struct, frozen=True, kw_only=True):
    """An API key that counts."""

    digest: str
    name: str
    quota: int
    seconds: int


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457): `detail` says what to do about it."""

    title: str
    status: int
    detail: str
    request_id: str
    """Found again in the log."""
    parameter: str | None = None
    """The parameter that is wrong."""
    query_id: int | None = None
    """Where the failed attempt is recorded."""
    retry_after: int | None = None
    """Seconds."""


class ApiKeyRow(Struct, frozen=True, kw_only=True):
    """An API key, as operators see it."""

    name: str
    beginning: str
    """Its first characters."""
    quota: int
    seconds: int
    made: int
    revoked: int | None


class Reference(Struct, frozen=True, kw_only=True):
    """A paper or a search as BibTeX, RIS and Atom tell of it."""

    key: str
    """Unique in a file: 2101.00001v2, query42."""
    uri: str
    """Its name everywhere and forever, for Atom."""
    url: str | None = None
    """Where to read it."""
    kind: Literal["paper", "search"]
    title: str
    authors: list[str] = []
    abstract: str | None = None
    journal: str | None = None
    comment: str | None = None
    published: datetime | None = None
    """In UTC."""
    updated: datetime | None = None
    dois: list[str] = []
    arxiv_id: str | None = None
    version: int | None = None
    primary_category: str | None = None
    categories: list[str] = []
