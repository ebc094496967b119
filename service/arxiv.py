"""The one client of arXiv: a search in, its answer out, politely.

arXiv's terms (https://info.arxiv.org/help/api/tou.html): one request at a time, three seconds
between them. Whatever comes back, an Answer is returned, so that every attempt can be recorded;
its `failure` says what the caller should be told.
"""

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from time import monotonic, time
from typing import Self

import httpx

from service import __version__, arxiv_query, arxiv_xml, timestamps
from service.errors import (
    TooBusy,
    UpstreamBroken,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from service.models import Answer, Feed, Outcome, Search
from service.settings import Settings

logger = logging.getLogger(__name__)

RECEIVED_LIMIT = 32 * 2**20
"""Bytes of one answer as they come over the wire; 2,000 papers are about 5 MiB."""
DECODED_LIMIT = 64 * 2**20
"""Bytes of one answer after decompression."""
CONNECT_TIMEOUT = 10.0

_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}
_OUTCOMES: dict[type[UpstreamError], Outcome] = {
    UpstreamRefused: Outcome.REFUSED,
    UpstreamBusy: Outcome.BUSY,
    UpstreamUnreachable: Outcome.UNREACHABLE,
    UpstreamTimeout: Outcome.TIMEOUT,
    UpstreamBroken: Outcome.BROKEN,
}


class ArXiv:
    """A client of arXiv's API. Enter the context to open its connections.

    `transport` replaces the network, for tests.
    """

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take where arXiv is and how patient to be from the settings."""
        self.settings = settings
        contact = f" (mailto:{settings.contact})" if settings.contact else ""
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(settings.timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30),
            # a redirect would leave the host that the settings name
            follow_redirects=False,
            headers={
                "user-agent": f"arxiv-gateway/{__version__}{contact}",
                "accept": "application/atom+xml",
                "accept-encoding": "gzip",
            },
        )
        self._turns = _Turns(settings.interval, settings.max_wait)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def search(self, search: Search) -> Answer:
        """Ask arXiv once.

        Raises BadInput for a search without a term, TooBusy where the wait for a turn would be
        longer than ARXIV_MAX_WAIT; everything that arXiv does is an Answer.
        """
        parameters = {
            "search_query": arxiv_query.build(search),
            "id_list": "",
            "start": "0",
            "max_results": str(search.max_results),
        }
        meant = "&".join(f"{name}={value}" for name, value in parameters.items())
        async with self._turns.next():
            started = monotonic()
            answer = await self._ask(parameters, meant)
        logger.info(
            "arXiv answered %d in %.2f s: %d of %d papers for %r",
            answer.status,
            monotonic() - started,
            len(answer.entries),
            answer.num_results,
            meant,
        )
        if answer.failure:
            logger.warning("arXiv failed: %s (%r)", answer.failure.detail, meant)
        return answer

    async def _ask(self, parameters: dict[str, str], meant: str) -> Answer:
        status, timestamp = 0, int(time())
        try:
            async with (
                asyncio.timeout(self.settings.timeout),
                self._client.stream("GET", self.settings.api_url, params=parameters) as response,
            ):
                status = response.status_code
                timestamp = _date(response.headers.get("date", "")) or timestamp
                if status in _BUSY:
                    raise UpstreamBusy(
                        f"arXiv answered {status}: it asks for a pause",
                        retry_after=_retry_after(response.headers.get("retry-after", "")),
                    )
                body = await _read(response)
            feed = await asyncio.to_thread(_parsed, body, status)
        except UpstreamError as error:
            return _failed(error, status, timestamp, meant)
        except (TimeoutError, httpx.TimeoutException):
            late = f"arXiv did not finish its answer within {self.settings.timeout:g} seconds"
            return _failed(UpstreamTimeout(late), status, timestamp, meant)
        except httpx.ConnectError as error:
            away = UpstreamUnreachable(f"no connection to arXiv: {error}", retry_after=30)
            return _failed(away, status, timestamp, meant)
        except httpx.HTTPError as error:
            broken = UpstreamBroken(f"arXiv's answer broke off: {error or type(error).__name__}")
            return _failed(broken, status, timestamp, meant)
        wanted = int(parameters["max_results"])
        if len(feed.entries) > wanted:
            logger.warning(
                "arXiv sent %d papers for %d: the rest is left out", len(feed.entries), wanted
            )
        for entry in feed.entries:
            if entry.published is None:
                logger.warning("arXiv sent a paper without a date: %s", entry.arxiv_id)
        return Answer(
            timestamp=timestamp,
            status=status,
            num_results=feed.total,
            query=feed.query or meant,
            entries=feed.entries[:wanted],
        )


class _Turns:
    """One request at a time, and a pause after each."""

    def __init__(self, interval: float, max_wait: float) -> None:
        self.interval = interval
        self.max_wait = max_wait
        self._lock = asyncio.Lock()
        self._free_at = 0.0

    @asynccontextmanager
    async def next(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.max_wait) as patience:
                async with self._lock:
                    await asyncio.sleep(self._free_at - monotonic())
                    patience.reschedule(None)
                    try:
                        yield
                    finally:
                        self._free_at = monotonic() + self.interval
        except TimeoutError as error:
            raise TooBusy(
                f"no turn at arXiv came within {self.max_wait:g} seconds", retry_after=30
            ) from error


def _failed(failure: UpstreamError, status: int, timestamp: int, meant: str) -> Answer:
    return Answer(
        timestamp=timestamp,
        status=status,
        num_results=0,
        query=meant,
        outcome=_OUTCOMES[type(failure)],
        failure=failure,
    )


async def _read(response: httpx.Response) -> bytes:
    """The body, decompressed by us: a small answer may be made to decompress to gigabytes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise UpstreamBroken(f"arXiv's answer is encoded as {encoding[:50]!r}")
    unzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    received = 0
    body = bytearray()
    try:
        async for chunk in _raw(response):
            received += len(chunk)
            room = DECODED_LIMIT - len(body) + 1
            body += chunk if unzip is None else unzip.decompress(chunk, room)
            if received > RECEIVED_LIMIT or len(body) > DECODED_LIMIT:
                raise UpstreamBroken("arXiv's answer is larger than any answer of arXiv's")
    except zlib.error as error:
        raise UpstreamBroken(f"arXiv's answer cannot be decompressed: {error}") from error
    if unzip is not None and not unzip.eof:
        raise UpstreamBroken("arXiv's compressed answer broke off")
    return bytes(body)


