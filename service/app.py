"""The application: routes, dependencies, middleware, lifespan.

There are two groups of middleware. Litestar calls the middleware of an app only for requests that
it can route. Whatever must also apply to unknown paths and rejected methods wraps the app
(`add_outer_middleware`). What needs the route handler stands inside (`create_app`).
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext

import httpx
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.plugins.prometheus import PrometheusConfig
from litestar.types import ASGIApp, ControllerRouterHandler

from . import openapi, tracing
from .api_keys import Rate
from .context import Context, create_context
from .handlers import announcements, api_query, arxiv, health, papers, params, queries, results
from .handlers.backend import arxiv_api, internal, records
from .handlers.backend.auth import check_token
from .handlers.metrics import show_metrics
from .json_request import JsonRequest
from .middleware.allowed_hosts import AllowedHostsMiddleware
from .middleware.api_errors import ApiErrorMiddleware
from .middleware.api_keys import ApiKeyMiddleware
from .middleware.conditional import ConditionalMiddleware
from .middleware.cors import CorsMiddleware
from .middleware.disconnects import DisconnectMiddleware
from .middleware.error_pages import ErrorPageMiddleware
from .middleware.head_options import HeadOptionsMiddleware
from .middleware.paper_ids import PaperIdMiddleware
from .middleware.query_params import IS_LENIENT, QueryParamsMiddleware
from .middleware.repeated_headers import RepeatedHeadersMiddleware
from .middleware.request_log import RequestLogMiddleware
from .middleware.request_timeout import RequestTimeoutMiddleware, TimeoutResponseMiddleware
from .middleware.response_budget import ResponseBudgetMiddleware
from .middleware.security_headers import SecurityHeadersMiddleware
from .pages import home, new, paper, search, searches, sign_in, status
from .pages.errors import PAGE_HEADERS, ErrorPages
from .pages.page import create_static_router, create_template_config
from .problems import EXCEPTION_HANDLERS
from .settings import ENDPOINTS, Settings

HANDLERS: dict[str, list[ControllerRouterHandler]] = {
    "arxiv": [arxiv.search_arxiv],
    "api/query": [api_query.query_api, api_query.query_api_with_form],
    "queries": [
        queries.download_queries,
        queries.list_queries,
        queries.get_query,
        queries.get_query_changes,
        queries.get_query_feed,
    ],
    "papers": [
        papers.list_papers,
        papers.suggest_queries,
        papers.get_paper,
        papers.list_similar_papers,
    ],
    "results": [results.list_results],
    "announcements": [announcements.list_announcements, announcements.get_announcement_feed],
    "arxiv-api": [arxiv_api.search_arxiv_api],
    "get-sequence": [records.get_sequence],
    "write-queries": [records.write_query],
    "write-results": [records.write_results],
    "read-queries": [records.read_queries],
    "read-results": [records.read_results],
    "find-answer": [internal.find_answer],
    "find-results": [internal.find_results],
    "find-entries": [internal.find_entries],
    "read-archive": [internal.read_archive],
    "find-keys": [internal.find_keys],
    "find-signing-key": [internal.find_signing_key],
}
PAGES: list[HTTPRouteHandler] = [
    home.show_home,
    home.start_search,
    paper.show_paper,
    paper.retrieve_paper,
    search.show_search,
    new.show_new_papers,
    searches.list_searches,
    searches.show_recorded_search,
    searches.repeat_search,
    sign_in.show_sign_in,
    sign_in.sign_in,
    sign_in.sign_out,
    status.show_status,
]
PAGE_SEGMENTS = frozenset(
    path.strip("/").partition("/")[0] for handler in PAGES for path in handler.paths
)
"""The first segments of the paths of pages."""
OPERATIONS = (health.get_liveness, health.get_readiness, show_metrics)
MAX_BODY_BYTES = 16 * 2**20  # of a request to a backend endpoint; 2,000 results are about 1 MiB
MAX_PUBLIC_BODY_BYTES = 64 * 2**10
"""Of any other request. A body is in memory until it is complete, on each connection."""


def create_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Litestar:
    """Create the Litestar app. `transport` replaces the network to arXiv.

    Its lifespan opens the connections. Serve it with `add_outer_middleware`. Raises
    ConfigurationError if `database_url` is missing or malformed.
    """
    context = create_context(settings, transport)
    pages = [_create_page_router(), create_static_router()] if settings.serves_pages else []
    return Litestar(
        [*_create_routers(settings), *pages, *OPERATIONS, openapi.create_assets_router()],
        lifespan=[_get_context, _update_search_index, _sync_mirror],
        dependencies={
            "context": Provide(_provide_context, sync_to_thread=False),
            "search": Provide(params.provide_search, sync_to_thread=False),
            "params": Provide(params.SearchParams, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        template_config=create_template_config() if settings.serves_pages else None,
        middleware=[
            PrometheusConfig(app_name="arxiv-gateway", prefix="http", group_path=True).middleware,
            *tracing.create_middleware(),
            TimeoutResponseMiddleware(),
            DisconnectMiddleware(),
            QueryParamsMiddleware(params.get_parameters),
        ],
        openapi_config=openapi.create_config(),
        request_class=JsonRequest,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        state=State({"context": context}),
    )


def _get_context(app: Litestar) -> Context:
    context: Context = app.state.context
    return context


@asynccontextmanager
async def _update_search_index(app: Litestar) -> AsyncGenerator[None, None]:
    async with _get_context(app).indexer or nullcontext():
        yield


@asynccontextmanager
async def _sync_mirror(app: Litestar) -> AsyncGenerator[None, None]:
    context = _get_context(app)
    async with (
        context.daily_sync or nullcontext(),
        context.daily_announcements or nullcontext(),
    ):
        yield


def _provide_context(request: JsonRequest) -> Context:
    return _get_context(request.app)


def _create_routers(settings: Settings) -> list[Router]:
    """Create the routers of the frontend and of the backend, with the endpoints that are served."""
    frontend, backend = (
        [
            handler
            for name in ENDPOINTS[group]
            if name in settings.served
            for handler in HANDLERS[name]
        ]
        for group in ("frontend", "backend")
    )
    return [
        Router(
            "/",
            route_handlers=frontend,
            security=openapi.SECURITY[settings.api_keys],
            request_max_body_size=MAX_PUBLIC_BODY_BYTES,
        ),
        Router(
            "/",
            route_handlers=backend,
            guards=[check_token],
            security=openapi.BACKEND_SECURITY if settings.tokens else None,
        ),
    ]


def _create_page_router() -> Router:
    return Router(
        "/",
        route_handlers=PAGES,
        include_in_schema=False,
        opt=IS_LENIENT,  # links from elsewhere have parameters of trackers
        request_max_body_size=MAX_PUBLIC_BODY_BYTES,
    )


def add_outer_middleware(app: Litestar) -> ASGIApp:
    """Wrap an app of `create_app` in the middleware for all requests, here from the outside in."""
    context = _get_context(app)
    settings = context.settings
    uses_keys = settings.api_keys != "off"
    middleware: list[ASGIMiddleware] = [
        RepeatedHeadersMiddleware(),
        RequestLogMiddleware(),  # here, so that every response has an ID and a log line
        SecurityHeadersMiddleware(embeddable="*" in settings.origins),
    ]
    if settings.origins:  # outside of everything that rejects requests: pages can read errors
        middleware.append(CorsMiddleware(settings.origins, allow_keys=uses_keys))
    error_formats: list[ASGIMiddleware] = [ApiErrorMiddleware()]
    if settings.serves_pages:
        choose_renderer = create_error_pages(settings).choose_renderer
        error_formats.insert(0, ErrorPageMiddleware(choose_renderer, PAGE_HEADERS))
    middleware += [
        *error_formats,  # for the errors of ResponseBudgetMiddleware
        ResponseBudgetMiddleware(),
        ConditionalMiddleware(),
        *error_formats,  # for all others: they need their bodies, uncompressed
        RequestTimeoutMiddleware(),  # outside of everything that waits
        AllowedHostsMiddleware(settings.hosts, exempt_backend=bool(settings.tokens)),
    ]
    if uses_keys:
        middleware.append(_create_key_middleware(settings, context))
    # last, since the others need the original method and path
    middleware += [HeadOptionsMiddleware(), PaperIdMiddleware()]
    wrapped: ASGIApp = app
    for wrap in reversed(middleware):
        wrapped = wrap(wrapped)
    return wrapped


def create_error_pages(settings: Settings) -> ErrorPages:
    """Create what renders errors as pages."""
    return ErrorPages(settings, PAGE_SEGMENTS)


def _create_key_middleware(settings: Settings, context: Context) -> ApiKeyMiddleware:
    is_optional = settings.api_keys == "optional"
    anonymous_rate = Rate.parse(settings.anonymous_rate) if is_optional else None
    sessions = context.sessions if settings.serves_pages else None
    return ApiKeyMiddleware(context.api_keys, anonymous_rate, sessions, PAGE_SEGMENTS)
