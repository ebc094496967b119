"""What can be asked of an archive, each question one struct: they travel to the backend as JSON."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .. import timestamps
from ..db.reader import PAPERS, QUERIES, RANKED, RESULTS, ListDefinition, RecordReader
from ..models.filters import PaperFilter, Position, QueryFilter, ResultFilter
from ..models.records import INT2_MAX, PaperVersion, QueryId, Run

Limit = Annotated[int, Meta(ge=1, le=INT2_MAX)]
LISTS: dict[str, tuple[ListDefinition[Any], type[Struct]]] = {
    "queries": (QUERIES, QueryFilter),
    "results": (RESULTS, ResultFilter),
    "papers": (PAPERS, PaperFilter),
    "ranked": (RANKED, PaperFilter),
}


class _Asked(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Page(_Asked, frozen=True, tag="page"):
    """Rows of a list, from a place on."""

    list: Literal["queries", "results", "papers", "ranked"]
    wanted: QueryFilter | ResultFilter | PaperFilter
    place: Position
    limit: Limit
    newest: bool = False

    def __post_init__(self) -> None:
        """Check what no type can say. Raises ValueError, which msgspec turns into its own."""
        kind, filtered = LISTS[self.list]
        if not isinstance(self.wanted, filtered):
            raise ValueError(f"wanted: does not filter {self.list}")  # noqa: TRY004
        if self.list == "ranked" and self.place.back:
            raise ValueError("place: there is no way back in what is ranked")
        if self.place.key is not None:
            msgspec.convert(self.place.key, tuple.__class_getitem__(kind.key_types))


class Query(_Asked, frozen=True, tag="query"):
    """One search."""

    query_id: QueryId


class Runs(_Asked, frozen=True, tag="runs"):
    """The runs of the same search with a good answer up to this one, the latest first."""

    run: Run
    limit: Limit


class Results(_Asked, frozen=True, tag="results"):
    """The results of a search."""

    run: Run


class Feed(_Asked, frozen=True, tag="feed"):
    """What these runs of a search found, the latest first."""

    runs: list[Run]


class Versions(_Asked, frozen=True, tag="versions"):
    """The versions of one paper."""

    arxiv_id: str


class Papers(_Asked, frozen=True, tag="papers"):
    """The papers of these names."""

    names: list[PaperVersion]


class Counts(_Asked, frozen=True, tag="counts"):
    """How many papers match, in all, of each category and of each year."""

    wanted: PaperFilter
    zone: Annotated[str, Meta(max_length=100, pattern="^[^\\x00]*$")]
    """In which the years begin: the frontend's."""

    def __post_init__(self) -> None:
        """Check that there is such a zone here."""
        timestamps.zone(self.zone)


ReadRequest = Page | Query | Runs | Results | Feed | Versions | Papers | Counts


async def answer(question: ReadRequest, reader: RecordReader) -> Any:  # noqa: ANN401, PLR0911 - one each
    """What the archive has to say: rows, or one, or null."""
    match question:
        case Page(name, wanted, place, limit, newest):
            return await reader.fetch_page(LISTS[name][0], wanted, place, limit, newest=newest)
        case Query(query_id):
            return await reader.fetch_run(query_id)
        case Runs(run, limit):
            return await reader.fetch_runs(run, limit)
        case Results(run):
            return await reader.fetch_results(run)
        case Feed(runs):
            return await reader.fetch_feed_papers(runs)
        case Versions(arxiv_id):
            return await reader.fetch_versions(arxiv_id)
        case Papers(names):
            return list((await reader.fetch_papers(names)).values())
        case Counts(wanted, zone):
            return await reader.count_papers(wanted, timestamps.zone(zone))
