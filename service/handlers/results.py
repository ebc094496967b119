"""`/results`: the results of all searches."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency, Provide

from .. import openapi
from ..context import Context
from ..db.reader import RESULTS, RecordReader
from ..formats import Reference
from ..models.filters import ListQuery, ResultFilter
from ..models.records import ResultRow
from ..models.responses import Result
from ..problems import AnyRequest
from .pagination import ListResponse
from .params import Order, provide_results_query


class StoredResultsView:
    """Results as they are stored, with Unix seconds."""

    title = "results"
    file_name = "results"
    columns = ResultRow.__struct_fields__

    def __init__(self, reader: RecordReader, base_url: str) -> None:
        self._reader = reader
        self._base_url = base_url
        self._keys: set[str] = set()

    def convert_rows(self, rows: Sequence[ResultRow]) -> Sequence[ResultRow | Result]:
        """Return the rows unchanged."""
        return rows

    async def create_references(self, rows: Sequence[ResultRow]) -> list[Reference]:
        """Return each paper once per file, even if several searches found it."""
        names = {(row.arxiv_id, row.version or 0) for row in rows if row.arxiv_id}
        papers = await self._reader.fetch_papers(names)
        references = []
        for row in rows:
            if paper := papers.get((row.arxiv_id or "", row.version or 0)):
                reference = Reference.from_paper(paper)
            else:
                reference = Reference.from_result(row, self._base_url)
            if reference.key not in self._keys:
                self._keys.add(reference.key)
                references.append(reference)
        return references


class ResultsView(StoredResultsView):
    """Results with times in a zone."""

    columns = Result.__struct_fields__

    def __init__(self, reader: RecordReader, base_url: str, tz: tzinfo) -> None:
        super().__init__(reader, base_url)
        self._tz = tz

    def convert_rows(self, rows: Sequence[ResultRow]) -> list[ResultRow | Result]:
        """Convert the times to the zone."""
        return [*Result.from_rows(rows, self._tz)]


@get(
    "/results",
    summary="List results",
    operation_id="listResults",
    responses=openapi.describe_list(Result, "The matching results.") | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"list_query": Provide(provide_results_query, sync_to_thread=False)},
)
async def list_results(
    request: AnyRequest,
    context: NamedDependency[Context],
    list_query: NamedDependency[ListQuery[ResultFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """Return the papers that searches found, sorted by the time of the search.

    JSON is returned in pages; the `Link` header leads to the next one. The other formats contain
    all matching results, unless a page is requested. BibTeX, RIS and Atom contain each paper once.
    """
    view = ResultsView(context.reader, str(request.base_url), context.settings.zone)
    response = ListResponse(
        request, context.reader, RESULTS, list_query, view, newest=order == "newest"
    )
    return await response.respond()
