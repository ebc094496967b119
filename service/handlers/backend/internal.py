"""`/find-...`, `/read-archive`: the calls that a frontend sends to its backend."""

from typing import Annotated, Any

from litestar import Response, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency

from ... import openapi
from ...backend import requests
from ...context import LocalContext
from ...models.arxiv import Entry, Search
from ...models.filters import Position, ResultFilter
from ...models.records import ResultRow
from ...models.requests import ApiKeysRequest, ResultsRequest, SearchRequest
from ...models.responses import ApiKeyInfo, SigningKeyInfo
from ...search import SearchReply

PAGE = requests.Page("results", ResultFilter(query_id=42), Position(), limit=11)
PROBLEMS = openapi.BACKEND_PROBLEMS | openapi.BODY_PROBLEMS


@post(
    "/find-answer",
    status_code=200,
    summary="Search arXiv or the cache for a frontend",
    responses=openapi.describe_json(SearchReply, "The recorded search, and its source.")
    | PROBLEMS
    | openapi.UPSTREAM_PROBLEMS,
    tags=["internal"],
)
async def find_answer(
    context: NamedDependency[LocalContext],
    data: Annotated[
        SearchRequest,
        openapi.describe_body(SearchRequest, SearchRequest(search=Search(title="testing"))),
    ],
) -> SearchReply:
    """Return what `/arxiv` or `/api/query` would respond, from the cache or from arXiv.

    Times are Unix seconds. `anew`: whether to bypass the cache.
    """
    return await context.search_service.search(
        data.any_search, bypass_cache=data.bypass_cache, source=data.source
    )


@post(
    "/find-results",
    status_code=200,
    summary="Get the results of a search just recorded",
    responses=openapi.describe_json(list[ResultRow], "The results, in order.") | PROBLEMS,
    tags=["internal"],
)
async def find_results(
    context: NamedDependency[LocalContext],
    data: Annotated[ResultsRequest, openapi.describe_body(ResultsRequest)],
) -> list[ResultRow]:
    """Return the results of one search from the primary, since replicas may lag behind."""
    return await context.records.fetch_results(data.query_id)


@post(
    "/find-entries",
    status_code=200,
    summary="Get the Atom entries of a search just recorded",
    responses=openapi.describe_json(list[Entry], "The entries, in order.") | PROBLEMS,
    tags=["internal"],
)
async def find_entries(
    context: NamedDependency[LocalContext],
    data: Annotated[ResultsRequest, openapi.describe_body(ResultsRequest)],
) -> list[Entry]:
    """Return the entries of one search from the primary, since replicas may lag behind."""
    return await context.records.fetch_entries(data.query_id)


@post(
    "/read-archive",
    status_code=200,
    summary="Read stored rows for a frontend",
    responses=openapi.describe_json(
        list[dict[str, Any]] | dict[str, Any] | int | None,
        "The rows, or one row, or null, or a number.",
        example=openapi.create_example(list[ResultRow]),
    )
    | PROBLEMS,
    tags=["internal"],
)
async def read_archive(
    context: NamedDependency[LocalContext],
    data: Annotated[
        requests.ReadRequest,
        openapi.describe_body(requests.Page, PAGE, "What to read: `type` selects it."),
    ],
) -> Response[Any]:
    """Return stored rows: a page of a list, or the rows of a search or a paper.

    `type` selects what is read. `query` and `next-run` return one search or null, `run-count` a
    number, `details`, `day` and `suggestions` an object, all others a list.
    """
    rows = await requests.execute(data, context.reader, context.paper_search)
    return Response(rows)


@post(
    "/find-keys",
    status_code=200,
    summary="Validate API keys for a frontend",
    responses=openapi.describe_json(list[ApiKeyInfo], "The valid keys of those requested.")
    | PROBLEMS,
    tags=["internal"],
)
async def find_keys(
    context: NamedDependency[LocalContext],
    data: Annotated[ApiKeysRequest, openapi.describe_body(ApiKeysRequest)],
) -> list[ApiKeyInfo]:
    """Return the valid API keys among those with the given SHA-256 digests."""
    keys = await context.api_key_store.find([bytes.fromhex(digest) for digest in data.digests])
    return [
        ApiKeyInfo(
            digest=digest.hex(), name=key.name, quota=key.rate.quota, seconds=key.rate.seconds
        )
        for digest, key in keys.items()
    ]


@get(
    "/find-signing-key",
    summary="Get the signing key for a frontend",
    responses=openapi.describe_json(SigningKeyInfo, "The key.") | openapi.BACKEND_PROBLEMS,
    tags=["internal"],
    cache_control=CacheControlHeader(no_store=True),
)
async def find_signing_key(context: NamedDependency[LocalContext]) -> SigningKeyInfo:
    """Return the key that signs the cookies and forms of the pages, the same for all frontends."""
    return SigningKeyInfo(key=(await context.signing_key_store.fetch()).hex())
