"""HTTP client for arXiv's API.

`search` sends one request and returns the response. A failure is a response too, with the outcome
and the reason, so that every attempt can be recorded. `search.py` decides when to send a request.
"""

import asyncio
import logging
import math
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from http import HTTPStatus
from time import monotonic, time
from typing import ParamSpec, Self, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import httpx

from . import __version__, arxiv_query, arxiv_xml, metrics, timestamps
from .errors import REJECTED
from .heap import trim_heap_later
from .http_pool import HTTPConnectionPool, create_cookie_jar, ssl_context
from .models.arxiv import ArxivRequest, ArxivResponse, Feed, Outcome, Remarks, Search
from .settings import Settings
from .untrusted_xml import InvalidResponse

logger = logging.getLogger(__name__)

MAX_RESPONSE_BYTES = 32 * 2**20
"""Per response, as received and decompressed; 2,000 papers are about 5 MiB, 200 papers with 3,000
authors each about 32 MiB. It is in memory, and what is parsed of it may take four times as much."""
LARGE_BYTES = 4 * 2**20
"""After a larger response, free memory is returned to the system."""
TRIM_DELAY = 10.0
"""How long after the timeout it is returned: recording a response takes up to 10 seconds."""
CONNECT_TIMEOUT = 10.0
CONNECT_RETRY_SECONDS = 30
"""The Retry-After when arXiv cannot be reached."""
MAX_REASON_CHARS = 1_000
"""How much of an error message of arXiv is passed on."""
MAX_LOCATION_CHARS = 200
TOO_FEW = "arXiv sent fewer papers than it counted: repeat the search later"
DAY = 86_400

P = ParamSpec("P")
T = TypeVar("T")


class _Failure(Exception):
    """A request failed; within this module only."""

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        retry_after: int | None = None,
        *,
        is_permanent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.retry_after = outcome, reason, retry_after
        self.is_permanent = is_permanent


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

        The caller holds the lease of the rate limiter.
        """
        started = monotonic()
        response = await self._send(request, deadline)
        self._report(response, request, monotonic() - started)
        return response

    async def _send(self, request: ArxivRequest, deadline: float) -> ArxivResponse:
        status, timestamp = 0, int(time())
        url, timeout = self.settings.api_url, self.settings.timeout
        now = asyncio.get_running_loop().time()
        end = min(deadline, now + timeout)
        parse_end = monotonic() + end - now
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
                    _check_redirect(response, url)
                    body = await _read_body(response)
            if len(body) >= LARGE_BYTES:
                trim_heap_later(timeout + TRIM_DELAY)
            return await _run_in_new_thread(
                _parse_response, body, request, status, timestamp, parse_end
            )
        except _Failure as failure:
            return ArxivResponse(
                timestamp=timestamp,
                status=status,
                num_results=0,
                query=request.query,
                outcome=failure.outcome,
                reason=failure.reason,
                retry_after=failure.retry_after,
                is_permanent=failure.is_permanent,
            )

    def _create_client(self) -> httpx.AsyncClient:
        contact = f" (mailto:{self.settings.contact})" if self.settings.contact else ""
        return httpx.AsyncClient(
            transport=self._transport,
            verify=self._tls,
            timeout=httpx.Timeout(self.settings.timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30),
            # a redirect could lead to another host than the configured one
            follow_redirects=False,
            event_hooks={"response": [_take_location]},
            cookies=create_cookie_jar(),
            headers={
                "user-agent": f"arxiv-gateway/{__version__}{contact}",
                "accept": "application/atom+xml",
                "accept-encoding": "gzip",
            },
        )

    def _check_throttled(self, response: httpx.Response) -> None:
        if response.status_code in {429, 403, 503}:
            seconds = _parse_retry_after(response.headers.get("retry-after", ""))
            raise _Failure(
                Outcome.BUSY,
                f"arXiv throttles requests (status {response.status_code})",
                seconds or math.ceil(self.settings.cooldown),
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


@contextmanager
def _map_http_errors(timeout: float) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise _Failure(
            Outcome.TIMEOUT, f"arXiv did not complete its response within {timeout:g} seconds"
        ) from error
    except httpx.ConnectError as error:
        raise _Failure(
            Outcome.UNREACHABLE, f"cannot connect to arXiv: {error}", CONNECT_RETRY_SECONDS
        ) from error
    except (httpx.HTTPError, zlib.error) as error:
        raise _Failure(
            Outcome.BROKEN,
            f"the response of arXiv is incomplete or damaged: {error or type(error).__name__}",
        ) from error


async def _take_location(response: httpx.Response) -> None:
    """Hide the Location from httpx, which parses it even if it does not follow redirects.

    It raises various exceptions if the URL is invalid.
    """
    response.extensions["location"] = response.headers.pop("location", "")


def _check_redirect(response: httpx.Response, url: str) -> None:
    """Fail if the response is a redirect: another attempt would be redirected too."""
    if not response.is_redirect or response.status_code == HTTPStatus.NOT_MODIFIED:
        return
    location = response.extensions["location"]
    target = ascii(location[:MAX_LOCATION_CHARS]) if location else "no location"
    reason = (
        f"arXiv redirects to {target} (status {response.status_code}); redirects are not followed"
    )
    try:
        old, new = urlsplit(url), urlsplit(urljoin(url, location))
    except ValueError:
        pass
    else:
        moved = new._replace(query="", fragment="").geturl()
        if (new.scheme, new.path) == ("https", old.path) and moved != url:
            advised = ascii(moved[:MAX_LOCATION_CHARS])
            reason += f". If that is arXiv's API, set ARXIV_API_URL to {advised}"
    raise _Failure(Outcome.BROKEN, reason, is_permanent=True)


async def _run_in_new_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread of its own, whose end frees what libxml2 keeps for each thread.

    That is every name of an element or attribute, so hostile responses would fill the memory. If
    the caller is cancelled, the thread ends when the function returns.
    """
    executor = ThreadPoolExecutor(1)
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, partial(function, *args, **kwargs))
    finally:
        executor.shutdown(wait=False)


