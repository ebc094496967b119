"""`/arxiv`: search arXiv, or remember what it answered, and record it."""

import asyncio
from functools import lru_cache
from time import monotonic

from litestar import Response, get
from litestar.di import NamedDependency

from .. import openapi, timestamps
from ..context import Context
from ..errors import DatabaseUnavailable
from ..models.arxiv import Search
from ..models.records import ResultRow
from ..models.responses import Result, SearchSummary
from ..problems import AnyRequest
from ..search import SearchReply
from ..settings import Settings
from .client_state import bypasses_cache, cancel_on_disconnect
from .params import Include

PATIENCE = 2.0
"""Seconds that an answer waits for results that are in the queue."""
LOOK_AGAIN = 0.1
_to_iso = lru_cache(maxsize=1024)(timestamps.format_iso)
"""The answers that are at hand are told again and again."""
EXAMPLE = SearchSummary(
    query_id=42, timestamp="2026-11-23T20:15:00", status=200, num_results=214_881, num_entries=10
)


@get(
    "/arxiv",
    summary="Search arXiv",
    operation_id="searchArxiv",
    responses=openapi.describe_json(SearchSummary, "The recorded search.", example=EXAMPLE)
    | openapi.UPSTREAM_PROBLEMS
    | openapi.API_KEY_PROBLEMS,
    operation_class=openapi.SearchOperation,
    tags=["frontend"],
)
async def search_arxiv(
    request: AnyRequest,
    context: NamedDependency[Context],
    search: NamedDependency[Search],
    include: Include = None,
) -> Response[SearchSummary]:
    """Search arXiv, record the answer with all its papers, and tell where it is recorded.

    Every parameter given must match; at least one term is needed. `status` is the HTTP status of
    arXiv's answer, `num_results` how many papers match in all, `num_entries` how many of them are
    now in `/results`. The same search is answered from the record until arXiv's answers change, at
    its daily announcement; `Cache-Status`, `Age` and `Cache-Control` tell. A request with
    `Cache-Control: no-cache` asks arXiv again.
    """
    bypass_cache = bypasses_cache(request)
    found = None if bypass_cache else context.search_service.at_hand(search)
    if found is None:
        found = await cancel_on_disconnect(
            request, context.search_service.search(search, bypass_cache=bypass_cache)
        )
    answer = receipt(found, context.settings)
    if include == "results":
        rows = await results_of(answer, context)
        answer.results = Result.from_rows(rows, context.settings.zone)
    headers = {name.decode(): value.decode() for name, value in _headers(found)}
    return Response(answer, headers=headers)


def _headers(found: SearchReply) -> list[tuple[bytes, bytes]]:
    return [
        (b"cache-status", f"arxiv-gateway; {found.how}".encode()),
        (b"cache-control", b"max-age=%d" % found.lifetime),
        (b"age", b"%d" % found.age),
    ]


async def results_of(answer: SearchSummary, context: Context) -> list[ResultRow]:
    """The results of a search, which may still be in the queue of another process for a moment.

    Raises StoreUnavailable where they do not come.
    """
    end = monotonic() + PATIENCE
    while True:
        rows = await context.records.results_of(answer.query_id)
        if len(rows) == answer.num_entries:
            return rows
        if monotonic() > end:
            raise DatabaseUnavailable(
                f"search {answer.query_id} is recorded, but its results are still in the queue",
                query_id=answer.query_id,
            )
        await asyncio.sleep(LOOK_AGAIN)


def receipt(found: SearchReply, settings: Settings) -> SearchSummary:
    """What is said of a recorded search."""
    recorded = found.recorded
    remarks = recorded.remarks or {}
    warnings = list(remarks.get("differences", ()))
    if recorded.outcome == "suspect":
        warnings.append("arXiv sent fewer papers than it has: ask again later")
    return SearchSummary(
        query_id=recorded.query_id,
        timestamp=_to_iso(recorded.timestamp, settings.zone),
        status=recorded.status,
        num_results=recorded.num_results,
        num_entries=recorded.num_entries,
        warnings=warnings,
        missing_ids=remarks.get("missing_ids", []),
    )
