"""`/health`: whether the process lives, and whether it can serve."""

import asyncio
from typing import NamedTuple

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

PATIENCE = 2.0
"""Seconds; who asks for health does not wait for long."""
NOT_KEPT = CacheControlHeader(no_store=True)
ASKING = frozenset({"arxiv", "arxiv-api"})
"""What an instance serves that asks arXiv; one that only reads may not even look at the gate."""
EXAMPLE = Health(
    status="ready",
    arxiv=ArxivState(
        last_request="2026-11-23T20:15:00", last_outcome=Outcome.OK, asking=False, waiting=0
    ),
)


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
    responses=openapi.answer(EXAMPLE)
    | openapi.BAD_INPUT
    | {503: ResponseSpec(Health, description="not ready; `detail` tells why")},
    cache_control=NOT_KEPT,
)
async def ready(context: NamedDependency[Context]) -> Response[Health]:
    """Tell whether every PostgreSQL, or the backend, answers and has had all migrations.

    An instance that asks arXiv also tells how things stand there, which is no condition: what is
    recorded is answered without it. Nor is it one that no database is ahead of this release, as
    they are while a newer one is brought in; then `detail` names the migrations beyond it. Where
    searches are recorded through a queue, `queue` tells whether that is there; without it they
    are written directly.
    """
    looks = await asyncio.gather(*(_look(context, system) for system in context.store.systems))
    queue = None
    if context.buffer:
        queue = "connected" if context.buffer.connected else "away"
    if detail := "; ".join(look.amiss for look in looks if look.amiss):
        health = Health(status="not ready", detail=detail, queue=queue)
        return Response(health, status_code=503)
    odd = "; ".join(look.odd for look in looks if look.odd)
    arxiv = await _arxiv(context) if context.settings.served & ASKING else None
    return Response(Health(status="ready", detail=odd or None, arxiv=arxiv, queue=queue))


class _Look(NamedTuple):
    """What is wrong with a system, and what is only odd."""

    amiss: str = ""
    odd: str = ""


async def _look(context: Context, system: str) -> _Look:
    try:
        async with asyncio.timeout(PATIENCE):
            applied = await context.store.fetch_migrations(system)
    except (ServiceError, TimeoutError) as error:
        return _Look(amiss=f"{system}: {str(error) or f'no answer within {PATIENCE:g} seconds'}")
    if missing := sorted(migrations.names() - applied):
        return _Look(amiss=f"{system}: the database lacks the migrations {', '.join(missing)}")
    ahead = ", ".join(sorted(applied - migrations.names()))
    return _Look(odd=f"{system}: the database is ahead of this release by {ahead}" if ahead else "")


async def _arxiv(context: Context) -> ArxivState | None:
    """How things stand with arXiv; None where the gate cannot be looked at."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await context.arxiv_state()
    except (DatabaseUnavailable, TimeoutError):
        return None
