"""`/results`: what all searches found, by pages or as files."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from .. import openapi, timestamps
from ..context import Context
from ..db.reader import RESULTS, RecordReader
from ..formats import references
from ..models.filters import ListQuery, ResultFilter
from ..models.records import ResultRow
from ..models.responses import Reference, Result
from ..problems import AnyRequest
from .filters import Order
from .pagination import ListResponse

EXAMPLE = Result(
    author="Emmy Noether, Felix Klein",
    title="Invariants of any differential expressions",
    journal="Nachr. Ges. Wiss. Goettingen 1918",
    query_id=42,
    timestamp="2026-11-23T20:15:00",
    result_number=0,
    arxiv_id="2611.00001",
    version=2,
)


class StoredResults:
    """Results as they are stored, with Unix seconds."""

    name = "results"
    file = "results"
    columns = ResultRow.__struct_fields__

    def __init__(self, reader: RecordReader, base: str) -> None:
        """Answer from this archive; `base` is the address of the service."""
        self._reader = reader
        self._base = base
        self._told: set[str] = set()

    def shown(self, rows: Sequence[ResultRow]) -> Sequence[ResultRow | Result]:
        """The rows."""
        return rows

    async def references(self, rows: Sequence[ResultRow]) -> list[Reference]:
        """The papers, each once in a file however many searches found it."""
        names = {(row.arxiv_id, row.version or 0) for row in rows if row.arxiv_id}
        papers = await self._reader.fetch_papers(names)
        told = []
        for row in rows:
            paper = papers.get((row.arxiv_id or "", row.version or 0))
            reference = (
                references.of_paper(paper) if paper else references.of_result(row, self._base)
            )
            if reference.key not in self._told:
                self._told.add(reference.key)
                told.append(reference)
        return told


class Results(StoredResults):
    """Results as the frontend answers them, with times in a zone."""

    columns = Result.__struct_fields__

    def __init__(self, reader: RecordReader, base: str, tz: tzinfo) -> None:
        """Answer from this archive, in this zone; `base` is the address of the service."""
        super().__init__(reader, base)
        self._tz = tz

    def shown(self, rows: Sequence[ResultRow]) -> list[ResultRow | Result]:
        """The rows with their times in the zone."""
        return [*shown(rows, self._tz)]


@get(
    "/results",
    responses=openapi.listed([EXAMPLE]) | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.InAllFormats,
    tags=["frontend"],
)
async def list_results(
    request: AnyRequest,
    context: NamedDependency[Context],
    asked_results: NamedDependency[ListQuery[ResultFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """What the searches found that match, in the order of time.

    JSON comes by pages; past the last one they are empty. `Link` leads to the next page, which is
    as near at any depth. The other formats hold all that matches, unless a page is asked for; in
    BibTeX, RIS and Atom each paper stands once.
    """
    view = Results(context.reader, str(request.base_url), context.settings.zone)
    newest = order == "newest"
    listed = ListResponse(request, context.reader, RESULTS, asked_results, view, newest=newest)
    return await listed.answer()


def shown(rows: Sequence[ResultRow], tz: tzinfo) -> list[Result]:
    """Stored results as clients see them, with the time in this zone."""
    clock = timestamps.Clock(tz)
    return [
        Result(
            row.author,
            row.title,
            row.journal,
            row.query_id,
            clock(row.timestamp),
            row.result_number,
            row.arxiv_id,
            row.version,
        )
        for row in rows
    ]
