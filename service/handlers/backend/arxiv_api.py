"""`/arxiv-api`: searches that are not recorded."""

from litestar import Response, get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Search, is_mirrored
from ...models.responses import ArxivApiResponse
from ..cache_headers import create_warning_header
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
    headers = create_warning_header(response.remarks)
    if is_mirrored(response.remarks):
        # with a warning, it stands in for arXiv's response
        status = "fwd=miss" if headers else "hit"
        headers["cache-status"] = f"arxiv-gateway; {status}; detail=mirror"
    return Response(content, headers=headers)
