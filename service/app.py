"""What is wired to what: the whole perimeter of the service on one screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins.prometheus import PrometheusConfig
from litestar.types import ASGIApp, ControllerRouterHandler

from . import openapi, tracing
from .context import create_context
from .handlers import arxiv, filters, health, papers, params, queries, query, results
from .handlers.backend import (
    arxiv_api,
    check_token,
    find_answer,
    find_keys,
    find_results,
    get_sequence,
    read_archive,
    read_queries,
    read_results,
    write_queries,
    write_results,
)
from .handlers.metrics import show_metrics
from .middleware.allowed_hosts import AllowedHostsMiddleware
from .middleware.api_keys import ApiKeyMiddleware
from .middleware.conditional import ConditionalMiddleware
from .middleware.cors import CorsMiddleware
from .middleware.head_options import HeadOptionsMiddleware
from .middleware.query_params import QueryParamsMiddleware
from .middleware.request_log import RequestLogMiddleware
from .middleware.request_timeout import RequestTimeoutMiddleware
from .middleware.security_headers import SecurityHeadersMiddleware
from .problems import EXCEPTION_HANDLERS
from .settings import ENDPOINTS, Settings

HANDLERS: dict[str, list[ControllerRouterHandler]] = {
    "arxiv": [arxiv.search_arxiv],
    "queries": [
        queries.download_queries,
        queries.list_queries,
        query.show_query,
        query.show_changes,
        query.show_feed,
    ],
    "papers": [papers.list_papers, papers.show_paper],
    "results": [results.list_results],
    "arxiv-api": [arxiv_api.ask_arxiv],
    "get-sequence": [get_sequence.get_sequence],
    "write-queries": [write_queries.write_queries],
    "write-results": [write_results.write_results],
    "read-queries": [read_queries.read_queries],
    "read-results": [read_results.read_results],
    "find-answer": [find_answer.find_answer],
    "find-results": [find_results.find_results],
    "read-archive": [read_archive.read_archive],
    "find-keys": [find_keys.find_keys],
}
BODY_LIMIT = 16 * 2**20
"""Bytes of a request body; 2,000 results are about 1 MiB."""
SMALL_BODY = 64 * 2**10
"""Bytes of one from anybody: while the rest is awaited they take memory, on each connection."""


class _App(Litestar):
    """Litestar, but that it does not look through middleware for that of OpenTelemetry.

    For that it would import all of it wherever it is installed, and `tracing` puts it in its place.
    """

    @staticmethod
    def _patch_opentelemetry_middleware(config: AppConfig) -> AppConfig:
        return config


def create_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Litestar:
    """Build the service; its lifespan opens what it needs. `transport` replaces arXiv's network.

    Raises NotConfigured where `database_url` is missing or not understood.
    """
    context = create_context(settings, transport)

    @asynccontextmanager
    async def opened(_: Litestar) -> AsyncIterator[None]:
        async with context:
            yield

    served = {
        group: [handler for name in names if name in settings.served for handler in HANDLERS[name]]
        for group, names in ENDPOINTS.items()
    }
    app = _App(
        [
            Router(
                "/",
                route_handlers=served["frontend"],
                security=openapi.KEY_IS[settings.api_keys],
                request_max_body_size=SMALL_BODY,
            ),
            Router(
                "/",
                route_handlers=served["backend"],
                guards=[check_token],
                security=[{"token": []}] if settings.tokens else None,
            ),
            health.live,
            health.ready,
            show_metrics,
            openapi.assets(),
        ],
        lifespan=[opened],
        # each needs the one before: Litestar starts a task for each of those that do not
        dependencies={
            "context": Provide(lambda: context, sync_to_thread=False),
            "search": Provide(params.search, sync_to_thread=False),
            "listing": Provide(filters.listing, sync_to_thread=False),
            "asked_papers": Provide(filters.asked_papers, sync_to_thread=False),
            "asked_queries": Provide(filters.asked_queries, sync_to_thread=False),
            "asked_results": Provide(filters.asked_results, sync_to_thread=False),
            "asked_stored_queries": Provide(filters.asked_stored_queries, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[
            PrometheusConfig(app_name="arxiv-gateway", prefix="http", group_path=True).middleware,
            *tracing.middleware(),
            RequestTimeoutMiddleware,
            QueryParamsMiddleware,
        ],
        openapi_config=openapi.config(),
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
        state=State({"settings": settings, "search_service": context.search_service}),
    )
    # outside of Litestar, so that unknown paths have them too; the log is outside of all
    layers: ASGIApp = HeadOptionsMiddleware(app.asgi_handler)
    keys_count = settings.api_keys != "off"
    if keys_count:
        anonymous = settings.rate if settings.api_keys == "optional" else None
        layers = ApiKeyMiddleware(layers, context.keys, anonymous)
    layers = ConditionalMiddleware(
        AllowedHostsMiddleware(layers, settings.hosts, guarded=bool(settings.tokens))
    )
    if settings.origins:
        layers = CorsMiddleware(layers, settings.origins, keys=keys_count)
    layers = SecurityHeadersMiddleware(layers, for_all="*" in settings.origins)
    app.asgi_handler = RequestLogMiddleware(layers)
    return app
