"""`/api/query`: arXiv's own API, for programs that are written for it."""

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType

from .. import openapi
from ..api_query import parse_api_query, parse_parameters
from ..context import Context
from ..errors import UnsupportedMediaType
from ..formats.arxiv_feed import MEDIA_TYPE
from ..middleware.query_params import IS_LENIENT
from ..problems import AnyRequest
from .cache_headers import bypasses_cache, create_cache_headers, create_warning_header

FORM_TYPE = RequestEncodingType.URL_ENCODED.value


@get(
    "/api/query",
    summary="Search arXiv as by its own API",
    responses=openapi.describe_api_feed(MEDIA_TYPE),
    operation_class=openapi.ApiQueryOperation,
    tags=["frontend"],
    opt=IS_LENIENT,
)
async def query_api(request: AnyRequest, context: NamedDependency[Context]) -> Response[bytes]:
    """Return the Atom feed that arXiv's API returns for the same parameters.

    Programs that are written for `https://export.arxiv.org/api/query` work with this URL instead.
    The query is sent to arXiv as it is written, and recorded as by `/arxiv`, with which it shares
    the cache: see the headers `Cache-Status`, `Age` and `Cache-Control`. Unknown parameters are
    ignored. Errors are feeds too, with arXiv's status and message.
    """
    parameters = parse_parameters(request.scope["query_string"])
    return await _respond(request, context, parameters)


@post(
    "/api/query",
    status_code=200,
    summary="Search arXiv as by its own API, with a form",
    responses=openapi.describe_api_feed(MEDIA_TYPE),
    operation_class=openapi.ApiFormOperation,
    tags=["frontend"],
    opt=IS_LENIENT,
)
async def query_api_with_form(
    request: AnyRequest, context: NamedDependency[Context]
) -> Response[bytes]:
    """Return the same as `GET /api/query`; the parameters are those in the body.

    This is for lists of identifiers that are too long for a URL.
    """
    content_type = (request.headers.get("content-type") or FORM_TYPE).partition(";")[0]
    if content_type.strip().lower() != FORM_TYPE:
        raise UnsupportedMediaType(f"send the body as Content-Type: {FORM_TYPE}")
    parameters = parse_parameters(request.scope["query_string"])
    parameters |= parse_parameters(await request.body())
    return await _respond(request, context, parameters)


async def _respond(
    request: AnyRequest, context: Context, parameters: dict[str, str]
) -> Response[bytes]:
    query = parse_api_query(parameters, context.settings.source)
    reply = await context.search_service.search(query, bypass_cache=bypasses_cache(request))
    feed = await context.feeds.fetch_feed(query, reply.recorded)
    headers = create_cache_headers(reply) | create_warning_header(reply.recorded.remarks)
    return Response(feed, headers=headers, media_type=MEDIA_TYPE)
