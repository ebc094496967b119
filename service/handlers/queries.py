"""`/queries`: the searches recorded in a range of time."""

from datetime import tzinfo
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency

from service import openapi, timestamps
from service.handlers.parameters import EndTimestamp, StartTimestamp, time_range
from service.models import Query, StoredQuery, TimeRange
from service.settings import Settings
from service.store import Store

EXAMPLE = Query(
    query_id=42,
    query='ArXiv Query: search_query=ti:"testing"&id_list=&start=0&max_results=10',
    timestamp="2026-11-23T20:15:00",
    status=200,
    num_results=214_881,
    num_entries=10,
    outcome="ok",
)
RANGE = TimeRange(start_timestamp="2026-11-23T20:15:00", end_timestamp="2026-11-24")
RESPONSES = openapi.answer([EXAMPLE]) | openapi.STORE_PROBLEMS


@get("/queries", responses=RESPONSES, tags=["frontend"])
async def download_queries(
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    start_timestamp: StartTimestamp = None,
    end_timestamp: EndTimestamp = None,
) -> Response[list[Query]]:
    """Recorded searches in a range of time, oldest first, as a JSON file to download."""
    found = await store.queries(*time_range(start_timestamp, end_timestamp, settings.zone))
    return Response(
        _answered(found, settings.zone),
        headers={"content-disposition": "attachment; filename=query_data.json"},
    )


@post("/queries", status_code=200, responses=RESPONSES, tags=["frontend"])
async def list_queries(
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    data: Annotated[TimeRange, openapi.body(RANGE)],
) -> list[Query]:
    """Recorded searches in a range of time, oldest first, as plain JSON."""
    found = await store.queries(
        *time_range(data.start_timestamp, data.end_timestamp, settings.zone)
    )
    return _answered(found, settings.zone)


def _answered(found: list[StoredQuery], tz: tzinfo) -> list[Query]:
    return [
        Query(
            query_id=query.query_id,
            query=query.heading,
            timestamp=timestamps.to_iso(query.timestamp, tz),
            status=query.status,
            num_results=query.num_results,
            num_entries=query.num_entries,
            outcome=query.outcome,
        )
        for query in found
    ]
