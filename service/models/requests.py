"""Bodies of requests."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .arxiv import MAX_RESULTS, Link, Moment, Outcome, Search
from .records import INT4_MAX, QueryId

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
"""A SHA-256, in hexadecimal."""
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
