"""Bodies of responses; the field names are the JSON keys of the API."""

from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from .. import timestamps
from .arxiv import Entry, Link, Outcome
from .records import PaperRow, QueryRow, ResultRow

FormatTime = Callable[[int], str]
"""Unix seconds -> ISO 8601, such as `timestamps.IsoFormatter`."""


def describe(description: str, *examples: object) -> Meta:
    """Describe a field in OpenAPI."""
    return Meta(description=description, examples=[*examples] or None)


QueryNumber = Annotated[int, describe("number of the recorded search", 42)]
SearchTime = Annotated[str, describe("time of the search", "2026-11-23T20:15:00")]
UnixTime = Annotated[int, describe("time of the search, in Unix seconds", 1_795_464_900)]
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
Version = Annotated[int | None, describe("version of the paper; null if unknown", 2)]
Title = Annotated[str, describe("title", "Invariants of any differential expressions")]
Journal = Annotated[str | None, describe("journal reference", "Nachr. Ges. Wiss. Goettingen 1918")]


class SearchSummary(Struct, kw_only=True, omit_defaults=True):
    """A recorded search, as returned by `/arxiv`."""

    query_id: QueryNumber
    timestamp: SearchTime
    status: Status
    num_results: NumResults
    num_entries: NumEntries
    warnings: Annotated[
        list[str],
        describe(
            "present if arXiv executed something other than the search, or left papers out",
            ["arXiv sent fewer papers than it counted; repeat the search later"],
        ),
    ] = []
    missing_ids: Annotated[
        list[str], describe("identifiers in `id_list` that arXiv did not return", ["2101.00001"])
    ] = []
    results: Annotated[
        list["Result"] | None, describe("the papers, if requested by `include=results`")
    ] = None


class Query(Struct, frozen=True, gc=False):
    """A recorded search, as returned by `/queries`."""

    query_id: QueryNumber
    query: QueryText
    timestamp: SearchTime
    status: Status
    num_results: NumResults
    num_entries: NumEntries
    outcome: OutcomeName

    @classmethod
    def from_row(cls, row: QueryRow, format_time: FormatTime) -> "Query":
        """Convert a stored search."""
        return cls(
            query_id=row.query_id,
            query=row.heading,
            timestamp=format_time(row.timestamp),
            status=row.status,
            num_results=row.num_results,
            num_entries=row.num_entries,
            outcome=row.outcome,
        )


class Result(Struct, frozen=True, gc=False):
    """A paper as found by one search, as returned by `/results`."""

    author: Annotated[str, describe("authors, separated by commas", "Emmy Noether, Felix Klein")]
    title: Title
    journal: Journal
    query_id: QueryNumber
    timestamp: SearchTime
    result_number: ResultNumber
    arxiv_id: Annotated[
        str | None, describe("arXiv identifier without a version; null if unknown", "2611.00001")
    ]
    version: Version

    @classmethod
    def from_rows(cls, rows: Iterable[ResultRow], tz: tzinfo) -> list["Result"]:
        """Convert stored results, with times in this zone."""
        format_time = timestamps.IsoFormatter(tz)
        return [
            cls(
                row.author,
                row.title,
                row.journal,
                row.query_id,
                format_time(row.timestamp),
                row.result_number,
                row.arxiv_id,
                row.version,
            )
            for row in rows
        ]


class QueryWithResults(Query, frozen=True):
    """A recorded search with its results, as returned by `/queries/{query_id}`."""

    results: Annotated[list[Result], describe("the stored results, in arXiv's order")]


class Moved(Struct, frozen=True, kw_only=True):
    """A paper whose position has changed since the previous run."""

    arxiv_id: Annotated[str | None, describe("arXiv identifier; null if unknown", "2611.00001")]
    title: Title
    result_number: Annotated[int, describe("position in this run, from 0", 1)]
    previous_result_number: Annotated[int, describe("position in the previous run", 0)]


class NewVersion(Struct, frozen=True, kw_only=True):
    """A paper whose version has changed since the previous run."""

    arxiv_id: ArxivId
    title: Title
    version: Version
    previous_version: Annotated[int | None, describe("version in the previous run", 1)]
    result_number: ResultNumber


class Changes(Struct, frozen=True, kw_only=True):
    """A search compared with its previous run."""

    query: Annotated[Query, describe("a recorded search")]
    previous: Annotated[
        Query | None,
        describe("the previous run; null if there is none, and then all lists are empty"),
    ]
    came: Annotated[list[Result], describe("results that the previous run did not have")]
    went: Annotated[list[Result], describe("results that only the previous run had")]
    moved: Annotated[list[Moved], describe("results at another position")]
    new_versions: Annotated[list[NewVersion], describe("papers with another version")]


