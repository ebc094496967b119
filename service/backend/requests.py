"""The read requests that frontends send to `/read-archive`, one struct each, encoded as JSON.

Frontends and backends of different releases exchange them during upgrades, so tags and keys do not
change.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from .. import timestamps
from ..db.reader import PAPERS, QUERIES, RANKED, RESULTS, ListDefinition, ListRows, RecordReader
from ..models.filters import PaperFilter, Position, QueryFilter, ResultFilter
from ..models.records import INT2_MAX, PaperVersion, QueryId, Run

Limit = Annotated[int, Meta(ge=1, le=INT2_MAX)]
LISTS: dict[str, tuple[ListDefinition[Any], type[Struct]]] = {
    "queries": (QUERIES, QueryFilter),
    "results": (RESULTS, ResultFilter),
    "papers": (PAPERS, PaperFilter),
    "ranked": (RANKED, PaperFilter),
}


class _Request(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Page(_Request, frozen=True, tag="page"):
    """Rows of a list from a position on."""

    list: Literal["queries", "results", "papers", "ranked"]
    filter: QueryFilter | ResultFilter | PaperFilter = field(name="wanted")
    position: Position = field(name="place")
    limit: Limit
    newest: bool = False

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


class QueryById(_Request, frozen=True, tag="query"):
    """One search."""

    query_id: QueryId


class Runs(_Request, frozen=True, tag="runs"):
    """The successful runs of the same search up to this one, latest first."""

    run: Run
    limit: Limit


class Results(_Request, frozen=True, tag="results"):
    """The results of a search."""

    run: Run


class Feed(_Request, frozen=True, tag="feed"):
    """The papers found by these runs of a search, latest run first."""

    runs: list[Run]


class Versions(_Request, frozen=True, tag="versions"):
    """The versions of one paper."""

    arxiv_id: str


class PapersById(_Request, frozen=True, tag="papers"):
    """Papers by id and version."""

    names: list[PaperVersion]


class Counts(_Request, frozen=True, tag="counts"):
    """The number of matching papers: in total, per category and per year."""

    filter: PaperFilter = field(name="wanted")
    zone: Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]
    """The frontend's time zone, in which years begin."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown time zone."""
        timestamps.parse_zone(self.zone)


ReadRequest = Page | QueryById | Runs | Results | Feed | Versions | PapersById | Counts


async def execute(request: ReadRequest, reader: RecordReader) -> Any:  # noqa: ANN401, PLR0911 - one each
    """Return the requested rows, or the requested row or None."""
    match request:
        case Page(name, filters, position, limit, newest):
            rows = ListRows(LISTS[name][0], filters, newest)
            return await reader.fetch_page(rows, position, limit)
        case QueryById(query_id):
            return await reader.fetch_run(query_id)
        case Runs(run, limit):
            return await reader.fetch_runs(run, limit)
        case Results(run):
            return await reader.fetch_results(run)
        case Feed(runs):
            return await reader.fetch_feed_papers(runs)
        case Versions(arxiv_id):
            return await reader.fetch_versions(arxiv_id)
        case PapersById(names):
            return list((await reader.fetch_papers(names)).values())
        case Counts(filters, zone):
            return await reader.count_papers(filters, timestamps.parse_zone(zone))
