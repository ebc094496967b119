"""The read requests that frontends send to `/read-archive`, one struct each, encoded as JSON.

Frontends and backends of different releases exchange them during upgrades, so tags and keys do not
change.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct, field

from .. import timestamps
from ..db.reader import (
    ANNOUNCEMENTS,
    PAPERS,
    QUERIES,
    RANKED,
    RESULTS,
    BigInt,
    ListDefinition,
    ListSelection,
    RecordReader,
)
from ..models import describe
from ..models.arxiv import Moment
from ..models.filters import (
    AnnouncementFilter,
    PaperFilter,
    Position,
    QueryFilter,
    ResultFilter,
)
from ..models.records import INT2_MAX, PaperVersion, QueryId, Run
from ..paper_search import MAX_SUGGESTED_LENGTH, PaperSearch

Limit = Annotated[int, describe("maximum number of rows", ge=1, le=INT2_MAX)]
OneRun = Annotated[Run, describe("run of a search")]
AnyFilter = QueryFilter | ResultFilter | PaperFilter | AnnouncementFilter
LISTS: dict[str, tuple[ListDefinition[Any], type[Struct]]] = {
    "queries": (QUERIES, QueryFilter),
    "results": (RESULTS, ResultFilter),
    "papers": (PAPERS, PaperFilter),
    "ranked": (RANKED, PaperFilter),
    "announcements": (ANNOUNCEMENTS, AnnouncementFilter),
}


class _Request(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Page(_Request, frozen=True, tag="page"):
    """Rows of a list from a position on."""

    list: Annotated[
        Literal["queries", "results", "papers", "ranked", "announcements"],
        describe("name of the list"),
    ]
    filter: Annotated[AnyFilter, describe("which rows match")] = field(name="wanted")
    position: Annotated[Position, describe("where the page begins")] = field(name="place")
    limit: Limit
    newest: Annotated[bool, describe("whether the newest come first")] = False

    def __post_init__(self) -> None:
        """Raise ValueError for invalid combinations; msgspec turns it into a ValidationError."""
        definition, filter_type = LISTS[self.list]
        if not isinstance(self.filter, filter_type):
            raise ValueError(f"wanted: is not a filter of {self.list}")  # noqa: TRY004
        if self.list == "ranked" and self.position.back:
            raise ValueError("place: a ranked list cannot be read backwards")
        if self.position.key is not None:
            key_types = tuple(definition.key.values())
            msgspec.convert(self.position.key, tuple.__class_getitem__(key_types))


IgnoreReadDelay = Annotated[bool, describe("whether to read rows younger than the read delay, too")]


# backends of the previous release do not know the new key
class QueryById(_Request, frozen=True, omit_defaults=True, tag="query"):
    """One search."""

    query_id: Annotated[QueryId, describe("number of the search")]
    ignore_read_delay: IgnoreReadDelay = False


class RunCount(_Request, frozen=True, tag="run-count"):
    """The number of runs from a time on, or the limit if it is smaller."""

    since: Annotated[Moment, describe("earliest time of a run, in Unix seconds")]
    limit: Limit


class Runs(_Request, frozen=True, tag="runs"):
    """The successful runs of the same search up to this one, latest first."""

    run: OneRun
    limit: Limit


class NextRun(_Request, frozen=True, tag="next-run"):
    """The first successful run of the same search after this one."""

    run: OneRun


class Results(_Request, frozen=True, tag="results"):
    """The results of a search."""

    run: OneRun


class Feed(_Request, frozen=True, tag="feed"):
    """The papers found by these runs of a search, latest run first."""

    runs: Annotated[list[Run], describe("the runs, latest first", min_length=1)]


class FindingRuns(_Request, frozen=True, tag="finding-runs"):
    """The latest runs that found a paper in any version."""

    arxiv_id: Annotated[str, describe("arXiv identifier without a version")]
    limit: Limit


class Versions(_Request, frozen=True, omit_defaults=True, tag="versions"):
    """The versions of one paper."""

    arxiv_id: Annotated[str, describe("arXiv identifier without a version")]
    ignore_read_delay: IgnoreReadDelay = False


class Details(_Request, frozen=True, tag="details"):
    """What arXiv's API does not have of a paper, and where the fields of a version come from."""

    paper: Annotated[PaperVersion, describe("identifier and version, or 0")]


class PapersById(_Request, frozen=True, tag="papers"):
    """Papers by id and version."""

    names: Annotated[list[PaperVersion], describe("identifiers, each with a version or 0")]


