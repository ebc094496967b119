"""Bodies of responses; field names are the JSON keys of the API."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from .arxiv import Entry, Link, Outcome


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
