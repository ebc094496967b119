"""`/read-queries`: the searches recorded in a range of time, as they are stored."""

from litestar import get
from litestar.di import NamedDependency
from msgspec import structs

from service import openapi, timestamps
from service.handlers.parameters import UnixEnd, UnixStart, ordered
from service.models import StoredQuery
from service.store import Store


@get("/read-queries", responses=openapi.BACKEND_PROBLEMS, tags=["backend"])
async def read_queries(
    store: NamedDependency[Store],
    start_timestamp: UnixStart = timestamps.EARLIEST,
    end_timestamp: UnixEnd = timestamps.LATEST,
) -> list[StoredQuery]:
    """Recorded searches in a range of time, oldest first, with Unix seconds."""
    found = await store.queries(*ordered(start_timestamp, end_timestamp))
    return [structs.replace(query, query=query.heading) for query in found]