class Counts(_Request, frozen=True, tag="counts"):
    """The number of matching papers: in total, per category and per year."""

    filter: Annotated[PaperFilter, describe("which papers match")] = field(name="wanted")
    zone: Annotated[str, describe("time zone of the years", max_length=100, pattern="^[^\\x00]*$")]

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown time zone."""
        timestamps.parse_zone(self.zone)


class SuggestionsFor(_Request, frozen=True, tag="suggestions"):
    """Suggestions for a query that is being typed."""

    q: Annotated[str, describe("what has been typed", max_length=MAX_SUGGESTED_LENGTH)]


class SimilarTo(_Request, frozen=True, tag="similar"):
    """Papers that are similar to a stored one, the most similar first."""

    paper: Annotated[PaperVersion, describe("identifier and version, or 0")]
    filter: Annotated[PaperFilter, describe("which papers match")] = field(name="wanted")
    limit: Limit


class Corrections(_Request, frozen=True, tag="corrections"):
    """Corrections of a full-text query that finds nothing."""

    filter: Annotated[PaperFilter, describe("the query and other filters")] = field(name="wanted")


class AnnouncementsOfDay(_Request, frozen=True, tag="day"):
    """A day of announcements: their number by type, and the days before and after it."""

    filter: Annotated[AnnouncementFilter, describe("which announcements")] = field(name="wanted")


class Announcements(_Request, frozen=True, tag="announcements"):
    """When one paper was announced."""

    arxiv_id: Annotated[str, describe("arXiv identifier without a version")]


class LatestResponses(_Request, frozen=True, tag="responses"):
    """The latest responses of arXiv."""

    limit: Limit


class SearchCounts(_Request, frozen=True, tag="searches"):
    """The number of searches in consecutive periods, by outcome and source of the response."""

    starts: Annotated[
        list[BigInt],
        describe("when the periods begin, in Unix seconds", min_length=1, max_length=100),
    ]

    def __post_init__(self) -> None:
        """Raise ValueError unless they are in order."""
        if self.starts != sorted(self.starts):
            raise ValueError("starts: are not in order")


class Imports(_Request, frozen=True, tag="imports"):
    """The progress of the latest imports of snapshot files."""

    limit: Limit


class DatabaseState(_Request, frozen=True, tag="database"):
    """The version and the size of each PostgreSQL that is read."""


ReadRequest = (
    Page
    | QueryById
    | RunCount
    | Runs
    | NextRun
    | Results
    | Feed
    | FindingRuns
    | Versions
    | Details
    | PapersById
    | Counts
    | SuggestionsFor
    | SimilarTo
    | Corrections
    | AnnouncementsOfDay
    | Announcements
    | LatestResponses
    | SearchCounts
    | Imports
    | DatabaseState
)


async def execute(  # noqa: C901, PLR0911, PLR0912 - one each
    request: ReadRequest, reader: RecordReader, paper_search: PaperSearch
) -> Any:  # noqa: ANN401
    """Return the requested rows; for a single run, one row or None; for three types, a struct."""
    match request:
        case Page(name, PaperFilter() as filters, position, limit, newest):
            selection = ListSelection(LISTS[name][0], filters, newest)
            return await paper_search.fetch_page(selection, position, limit)
        case Page(name, filters, position, limit, newest):
            selection = ListSelection(LISTS[name][0], filters, newest)
            return await reader.fetch_page(selection, position, limit)
        case QueryById(query_id, ignore_read_delay):
            return await reader.fetch_run(query_id, ignore_read_delay=ignore_read_delay)
        case RunCount(since, limit):
            return await reader.count_runs(since, limit)
        case Runs(run, limit):
            return await reader.fetch_runs(run, limit)
        case NextRun(run):
            return await reader.fetch_next_run(run)
        case Results(run):
            return await reader.fetch_results(run)
        case Feed(runs):
            return await reader.fetch_feed_papers(runs)
        case FindingRuns(arxiv_id, limit):
            return await reader.fetch_finding_runs(arxiv_id, limit)
        case Versions(arxiv_id, ignore_read_delay):
            return await reader.fetch_versions(arxiv_id, ignore_read_delay=ignore_read_delay)
        case Details(paper):
            return await reader.fetch_details(paper)
        case PapersById(names):
            return list((await reader.fetch_papers(names)).values())
        case Counts(filters, zone):
            return await paper_search.count(filters, timestamps.parse_zone(zone))
        case SuggestionsFor(q):
            return await paper_search.suggest(q)
        case SimilarTo(paper, filters, limit):
            return await paper_search.find_similar(paper, filters, limit)
        case Corrections(filters):
            return await paper_search.correct_spelling(filters)
        case AnnouncementsOfDay(filters):
            return await reader.fetch_announced_day(filters)
        case Announcements(arxiv_id):
            return await reader.fetch_announcements(arxiv_id)
        case LatestResponses(limit):
            return await reader.fetch_latest_responses(limit)
        case SearchCounts(starts):
            return await reader.count_searches(starts)
        case Imports(limit):
            return await reader.fetch_imports(limit)
        case DatabaseState():
            return await reader.fetch_database_status()
