"""`/write-results`: record the papers of a search under its number."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.requests import ResultPayload, WriteResultsRequest
from ...models.responses import Message

EXAMPLE = WriteResultsRequest(
    query_id=42,
    timestamp=1_795_464_900,
    results=[
        ResultPayload(
            authors=["Emmy Noether", "Felix Klein"],
            title="Invariants of any differential expressions",
            journal="Nachr. Ges. Wiss. Goettingen 1918",
        )
    ],
)
RESPONSES = (
    openapi.answer(Message("1 results of query 42 are recorded"), 201) | openapi.WRITE_PROBLEMS
)


@post("/write-results", responses=RESPONSES, tags=["backend"])
async def write_results(
    context: NamedDependency[LocalContext],
    data: Annotated[WriteResultsRequest, openapi.body(EXAMPLE)],
) -> Message:
    """Record all the papers of a search, or none; sending the same again changes nothing."""
    await context.records.write_results(data)
    return Message(f"{len(data.results)} results of query {data.query_id} are recorded")
