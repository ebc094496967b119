"""`/write-queries`: record a search under a number taken before."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from service import openapi
from service.models import Message, QueryToWrite
from service.store import Store


@post("/write-queries", responses=openapi.WRITE_PROBLEMS, tags=["backend"])
async def write_queries(store: NamedDependency[Store], data: JSONBody[QueryToWrite]) -> Message:
    """Record a search; sending the same again changes nothing."""
    await store.write_query(data)
    return Message(f"query {data.query_id} is recorded")
