"""HTTP client for arXiv's API.

`search` sends one request and returns the response, or raises an UpstreamError that contains the
failed attempt, so that every attempt can be recorded. `search.py` decides when to send a request.
"""

import asyncio
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from time import monotonic, time
from typing import Self, cast

import httpx

from . import __version__, arxiv_query, arxiv_xml, errors, metrics, timestamps
from .http_pool import HTTPConnectionPool, ssl_context
from .models.arxiv import ArxivRequest, ArxivResponse, Feed, Outcome
from .settings import Settings

logger = logging.getLogger(__name__)

MAX_RESPONSE_BYTES = 64 * 2**20
"""Per response, as received and decompressed; 2,000 papers are about 5 MiB."""
MAX_INLINE_BYTES = 48 * 2**10
"""Responses up to this size are parsed in the event loop, in a millisecond; others in a thread."""
CONNECT_TIMEOUT = 10.0
CONNECT_RETRY_SECONDS = 30
"""The Retry-After when arXiv cannot be reached."""
DAY = 86_400

_OUTCOMES: dict[type[errors.UpstreamError], Outcome] = {
    errors.UpstreamRejected: Outcome.REFUSED,
    errors.UpstreamThrottled: Outcome.BUSY,
    errors.UpstreamUnreachable: Outcome.UNREACHABLE,
    errors.UpstreamTimeout: Outcome.TIMEOUT,
    errors.UpstreamInvalidResponse: Outcome.BROKEN,
}


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
        self._transport = transport
        self._tls = ssl_context()
        self._clients = HTTPConnectionPool(self._create_client, 1, settings.timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.close_idle()

    async def search(self, request: ArxivRequest, deadline: float) -> ArxivResponse:
        """Send a request and return the response, at the latest at `deadline` (loop time).

        The caller holds the lease of the rate limiter. Raises UpstreamError.
        """
        started = monotonic()
        try:
            response = await self._send(request, deadline)
        except errors.UpstreamError as error:
            self._report(error.response, request, monotonic() - started)
            raise
        self._report(response, request, monotonic() - started)
        return response

    async def _send(self, request: ArxivRequest, deadline: float) -> ArxivResponse:
        status, timestamp = 0, int(time())
        url, timeout = self.settings.api_url, self.settings.timeout
        end = min(deadline, asyncio.get_running_loop().time() + timeout)
        try:
            with _map_http_errors(timeout):
                async with (
                    asyncio.timeout_at(end),
                    self._clients.acquire() as client,
                    client.stream("GET", url, params=request.parameters) as response,
                ):
                    status = response.status_code
                    date = _parse_http_date(response.headers.get("date", ""))
                    if date is not None and date <= timestamp + DAY:
                        timestamp = date
                    self._check_throttled(response)
                    body = await _read_body(response)
            if len(body) <= MAX_INLINE_BYTES:
                feed = _parse_feed(body, status)
            else:
                feed = await asyncio.to_thread(_parse_feed, body, status)
        except errors.UpstreamError as error:
            error.response = ArxivResponse(
                timestamp=timestamp,
                status=status,
                num_results=0,
                query=request.query,
                outcome=_OUTCOMES[type(error)],
            )
            raise
        return _create_response(feed, request, status, timestamp)

    def _create_client(self) -> httpx.AsyncClient:
        contact = f" (mailto:{self.settings.contact})" if self.settings.contact else ""
        return httpx.AsyncClient(
            transport=self._transport,
            verify=self._tls,
            timeout=httpx.Timeout(self.settings.timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30),
            # a redirect could lead to another host than the configured one
            follow_redirects=False,
            headers={
                "user-agent": f"arxiv-gateway/{__version__}{contact}",
                "accept": "application/atom+xml",
                "accept-encoding": "gzip",
            },
        )

    def _check_throttled(self, response: httpx.Response) -> None:
        if response.status_code in {429, 403, 503}:
            seconds = _parse_retry_after(response.headers.get("retry-after", ""))
            raise errors.UpstreamThrottled(
                f"arXiv throttles requests (status {response.status_code})",
                retry_after=seconds or math.ceil(self.settings.cooldown),
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
        for difference in response.remarks.get("differences", ()):
            logger.warning("arXiv executed a different query: %s (%r)", difference, request.query)


@contextmanager
def _map_http_errors(timeout: float) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise errors.UpstreamTimeout(
            f"arXiv did not complete its response within {timeout:g} seconds"
        ) from error
    except httpx.ConnectError as error:
        raise errors.UpstreamUnreachable(
            f"cannot connect to arXiv: {error}", retry_after=CONNECT_RETRY_SECONDS
        ) from error
    except (httpx.HTTPError, zlib.error) as error:
        raise errors.UpstreamInvalidResponse(
            f"the response of arXiv is incomplete or damaged: {error or type(error).__name__}"
        ) from error


def _create_response(
    feed: Feed, request: ArxivRequest, status: int, timestamp: int
) -> ArxivResponse:
    sent = request.parameters
    max_results, start = int(sent["max_results"]), int(sent["start"])
    if (received := len(feed.entries)) > max_results:
        logger.warning(
            "arXiv sent %d papers instead of %d: the others are ignored", received, max_results
        )
    for entry in feed.entries:
        if entry.published is None:
            logger.warning("arXiv sent a paper without a date: %s", entry.arxiv_id)
    entries = feed.entries[:max_results]
    expected = min(max_results, feed.items_per_page or max_results, max(0, feed.total - start))
    # an ID that is not on this page may be on another one
    is_complete = start == 0 and max_results >= len(sent["id_list"].split(","))
    remarks = {
        "differences": arxiv_query.find_differences(sent, feed),
        "missing_ids": arxiv_query.find_missing_ids(sent, entries) if is_complete else [],
    }
    return ArxivResponse(
        timestamp=timestamp,
        status=status,
        num_results=feed.total,
        query=feed.query or request.query,
        # arXiv sometimes leaves out papers that it counts; such a response must not be cached
        outcome=Outcome.SUSPECT if len(entries) < expected else Outcome.OK,
        entries=entries,
        remarks={name: texts for name, texts in remarks.items() if texts},
    )


async def _read_body(response: httpx.Response) -> bytes:
    """Read and decompress the body in bounded memory: a few bytes may decompress to gigabytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise errors.UpstreamInvalidResponse(
            f"the response of arXiv has the unsupported encoding {encoding[:50]!r}"
        )
    unzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body, received = bytearray(), 0
    # the bytes as received; unlike `aiter_raw`, this works with httpx.MockTransport too
    async for chunk in cast("httpx.AsyncByteStream", response.stream):
        received += len(chunk)
        if unzip and unzip.eof:
            raise errors.UpstreamInvalidResponse(
                "the compressed response of arXiv has trailing data"
            )
        room = MAX_RESPONSE_BYTES - len(body) + 1
        body += unzip.decompress(chunk, room) if unzip else chunk
        if received > MAX_RESPONSE_BYTES or len(body) > MAX_RESPONSE_BYTES:
            raise errors.UpstreamInvalidResponse("the response of arXiv is larger than the limit")
    if unzip and not unzip.eof:
        raise errors.UpstreamInvalidResponse("the compressed response of arXiv is truncated")
    return bytes(body)


def _parse_feed(body: bytes, status: int) -> Feed:
    """Parse a response. Raises the UpstreamError that its status or its content indicates."""
    try:
        feed = arxiv_xml.parse_feed(body)
    except arxiv_xml.InvalidFeed as error:
        if status == HTTPStatus.BAD_REQUEST:
            raise errors.UpstreamRejected("arXiv rejects the query without a reason") from error
        if status == HTTPStatus.OK:
            raise errors.UpstreamInvalidResponse(
                f"the response of arXiv is not a valid feed: {error}"
            ) from error
        raise errors.UpstreamInvalidResponse(f"arXiv responded with status {status}") from error
    if status == HTTPStatus.OK and feed.error is None:
        return feed
    # the summary of an error entry is the reason, whatever its id is
    reason = feed.error or next((entry.summary for entry in feed.entries), "no reason given")
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
        raise errors.UpstreamRejected(f"arXiv rejects the query: {reason}")
    raise errors.UpstreamInvalidResponse(f"arXiv responded with status {status}: {reason}")


def _parse_http_date(text: str) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in Unix seconds, if valid."""
    try:
        seconds = mktime_tz(parsedate_tz(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= timestamps.LATEST else None


def _parse_retry_after(text: str) -> int | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3), a day at most, if valid."""
    if text.isascii() and text.isdigit():
        return int(min(float(text), DAY))
    moment = _parse_http_date(text)
    return int(min(max(0.0, moment - time()), DAY)) if moment else None
