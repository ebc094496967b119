"""`/read-queries`: the searches recorded in a range of time, as they are stored."""

from litestar import get
from litestar.di import NamedDependency
from msgspec import structs

from service import openapi, timestamps
from service.handlers.parameters import UnixEnd, UnixStart, ordered
from service.models import StoredQuery
from service.store import Store

EXAMPLE = StoredQuery(
    query_id=42,
    timestamp=1_795_464_900,
    status=200,
    num_results=214_881,
    num_entries=10,
    query='ArXiv Query: search_query=ti:"testing"&id_list=&start=0&max_results=10',
    outcome="ok",
)
RESPONSES = openapi.answer([EXAMPLE]) | openapi.BACKEND_PROBLEMS


@get("/read-queries", responses=RESPONSES, tags=["backend"])
async def read_queries(
    store: NamedDependency[Store],
    start_timestamp: UnixStart = timestamps.EARLIEST,
    end_timestamp: UnixEnd = timestamps.LATEST,
) -> list[StoredQuery]:
    """Recorded searches in a range of time, oldest first, with Unix seconds."""
    found = await store.queries(*ordered(start_timestamp, end_timestamp))
    return [structs.replace(query, query=query.heading) for query in found]
