"""`/read-results`: what all searches found, as it is stored, by pages or as files."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...db.reader import RESULTS
from ...models.filters import ListQuery, ResultFilter
from ...models.records import ResultRow
from ...problems import AnyRequest
from ..filters import Order
from ..pagination import ListResponse
from ..results import StoredResults

EXAMPLE = ResultRow(
    author="Emmy Noether, Felix Klein",
    title="Invariants of any differential expressions",
    journal="Nachr. Ges. Wiss. Goettingen 1918",
    query_id=42,
    timestamp=1_795_464_900,
    result_number=0,
    arxiv_id="2611.00001",
    version=2,
)
RESPONSES = openapi.listed([EXAMPLE]) | openapi.BACKEND_PROBLEMS


@get(
    "/read-results",
    responses=RESPONSES,
    operation_class=openapi.InAllFormats,
    tags=["backend"],
)
async def read_results(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    asked_results: NamedDependency[ListQuery[ResultFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """What the searches found that match, as `/results` gives it, with Unix seconds."""
    view = StoredResults(context.reader, str(request.base_url))
    newest = order == "newest"
    listed = ListResponse(request, context.reader, RESULTS, asked_results, view, newest=newest)
    return await listed.answer()
