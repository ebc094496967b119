"""`/get-sequence`: a number for one search."""

from litestar import get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.responses import Sequence

RESPONSES = openapi.answer(Sequence(42)) | openapi.BACKEND_PROBLEMS


@get(
    "/get-sequence",
    responses=RESPONSES,
    tags=["backend"],
    cache_control=CacheControlHeader(no_store=True),
)
async def get_sequence(context: NamedDependency[LocalContext]) -> Sequence:
    """Take the next query_id; nobody else gets it, and unused ones are simply missing."""
    return Sequence(await context.store.take_query_id())
