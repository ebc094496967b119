"""`/write-results`: record the papers of a search under its number."""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from service import openapi
from service.models import Message, ResultsToWrite
from service.store import Store


@post("/write-results", responses=openapi.WRITE_PROBLEMS, tags=["backend"])
async def write_results(store: NamedDependency[Store], data: JSONBody[ResultsToWrite]) -> Message:
    """Record all the papers of a search, or none; sending the same again changes nothing."""
    await store.write_results(data)
    return Message(f"{len(data.results)} results of query {data.query_id} are recorded")
