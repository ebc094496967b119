"""`/status`: the state of the service, and charts of the last days."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta, tzinfo
from functools import partial
from time import time
from typing import Generic, TypeVar

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Template
from msgspec import Struct, structs

from .. import __version__, timestamps
from ..context import Context
from ..errors import ServiceError
from ..health import check_health
from ..models.arxiv import Outcome
from ..models.records import SearchCount
from ..models.responses import Health
from ..problems import AnyRequest
from ..recorded_query import describe_query, parse_recorded_query
from .charts import (
    Chart,
    Series,
    create_bar_chart,
    create_line_chart,
    format_percent,
    format_seconds,
)
from .history import describe_outcome
from .page import create_page
from .page_params import replace_controls

DAYS = 14
RESPONSES = 20
IMPORTS = 5
TIMEOUT = 5.0
"""Seconds for each part of the page; the others are shown without it."""
TIMED_OUT = f"no response within {TIMEOUT:g} seconds"
MAX_QUERY_CHARS = 200
CACHED = frozenset({"process", "database", "flight", "stale"})
"""The sources that need no request to arXiv; as in the dashboard of Grafana."""
OUTCOME_GROUPS: dict[str, frozenset[str]] = {
    "answered": frozenset({Outcome.OK}),
    "incomplete": frozenset({Outcome.SUSPECT}),
    "failed at arXiv": frozenset(
        {Outcome.REFUSED, Outcome.BUSY, Outcome.BROKEN, Outcome.TIMEOUT, Outcome.UNREACHABLE}
    ),
    "rejected: wait too long": frozenset({"turned_away"}),
    "abandoned": frozenset({"abandoned"}),
}
OTHER = "failed otherwise"

T = TypeVar("T")


class StatusPart(Struct, Generic[T], frozen=True):
    """A part of the page, or why it cannot be shown."""

    value: T | None
    problem: str = ""


@get("/status")
async def show_status(request: AnyRequest, context: NamedDependency[Context]) -> Template:
    """Return the page; parts that cannot be read are replaced by the reason."""
    reader, zone = context.reader, context.settings.zone
    days = list_days(zone)
    health, responses, charts, imports, databases = await asyncio.gather(
        _read_part(_fetch_health(context)),
        _read_part(reader.fetch_latest_responses(RESPONSES)),
        _read_part(_create_charts(context, days)),
        _read_part(reader.fetch_imports(IMPORTS)),
        _read_part(reader.fetch_database_status()),
    )
    return create_page(
        request,
        context,
        "status.html",
        headers={"cache-control": "no-store"},
        health=health,
        responses=responses,
        charts=charts,
        imports=imports,
        databases=databases,
        version=__version__,
        zone=timestamps.format_zone(zone),
        now=timestamps.format_iso(int(time()), zone),
        num_days=DAYS,
        format_time=partial(timestamps.format_iso, tz=zone),
        format_bytes=format_bytes,
        describe_query=_describe_query,
        describe_outcome=describe_outcome,
    )


async def _read_part(part: Awaitable[T]) -> StatusPart[T]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return StatusPart(await part)
    except ServiceError as error:
        return StatusPart(None, error.detail)
    except TimeoutError:
        return StatusPart(None, TIMED_OUT)


async def _fetch_health(context: Context) -> Health:
    """Return the state of the service; a frontend shows the index and the queue of its backend."""
    health = await check_health(context)
    if context.settings.backend_url is None:
        return health
    index, queue = await context.fetch_index_status(), await context.fetch_queue_status()
    return structs.replace(health, index=index, queue=queue)


async def _create_charts(context: Context, days: list[datetime]) -> list[Chart]:
    counts = await context.reader.count_searches([int(day.timestamp()) for day in days])
    return create_charts([f"{day.day} {day:%b}" for day in days], counts)


def list_days(zone: tzinfo) -> list[datetime]:
    """Return the starts of the last days in a time zone, that of today last."""
    today = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return [today - timedelta(days=days) for days in range(DAYS - 1, -1, -1)]


def create_charts(labels: list[str], counts: list[SearchCount]) -> list[Chart]:
    """Return the charts of these periods."""
    by_period: list[list[SearchCount]] = [[] for _ in labels]
    for count in counts:
        by_period[count.period].append(count)
    return [
        create_bar_chart(
            "outcomes", "Searches by outcome", labels, _create_outcome_series(by_period)
        ),
        create_line_chart(
            "hits",
            "Cache hit ratio",
            labels,
            [Series("answered from the cache", 0, [*map(_compute_hit_ratio, by_period)])],
            format_percent,
            100,
        ),
        create_line_chart(
            "waits",
            "Waiting time for arXiv",
            labels,
            [
                Series("mean", 0, [*map(_compute_mean_wait, by_period)]),
                Series("longest", 1, [*map(_find_longest_wait, by_period)]),
            ],
            format_seconds,
        ),
    ]


def _create_outcome_series(by_period: list[list[SearchCount]]) -> list[Series]:
    return [
        Series(name, style, [_count_outcome(counts, name) for counts in by_period])
        for style, name in enumerate((*OUTCOME_GROUPS, OTHER))
    ]


def _count_outcome(counts: list[SearchCount], name: str) -> int:
    return sum(count.searches for count in counts if _name_outcome(count.outcome) == name)


def _name_outcome(outcome: str) -> str:
    return next((name for name, outcomes in OUTCOME_GROUPS.items() if outcome in outcomes), OTHER)


def _compute_hit_ratio(counts: list[SearchCount]) -> float | None:
    answered = [count for count in counts if count.outcome == Outcome.OK]
    cached = sum(count.searches for count in answered if count.answered_by in CACHED)
    requested = sum(count.searches for count in answered if count.answered_by == "arxiv")
    return 100 * cached / (cached + requested) if cached or requested else None


def _compute_mean_wait(counts: list[SearchCount]) -> float | None:
    waited = sum(count.waited for count in counts)
    return sum(count.wait_seconds for count in counts) / waited if waited else None


def _find_longest_wait(counts: list[SearchCount]) -> float | None:
    return max((count.longest_wait for count in counts if count.waited), default=None)


def format_bytes(size: float) -> str:
    """Return a size with a unit."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} GB" if size < 1000 else f"{size:,.0f} GB"  # noqa: PLR2004


def _describe_query(query: str) -> str:
    text = replace_controls(describe_query(query, parse_recorded_query(query)))
    return text if len(text) <= MAX_QUERY_CHARS else f"{text[:MAX_QUERY_CHARS]}…"
