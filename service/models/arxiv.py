"""Structs for arXiv: search parameters, requests, Atom entries, responses."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from .. import models, timestamps
from . import describe

MAX_RESULTS = 2000
"""Entries per response, according to arXiv's manual."""


class Link(Struct, frozen=True, gc=False, omit_defaults=True):
    """A link of an Atom entry (RFC 4287, 4.2.7)."""

    href: Annotated[str, describe("URL")]
    rel: Annotated[str | None, describe("relation to the paper")] = None
    title: Annotated[str | None, describe("title of the link")] = None
    type: Annotated[str | None, describe("media type of the target")] = None


class SentAuthor(Struct, frozen=True, gc=False):
    """An author of an Atom entry as arXiv sent it."""

    name: Annotated[str, describe("name", "Emmy Noether")]
    affiliations: Annotated[list[str], describe("affiliations", ["Goettingen"])] = []


class SentFields(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What arXiv sent in an Atom entry, where that differs from the fields of Entry."""

    id: Annotated[str | None, describe("id of the entry")] = None
    title: Annotated[str | None, models.TITLE] = None
    summary: Annotated[str | None, models.ABSTRACT] = None
    published: Annotated[str | None, models.PUBLISHED] = None
    updated: Annotated[str | None, models.UPDATED] = None
    comment: Annotated[str | None, models.COMMENT] = None
    journal: Annotated[str | None, models.JOURNAL] = None
    authors: Annotated[list[SentAuthor] | None, describe("authors")] = None
    dois: Annotated[list[str] | None, models.DOIS] = None
    links: Annotated[
        list[Link] | None,
        describe("links, unless they are those that arXiv derives from identifier and DOIs"),
    ] = None


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    """One Atom entry with everything that arXiv sends about a paper; white space is normalized."""

    arxiv_id: Annotated[str | None, models.NULLABLE_ID]
    version: Annotated[int | None, models.VERSION]
    authors: Annotated[list[str], models.AUTHORS]
    affiliations: Annotated[list[list[str]], models.AFFILIATIONS]
    title: Annotated[str, models.TITLE]
    journal: Annotated[str | None, models.JOURNAL]
    summary: Annotated[str, models.ABSTRACT]
    comment: Annotated[str | None, models.COMMENT]
    published: Annotated[datetime | None, models.PUBLISHED]
    updated: Annotated[datetime | None, models.UPDATED]
    dois: Annotated[list[str], models.DOIS]
    primary_category: Annotated[str | None, models.PRIMARY_CATEGORY]
    categories: Annotated[list[str], models.CATEGORIES]
    links: Annotated[list[Link], models.LINKS]
    group_authors: Annotated[list[str], models.GROUP_AUTHORS] = []
    sent: Annotated[SentFields | None, models.SENT] = None

    @property
    def author(self) -> str:
        """The authors as stored in the table `results`."""
        return ", ".join(self.authors)


class Feed(Struct, frozen=True, kw_only=True):
    """A parsed Atom feed of arXiv's API."""

    query: str | None
    """The query that arXiv executed, without `arXiv Query: `. None if the title contains none."""
    link: str | None
    """The link of the feed itself, which shows how arXiv parsed the query."""
    total: int
    """The number of papers that match."""
    entries: list[Entry]
    error: str | None
    """The error message if this is an error feed."""
    updated: datetime | None = None
    """When arXiv generated the feed."""
    items_per_page: int | None = None
    """The page size that arXiv reports, if any."""
    start: int | None = None
    """The position of the first entry that arXiv reports, if any."""
    num_ignored: int = 0
    """The number of further entries, beyond those requested."""
    warnings: list[str] = []
    """How the feed differs from what arXiv sent."""


Term = Annotated[str, Meta(max_length=5000, pattern="^[^\\x00]*$")]
ApiText = Annotated[str, Meta(pattern="^[^\\x00]*$")]
Moment = Annotated[int, Meta(ge=timestamps.EARLIEST, le=timestamps.LATEST)]
"""Unix seconds."""
SortBy = Literal["relevance", "lastUpdatedDate", "submittedDate"]
SortOrder = Literal["descending", "ascending"]
SearchSource = Literal["auto", "arxiv", "mirror"]


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for papers; all fields that are set must match."""

    author: Annotated[Term | None, describe("words of one author's name")] = None
    title: Annotated[Term | None, describe("phrase of the title")] = None
    journal: Annotated[Term | None, describe("phrase of the journal reference")] = None
    abstract: Annotated[Term | None, describe("phrase of the abstract")] = None
    comment: Annotated[Term | None, describe("phrase of the comment")] = None
    any: Annotated[Term | None, describe("phrase of any field")] = None
    category: Annotated[tuple[Term, ...], describe("categories, one of which must match")] = ()
    id_list: Annotated[tuple[Term, ...], describe("identifiers, one of which must match")] = ()
    query: Annotated[Term | None, describe("query in arXiv's own language")] = None
    submitted_from: Annotated[
        Moment | None, describe("earliest submission of version 1, in Unix seconds")
    ] = None
    submitted_to: Annotated[
        Moment | None, describe("latest submission of version 1, in Unix seconds")
    ] = None
    start: Annotated[int, describe("number of papers to skip", ge=0)] = 0
    max_results: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_RESULTS)] | None, describe("maximum number of papers")
    ] = None
    sort_by: Annotated[SortBy, describe("sort key")] = "relevance"
    sort_order: Annotated[SortOrder, describe("sort direction")] = "descending"


class ApiQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search in the parameters of arXiv's own API, with the values that arXiv receives."""

    search_query: Annotated[ApiText, describe("query in arXiv's own language")] = ""
    id_list: Annotated[ApiText, describe("identifiers, separated by commas")] = ""
    start: Annotated[int, describe("number of papers to skip", ge=0)] = 0
    max_results: Annotated[int, describe("maximum number of papers", ge=1, le=MAX_RESULTS)] = 10
    sort_by: Annotated[SortBy, describe("sort key")] = "relevance"
    sort_order: Annotated[SortOrder, describe("sort direction")] = "descending"
    raw: Annotated[ApiText, describe("`1` makes arXiv execute the query without correcting it")] = (
        ""
    )


class ArxivRequest(Struct, frozen=True):
    """A search encoded for arXiv."""

    search: Search | ApiQuery
    """The search, with its `max_results` filled in."""
    parameters: dict[str, str]
    search_key: UUID
    """A digest of the URL and the parameters: identical searches have the same key."""

    mirror_key: UUID
    """The same for the answers of the mirror. Those of a current mirror, for `auto`, have another
    key than those of any age."""
    source: SearchSource = "auto"
    """What may answer it."""

    @property
    def max_results(self) -> int:
        """The size of the page."""
        return int(self.parameters["max_results"])

    @property
    def query(self) -> str:
        """The parameters in the form in which arXiv's feeds repeat them."""
        return "&".join(f"{name}={value}" for name, value in self.parameters.items())


class Outcome(StrEnum):
    """The result of a search, as stored in the column `outcome`."""

    OK = "ok"
    SUSPECT = "suspect"
    REFUSED = "refused"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    INTERRUPTED = "interrupted"


Remarks = dict[str, list[str]]
"""Peculiarities of a response: `differences`, `warnings` (both sentences) and `missing_ids`, each
only if there are any; `source` if it is not arXiv's."""
MIRRORED: Remarks = {"source": ["mirror"]}
"""Of a response of the mirror, whatever its age."""
CURRENT_MIRROR: Remarks = {"source": ["current mirror"]}
"""Of a response of the mirror that is as good as that of arXiv."""


def is_mirrored(remarks: Remarks | None) -> bool:
    """Whether they belong to a response of the mirror."""
    return remarks is not None and "source" in remarks


class ArxivResponse(Struct, frozen=True, kw_only=True):
    """What arXiv sent for one request. A failed attempt has an outcome and no entries."""

    timestamp: int
    """Unix seconds: arXiv's Date header, otherwise the clock of this machine."""
    status: int
    """The HTTP status; 0 without a response."""
    num_results: int
    query: str
    outcome: Outcome = Outcome.OK
    reason: str = ""
    """Why the attempt failed."""
    feed_link: str | None = None
    """The link of the feed itself, if it has one."""
    retry_after: int | None = None
    """Seconds until another attempt is useful, if known."""
    is_permanent: bool = False
    """Whether another attempt would fail too."""
    entries: list[Entry] = []
    remarks: Remarks = {}

    @property
    def answered_by(self) -> str:
        """The source of the response, a label of the metrics."""
        return "mirror" if is_mirrored(self.remarks) else "arxiv"
