"""HTTP requests to arXiv, whatever they are for: the API, OAI-PMH or the RSS feeds.

`ArxivHttp.fetch` returns the body of one response, or raises ArxivFailure. The caller holds the
lease of the rate limiter, and parses the body.
"""

import asyncio
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import mktime_tz, parsedate_tz
from functools import partial
from http import HTTPStatus
from time import time
from typing import ParamSpec, Self, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import httpx
from msgspec import Struct

from . import __version__, errors, timestamps
from .http_pool import HTTPConnectionPool, create_cookie_jar, ssl_context
from .models.arxiv import Outcome
from .settings import Settings

MAX_RESPONSE_BYTES = 32 * 2**20
"""Per response, as received and decompressed; 2,000 papers of the API are about 5 MiB, 200 papers
with 3,000 authors each about 32 MiB, and 2,500 records of OAI-PMH about 10 MiB. It is in memory,
and what is parsed of it may take four times as much."""
CONNECT_TIMEOUT = 10.0
CONNECT_RETRY_SECONDS = 30
"""The Retry-After when arXiv cannot be reached."""
MAX_LOCATION_CHARS = 200
DAY = 86_400

UPSTREAM_ERRORS: dict[Outcome, type[errors.UpstreamError]] = {
    Outcome.REFUSED: errors.UpstreamRejected,
    Outcome.BUSY: errors.UpstreamThrottled,
    Outcome.UNREACHABLE: errors.UpstreamUnreachable,
    Outcome.TIMEOUT: errors.UpstreamTimeout,
    Outcome.BROKEN: errors.UpstreamInvalidResponse,
}
"""The error of each outcome of a failed request."""

P = ParamSpec("P")
T = TypeVar("T")


class ArxivFailure(Exception):
    """A request failed, or its response is unusable."""

    status: int = 0
    """Of the response; 0 if there is none."""
    timestamp: int = 0
    """Of the response, or of the request; Unix seconds."""
    sent_retry_after: int | None = None
    """The Retry-After that arXiv sent."""

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

    @property
    def concerns_one_request(self) -> bool:
        """Whether other requests may be sent meanwhile.

        arXiv's OAI-PMH sends 503 with `Retry-After: 0` for some dates.
        """
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE and self.sent_retry_after == 0

    def create_error(self) -> errors.UpstreamError:
        """Return the error for users."""
        error_type = UPSTREAM_ERRORS[self.outcome]
        retry_after = None if self.concerns_one_request else self.retry_after
        return error_type(self.reason, retry_after=retry_after, upstream_status=self.status or None)


class HttpResponse(Struct):
    """A response of arXiv that is neither a redirect nor a demand to send no requests."""

    status: int = 0
    timestamp: int = 0
    """Its date, or when the request was sent; Unix seconds."""
    body: bytearray = bytearray()


class ArxivService(Struct, frozen=True):
    """One of arXiv's services."""

    name: str
    """As in messages."""
    setting: str
    """The variable with its URL."""
    media_type: str
    """What it is asked to send."""


