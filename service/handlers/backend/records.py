"""`/get-sequence`, `/write-...`, `/read-...`: recording, and lists as they are stored."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from msgspec.structs import replace

from ... import openapi
from ...arxiv_query import QUERY_PREFIX
from ...context import LocalContext
from ...middleware.disconnects import IS_COMPLETED
from ...models.records import QueryRow
from ...models.requests import WriteQueryRequest, WriteResultsRequest
from ...models.responses import Message, Sequence, StoredResult
from ...problems import AnyRequest
from .. import queries, results
from ..pagination import ListResponse
from ..params import ResultsQuery, StoredQueriesQuery


@get(
    "/get-sequence",
    summary="Take the next query_id",
    responses=openapi.describe_json(Sequence, "The number.") | openapi.BACKEND_PROBLEMS,
    tags=["backend"],
    cache_control=CacheControlHeader(no_store=True),
)
async def get_sequence(context: NamedDependency[LocalContext]) -> Sequence:
    """Take the next query_id, which no other client gets. Unused numbers leave gaps."""
    return Sequence(await context.records.take_query_id())


@post(
    "/write-queries",
    summary="Record a search",
    responses=openapi.describe_json(Message, "Recorded.", status=201) | openapi.WRITE_PROBLEMS,
    tags=["backend"],
    opt=IS_COMPLETED,
)
async def write_query(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteQueryRequest, openapi.describe_body(WriteQueryRequest)],
) -> Message:
    """Record a search under a number from `/get-sequence`. Repeating the request is harmless."""
    await context.records.write_query(replace(data, query=QUERY_PREFIX.sub("", data.query)))
    return Message(f"query {data.query_id} is recorded")


@post(
    "/write-results",
    summary="Record the results of a search",
    responses=openapi.describe_json(Message, "Recorded.", status=201) | openapi.WRITE_PROBLEMS,
    tags=["backend"],
    opt=IS_COMPLETED,
)
async def write_results(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteResultsRequest, openapi.describe_body(WriteResultsRequest)],
) -> Message:
    """Record all results of a search, or none. Repeating the request is harmless."""
    await context.records.write_results(data)
    return Message(f"{len(data.results)} results of query {data.query_id} are recorded")


@get(
    "/read-queries",
    summary="List recorded searches with Unix times",
    responses=openapi.describe_list(QueryRow, "The matching searches.") | openapi.BACKEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["backend"],
    dependencies={"list_query": Provide(StoredQueriesQuery, sync_to_thread=False)},
)
async def read_queries(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    list_query: NamedDependency[StoredQueriesQuery],
) -> Response[Any]:
    """Return the same list as `/queries`, with times in Unix seconds."""
    view = queries.create_view(request)
    response = ListResponse(request, context, view, list_query, list_query.build_filter())
    return await response.respond(export_json=True)


@get(
    "/read-results",
    summary="List results with Unix times",
    responses=openapi.describe_list(StoredResult, "The matching results.")
    | openapi.BACKEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["backend"],
    dependencies={"list_query": Provide(ResultsQuery, sync_to_thread=False)},
)
async def read_results(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    list_query: NamedDependency[ResultsQuery],
) -> Response[Any]:
    """Return the same list as `/results`, with times in Unix seconds."""
    view = results.create_view(request, context)
    filters = list_query.build_filter(context.settings.zone)
    return await ListResponse(request, context, view, list_query, filters).respond()
