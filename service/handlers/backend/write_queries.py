"""`/write-queries`: record a search under a number taken before."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency
from msgspec import structs

from ... import openapi
from ...arxiv_query import QUERY_PREFIX
from ...context import LocalContext
from ...models.requests import WriteQueryRequest
from ...models.responses import Message

EXAMPLE = WriteQueryRequest(
    query_id=42,
    timestamp=1_795_464_900,
    status=200,
    num_results=214_881,
    num_entries=10,
    query='search_query=ti:"testing"&id_list=&start=0&max_results=10',
)
RESPONSES = openapi.answer(Message("query 42 is recorded"), 201) | openapi.WRITE_PROBLEMS


@post("/write-queries", responses=RESPONSES, tags=["backend"])
async def write_queries(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteQueryRequest, openapi.body(EXAMPLE)],
) -> Message:
    """Record a search; sending the same again changes nothing."""
    await context.records.write_query(structs.replace(data, query=QUERY_PREFIX.sub("", data.query)))
    return Message(f"query {data.query_id} is recorded")