class Paper(Struct, frozen=True):
    """One version of a paper, as returned by `/papers`."""

    arxiv_id: ArxivId
    version: Version
    title: Title
    authors: Annotated[list[str], describe("authors, in order", ["Emmy Noether", "Felix Klein"])]
    affiliations: Annotated[
        list[list[str]] | None,
        describe("affiliations of each author, in the order of `authors`", [["Goettingen"], []]),
    ]
    abstract: Annotated[str | None, describe("abstract", "We study what stays the same.")]
    journal: Journal
    comment: Annotated[str | None, describe("comment of the authors", "18 pages")]
    published: Annotated[
        str | None, describe("when version 1 was submitted", "2026-11-02T09:17:46")
    ]
    updated: Annotated[
        str | None, describe("when this version was submitted", "2026-11-20T12:31:55")
    ]
    dois: Annotated[list[str], describe("DOIs of the published versions", ["10.1000/182"])]
    primary_category: Annotated[str | None, describe("primary category", "math.DG")]
    categories: Annotated[list[str], describe("all categories", ["math.DG", "math-ph"])]
    links: Annotated[
        list[Link],
        describe(
            "links of the paper's Atom entry",
            [{"href": "https://arxiv.org/abs/2611.00001v2", "rel": "alternate"}],
        ),
    ]
    withdrawn: Annotated[
        bool, describe("whether the comment says that the paper is withdrawn", False)  # noqa: FBT003
    ]
    timestamp: Annotated[
        str, describe("time of the search that returned this data", "2026-11-23T20:15:00")
    ]

    @staticmethod
    def convert_row(row: PaperRow, tz: tzinfo) -> dict[str, Any]:
        """Convert the columns of a stored paper to fields, with times in this zone."""

        def format_time(seconds: int | None) -> str | None:
            return None if seconds is None else timestamps.format_iso(seconds, tz)

        fields = {name: getattr(row, name) for name in Paper.__struct_fields__}
        return fields | {
            "version": row.version or None,
            "published": format_time(row.published),
            "updated": format_time(row.updated),
            "links": msgspec.convert(row.links or [], list[Link]),
            "timestamp": format_time(row.timestamp),
        }


class PaperWithVersions(Paper, frozen=True):
    """A paper, as returned by `/papers/{arxiv_id}`."""

    versions: Annotated[list[int], describe("numbers of the stored versions", [1, 2])]


class FoundPaper(Paper, frozen=True):
    """A paper found by full-text search."""

    highlights: Annotated[
        dict[str, str],
        describe(
            "by field, its text as HTML with the matching words in <mark>",
            {"title": "<mark>Invariants</mark> of any differential expressions"},
        ),
    ]


class FacetCount(Struct, frozen=True):
    """The number of papers with one value."""

    value: Annotated[str, describe("the category or year", "math.DG")]
    count: Annotated[int, describe("number of papers", 12)]


class Facets(Struct, frozen=True, kw_only=True):
    """The number of matching papers by category and by year."""

    category: Annotated[list[FacetCount], describe("counts by category, largest first")]
    year: Annotated[list[FacetCount], describe("counts by year of version 1")]


class Papers(Struct, frozen=True, kw_only=True):
    """A page of papers; only the first page has the counts."""

    papers: Annotated[list[FoundPaper], describe("the papers on this page")]
    total: Annotated[
        int | None, describe("number of matching papers, at most 100,000 (the newest)", 2)
    ] = None
    total_is_exact: Annotated[
        bool | None, describe("false if more than 100,000 papers match", True)  # noqa: FBT003
    ] = None
    facets: Annotated[Facets | None, describe("counts of the papers in `total`")] = None


class ArxivApiAnswer(Struct, frozen=True, kw_only=True):
    """arXiv's response, as returned by `/arxiv-api`."""

    data: Annotated[list[Entry], describe("the papers")]
    timestamp: UnixTime
    status: Status
    num_results: NumResults
    num_entries: Annotated[int, describe("number of papers in `data`", 1)]
    query: QueryText


class Sequence(Struct, frozen=True):
    """The number of a search that is to be recorded."""

    sequence: Annotated[int, describe("the next query_id", 42)]


class Message(Struct, frozen=True):
    """A confirmation in words."""

    message: Annotated[str, describe("what was recorded", "query 42 is recorded")]


class ArxivState(Struct, frozen=True, kw_only=True):
    """The state of the requests to arXiv, of all processes except where noted."""

    last_request: Annotated[
        str | None,
        describe("when this process last sent a request to arXiv", "2026-11-23T20:15:00"),
    ] = None
    last_outcome: Annotated[Outcome | None, describe("outcome of that request", "ok")] = None
    asking: Annotated[bool, describe("whether a request to arXiv is in progress", False)]  # noqa: FBT003
    waiting: Annotated[int, describe("number of searches that wait for the rate limiter", 0)]
    closed_until: Annotated[
        str | None, describe("end of the pause that arXiv demanded", "2026-11-23T20:16:00")
    ] = None


class Health(Struct, frozen=True, kw_only=True):
    """The state of the service."""

    status: Annotated[str, describe("live, ready or not ready", "ready")]
    detail: Annotated[
        str | None, describe("what is missing or unusual", "results: the database is unavailable")
    ] = None
    queue: Annotated[
        str | None, describe("connected or away, if searches are recorded through a queue", "away")
    ] = None
    arxiv: Annotated[ArxivState | None, describe("state of the requests to arXiv")] = None


class ApiKeyInfo(Struct, frozen=True, kw_only=True):
    """A valid API key."""

    digest: Annotated[str, describe("SHA-256 of the key, in hexadecimal", "9f86d081884c7d65...")]
    name: Annotated[str, describe("name of the key", "team-a")]
    quota: Annotated[int, describe("number of requests per window", 600)]
    seconds: Annotated[int, describe("length of the window in seconds", 60)]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457)."""

    title: Annotated[str, describe("kind of problem", "Bad Request")]
    status: Annotated[int, describe("HTTP status", 400)]
    detail: Annotated[
        str,
        describe(
            "the problem and its remedy",
            "after: is not a valid cursor for this query; use the one from its Link header",
        ),
    ]
    request_id: Annotated[
        str, describe("identifies the request in the log", "f3ea94566eea30388188b3bbe0bcd97c")
    ]
    parameter: Annotated[str | None, describe("the invalid parameter", "after")] = None
    query_id: Annotated[int | None, describe("number of the recorded failed search", 42)] = None
    retry_after: Annotated[int | None, describe("seconds until a retry is useful", 5)] = None
