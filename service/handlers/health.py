"""`/health/live` and `/health/ready`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from .. import openapi
from ..context import Context
from ..db import migrations
from ..errors import DatabaseUnavailable, ServiceError
from ..models.arxiv import Outcome
from ..models.responses import ArxivState, Health
from ..search_index.state import read_status

T = TypeVar("T")

CHECK_TIMEOUT = 2.0
"""Seconds per check: probes do not wait long."""
TIMED_OUT = f"no response within {CHECK_TIMEOUT:g} seconds"
READY = "ready"
NO_STORE = CacheControlHeader(no_store=True)
USES_RATE_LIMITER = frozenset({"arxiv", "arxiv-api"})
"""Endpoints that send requests to arXiv. Without them, an instance cannot even read the table of
the rate limiter."""
EXAMPLE = Health(
    status=READY,
    arxiv=ArxivState(
        last_request="2026-11-23T20:15:00", last_outcome=Outcome.OK, asking=False, waiting=0
    ),
)


@get(
    "/health/live",
    summary="Check whether the process responds",
    tags=["operations"],
    responses=openapi.describe_json(Health, "The process responds.", example=Health(status="live"))
    | openapi.INVALID_PARAMETER,
    cache_control=NO_STORE,
)
async def get_liveness() -> Health:
    """Report that the process responds. Nothing else is checked."""
    return Health(status="live")


@get(
    "/health/ready",
    summary="Check whether the service is ready",
    tags=["operations"],
    responses=openapi.describe_json(Health, "The service is ready.", example=EXAMPLE)
    | openapi.INVALID_PARAMETER
    | {503: ResponseSpec(Health, description="Not ready; `detail` gives the reason.")},
    cache_control=NO_STORE,
)
async def get_readiness(context: NamedDependency[Context]) -> Response[Health]:
    """Report whether every PostgreSQL, or the backend, responds and has all migrations.

    Four things are reported without making an instance unready. `arxiv` is the state of the rate
    limiter, if the instance sends requests to arXiv; recorded searches are available without
    arXiv. `queue` is the state of RabbitMQ, if it is in use; without it, searches are recorded
    directly. `index` is the state of the search index; an instance that serves only `papers` is
    not ready without one. `mirror` is how current the mirror of arXiv's metadata is, if there is
    one. If a database has migrations of a newer release, `detail` lists them.
    """
    health = await check_health(context)
    return Response(health, status_code=200 if health.status == READY else 503)


async def check_health(context: Context) -> Health:
    """Return the state of the service, which is READY or not."""
    settings = context.settings
    checks = await asyncio.gather(
        *(_check_system(context, system) for system in context.records.systems)
    )
    queue = None
    if context.queue:
        queue = "connected" if context.queue.connected else "away"
    index = read_status(settings.index_path) if settings.searches_papers else None
    problems = [problem for problem, _ in checks if problem]
    if index and not index.is_usable and settings.served - {"find-keys"} == {"papers"}:
        problems.append("the search index is not complete yet")
    if detail := "; ".join(problems):
        return Health(status="not ready", detail=detail, queue=queue, index=index)
    detail = "; ".join(note for _, note in checks if note)
    arxiv = None
    if settings.served & USES_RATE_LIMITER:
        arxiv = await _read_state(context.fetch_arxiv_state)
    mirror = await _read_state(context.fetch_mirror_status)
    return Health(
        status=READY,
        detail=detail or None,
        arxiv=arxiv,
        queue=queue,
        index=index,
        mirror=mirror,
    )


async def _check_system(context: Context, system: str) -> tuple[str, str]:
    """Return a problem, which makes the instance unready, and a note; either may be empty."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            applied = await context.records.fetch_migrations(system)
    except (ServiceError, TimeoutError) as error:
        return f"{system}: {str(error) or TIMED_OUT}", ""
    if missing := sorted(migrations.list_names() - applied):
        return f"{system}: the database lacks the migrations {', '.join(missing)}", ""
    if newer := ", ".join(sorted(applied - migrations.list_names())):
        return "", f"{system}: the database has migrations of a newer release: {newer}"
    return "", ""


async def _read_state(fetch: Callable[[], Awaitable[T | None]]) -> T | None:
    """Return the state of the rate limiter or the mirror, or None if it cannot be read."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            return await fetch()
    except (DatabaseUnavailable, TimeoutError):
        return None
