"""`/queries`: the searches recorded in a range of time, one of them, and what is new in it."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from msgspec.structs import replace

from .. import openapi, timestamps
from ..context import Context
from ..db.reader import QUERIES
from ..formats import references
from ..models.filters import ListQuery, PageParams, QueryFilter
from ..models.records import QueryRow
from ..models.requests import QueryRange
from ..models.responses import Query, Reference
from ..problems import AnyRequest
from .filters import Order
from .pagination import ListResponse
from .params import time_range

EXAMPLE = Query(
    query_id=42,
    query='ArXiv Query: search_query=ti:"testing"&id_list=&start=0&max_results=10',
    timestamp="2026-11-23T20:15:00",
    status=200,
    num_results=214_881,
    num_entries=10,
    outcome="ok",
)
RANGE = QueryRange(start_timestamp="2026-11-23T20:15:00", end_timestamp="2026-11-24")
RESPONSES = openapi.listed([EXAMPLE]) | openapi.FRONTEND_PROBLEMS
POST_RESPONSES = openapi.answer([EXAMPLE]) | openapi.FRONTEND_PROBLEMS | openapi.BODY_PROBLEMS


class StoredQueries:
    """Searches as they are stored, with Unix seconds."""

    name = "searches"
    file = "query_data"
    columns = QueryRow.__struct_fields__

    def __init__(self, base: str) -> None:
        """`base` is the address of the service."""
        self._base = base

    def shown(self, rows: Sequence[QueryRow]) -> Sequence[QueryRow | Query]:
        """The rows, with the heading that is not stored."""
        return [replace(row, query=row.heading) for row in rows]

    async def references(self, rows: Sequence[QueryRow]) -> list[Reference]:
        """The searches as sources."""
        return [references.of_query(row, self._base) for row in rows]


class Queries(StoredQueries):
    """Searches as the frontend answers them, with times in a zone."""

    columns = Query.__struct_fields__

    def __init__(self, base: str, tz: tzinfo) -> None:
        """`base` is the address of the service."""
        super().__init__(base)
        self._tz = tz

    def shown(self, rows: Sequence[QueryRow]) -> list[QueryRow | Query]:
        """The rows with their times in the zone."""
        return [shown(row, self._tz) for row in rows]


@get("/queries", responses=RESPONSES, operation_class=openapi.InAllFormats, tags=["frontend"])
async def download_queries(
    request: AnyRequest,
    context: NamedDependency[Context],
    asked_queries: NamedDependency[ListQuery[QueryFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """Recorded searches that match, in the order of time, as a file to download.

    It holds all of them, unless `page` or `items_per_page` asks for a page.
    """
    view = Queries(str(request.base_url), context.settings.zone)
    newest = order == "newest"
    listed = ListResponse(request, context.reader, QUERIES, asked_queries, view, newest=newest)
    answer = await listed.answer(whole=True)
    if listed.format.name == "json":
        answer.headers["content-disposition"] = "attachment; filename=query_data.json"
    return answer


@post("/queries", status_code=200, responses=POST_RESPONSES, tags=["frontend"])
async def list_queries(
    request: AnyRequest,
    context: NamedDependency[Context],
    data: Annotated[QueryRange, openapi.body(RANGE)],
) -> Response[Any]:
    """Recorded searches that match, in the order of time, as plain JSON."""
    tz = context.settings.zone
    since, until = time_range(data.start_timestamp, data.end_timestamp, tz)
    wanted = QueryFilter(since=since, until=until, status=data.status, text=data.text)
    asked = ListQuery(wanted, PageParams(format="json"))
    view = Queries(str(request.base_url), tz)
    newest = data.order == "newest"
    listed = ListResponse(request, context.reader, QUERIES, asked, view, newest=newest)
    return await listed.answer(whole=True)


def shown(query: QueryRow, tz: tzinfo) -> Query:
    """A search as clients see it, with the time in this zone."""
    return Query(
        query.query_id,
        query.heading,
        timestamps.format_iso(query.timestamp, tz),
        query.status,
        query.num_results,
        query.num_entries,
        query.outcome,
    )
