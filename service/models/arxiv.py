"""Structs for arXiv: search parameters, Atom entries, responses."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID, uuid4

from msgspec import Meta, Struct, field

from .. import timestamps
from ..errors import UpstreamError

MAX_RESULTS = 2000
"""Papers of one search (arXiv's manual)."""


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
