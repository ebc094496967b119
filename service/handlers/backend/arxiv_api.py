"""`/arxiv-api`: searches that are not recorded."""

from litestar import get
from litestar.di import NamedDependency
from msgspec import convert
from msgspec.structs import asdict

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Entry, Search
from ...models.responses import ArxivApiAnswer, Paper
from ...problems import AnyRequest
from ..client_state import cancel_on_disconnect

PAPER = openapi.create_example(Paper)
ENTRY = asdict(PAPER) | {
    "summary": PAPER.abstract,
    "published": f"{PAPER.published}Z",
    "updated": f"{PAPER.updated}Z",
}
EXAMPLE = ArxivApiAnswer(
    data=[convert(ENTRY, Entry)],
    timestamp=1_795_464_900,
    status=200,
    num_results=214_881,
    num_entries=1,
    query='search_query=ti:"testing"&id_list=&start=0&max_results=1',
)


@get(
    "/arxiv-api",
    summary="Search arXiv without recording",
    responses=openapi.describe_json(ArxivApiAnswer, "arXiv's response.", example=EXAMPLE)
    | openapi.BACKEND_PROBLEMS
    | openapi.UPSTREAM_PROBLEMS,
    operation_class=openapi.CacheableOperation,
    tags=["backend"],
)
async def search_arxiv_api(
    request: AnyRequest, context: NamedDependency[LocalContext], search: NamedDependency[Search]
) -> ArxivApiAnswer:
    """Search arXiv and return everything it sends about each paper. Nothing is recorded."""
    response = await cancel_on_disconnect(request, context.search_service.search_arxiv(search))
    return ArxivApiAnswer(
        data=response.entries,
        timestamp=response.timestamp,
        status=response.status,
        num_results=response.num_results,
        num_entries=len(response.entries),
        query=response.query,
    )
