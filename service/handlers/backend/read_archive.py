"""`/read-archive`: one question about what is recorded, as frontends ask them."""

from typing import Annotated, Any

from litestar import Response, post
from litestar.di import NamedDependency

from ... import openapi
from ...backend import requests
from ...context import LocalContext
from ...db.reader import InvalidFilter
from ...errors import InvalidParameter
from ...models.filters import Position, ResultFilter
from ...problems import AnyRequest
from ..client_state import cancel_on_disconnect
from .read_results import EXAMPLE

QUESTION = requests.Page("results", ResultFilter(query_id=42), Position(), limit=11)
RESPONSES = openapi.answer([EXAMPLE]) | openapi.BACKEND_PROBLEMS | openapi.BODY_PROBLEMS


@post("/read-archive", status_code=200, responses=RESPONSES, tags=["backend"])
async def read_archive(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    data: Annotated[requests.ReadRequest, openapi.body(QUESTION)],
) -> Response[Any]:
    """Rows as they are stored: a page of a list, or what belongs to a search or a paper.

    `type` says which question it is. One search is answered alone, or null; all else is a list.
    """
    try:
        return Response(await cancel_on_disconnect(request, requests.answer(data, context.reader)))
    except InvalidFilter as error:
        raise InvalidParameter("body", str(error)) from error
