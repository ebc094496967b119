"""`/arxiv`: searches arXiv, or answers from the cache, and records the search."""

from litestar import Response, get
from litestar.di import NamedDependency

from .. import openapi
from ..context import Context
from ..models.arxiv import Search
from ..models.responses import Result, SearchSummary
from ..problems import AnyRequest
from ..search import summarize, wait_for_results
from .cache_headers import bypasses_cache, create_cache_headers
from .params import Include, SourceName

EXAMPLE = SearchSummary(
    query_id=42, timestamp="2026-11-23T20:15:00", status=200, num_results=214_881, num_entries=10
)


@get(
    "/arxiv",
    summary="Search arXiv",
    operation_id="searchArxiv",
    responses=openapi.describe_json(SearchSummary, "The recorded search.", example=EXAMPLE)
    | openapi.UPSTREAM_PROBLEMS
    | openapi.API_KEY_PROBLEMS,
    operation_class=openapi.SearchOperation,
    tags=["frontend"],
)
async def search_arxiv(
    request: AnyRequest,
    context: NamedDependency[Context],
    search: NamedDependency[Search],
    include: Include = None,
    source: SourceName = None,
) -> Response[SearchSummary]:
    """Search arXiv and record the response with all of its papers.

    Every parameter that is given must match; at least one search term is required. `status` is the
    HTTP status of arXiv's response, `num_results` the number of papers that match, and
    `num_entries` the number of papers that were stored and are now available at `/results`. The
    same search is answered from the record until arXiv publishes new papers, once a day; see the
    headers `Cache-Status`, `Age` and `Cache-Control`. A request with `Cache-Control: no-cache` is
    always sent to arXiv, unless `source` is `mirror`. Answers of the mirror have `detail=mirror` in
    `Cache-Status`.
    """
    reply = await context.search_service.search(
        search, bypass_cache=bypasses_cache(request), source=source
    )
    summary = summarize(search, reply, context.settings)
    if include == "results":
        rows = await wait_for_results(reply.recorded, context.records.fetch_results)
        summary.results = Result.from_rows(rows, context.settings.zone)
    return Response(summary, headers=create_cache_headers(reply))
