"""`/health`: whether the process lives, and whether it can serve."""

import asyncio

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from service import migrations, openapi
from service.errors import ServiceError
from service.models import Health
from service.parts import Parts

PATIENCE = 2.0
"""Seconds; who asks for health does not wait for long."""


NOT_KEPT = CacheControlHeader(no_store=True)


@get(
    "/health/live",
    tags=["operation"],
    responses=openapi.answer(Health(status="live")) | openapi.BAD_INPUT,
    cache_control=NOT_KEPT,
)
async def live() -> Health:
    """Tell that the process answers; it depends on nothing else."""
    return Health(status="live")


@get(
    "/health/ready",
    tags=["operation"],
    responses=openapi.answer(Health(status="ready"))
    | openapi.BAD_INPUT
    | {503: ResponseSpec(Health, description="not ready; `detail` tells why")},
    cache_control=NOT_KEPT,
)
async def ready(parts: NamedDependency[Parts]) -> Response[Health]:
    """Tell whether every PostgreSQL, or the backend, answers and has had all migrations.

    Where searches are recorded through a queue, `queue` tells whether that is there; without it
    they are written directly.
    """
    amiss = await asyncio.gather(*(_amiss(parts, system) for system in parts.store.systems))
    queue = None
    if parts.buffer:
        queue = "connected" if parts.buffer.connected else "away"
    if detail := "; ".join(filter(None, amiss)):
        health = Health(status="not ready", detail=detail, queue=queue)
        return Response(health, status_code=503)
    return Response(Health(status="ready", queue=queue))


async def _amiss(parts: Parts, system: str) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            missing = sorted(migrations.names() - await parts.store.migrations(system))
    except (ServiceError, TimeoutError) as error:
        return (
            f"{system}: {error}"
            if str(error)
            else f"{system}: no answer within {PATIENCE:g} seconds"
        )
    return f"{system}: the database lacks the migrations {', '.join(missing)}" if missing else None
