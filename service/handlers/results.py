"""`/results`: the results of all searches."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency, Provide

from .. import openapi
from ..context import Context
from ..db.reader import RESULTS
from ..formats import Reference
from ..models.records import ResultRow
from ..models.responses import Result, StoredResult
from ..problems import AnyRequest
from .pagination import ListResponse, ListView
from .params import ResultsQuery


def create_view(
    request: AnyRequest, context: Context, tz: tzinfo | None = None
) -> ListView[ResultRow]:
    """Present results with times in a zone, or as stored, with Unix seconds."""
    base_url = str(request.base_url)
    exported_keys: set[str] = set()

    async def create_references(rows: Sequence[ResultRow]) -> list[Reference]:
        """Return each paper once per file, even if several searches found it."""
        references = []
        for row, paper in await context.runs.pair_with_papers(rows):
            if paper:
                reference = Reference.from_paper(paper)
            else:
                reference = Reference.from_result(row, base_url)
            if reference.key not in exported_keys:
                exported_keys.add(reference.key)
                references.append(reference)
        return references

    def convert_rows(rows: Iterable[ResultRow]) -> Sequence[Result | StoredResult]:
        return Result.from_rows(rows, tz) if tz else StoredResult.from_rows(rows)

    columns = Result.__struct_fields__
    return ListView(RESULTS, "results", "results", columns, convert_rows, create_references)


@get(
    "/results",
    summary="List results",
    responses=openapi.describe_list(Result, "The matching results.") | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"list_query": Provide(ResultsQuery, sync_to_thread=False)},
)
async def list_results(
    request: AnyRequest,
    context: NamedDependency[Context],
    list_query: NamedDependency[ResultsQuery],
) -> Response[Any]:
    """Return the papers that searches found, sorted by the time of the search.

    JSON is returned in pages; the `Link` header leads to the next one. The other formats contain
    all matching results, unless a page is requested. BibTeX, RIS and Atom contain each paper once.
    """
    tz = context.settings.zone
    view, filters = create_view(request, context, tz), list_query.build_filter(tz)
    return await ListResponse(request, context, view, list_query, filters).respond()
