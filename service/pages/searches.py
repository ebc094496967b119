"""`/searches` and below: recorded searches, one with its results and changes, and run again."""

import asyncio
from collections.abc import Sequence
from typing import Any

from litestar import get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from msgspec import Struct

from ..context import Context
from ..db.reader import QUERIES, ListSelection
from ..errors import InvalidParameter, NotFound, QueueTooLong, UpstreamError
from ..formats import FORMATS
from ..handlers.params import PageQuery, QueriesQuery, QueryIdPath
from ..lists import ListReader
from ..models.arxiv import Outcome, is_mirrored
from ..models.records import ResultRow, Run
from ..models.responses import Changes, Paper
from ..problems import AnyRequest
from ..recorded_query import restore_search
from .csrf import check_token, create_token
from .forms import read_form
from .history import create_history_entry
from .page import create_page, create_problem_page
from .page_params import choose_page_size, parse_values, read_values
from .redirects import redirect_to_search

FIELDS = "text", "start_timestamp", "end_timestamp", "status"
PARAMETERS = (*FIELDS, "order", "items_per_page", "after")
PAGE_SIZE = 50
MAX_CHANGES = 100
"""Papers of each kind that are shown; a search may have 2,000."""


class ShownResult(Struct, frozen=True):
    """A result with its paper, if that is stored."""

    row: ResultRow
    paper: Paper | None


@get("/searches")
async def list_searches(request: AnyRequest, context: NamedDependency[Context]) -> Template:
    """Return recorded searches, or the form with the error."""
    values = read_values(request, PARAMETERS)
    try:
        query = parse_values(request, context, QueriesQuery, PARAMETERS)
        if "order" not in values:
            query.order = "newest"
        size = choose_page_size(query.items_per_page, PAGE_SIZE)
        filters = query.build_filter(context.settings.zone)
        selection = ListSelection(QUERIES, filters, query.is_reversed)
        searches = ListReader(context.reader, selection, request, query, size)
        rows, links = await searches.fetch_page()
    except InvalidParameter as error:
        return create_problem_page(
            request, context, error, "searches.html", fields=FIELDS, values=values
        )
    return create_page(
        request,
        context,
        "searches.html",
        values=values,
        links=links,
        searches=[create_history_entry(row, context) for row in rows],
    )


@get("/searches/{query_id:int}")
async def show_recorded_search(
    request: AnyRequest, context: NamedDependency[Context], query_id: QueryIdPath
) -> Template:
    """Return a recorded search with its results."""
    run = await _fetch_run(context, query_id)
    number = parse_values(request, context, PageQuery, ("page",)).page or 0
    values = await _fetch_search_values(request, context, run, number)
    return create_page(request, context, "recorded_search.html", **values)


@post("/searches/{query_id:int}/runs")
async def repeat_search(
    request: AnyRequest, context: NamedDependency[Context], query_id: QueryIdPath
) -> Redirect | Template:
    """Run a search again, and redirect to the new run, or show why it failed."""
    await check_token(request, context, await read_form(request))
    run = await _fetch_run(context, query_id)
    restored = restore_search(run, context.settings.api_url)
    if restored is None:
        raise InvalidParameter("query_id", f"search {query_id} was not sent to arXiv's API")
    try:
        # a search that a current mirror has answered stays one that the mirror may answer
        reply = await context.search_service.search(
            restored.query, bypass_cache=restored.source != "auto", source=restored.source
        )
    except (InvalidParameter, QueueTooLong, UpstreamError) as error:
        values = await _fetch_search_values(request, context, run, 0)
        return create_problem_page(request, context, error, "recorded_search.html", **values)
    return await redirect_to_search(context, reply.recorded.query_id)


async def _fetch_run(context: Context, query_id: int) -> Run:
    try:
        return await context.runs.fetch(query_id, ignore_read_delay=True)
    except NotFound:
        reason = "see /searches for the recorded ones, or wait if it has just ended"
        raise NotFound(f"no search {query_id} is recorded: {reason}") from None


async def _fetch_search_values(
    request: AnyRequest, context: Context, run: Run, number: int
) -> dict[str, Any]:
    """Return the variables of a search, with a page of its results."""
    reader = context.reader
    results, previous, following, token = await asyncio.gather(
        reader.fetch_results(run),
        context.runs.find_previous(run),
        reader.fetch_next_run(run),
        create_token(request, context),
    )
    start = number * PAGE_SIZE
    shown = results[start : start + PAGE_SIZE]
    return {
        "search": create_history_entry(run, context),
        "restored": restore_search(run, context.settings.api_url),
        "is_mirrored": is_mirrored(run.remarks),
        "warnings": _list_warnings(run),
        "missing_ids": (run.remarks or {}).get("missing_ids", []),
        "previous": create_history_entry(previous, context) if previous else None,
        "following": create_history_entry(following, context) if following else None,
        "changes": await _find_changes(context, run, previous, results),
        "max_changes": MAX_CHANGES,
        "results": await _fetch_shown_results(context, shown),
        "links": _link_pages(run, number, len(results)),
        "exports": _list_exports(run.query_id),
        "form_token": token,
        "max_wait": round(context.settings.max_wait),
    }


def _list_exports(query_id: int) -> list[tuple[str, str]]:
    """Return the names of the formats, and the paths of the results in them."""
    tables = [(name, f"/results?query_id={query_id}&format={name}") for name in FORMATS]
    return [("json", f"/queries/{query_id}"), *(pair for pair in tables if pair[0] != "json")]


def _list_warnings(run: Run) -> list[str]:
    remarks = run.remarks or {}
    return [*remarks.get("differences", ()), *remarks.get("warnings", ())]


async def _find_changes(
    context: Context, run: Run, previous: Run | None, results: list[ResultRow]
) -> Changes | None:
    """Return the changes since the previous run; None without one, and of a run that failed."""
    if previous is None or run.outcome != Outcome.OK:
        return None
    return await context.runs.compare(run, results, previous)


async def _fetch_shown_results(context: Context, rows: Sequence[ResultRow]) -> list[ShownResult]:
    zone = context.settings.zone
    return [
        ShownResult(row, Paper.from_row(paper, zone) if paper else None)
        for row, paper in await context.runs.pair_with_papers(rows)
    ]


def _link_pages(run: Run, number: int, total: int) -> dict[str, str]:
    """Return the paths of the other pages of the results by their relation."""
    path = f"/searches/{run.query_id}"
    pages = {"prev": number - 1} if number else {}
    if (number + 1) * PAGE_SIZE < total:
        pages["next"] = number + 1
    return {rel: f"{path}?page={page}" if page else path for rel, page in pages.items()}
