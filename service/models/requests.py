"""Bodies of requests; the field names are the JSON keys of the API."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from . import describe
from .arxiv import MAX_RESULTS, Link, Moment, Outcome, Search
from .records import INT4_MAX, QueryId

Text = Annotated[str, Meta(max_length=100_000, pattern="^[^\\x00]*$")]
"""PostgreSQL stores any text without NUL."""
Name = Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
ArxivId = Annotated[str, Meta(max_length=100, pattern=r"^(\d{4}\.\d{4,5}|[a-z-]+/\d{7})$(?!\n)")]
"""Without a version."""


QueryNumber = Annotated[QueryId, describe("number of the search, from /get-sequence", 42)]
SearchTime = Annotated[Moment, describe("time of the search, in Unix seconds", 1_795_464_900)]
EarliestTime = Annotated[
    str, describe("earliest time, ISO 8601", "2026-11-23T20:15:00", max_length=64)
]
LatestTime = Annotated[
    str,
    describe("latest time, ISO 8601; a date includes the whole day", "2026-11-24", max_length=64),
]
Status = Annotated[int, describe("HTTP status of arXiv's response", 200, ge=0, le=999)]
QueryText = Annotated[
    str,
    describe(
        "part of the query as sent to arXiv, ignoring case",
        "ti:testing",
        max_length=500,
        pattern="^[^\\x00]*$",
    ),
]


class QueryRange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /queries`: the parameters of `GET /queries`."""

    start_timestamp: EarliestTime | None = None
    end_timestamp: LatestTime | None = None
    status: Status | None = None
    text: QueryText | None = None
    order: Annotated[
        Literal["oldest", "newest"], describe("whether the oldest or newest come first", "newest")
    ] = "oldest"


class WriteQueryRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/write-queries`."""

    query_id: QueryNumber
    timestamp: SearchTime
    status: Annotated[
        int, describe("HTTP status of arXiv's response; 0 if there was none", 200, ge=0, le=999)
    ]
    num_results: Annotated[
        int, describe("number of matching papers at arXiv", 214_881, ge=0, le=INT4_MAX)
    ]
    num_entries: Annotated[
        int, describe("number of results that belong to the search", 10, ge=0, le=MAX_RESULTS)
    ]
    query: Annotated[Text, describe("the query as sent to arXiv", "search_query=ti:testing")]
    outcome: Annotated[Outcome, describe("outcome of the search in one word", "ok")] = Outcome.OK


class ResultPayload(Struct, frozen=True, kw_only=True):
    """One paper in the body of `/write-results`; unknown fields are ignored.

    Entries of `/arxiv-api` can be sent unchanged. With `summary`, the paper replaces the stored
    data about it.
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


class SearchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-answer`."""

    search: Annotated[Search, Meta(description="the search")] = field(name="asked")
    bypass_cache: Annotated[bool, Meta(description="whether to bypass the cache")] = field(
        default=False, name="anew"
    )


class ResultsRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-results`."""

    query_id: Annotated[QueryId, describe("number of the recorded search", 42)]


class ApiKeysRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `/find-keys`."""

    digests: Annotated[
        list[Digest],
        describe(
            "SHA-256 of each key, in hexadecimal",
            ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            max_length=10_000,
        ),
    ]