def _raw(response: httpx.Response) -> httpx.AsyncByteStream:
    """The bytes as received. Unlike `aiter_raw`, also of a transport that answers from memory."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - so says AsyncClient
    return response.stream


def _parsed(body: bytes, status: int) -> Feed:
    """The feed in an answer. Raises the UpstreamError that its status or its content means."""
    try:
        feed = arxiv_xml.parse(body)
    except arxiv_xml.NotAFeed as error:
        if status == HTTPStatus.BAD_REQUEST:
            raise UpstreamRefused("arXiv refuses the query, and does not say why") from error
        if status == HTTPStatus.OK:
            raise UpstreamBroken(f"arXiv's answer is no feed: {error}") from error
        raise UpstreamBroken(f"arXiv answered {status}") from error
    if status == HTTPStatus.OK and feed.error is None:
        return feed
    # whatever an error entry calls itself, its summary is the reason
    reason = feed.error or next((entry.summary for entry in feed.entries), "no reason given")
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
        raise UpstreamRefused(f"arXiv refuses the query: {reason}")
    raise UpstreamBroken(f"arXiv answered {status}: {reason}")


def _date(text: str) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in Unix seconds; None where the text is none."""
    try:
        seconds = mktime_tz(parsedate_tz(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= timestamps.LATEST else None


def _retry_after(text: str) -> int:
    """Seconds to wait (RFC 9110, 10.2.3): as arXiv asks, else a minute; a day at most."""
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        moment = _date(text)
        seconds = 60 if moment is None else max(0.0, moment - time())
    return int(min(seconds, 86_400))
