"""`/read-queries`: the searches recorded in a range of time, as they are stored."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...db.reader import QUERIES
from ...models.filters import ListQuery, QueryFilter
from ...models.records import QueryRow
from ...problems import AnyRequest
from ..filters import Order
from ..pagination import ListResponse
from ..queries import StoredQueries

EXAMPLE = QueryRow(
    query_id=42,
    timestamp=1_795_464_900,
    status=200,
    num_results=214_881,
    num_entries=10,
    query='ArXiv Query: search_query=ti:"testing"&id_list=&start=0&max_results=10',
    outcome="ok",
)
RESPONSES = openapi.listed([EXAMPLE]) | openapi.BACKEND_PROBLEMS


@get(
    "/read-queries",
    responses=RESPONSES,
    operation_class=openapi.InAllFormats,
    tags=["backend"],
)
async def read_queries(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    asked_stored_queries: NamedDependency[ListQuery[QueryFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """Recorded searches that match, as `/queries` gives them, with Unix seconds."""
    view = StoredQueries(str(request.base_url))
    newest = order == "newest"
    listed = ListResponse(
        request, context.reader, QUERIES, asked_stored_queries, view, newest=newest
    )
    return await listed.answer(whole=True)
