"""`/arxiv-api`: searches that are not recorded."""

from datetime import UTC, datetime

from litestar import get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Entry, Link, Search
from ...models.responses import ArxivApiAnswer
from ...problems import AnyRequest
from ..client_state import cancel_on_disconnect

EXAMPLE = ArxivApiAnswer(
    data=[
        Entry(
            arxiv_id="2611.00001",
            version=2,
            authors=["Emmy Noether", "Felix Klein"],
            affiliations=[["Goettingen"], []],
            title="Invariants of any differential expressions",
            journal="Nachr. Ges. Wiss. Goettingen 1918",
            summary="We study what stays the same.",
            comment="18 pages",
            published=datetime(2026, 11, 2, 9, 17, 46, tzinfo=UTC),
            updated=datetime(2026, 11, 20, 12, 31, 55, tzinfo=UTC),
            dois=["10.1000/182"],
            primary_category="math.DG",
            categories=["math.DG", "math-ph"],
            links=[Link("https://arxiv.org/abs/2611.00001v2", "alternate", None, "text/html")],
        )
    ],
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
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    search: NamedDependency[Search],
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