def _parse_response(
    body: bytearray, request: ArxivRequest, status: int, timestamp: int, deadline: float
) -> ArxivResponse:
    """Parse a response and compare it with the request.

    Raises _Failure if its status or its content indicates one, and at `deadline` (monotonic).
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


async def _read_body(response: httpx.Response) -> bytearray:
    """Read and decompress the body in bounded memory: a few bytes may decompress to gigabytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise _Failure(
            Outcome.BROKEN, f"the response of arXiv has the unsupported encoding {encoding[:50]!r}"
        )
    unzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body, received = bytearray(), 0
    # the bytes as received; unlike `aiter_raw`, this works with httpx.MockTransport too
    async for chunk in cast("httpx.AsyncByteStream", response.stream):
        received += len(chunk)
        if unzip and unzip.eof:
            raise _Failure(Outcome.BROKEN, "the compressed response of arXiv has trailing data")
        room = MAX_RESPONSE_BYTES - len(body) + 1
        body += unzip.decompress(chunk, room) if unzip else chunk
        if received > MAX_RESPONSE_BYTES or len(body) > MAX_RESPONSE_BYTES:
            raise _Failure(Outcome.BROKEN, "the response of arXiv is larger than the limit")
    if unzip and not unzip.eof:
        raise _Failure(Outcome.BROKEN, "the compressed response of arXiv is truncated")
    return body


def _parse_feed(body: bytearray, status: int, max_results: int, deadline: float) -> Feed:
    try:
        feed = arxiv_xml.parse_feed(body, max_results, deadline)
    except TimeoutError as error:
        raise _Failure(Outcome.TIMEOUT, "the response of arXiv takes too long to parse") from error
    except InvalidResponse as error:
        if status == HTTPStatus.BAD_REQUEST:
            raise _Failure(Outcome.REFUSED, "arXiv rejects the query without a reason") from error
        if status == HTTPStatus.OK:
            raise _Failure(
                Outcome.BROKEN, f"the response of arXiv is not a valid feed: {error}"
            ) from error
        raise _Failure(Outcome.BROKEN, f"arXiv responded with status {status}") from error
    if status == HTTPStatus.OK and feed.error is None:
        return feed
    # the summary of an error entry is the reason, whatever its id is
    reason = feed.error or next((entry.summary for entry in feed.entries), "no reason given")
    reason = reason[:MAX_REASON_CHARS]
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
        raise _Failure(Outcome.REFUSED, f"{REJECTED}{reason}")
    raise _Failure(Outcome.BROKEN, f"arXiv responded with status {status}: {reason}")


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
