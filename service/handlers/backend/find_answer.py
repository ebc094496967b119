"""`/find-answer`: search arXiv, or remember what it answered, and record it, for a frontend."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.arxiv import Search
from ...models.records import RecordedSearch
from ...models.requests import SearchRequest
from ...problems import AnyRequest
from ...search import SearchReply
from ..client_state import cancel_on_disconnect

EXAMPLE = SearchReply(
    RecordedSearch(
        query_id=42,
        timestamp=1_795_464_900,
        status=200,
        num_results=214_881,
        num_entries=10,
        query='search_query=ti:"testing"&id_list=&start=0&max_results=10',
        outcome="ok",
        recorded=1_795_464_901,
    ),
    "hit; ttl=75556",
)
WANTED = SearchRequest(asked=Search(title="testing"))
RESPONSES = (
    openapi.answer(EXAMPLE)
    | openapi.BACKEND_PROBLEMS
    | openapi.BODY_PROBLEMS
    | openapi.UPSTREAM_PROBLEMS
)


@post("/find-answer", status_code=200, responses=RESPONSES, tags=["backend"])
async def find_answer(
    request: AnyRequest,
    context: NamedDependency[LocalContext],
    data: Annotated[SearchRequest, openapi.body(WANTED)],
) -> SearchReply:
    """The recorded answer to a search, as `/arxiv` finds it, and how it was found.

    Times are Unix seconds. With `anew`, arXiv is asked in any case.
    """
    return await cancel_on_disconnect(
        request, context.search_service.search(data.asked, bypass_cache=data.anew)
    )
