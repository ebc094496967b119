"""`/health`: whether the process lives, and whether it can serve."""

import asyncio
from time import time

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from service import migrations, openapi, timestamps
from service.errors import StoreUnavailable
from service.models import ArxivState, Health, Outcome
from service.parts import Parts

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
async def ready(parts: NamedDependency[Parts]) -> Response[Health]:
    """Tell whether PostgreSQL answers and has had all migrations.

    An instance that asks arXiv also tells how things stand there, which is no condition: what is
    recorded is answered without it. Nor is it one that the database is not ahead of this release,
    as it is while a newer one is brought in; then `detail` names the migrations it has beyond.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            applied = await parts.store.migrations()
    except (StoreUnavailable, TimeoutError) as error:
        return _not_ready(str(error) or f"the database does not answer within {PATIENCE:g} seconds")
    if missing := sorted(migrations.names() - applied):
        return _not_ready(f"the database lacks the migrations {', '.join(missing)}")
    ahead = ", ".join(sorted(applied - migrations.names()))
    detail = f"the database is ahead of this release by {ahead}" if ahead else None
    arxiv = await _arxiv(parts) if parts.settings.served & ASKING else None
    return Response(Health(status="ready", detail=detail, arxiv=arxiv))


def _not_ready(detail: str) -> Response[Health]:
    return Response(Health(status="not ready", detail=detail), status_code=503)


async def _arxiv(parts: Parts) -> ArxivState | None:
    """How things stand with arXiv; None where the gate cannot be looked at."""
    try:
        async with asyncio.timeout(PATIENCE):
            state = await parts.gate.state()
    except (StoreUnavailable, TimeoutError):
        return None
    zone = parts.settings.zone
    when, outcome = parts.arxiv.latest or (None, None)
    return ArxivState(
        last_request=timestamps.to_iso(when, zone) if when else None,
        last_outcome=outcome,
        asking=state.asking,
        waiting=state.waiting,
        closed_until=timestamps.to_iso(int(time() + state.closed), zone) if state.closed else None,
    )
