"""`/find-results`: the results of a search that `/find-answer` has found."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.records import ResultRow
from ...models.requests import ResultsRequest
from .read_results import EXAMPLE

RESPONSES = openapi.answer([EXAMPLE]) | openapi.BACKEND_PROBLEMS | openapi.BODY_PROBLEMS


@post("/find-results", status_code=200, responses=RESPONSES, tags=["backend"])
async def find_results(
    context: NamedDependency[LocalContext],
    data: Annotated[ResultsRequest, openapi.body(ResultsRequest(query_id=42))],
) -> list[ResultRow]:
    """The results of one search from where they are written: those who only read may lag behind."""
    return await context.store.fetch_results(data.query_id)
