"""`/arxiv-api`: searches that are not recorded."""

from litestar import Response, get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Search, is_mirrored
from ...models.responses import ArxivApiResponse
from ..params import SourceName


@get(
    "/arxiv-api",
    summary="Search arXiv without recording",
    responses=openapi.describe_json(ArxivApiResponse, "arXiv's response.")
    | openapi.BACKEND_PROBLEMS
    | openapi.UPSTREAM_PROBLEMS,
    operation_class=openapi.CacheableOperation,
    tags=["backend"],
)
async def search_arxiv_api(
    context: NamedDependency[LocalContext],
    search: NamedDependency[Search],
    source: SourceName = None,
) -> Response[ArxivApiResponse]:
    """Search arXiv and return everything it sends about each paper. Nothing is recorded."""
    response = await context.search_service.search_arxiv(search, source=source)
    content = ArxivApiResponse(
        data=response.entries,
        timestamp=response.timestamp,
        status=response.status,
        num_results=response.num_results,
        num_entries=len(response.entries),
        query=response.query,
    )
    if is_mirrored(response.remarks):
        return Response(content, headers={"cache-status": "arxiv-gateway; hit; detail=mirror"})
    return Response(content)
