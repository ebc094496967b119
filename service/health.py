"""The state of the service: its databases, or its backend, and what it uses beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .context import Context
from .db import migrations
from .errors import DatabaseUnavailable, ServiceError
from .models.responses import Health

T = TypeVar("T")

CHECK_TIMEOUT = 2.0
"""Seconds per check: probes do not wait long."""
TIMED_OUT = f"no response within {CHECK_TIMEOUT:g} seconds"
READY = "ready"
USES_RATE_LIMITER = frozenset({"arxiv", "arxiv-api"})
"""Endpoints that send requests to arXiv. Without them, an instance cannot even read the table of
the rate limiter."""


async def check_health(context: Context) -> Health:
    """Return the state of the service, which is READY or not."""
    settings = context.settings
    checks = await asyncio.gather(
        *(_check_system(context, system) for system in context.records.systems)
    )
    queue = index = None
    if settings.backend_url is None:  # a frontend would report those of its backend
        queue, index = await context.fetch_queue_status(), await context.fetch_index_status()
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
