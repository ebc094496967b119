"""Bodies of requests; the field names are the JSON keys of the API."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self, cast

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from .. import models
from ..metadata import arxiv_ids
from . import describe
from .arxiv import (
    MAX_RESULTS,
    ApiQuery,
    Link,
    Moment,
    Outcome,
    Search,
    SearchSource,
    SentFields,
)
from .records import INT4_MAX, QueryId, Text

_ID = re.compile(r"[0-9]{4}\.[0-9]{4,5}|[a-z-]+/[0-9]{7}")
Name = Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
ArxivId = Annotated[str, Meta(max_length=arxiv_ids.MAX_LENGTH)]
QueryNumber = Annotated[QueryId, describe("number of the search, from /get-sequence", 42)]
SearchTime = Annotated[Moment, models.UNIX_TIME]
TimeText = Annotated[str, Meta(max_length=64)]
Status = Annotated[int, Meta(ge=0, le=999)]
QueryText = Annotated[str, Meta(max_length=500, pattern="^[^\\x00]*$")]


class QueryRange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which recorded searches to return, as in the parameters of `GET /queries`."""

    start_timestamp: Annotated[
        TimeText | None, describe("earliest time, ISO 8601", "2026-11-23T20:15:00")
    ] = None
    end_timestamp: Annotated[
        TimeText | None,
        describe("latest time, ISO 8601; a date includes the whole day", "2026-11-24"),
    ] = None
    status: Annotated[
        Status | None, describe("HTTP status of arXiv's response; 0 if there was none", 200)
    ] = None
    text: Annotated[
        QueryText | None,
        describe("part of the query as sent to arXiv, ignoring case", "ti:testing"),
    ] = None
    order: Annotated[
        Literal["oldest", "newest"], describe("whether the oldest or newest come first", "newest")
    ] = "oldest"


class WriteQueryRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search to be recorded."""

    query_id: QueryNumber
    timestamp: SearchTime
    status: Annotated[Status, describe("HTTP status of arXiv's response; 0 if there was none", 200)]
    num_results: Annotated[
        int, describe("number of matching papers at arXiv", 214_881, ge=0, le=INT4_MAX)
    ]
    num_entries: Annotated[
        int, describe("number of results that belong to the search", 10, ge=0, le=MAX_RESULTS)
    ]
    query: Annotated[Text, describe("the query as sent to arXiv", "search_query=ti:testing")]
    outcome: Annotated[Outcome, describe("outcome of the search in one word", "ok")] = Outcome.OK


class ResultPayload(Struct, frozen=True, kw_only=True):
    """A result to be recorded; unknown fields are ignored.

    Entries of `/arxiv-api` can be sent unchanged. With `summary`, the paper replaces the stored
    data about it.
    """

    authors: Annotated[list[Text] | Text, models.AUTHORS]
    title: Annotated[Text, models.TITLE]
    journal: Annotated[Text | None, models.JOURNAL] = None
    arxiv_id: Annotated[
        ArxivId | None,
        describe(
            "arXiv identifier in any spelling; null if unknown", "2611.00001", "math.GT/0309136"
        ),
    ] = None
    version: Annotated[Annotated[int, Meta(ge=1, le=9999)] | None, models.VERSION] = None
    affiliations: Annotated[list[list[Text]], models.AFFILIATIONS] = []
    summary: Annotated[Text | None, models.ABSTRACT] = None
    comment: Annotated[Text | None, models.COMMENT] = None
    published: Annotated[datetime | None, models.PUBLISHED] = None
    updated: Annotated[datetime | None, models.UPDATED] = None
    dois: Annotated[list[Text], models.DOIS] = []
    primary_category: Annotated[Name | None, models.PRIMARY_CATEGORY] = None
    categories: Annotated[list[Name], models.CATEGORIES] = []
    links: Annotated[list[Link], models.LINKS] = []
    group_authors: Annotated[list[Text], models.GROUP_AUTHORS] = []
    sent: Annotated[SentFields | None, models.SENT] = None

    def __post_init__(self) -> None:
        """Spell the identifier as in lists. Raises ValueError."""
        if self.arxiv_id is None or _ID.fullmatch(self.arxiv_id):
            return
        paper = arxiv_ids.parse_arxiv_id(self.arxiv_id)
        if paper is None:
            raise ValueError(f"arxiv_id: {self.arxiv_id[:100]!r} is not an arXiv identifier")
        if paper.version is not None and self.version not in {None, paper.version}:
            raise ValueError(f"arxiv_id: {self.arxiv_id[:100]!r} is not version {self.version}")
        force_setattr(self, "arxiv_id", paper.name)
        if paper.version is not None:
            force_setattr(self, "version", paper.version)


class WriteResultsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The results of a recorded search."""

    query_id: QueryNumber
    timestamp: SearchTime
    results: Annotated[
        list[ResultPayload],
        describe(
            "all results of the search, in order",
            [
                {
                    "authors": ["Emmy Noether", "Felix Klein"],
                    "title": "Invariants of any differential expressions",
                }
            ],
            max_length=MAX_RESULTS,
        ),
    ]


class SearchRequest(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A search, and whether to bypass the cache.

    Defaults are omitted, because earlier releases reject `api_query` and `source`.
    """

    search: Annotated[Search | None, describe("the search")] = field(default=None, name="asked")
    api_query: Annotated[
        ApiQuery | None, describe("the search, in the parameters of arXiv's API")
    ] = None
    bypass_cache: Annotated[bool, describe("whether to bypass the cache")] = field(
        default=False, name="anew"
    )
    source: Annotated[SearchSource, describe("what may answer")] = "auto"

    def __post_init__(self) -> None:
        """Raise ValueError unless there is one search."""
        if (self.search is None) == (self.api_query is None):
            raise ValueError("asked, api_query: send one of them")

    @classmethod
    def create(
        cls, search: Search | ApiQuery, *, bypass_cache: bool, source: SearchSource = "auto"
    ) -> Self:
        """Create the request for a search of either kind."""
        if isinstance(search, ApiQuery):
            return cls(api_query=search, bypass_cache=bypass_cache, source=source)
        return cls(search=search, bypass_cache=bypass_cache, source=source)

    @property
    def any_search(self) -> Search | ApiQuery:
        """The search of either kind."""
        return cast("Search | ApiQuery", self.search or self.api_query)


class ResultsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The search whose results to return."""

    query_id: Annotated[QueryId, describe("number of the recorded search", 42)]


class ApiKeysRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The API keys to validate."""

    digests: Annotated[
        list[Digest],
        describe(
            "SHA-256 of each key, in hexadecimal",
            ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            max_length=10_000,
        ),
    ]
