"""`/get-sequence`, `/write-...`, `/read-...`: recording, and lists as they are stored."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from msgspec import convert
from msgspec.structs import replace

from ... import openapi
from ...arxiv_query import QUERY_PREFIX
from ...context import LocalContext
from ...db.reader import QUERIES, RESULTS
from ...models.filters import ListQuery, QueryFilter, ResultFilter
from ...models.records import QueryRow, ResultRow
from ...models.requests import ResultPayload, WriteQueryRequest, WriteResultsRequest
from ...models.responses import Message, Query, Result, Sequence
from ...problems import AnyRequest
from ..pagination import ListResponse
from ..params import Order, provide_results_query, provide_stored_queries_query
from ..queries import StoredQueriesView
from ..results import StoredResultsView

TIMESTAMP = 1_795_464_900
QUERY_ROW = QueryRow(**openapi.create_example(Query) | {"timestamp": TIMESTAMP})
RESULT_ROW = ResultRow(**openapi.create_example(Result) | {"timestamp": TIMESTAMP})
WRITE_QUERY = convert(openapi.create_example(WriteQueryRequest), WriteQueryRequest)
WRITE_RESULTS = WriteResultsRequest(
    query_id=42,
    timestamp=TIMESTAMP,
    results=[
        ResultPayload(
            authors=["Emmy Noether", "Felix Klein"],
            title="Invariants of any differential expressions",
            journal="Nachr. Ges. Wiss. Goettingen 1918",
        )
    ],
)


@get(
    "/get-sequence",
    summary="Take the next query_id",
    operation_id="getSequence",
    responses=openapi.describe_json(Sequence, "The number.") | openapi.BACKEND_PROBLEMS,
    tags=["backend"],
    cache_control=CacheControlHeader(no_store=True),
)
async def get_sequence(context: NamedDependency[LocalContext]) -> Sequence:
    """Take the next query_id, which no other caller gets. Unused numbers leave gaps."""
    return Sequence(await context.records.next_query_id())


@post(
    "/write-queries",
    summary="Record a search",
    operation_id="writeQuery",
    responses=openapi.describe_json(Message, "Recorded.", status=201) | openapi.WRITE_PROBLEMS,
    tags=["backend"],
)
async def write_queries(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteQueryRequest, openapi.describe_body(WRITE_QUERY)],
) -> Message:
    """Record a search under a number from `/get-sequence`. Repeating the request is harmless."""
    await context.records.write_query(replace(data, query=QUERY_PREFIX.sub("", data.query)))
    return Message(f"query {data.query_id} is recorded")


@post(
    "/write-results",
    summary="Record the results of a search",
    operation_id="writeResults",
    responses=openapi.describe_json(Message, "Recorded.", status=201) | openapi.WRITE_PROBLEMS,
    tags=["backend"],
)
async def write_results(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteResultsRequest, openapi.describe_body(WRITE_RESULTS)],
) -> Message:
    """Record all results of a search, or none. Repeating the request is harmless."""
    await context.records.write_results(data)
    return Message(f"{len(data.results)} results of query {data.query_id} are recorded")


@get(
    "/read-queries",
    summary="List recorded searches with Unix times",
    operation_id="readQueries",
    responses=openapi.describe_list(QueryRow, "The matching searches.", QUERY_ROW)
    | openapi.BACKEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["backend"],
    dependencies={"list_query": Provide(provide_stored_queries_query, sync_to_thread=False)},
)
async def read_queries(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    list_query: NamedDependency[ListQuery[QueryFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """Return the same list as `/queries`, with times in Unix seconds."""
    view = StoredQueriesView(str(request.base_url))
    response = ListResponse(
        request, context.reader, QUERIES, list_query, view, newest=order == "newest"
    )
    return await response.respond(export_json=True)


@get(
    "/read-results",
    summary="List results with Unix times",
    operation_id="readResults",
    responses=openapi.describe_list(ResultRow, "The matching results.", RESULT_ROW)
    | openapi.BACKEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["backend"],
    dependencies={"list_query": Provide(provide_results_query, sync_to_thread=False)},
)
async def read_results(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    list_query: NamedDependency[ListQuery[ResultFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """Return the same list as `/results`, with times in Unix seconds."""
    view = StoredResultsView(context.reader, str(request.base_url))
    response = ListResponse(
        request, context.reader, RESULTS, list_query, view, newest=order == "newest"
    )
    return await response.respond()
