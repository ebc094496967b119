"""`/queries` and below: recorded searches, the changes between two runs, a feed of new papers."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

from litestar import Response, get, post
from litestar.di import NamedDependency, Provide
from msgspec.structs import asdict, replace

from .. import openapi
from ..context import Context
from ..db.reader import FEED_RUNS, QUERIES
from ..errors import NotComparable
from ..formats import FORMATS, FeedHead, Reference
from ..formats.atom import Atom
from ..models.arxiv import Outcome
from ..models.records import INT8_MAX, QueryRow
from ..models.requests import QueryRange
from ..models.responses import Changes, Query, QueryWithResults, Result
from ..problems import AnyRequest
from .pagination import ListResponse, ListView, serialize_in_turns
from .params import QueriesQuery, QueryIdPath

QUERY_PROBLEMS = openapi.FRONTEND_PROBLEMS | openapi.NOT_FOUND


def create_view(request: AnyRequest, tz: tzinfo | None = None) -> ListView[QueryRow]:
    """Present recorded searches with times in a zone, or as stored, with Unix seconds."""

    def convert_rows(rows: Iterable[QueryRow]) -> Sequence[QueryRow | Query]:
        if tz is None:
            return [replace(row, query=row.heading) for row in rows]
        return [Query.from_row(row, tz) for row in rows]

    async def create_references(rows: Iterable[QueryRow]) -> list[Reference]:
        return [Reference.from_query(row, str(request.base_url)) for row in rows]

    columns = (Query if tz else QueryRow).__struct_fields__
    return ListView(QUERIES, "searches", "query_data", columns, convert_rows, create_references)


@get(
    "/queries",
    summary="Download recorded searches",
    responses=openapi.describe_list(Query, "The matching searches, as a file.")
    | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"list_query": Provide(QueriesQuery, sync_to_thread=False)},
)
async def download_queries(
    request: AnyRequest,
    context: NamedDependency[Context],
    list_query: NamedDependency[QueriesQuery],
) -> Response[Any]:
    """Return the searches recorded in a time range, as a file to download.

    The file contains all matching searches, unless `page` or `items_per_page` requests a page.
    """
    tz = context.settings.zone
    view = create_view(request, tz)
    list_response = ListResponse(request, context, view, list_query, list_query.build_filter(tz))
    response = await list_response.respond(export_json=True)
    if list_response.format.name == "json":
        response.headers["content-disposition"] = "attachment; filename=query_data.json"
    return response


@post(
    "/queries",
    status_code=200,
    summary="List recorded searches",
    responses=openapi.describe_json(list[Query], "The matching searches.")
    | openapi.FRONTEND_PROBLEMS
    | openapi.BODY_PROBLEMS,
    tags=["frontend"],
)
async def list_queries(
    request: AnyRequest,
    context: NamedDependency[Context],
    data: Annotated[QueryRange, openapi.describe_body(QueryRange)],
) -> Response[Any]:
    """Return the searches recorded in a time range, as JSON."""
    tz = context.settings.zone
    query = QueriesQuery(context=context, **asdict(data), format="json")
    view = create_view(request, tz)
    response = ListResponse(request, context, view, query, query.build_filter(tz))
    return await response.respond(export_json=True)


@get(
    "/queries/{query_id:int}",
    summary="Get a recorded search",
    responses=openapi.describe_json(QueryWithResults, "The search and its results.")
    | QUERY_PROBLEMS,
    operation_class=openapi.CacheableOperation,
    tags=["frontend"],
)
async def get_query(context: NamedDependency[Context], query_id: QueryIdPath) -> QueryWithResults:
    """Return a recorded search with its results."""
    run = await context.runs.fetch(query_id)
    results = await context.reader.fetch_results(run)
    tz = context.settings.zone
    return QueryWithResults.from_row(run, tz, results=Result.from_rows(results, tz))


@get(
    "/queries/{query_id:int}/changes",
    summary="Compare a search with its previous run",
    responses=openapi.describe_json(Changes, "The differences from the previous run.")
    | QUERY_PROBLEMS
    | openapi.NOT_COMPARABLE,
    operation_class=openapi.CacheableOperation,
    tags=["frontend"],
)
async def get_query_changes(context: NamedDependency[Context], query_id: QueryIdPath) -> Changes:
    """Return what has changed since the previous run of the same search.

    The same search is the same page of the same query in the same order. Only runs with the
    outcome `ok` are compared. Without a previous run, `previous` is null and the lists are empty.
    """
    run = await context.runs.fetch(query_id)
    if run.outcome != Outcome.OK:
        raise NotComparable(
            f"search {query_id} has the outcome {run.outcome}; only those with the outcome ok can"
            " be compared"
        )
    previous = await context.runs.find_previous(run)
    results = await context.reader.fetch_results(run)
    return await context.runs.compare(run, results, previous)


@get(
    "/queries/{query_id:int}/feed",
    summary="Subscribe to a search",
    responses=openapi.describe_feed("The new papers of the latest runs, as an Atom feed.")
    | QUERY_PROBLEMS
    | openapi.NOT_COMPARABLE,
    operation_class=openapi.CacheableOperation,
    tags=["frontend"],
)
async def get_query_feed(
    request: AnyRequest, context: NamedDependency[Context], query_id: QueryIdPath
) -> Response[bytes]:
    """Return an Atom feed (RFC 4287) of the new papers and versions in a search.

    The feed covers the latest 30 runs of the search, whichever run `query_id` names. It contains
    at most 100 paper versions, newest first. `published` and `updated` are the time of the run that
    first found the version.
    """
    run = await context.runs.fetch(query_id)
    runs = await context.reader.fetch_runs(replace(run, query_id=INT8_MAX), FEED_RUNS)
    if not runs:
        raise NotComparable(f"no run of search {query_id} has the outcome ok; repeat the search")
    papers = await context.reader.fetch_feed_papers(runs)
    name = run.search_key.hex if run.search_key else run.query
    head = FeedHead(
        title=f"arXiv: {run.query}",
        uri=uuid5(NAMESPACE_URL, f"arxiv-gateway search {name}").urn,
        self_url=str(request.url),
        updated=datetime.fromtimestamp(papers[0].timestamp if papers else runs[-1].timestamp, UTC),
    )
    atom = Atom(head)
    references = [Reference.from_paper(paper, found=paper.timestamp) for paper in papers]
    async with context.serializations:
        content = atom.begin() + await serialize_in_turns(atom, references) + atom.end()
    return Response(content, media_type=FORMATS["atom"].media_type)