class ArxivHttp:
    """One connection to one of arXiv's services; leaving its context closes the connection.

    `transport` replaces the network in tests.
    """

    def __init__(
        self,
        settings: Settings,
        service: ArxivService,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._service = service
        self._transport = transport
        self._tls = ssl_context()
        self._clients = HTTPConnectionPool(self._create_client, 1, settings.timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.close_idle()

    async def fetch(
        self,
        url: str,
        parameters: Mapping[str, str],
        deadline: float,
    ) -> HttpResponse:
        """Send a GET request and return the response, at the latest at `deadline` (loop time).

        Raises ArxivFailure, which has the status and the date of the response if there is one.
        """
        response = HttpResponse(timestamp=int(time()))
        try:
            with _map_http_errors(self._settings.timeout):
                async with (
                    asyncio.timeout_at(deadline),
                    self._clients.acquire() as client,
                    client.stream("GET", url, params=parameters) as stream,
                ):
                    response.status = stream.status_code
                    date = _parse_http_date(stream.headers.get("date", ""))
                    if date is not None and date <= response.timestamp + DAY:
                        response.timestamp = date
                    self._check_throttled(stream)
                    self._check_redirect(stream, url)
                    response.body = await _read_body(stream)
        except ArxivFailure as failure:
            failure.status, failure.timestamp = response.status, response.timestamp
            raise
        return response

    def _create_client(self) -> httpx.AsyncClient:
        contact = f" (mailto:{self._settings.contact})" if self._settings.contact else ""
        return httpx.AsyncClient(
            transport=self._transport,
            verify=self._tls,
            timeout=httpx.Timeout(self._settings.timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30),
            # a redirect could lead to another host than the configured one
            follow_redirects=False,
            event_hooks={"response": [_take_location]},
            cookies=create_cookie_jar(),
            headers={
                "user-agent": f"arxiv-gateway/{__version__}{contact}",
                "accept": self._service.media_type,
                "accept-encoding": "gzip",
            },
        )

    def _check_throttled(self, response: httpx.Response) -> None:
        if response.status_code in {429, 403, 503}:
            seconds = _parse_retry_after(response.headers.get("retry-after", ""))
            failure = ArxivFailure(
                Outcome.BUSY,
                f"arXiv throttles requests (status {response.status_code})",
                seconds or math.ceil(self._settings.cooldown),
            )
            failure.sent_retry_after = seconds
            raise failure

    def _check_redirect(self, response: httpx.Response, url: str) -> None:
        """Fail if the response is a redirect: another attempt would be redirected too."""
        if not response.is_redirect or response.status_code == HTTPStatus.NOT_MODIFIED:
            return
        location = response.extensions["location"]
        target = ascii(location[:MAX_LOCATION_CHARS]) if location else "no location"
        reason = (
            f"arXiv redirects to {target} (status {response.status_code}); redirects are not"
            " followed"
        )
        try:
            old, new = urlsplit(url), urlsplit(urljoin(url, location))
        except ValueError:
            pass
        else:
            moved = new._replace(query="", fragment="").geturl()
            if (new.scheme, new.path) == ("https", old.path) and moved != url:
                name, setting = self._service.name, self._service.setting
                advised = ascii(moved[:MAX_LOCATION_CHARS])
                reason += f". If that is {name}, set {setting} to {advised}"
        raise ArxivFailure(Outcome.BROKEN, reason, is_permanent=True)


async def run_in_new_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
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


@contextmanager
def _map_http_errors(timeout: float) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ArxivFailure(
            Outcome.TIMEOUT, f"arXiv did not complete its response within {timeout:g} seconds"
        ) from error
    except httpx.ConnectError as error:
        raise ArxivFailure(
            Outcome.UNREACHABLE, f"cannot connect to arXiv: {error}", CONNECT_RETRY_SECONDS
        ) from error
    except (httpx.HTTPError, zlib.error) as error:
        raise ArxivFailure(
            Outcome.BROKEN,
            f"the response of arXiv is incomplete or damaged: {error or type(error).__name__}",
        ) from error


async def _take_location(response: httpx.Response) -> None:
    """Hide the Location from httpx, which parses it even if it does not follow redirects.

    It raises various exceptions if the URL is invalid.
    """
    response.extensions["location"] = response.headers.pop("location", "")


async def _read_body(response: httpx.Response) -> bytearray:
    """Read and decompress the body in bounded memory: a few bytes may decompress to gigabytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise ArxivFailure(
            Outcome.BROKEN, f"the response of arXiv has the unsupported encoding {encoding[:50]!r}"
        )
    unzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body, received = bytearray(), 0
    # the bytes as received; unlike `aiter_raw`, this works with httpx.MockTransport too
    async for chunk in cast("httpx.AsyncByteStream", response.stream):
        received += len(chunk)
        if unzip and unzip.eof:
            raise ArxivFailure(Outcome.BROKEN, "the compressed response of arXiv has trailing data")
        room = MAX_RESPONSE_BYTES - len(body) + 1
        body += unzip.decompress(chunk, room) if unzip else chunk
        if received > MAX_RESPONSE_BYTES or len(body) > MAX_RESPONSE_BYTES:
            raise ArxivFailure(Outcome.BROKEN, "the response of arXiv is larger than the limit")
    if unzip and not unzip.eof:
        raise ArxivFailure(Outcome.BROKEN, "the compressed response of arXiv is truncated")
    return body


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
