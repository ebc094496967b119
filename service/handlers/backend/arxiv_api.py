"""`/arxiv-api`: searches that are not recorded."""

from litestar import get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Search
from ...models.responses import ArxivApiResponse


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
    context: NamedDependency[LocalContext], search: NamedDependency[Search]
) -> ArxivApiResponse:
    """Search arXiv and return everything it sends about each paper. Nothing is recorded."""
    response = await context.search_service.search_arxiv(search)
    return ArxivApiResponse(
        data=response.entries,
        timestamp=response.timestamp,
        status=response.status,
        num_results=response.num_results,
        num_entries=len(response.entries),
        query=response.query,
    )
