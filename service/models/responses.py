"""Bodies of responses; the field names are the JSON keys of the API."""

from collections.abc import Iterable
from datetime import tzinfo
from typing import Annotated, Literal, Self

from msgspec import Struct, convert
from msgspec.structs import asdict, astuple

from .. import models, timestamps
from ..metadata.arxiv_ids import format_abs_url
from ..metadata.atom_entries import create_links
from . import describe, records
from .arxiv import Entry, Link, Outcome
from .mirror import DETAIL_FIELDS, PAPER_FIELDS, AnnouncementType, PaperDetails, Source


class SearchSummary(Struct, kw_only=True, omit_defaults=True):
    """A recorded search, as returned by `/arxiv`."""

    query_id: records.QueryNumber
    timestamp: records.SearchTime
    status: records.Status
    num_results: records.NumResults
    num_entries: records.NumEntries
    warnings: Annotated[
        list[str],
        describe(
            "present if arXiv executed something other than the search, if its response is"
            " incomplete, damaged or oversized, or if it found nothing and the search contains a"
            " likely mistake",
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

    query_id: records.QueryNumber
    query: records.QueryText
    timestamp: records.SearchTime
    status: records.Status
    num_results: records.NumResults
    num_entries: records.NumEntries
    outcome: records.OutcomeName

    @classmethod
    def from_row(cls, row: records.QueryRow, tz: tzinfo, **fields: object) -> Self:
        """Convert a stored search, with its time in this zone; `fields` are added."""
        timestamp = timestamps.format_iso(row.timestamp, tz)
        values = asdict(row) | {"query": row.heading, "timestamp": timestamp}
        return convert(values | fields, cls)


class Result(records.ResultFields[str], frozen=True, gc=False):
    """A paper as found by one search, as returned by `/results`."""

    timestamp: records.SearchTime
    url: records.Url

    @classmethod
    def from_rows(cls, rows: Iterable[records.ResultRow], tz: tzinfo) -> list[Self]:
        """Convert stored results, with times in this zone."""
        format_time = timestamps.IsoFormatter(tz)
        return [  # `convert` takes several times as long
            cls(
                *(author, title, journal, query_id, format_time(time), number, arxiv_id, version),
                format_abs_url(arxiv_id, version),
            )
            for author, title, journal, query_id, time, number, arxiv_id, version in map(
                astuple, rows
            )
        ]


class StoredResult(records.ResultRow, frozen=True, gc=False):
    """A paper as found by one search, as returned by `/read-results`."""

    url: records.Url

    @classmethod
    def from_rows(cls, rows: Iterable[records.ResultRow]) -> list[Self]:
        """Convert stored results, with times as stored."""
        urls = ((row, format_abs_url(row.arxiv_id, row.version)) for row in rows)
        return [cls(*(*astuple(row), url)) for row, url in urls]


class QueryWithResults(Query, frozen=True):
    """A recorded search with its results, as returned by `/queries/{query_id}`."""

    results: Annotated[list[Result], describe("the stored results, in arXiv's order")]


class Moved(Struct, frozen=True, kw_only=True):
    """A paper whose position has changed since the previous run."""

    arxiv_id: records.AnyArxivId
    title: records.Title
    result_number: Annotated[int, describe("position in this run, from 0", 1)]
    previous_result_number: Annotated[int, describe("position in the previous run", 0)]


class NewVersion(Struct, frozen=True, kw_only=True):
    """A paper whose version has changed since the previous run."""

    arxiv_id: records.ArxivId
    title: records.Title
    version: records.Version
    previous_version: Annotated[int | None, describe("version in the previous run", 1)]
    result_number: records.ResultNumber


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


class Paper(records.PaperFields[str], frozen=True):
    """One version of a paper, as returned by `/papers`."""

    arxiv_id: records.ArxivId
    published: Annotated[
        str | None, describe("when version 1 was submitted", "2026-11-02T09:17:46")
    ]
    updated: Annotated[
        str | None, describe("when this version was submitted", "2026-11-20T12:31:55")
    ]
    timestamp: Annotated[
        str, describe("time of the search that returned this data", "2026-11-23T20:15:00")
    ]
    links: Annotated[list[Link], models.LINKS]
    group_authors: Annotated[list[str], models.GROUP_AUTHORS]
    url: records.Url

    @classmethod
    def from_row(cls, row: records.PaperRow, tz: tzinfo, **fields: object) -> Self:
        """Convert a stored paper, with times in this zone; `fields` are added."""
        is_derived = row.links is None and row.abstract is not None
        values = asdict(row) | {
            "version": row.version or None,
            "links": create_links(row.arxiv_id, row.version or None, row.dois)
            if is_derived
            else row.links or [],
            "url": format_abs_url(row.arxiv_id, row.version),
        }
        for name in ("published", "updated", "timestamp"):
            if values[name] is not None:
                values[name] = timestamps.format_iso(values[name], tz)
        return convert(values | fields, cls)


class PaperHistory(Struct, frozen=True):
    """A version in the history of a paper."""

    version: Annotated[int, describe("number of the version", 1)]
    submitted: Annotated[str | None, describe("time of its submission", "2026-11-02T09:17:46")]
    size_kb: Annotated[int | None, describe("size of its source in kilobytes", 71)]
    source_type: Annotated[
        str | None, describe("kind of its source in arXiv's letters; `I` is a withdrawal", "D")
    ]


class PaperWithVersions(Paper, frozen=True):
    """A paper, as returned by `/papers/{arxiv_id}`; some fields are only in the mirror."""

    versions: Annotated[list[int], describe("numbers of the stored versions", [1, 2])]
    license: Annotated[
        str | None, describe("URL of the license", "http://creativecommons.org/licenses/by/4.0/")
    ]
    submitter: Annotated[str | None, describe("who submitted the paper", "Emmy Noether")]
    report_number: Annotated[str | None, describe("report numbers", "IPPP/10/02")]
    msc_class: Annotated[str | None, describe("Mathematics Subject Classification", "53A55")]
    acm_class: Annotated[str | None, describe("ACM Computing Classification", "F.2.2")]
    version_history: Annotated[
        list[PaperHistory], describe("all versions at arXiv; empty if unknown")
    ]
    announcements: Annotated[
        list[records.Announcement],
        describe("when arXiv announced the paper, as far as known, the latest first"),
    ]
    sources: Annotated[
        dict[str, Source],
        describe(
            "by field, where it comes from: `api`, `arXiv` or `arXivRaw` (formats of OAI-PMH),"
            " `snapshot`, `rss`",
            {"title": "api", "license": "arXivRaw"},
        ),
    ]

    @classmethod
    def create(
        cls,
        row: records.PaperRow,
        details: PaperDetails,
        versions: list[int],
        announcements: list[records.Announcement],
        tz: tzinfo,
    ) -> Self:
        """Convert a stored paper with its details, with times in this zone."""
        history = [
            PaperHistory(
                version.version,
                timestamps.format_iso(version.submitted, tz) if version.submitted else None,
                version.size_kb,
                version.source_type,
            )
            for version in details.versions
        ]
        return cls.from_row(
            row,
            tz,
            versions=versions,
            license=details.license,
            submitter=details.submitter,
            report_number=details.report_number,
            msc_class=details.msc_class,
            acm_class=details.acm_class,
            version_history=history,
            announcements=announcements,
            sources=_list_sources(details),
        )


def _list_sources(details: PaperDetails) -> dict[str, Source]:
    sources = dict.fromkeys(PAPER_FIELDS, details.paper_source)
    sources |= details.other_paper_sources or {}
    if details.source:
        sources |= dict.fromkeys(DETAIL_FIELDS, details.source) | (details.other_sources or {})
        sources["version_history"] = sources.pop("versions")
    return sources


class AnnouncedPaper(Paper, frozen=True):
    """A paper that was announced, as returned by `/announcements`."""

    date: records.AnnouncementDate
    type: Annotated[
        AnnouncementType,
        describe(
            "why it was announced in the requested categories (without them: in its primary one):"
            " new, cross, replace, replace-cross",
            "new",
        ),
    ]


class AnnouncementDay(Struct, frozen=True, kw_only=True):
    """Another day of announcements."""

    date: records.AnnouncementDate
    url: Annotated[str, describe("path of its list", "/announcements?date=2026-11-23")]


class FoundPaper(Paper, frozen=True):
    """A paper found by full-text search."""

    highlights: Annotated[
        dict[str, str],
        describe(
            "by field, its text as HTML with the matching words in <mark>",
            {"title": "<mark>Invariants</mark> of any differential expressions"},
        ),
    ]


class SimilarPaper(Paper, frozen=True):
    """A paper that is similar to another one."""

    shared_terms: Annotated[
        list[str],
        describe("significant words of both papers, the most significant first", ["invariants"]),
    ]


class SuggestedTerm(Struct, frozen=True):
    """A completed query."""

    text: Annotated[str, describe("the query in lower case with its last word", "dark matter")]
    papers: Annotated[int, describe("number of papers with these words in their titles", 12)]


class SuggestedAuthor(Struct, frozen=True):
    """An author whose name begins with the query."""

    name: Annotated[str, describe("the most frequent spelling of the name", "Emmy Noether")]
    papers: Annotated[int, describe("number of papers in any spelling of the name", 12)]


class SuggestedTitle(Struct, frozen=True):
    """A paper whose title has the words of the query."""

    arxiv_id: records.ArxivId
    title: records.Title


class Suggestions(Struct, frozen=True):
    """Suggestions while a query is typed, as returned by `/papers/suggest`."""

    terms: Annotated[list[SuggestedTerm], describe("completed queries, at most 10")]
    authors: Annotated[list[SuggestedAuthor], describe("authors, at most 10")]
    titles: Annotated[list[SuggestedTitle], describe("papers, at most 5, the best first")]


class FacetCount(Struct, frozen=True, omit_defaults=True):
    """The number of papers with one value."""

    value: Annotated[str, describe("the category or year", "math.DG")]
    count: Annotated[int, describe("number of papers", 12)]
    name: Annotated[
        str | None, describe("name of the category in plain words", "Differential Geometry")
    ] = None


class Facets(Struct, frozen=True, kw_only=True):
    """The number of matching papers by category and by year."""

    category: Annotated[list[FacetCount], describe("counts by category, largest first")]
    year: Annotated[list[FacetCount], describe("counts by year of version 1")]


class ArxivApiResponse(Struct, frozen=True, kw_only=True):
    """arXiv's response, as returned by `/arxiv-api`."""

    data: Annotated[list[Entry], describe("the papers")]
    timestamp: records.UnixTime
    status: records.Status
    num_results: records.NumResults
    num_entries: Annotated[int, describe("number of papers in `data`", 1)]
    query: records.QueryText


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
        str | None, describe("end of the current cooldown", "2026-11-23T20:16:00")
    ] = None
    interval: Annotated[
        float | None, describe("seconds between two requests to arXiv (ARXIV_INTERVAL)", 3.0)
    ] = None


class IndexStatus(Struct, frozen=True, kw_only=True):
    """The state of the search index of this machine."""

    state: Annotated[
        Literal["ready", "building", "failed"],
        describe("failed if it cannot be updated; searches use the last one, if any", "ready"),
    ]
    papers: Annotated[
        int | None,
        describe("versions of papers in the index; null if nothing can be searched yet", 4_800_000),
    ] = None
    indexed: Annotated[int | None, describe("versions that a build has indexed", 120_000)] = None
    total: Annotated[int | None, describe("about how many there will be", 4_800_000)] = None
    reason: Annotated[
        str | None, describe("why it cannot be updated", "No space left on device")
    ] = None

    @property
    def is_usable(self) -> bool:
        """Whether papers can be searched."""
        return self.papers is not None


class MirrorStatus(Struct, frozen=True, kw_only=True):
    """How current the mirror of arXiv's metadata is."""

    synced_at: Annotated[
        str | None,
        describe("time of arXiv's data that is complete in the mirror", "2026-11-24T03:31:12"),
    ]
    covered_from: Annotated[
        str | None, describe("first day whose changed records are stored", "2005-09-16")
    ]
    covered_until: Annotated[str | None, describe("last such day", "2026-11-24")]
    running: Annotated[bool, describe("whether a sync is running")]
    error: Annotated[str | None, describe("why the latest sync failed")] = None
    invalid: Annotated[int, describe("records of the latest sync that could not be used", 0)] = 0


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
    index: Annotated[
        IndexStatus | None, describe("state of the search index, if the instance has one")
    ] = None
    mirror: Annotated[
        MirrorStatus | None, describe("how current the mirror of arXiv's metadata is, if any")
    ] = None


class ApiKeyInfo(Struct, frozen=True, kw_only=True):
    """A valid API key."""

    digest: Annotated[str, describe("SHA-256 of the key, in hexadecimal", "9f86d081884c7d65...")]
    name: Annotated[str, describe("name of the key", "team-a")]
    quota: Annotated[int, describe("number of requests per window", 600)]
    seconds: Annotated[int, describe("length of the window in seconds", 60)]


class SigningKeyInfo(Struct, frozen=True, kw_only=True):
    """The key that signs the cookies and forms of the pages."""

    key: Annotated[str, describe("32 bytes, in hexadecimal", "60303ae22b998861...")]


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
    upstream_status: Annotated[
        int | None, describe("HTTP status of arXiv's response, if the error is one of arXiv", 500)
    ] = None
