"""`/queries/{query_id}`: one search, what is new in it since its last run, and a feed of that."""

from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import structs

from .. import formats, openapi, search_diff
from ..context import Context
from ..db.reader import FEED_RUNS, RecordReader
from ..errors import NotComparable, NotFound
from ..formats import FeedHead, references
from ..models.arxiv import Outcome
from ..models.records import INT8_MAX, Run
from ..models.responses import Changes, Moved, NewVersion, QueryWithResults
from ..problems import AnyRequest
from . import queries
from .params import PathId
from .queries import EXAMPLE
from .results import EXAMPLE as RESULT
from .results import shown

WITH_RESULTS = QueryWithResults(**structs.asdict(EXAMPLE), results=[RESULT])
CHANGES = Changes(
    query=EXAMPLE,
    previous=structs.replace(EXAMPLE, query_id=17, timestamp="2026-11-22T20:15:00"),
    came=[RESULT],
    went=[],
    moved=[
        Moved(
            arxiv_id="2610.00017",
            title="Hypothesis testing for the sparse transformer",
            result_number=1,
            previous_result_number=0,
        )
    ],
    new_versions=[
        NewVersion(
            arxiv_id="2609.00003",
            title="Testing the stability of a unit test",
            version=2,
            previous_version=1,
            result_number=2,
        )
    ],
)
PROBLEMS = openapi.FRONTEND_PROBLEMS | openapi.NOT_FOUND


@get(
    "/queries/{query_id:int}",
    responses=openapi.answer(WITH_RESULTS) | PROBLEMS,
    operation_class=openapi.Kept,
    tags=["frontend"],
)
async def show_query(context: NamedDependency[Context], query_id: PathId) -> QueryWithResults:
    """One recorded search with its results."""
    run = await _run(context.reader, query_id)
    results = await context.reader.fetch_results(run)
    query = queries.shown(run, context.settings.zone)
    return QueryWithResults(**structs.asdict(query), results=shown(results, context.settings.zone))


@get(
    "/queries/{query_id:int}/changes",
    responses=openapi.answer(CHANGES) | PROBLEMS | openapi.NOT_COMPARABLE,
    operation_class=openapi.Kept,
    tags=["frontend"],
)
async def show_changes(context: NamedDependency[Context], query_id: PathId) -> Changes:
    """What came, went, moved and got a new version since the previous run of the same search.

    The same search is the same page of the same query in the same order; runs without a usable
    answer do not count. Without a previous run, `previous` is null and nothing has changed.
    """
    run = await _run(context.reader, query_id)
    if run.outcome != Outcome.OK:
        raise NotComparable(f"search {query_id} has no usable answer: its outcome is {run.outcome}")
    runs = await context.reader.fetch_runs(run, 2)
    # another standby may not know this run yet
    previous = next((each for each in runs if each.query_id < run.query_id), None)
    now = await context.reader.fetch_results(run)
    before = await context.reader.fetch_results(previous) if previous else now
    tz = context.settings.zone
    return Changes(
        query=queries.shown(run, tz),
        previous=queries.shown(previous, tz) if previous else None,
        came=shown(search_diff.came(now, before), tz),
        went=shown(search_diff.came(before, now), tz),
        moved=search_diff.moved(now, before),
        new_versions=search_diff.new_versions(now, before),
    )


@get(
    "/queries/{query_id:int}/feed",
    responses=openapi.feed() | PROBLEMS | openapi.NOT_COMPARABLE,
    operation_class=openapi.Kept,
    tags=["frontend"],
)
async def show_feed(
    request: AnyRequest, context: NamedDependency[Context], query_id: PathId
) -> Response[bytes]:
    """What is new in a search, as an Atom feed (RFC 4287).

    Whichever run `query_id` names, the feed tells of the latest 30 runs of the same search: each
    version of each paper, when it came first, the latest first, at most 100.
    """
    run = await _run(context.reader, query_id)
    runs = await context.reader.fetch_runs(structs.replace(run, query_id=INT8_MAX), FEED_RUNS)
    if not runs:
        raise NotComparable(f"no run of search {query_id} has a usable answer")
    papers = await context.reader.fetch_feed_papers(runs)
    name = run.search_key.hex if run.search_key else run.query
    head = FeedHead(
        title=f"arXiv: {run.query}",
        uri=uuid5(NAMESPACE_URL, f"arxiv-gateway search {name}").urn,
        self_url=str(request.url),
        updated=datetime.fromtimestamp(papers[0].timestamp if papers else runs[-1].timestamp, UTC),
    )
    writer = formats.bibliographic("atom", head)
    rows = [references.of_paper(paper, updated=paper.timestamp) for paper in papers]
    content = writer.begin() + writer.rows(rows) + writer.end()
    return Response(content, media_type=formats.FORMATS["atom"].media_type)


async def _run(reader: RecordReader, query_id: int) -> Run:
    run = await reader.fetch_run(query_id) if 0 < query_id <= INT8_MAX else None
    if run is None:
        raise NotFound(f"no search {query_id} is recorded")
    return run
