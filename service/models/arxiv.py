"""Structs for arXiv: search parameters, requests, Atom entries, responses."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct

from .. import timestamps

MAX_RESULTS = 2000
"""Entries per response, according to arXiv's manual."""


class Link(Struct, frozen=True, gc=False, omit_defaults=True):
    """A link of an Atom entry (RFC 4287, 4.2.7)."""

    href: str
    rel: str | None = None
    title: str | None = None
    type: str | None = None


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    """One Atom entry with everything that arXiv sends about a paper; white space is normalized."""

    arxiv_id: str | None
    """Without the version: 2101.00001 or hep-th/9901001. None if the entry names no paper."""
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
    """The DOIs of the journal, without arXiv's own."""
    primary_category: str | None
    categories: list[str]
    links: list[Link]

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
    items_per_page: int | None = None
    """The page size that arXiv reports, if any."""


Term = Annotated[str, Meta(max_length=5000, pattern="^[^\\x00]*$")]
Moment = Annotated[int, Meta(ge=timestamps.EARLIEST, le=timestamps.LATEST)]
"""Unix seconds."""
SortBy = Literal["relevance", "lastUpdatedDate", "submittedDate"]
SortOrder = Literal["descending", "ascending"]


class Search(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for papers; all fields that are set must match."""

    author: Term | None = None
    title: Term | None = None
    journal: Term | None = None
    abstract: Term | None = None
    comment: Term | None = None
    any: Term | None = None
    category: tuple[Term, ...] = ()
    """One of these must match."""
    id_list: tuple[Term, ...] = ()
    query: Term | None = None
    """In arXiv's query language."""
    submitted_from: Moment | None = None
    """Unix seconds of version 1, inclusive."""
    submitted_to: Moment | None = None
    start: Annotated[int, Meta(ge=0)] = 0
    max_results: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] | None = None
    sort_by: SortBy = "relevance"
    sort_order: SortOrder = "descending"


class ArxivRequest(Struct, frozen=True):
    """A search encoded for arXiv."""

    search: Search
    """The search, with its `max_results` filled in."""
    parameters: dict[str, str]
    search_key: UUID
    """A digest of the URL and the parameters: identical searches have the same key."""

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
"""Peculiarities of a response: `differences` (sentences) and `missing_ids`, if there are any."""


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
    retry_after: int | None = None
    """Seconds until another attempt is useful, if known."""
    entries: list[Entry] = []
    remarks: Remarks = {}
