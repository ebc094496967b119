"""`/find-results`: the results of a search that `/find-answer` has found."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency

from service import openapi
from service.handlers.backend.read_results import EXAMPLE
from service.models import ResultsWanted, StoredResult
from service.parts import LocalParts

RESPONSES = openapi.answer([EXAMPLE]) | openapi.BACKEND_PROBLEMS | openapi.BODY_PROBLEMS


@post("/find-results", status_code=200, responses=RESPONSES, tags=["backend"])
async def find_results(
    parts: NamedDependency[LocalParts],
    data: Annotated[ResultsWanted, openapi.body(ResultsWanted(query_id=42))],
) -> list[StoredResult]:
    """The results of one search from where they are written: those who only read may lag behind."""
    return await parts.store.results_of(data.query_id)
