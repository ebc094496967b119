"""HTTP client for arXiv's API.

`search` sends one request and returns the response. A failure is a response too, with the outcome
and the reason, so that every attempt can be recorded. `search.py` decides when to send a request.
"""

import asyncio
import logging
from http import HTTPStatus
from time import monotonic, time
from typing import Self

import httpx

from . import arxiv_query, arxiv_xml, metrics
from .arxiv_http import ArxivFailure, ArxivHttp, ArxivService, HttpResponse, run_in_new_thread
from .errors import REJECTED
from .heap import trim_heap_later
from .models.arxiv import ArxivRequest, ArxivResponse, Feed, Outcome, Remarks, Search
from .settings import Settings
from .untrusted_xml import InvalidResponse

logger = logging.getLogger(__name__)

API = ArxivService("arXiv's API", "ARXIV_API_URL", "application/atom+xml")
LARGE_BYTES = 4 * 2**20
"""After a larger response, free memory is returned to the system."""
TRIM_DELAY = 10.0
"""How long after the timeout it is returned: recording a response takes up to 10 seconds."""
MAX_REASON_CHARS = 1_000
"""How much of an error message of arXiv is passed on."""
TOO_FEW = "arXiv sent fewer papers than it counted: repeat the search later"


class ArxivClient:
    """A client of arXiv's API; leaving its context closes the connection.

    `transport` replaces the network in tests.
    """

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.settings = settings
        self.latest_request: tuple[int, Outcome] | None = None
        """Unix seconds and outcome of the latest request."""
        self._http = ArxivHttp(settings, API, transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.__aexit__()

    async def search(self, request: ArxivRequest, deadline: float) -> ArxivResponse:
        """Send a request and return the response, at the latest at `deadline` (loop time).

        The caller holds the lease of the rate limiter.
        """
        started = monotonic()
        response = await self._send(request, deadline)
        self._report(response, request, monotonic() - started)
        return response

    async def _send(self, request: ArxivRequest, deadline: float) -> ArxivResponse:
        settings, now = self.settings, asyncio.get_running_loop().time()
        end = min(deadline, now + settings.timeout)
        parse_end = monotonic() + end - now
        response = HttpResponse()
        try:
            response = await self._http.fetch(settings.api_url, request.parameters, end)
            if len(response.body) >= LARGE_BYTES:
                trim_heap_later(settings.timeout + TRIM_DELAY)
            return await run_in_new_thread(
                _parse_response,
                response.body,
                request,
                response.status,
                response.timestamp,
                parse_end,
            )
        except ArxivFailure as failure:
            return ArxivResponse(
                timestamp=response.timestamp or failure.timestamp,
                status=response.status or failure.status,
                num_results=0,
                query=request.query,
                outcome=failure.outcome,
                reason=failure.reason,
                retry_after=failure.retry_after,
                is_permanent=failure.is_permanent,
            )

    def _report(self, response: ArxivResponse, request: ArxivRequest, seconds: float) -> None:
        metrics.count_upstream_request(response, seconds)
        self.latest_request = int(time()), response.outcome
        logger.info(
            "response from arXiv: status %d in %.2f s, %d of %d papers for %r",
            response.status,
            seconds,
            len(response.entries),
            response.num_results,
            request.query,
        )
        # clients of arXiv's own API send queries that mean what arXiv makes of them
        is_ours = isinstance(request.search, Search)
        for difference in response.remarks.get("differences", ()) if is_ours else ():
            logger.warning("arXiv executed a different query: %s (%r)", difference, request.query)
        for warning in response.remarks.get("warnings", ()):
            logger.warning("%s (%r)", warning, request.query)
        if undated := sum(entry.published is None for entry in response.entries):
            logger.warning("arXiv sent %d papers without a date (%r)", undated, request.query)


def _parse_response(
    body: bytearray, request: ArxivRequest, status: int, timestamp: int, deadline: float
) -> ArxivResponse:
    """Parse a response and compare it with the request.

    Raises ArxivFailure if its status or its content indicates one, and at `deadline` (monotonic).
    """
    sent = request.parameters
    max_results, start = int(sent["max_results"]), int(sent["start"])
    feed = _parse_feed(body, status, max_results, deadline)
    warnings = [*feed.warnings]
    if feed.num_ignored:
        received = len(feed.entries) + feed.num_ignored
        warnings.append(
            f"arXiv sent {received} papers instead of {max_results}: the others are ignored"
        )
    expected = min(max_results, feed.items_per_page or max_results, max(0, feed.total - start))
    # arXiv sometimes leaves out papers that it counts; such a response must not be cached
    is_short = len(feed.entries) < expected
    if is_short:
        warnings.append(TOO_FEW)
    return ArxivResponse(
        timestamp=timestamp,
        status=status,
        num_results=feed.total,
        query=feed.query or request.query,
        feed_link=feed.link,
        outcome=Outcome.SUSPECT if is_short else Outcome.OK,
        reason=TOO_FEW if is_short else "",
        entries=feed.entries,
        remarks=_find_remarks(request, feed, warnings),
    )


def _find_remarks(request: ArxivRequest, feed: Feed, warnings: list[str]) -> Remarks:
    sent = request.parameters
    remarks = {"differences": arxiv_query.find_differences(sent, feed), "warnings": warnings}
    # an ID that is not on this page may be on another one
    if sent["start"] == "0" and int(sent["max_results"]) >= len(sent["id_list"].split(",")):
        remarks["missing_ids"] = arxiv_query.find_missing_ids(sent, feed.entries)
    return {name: texts for name, texts in remarks.items() if texts}


def _parse_feed(body: bytearray, status: int, max_results: int, deadline: float) -> Feed:
    try:
        feed = arxiv_xml.parse_feed(body, max_results, deadline)
    except TimeoutError as error:
        raise ArxivFailure(
            Outcome.TIMEOUT, "the response of arXiv takes too long to parse"
        ) from error
    except InvalidResponse as error:
        if status == HTTPStatus.BAD_REQUEST:
            raise ArxivFailure(
                Outcome.REFUSED, "arXiv rejects the query without a reason"
            ) from error
        if status == HTTPStatus.OK:
            raise ArxivFailure(
                Outcome.BROKEN, f"the response of arXiv is not a valid feed: {error}"
            ) from error
        raise ArxivFailure(Outcome.BROKEN, f"arXiv responded with status {status}") from error
    if status == HTTPStatus.OK and feed.error is None:
        return feed
    # the summary of an error entry is the reason, whatever its id is
    reason = feed.error or next((entry.summary for entry in feed.entries), "no reason given")
    reason = reason[:MAX_REASON_CHARS]
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
        raise ArxivFailure(Outcome.REFUSED, f"{REJECTED}{reason}")
    raise ArxivFailure(Outcome.BROKEN, f"arXiv responded with status {status}: {reason}")
