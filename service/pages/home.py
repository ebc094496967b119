"""`/`: the search box, for the stored papers or for arXiv, and what happened lately."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from math import ceil
from typing import Any, TypeVar
from urllib.parse import urlencode

from litestar import get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER

from ..arxiv_query_translation import create_search
from ..context import Context
from ..db.reader import QUERIES, ListSelection
from ..errors import FormRejected, InvalidParameter, QueueTooLong, ServiceError, UpstreamError
from ..models.filters import AnnouncementFilter, Position, QueryFilter
from ..models.records import AnnouncedDay
from ..models.responses import ArxivState, IndexStatus, MirrorStatus
from ..paper_query import parse_query
from ..problems import AnyRequest
from .csrf import check_token, create_token
from .forms import read_form
from .history import create_history_entry
from .page import create_page, create_problem_page
from .page_params import read_values, replace_controls
from .redirects import redirect_to_search

MAX_FORM_BYTES = 2**20
"""A text that is too long for a search is shown again, with the error."""
RECENT_SEARCHES = 10
MAX_COUNT = 10_001
"""Searches of the day that are counted."""
READ_SECONDS = 2.0
"""How long the page waits for what is shown below the search box."""
REQUEST_SECONDS = 2
"""How long a request to arXiv usually takes."""

T = TypeVar("T")


@get("/")
async def show_home(request: AnyRequest, context: NamedDependency[Context]) -> Template:
    """Return the start page; its form may be filled in."""
    values = {name: texts[0] for name, texts in read_values(request, ("q", "mode")).items()}
    return create_page(
        request,
        context,
        "home.html",
        **await _fetch_values(request, context, values),
    )


@post("/", request_max_body_size=MAX_FORM_BYTES)
async def start_search(
    request: AnyRequest, context: NamedDependency[Context]
) -> Redirect | Template:
    """Search the stored papers or arXiv, and redirect to the results when they are there."""
    form = await read_form(request)
    q, mode = form.get("q", ""), form.get("mode", "")
    try:
        if mode != "arxiv":
            return _redirect_to_papers(q)
        await check_token(request, context, form)
        reply = await context.search_service.search(create_search(q))
    except (FormRejected, InvalidParameter, QueueTooLong, UpstreamError) as error:
        values = await _fetch_values(request, context, {"q": replace_controls(q), "mode": mode})
        return create_problem_page(request, context, error, "home.html", **values)
    return await redirect_to_search(context, reply.recorded.query_id)


def _redirect_to_papers(q: str) -> Redirect:
    """Redirect to the stored papers that match. Raises InvalidParameter."""
    if not q.strip():
        return Redirect("/search", status_code=HTTP_303_SEE_OTHER)
    parse_query(q)  # a text that is too long for it may be too long for a URL
    return Redirect(f"/search?{urlencode({'q': q})}", status_code=HTTP_303_SEE_OTHER)


async def _fetch_values(
    request: AnyRequest, context: Context, values: dict[str, str]
) -> dict[str, Any]:
    """Return the variables of the page; what cannot be read is None."""
    zone = context.settings.zone
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    latest = ListSelection(QUERIES, QueryFilter(), newest=True)
    (recent, searches_today, day), (arxiv, mirror, index), token = await asyncio.gather(
        asyncio.gather(
            _read_or_none(context.reader.fetch_page(latest, Position(), RECENT_SEARCHES)),
            _read_or_none(context.reader.count_runs(int(midnight.timestamp()), MAX_COUNT)),
            _read_or_none(context.reader.fetch_announced_day(AnnouncementFilter())),
        ),
        asyncio.gather(
            _read_or_none(context.fetch_arxiv_state()),
            _read_or_none(context.fetch_mirror_status()),
            _read_or_none(context.fetch_index_status()),
        ),
        _read_or_none(create_token(request, context)),
    )
    return {
        "values": values,
        "form_token": token,
        "recent": None
        if recent is None
        else [create_history_entry(row, context) for row in recent],
        "searches_today": _format_count(searches_today),
        "index": index,
        "announced": _describe_announcements(day),
        "status": _describe_status(arxiv, mirror, index),
        "wait": _estimate_wait(arxiv, context),
    }


async def _read_or_none(reading: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await reading
    except (ServiceError, TimeoutError):
        return None  # the search box is useful without it


def _format_count(count: int | None) -> str | None:
    if count is None:
        return None
    return f"{count:,}" if count < MAX_COUNT else f"more than {MAX_COUNT - 1:,}"


def _describe_announcements(day: AnnouncedDay | None) -> tuple[str, int] | None:
    """Return the latest day of announcements and their number, if any are stored."""
    if day is None or day.date is None:
        return None
    return day.date.isoformat(), sum(day.counts.values())


def _describe_status(
    arxiv: ArxivState | None, mirror: MirrorStatus | None, index: IndexStatus | None
) -> list[str]:
    """Return the state of the service as short sentences."""
    sentences = [_describe_arxiv(arxiv)] if arxiv else []
    if mirror and mirror.synced_at:
        sentences.append(f"The mirror has arXiv's data of {mirror.synced_at.replace('T', ' ')}.")
    if index and index.state != "ready":
        sentences.append(
            "The search index is being built."
            if index.state == "building"
            else "The search index cannot be updated."
        )
    return sentences


def _describe_arxiv(arxiv: ArxivState) -> str:
    if arxiv.closed_until:
        return f"arXiv throttles requests until {arxiv.closed_until.replace('T', ' ')}."
    if arxiv.waiting:
        noun = "search waits" if arxiv.waiting == 1 else "searches wait"
        return f"{arxiv.waiting} {noun} for arXiv."
    if arxiv.asking:
        return "A request to arXiv is in progress."
    if arxiv.last_outcome is None:
        return "This instance has not sent a request to arXiv yet."
    if arxiv.last_outcome == "ok":
        return "arXiv responds."
    return f"The last request to arXiv failed: {arxiv.last_outcome}."


def _estimate_wait(arxiv: ArxivState | None, context: Context) -> int | None:
    """Return after how many seconds arXiv probably answers; None during a cooldown."""
    if arxiv is None or arxiv.closed_until:
        return None
    ahead = arxiv.waiting + arxiv.asking
    # that of the backend, which may have another one than its frontends
    interval = context.settings.interval if arxiv.interval is None else arxiv.interval
    return ceil(ahead * (interval + REQUEST_SECONDS) + REQUEST_SECONDS)
