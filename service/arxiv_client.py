"""The one client of arXiv: parameters in, its answer out.

Whatever comes back, an Answer is returned, so that every attempt can be recorded; its `failure`
says what the caller should be told. When to ask is not decided here: see `search.py`.
"""

import asyncio
import logging
import math
import zlib
from email.utils import mktime_tz, parsedate_tz
from http import HTTPStatus
from time import monotonic, time
from typing import Self

import httpx

from . import __version__, arxiv_query, arxiv_xml, metrics, timestamps
from .errors import (
    UpstreamError,
    UpstreamInvalidResponse,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from .http_pool import HTTPConnectionPool, trust
from .models.arxiv import ArxivResponse, Feed, Outcome
from .settings import Settings

logger = logging.getLogger(__name__)

RECEIVED_LIMIT = 32 * 2**20
"""Bytes of one answer as they come over the wire; 2,000 papers are about 5 MiB."""
DECODED_LIMIT = 64 * 2**20
"""Bytes of one answer after decompression."""
SMALL = 48 * 2**10
"""Bytes of an answer that is parsed at once, in a millisecond; a thread is for larger ones."""
CONNECT_TIMEOUT = 10.0
DAY = 86_400

_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE}
_OUTCOMES: dict[type[UpstreamError], Outcome] = {
    UpstreamRejected: Outcome.REFUSED,
    UpstreamThrottled: Outcome.BUSY,
    UpstreamUnreachable: Outcome.UNREACHABLE,
    UpstreamTimeout: Outcome.TIMEOUT,
    UpstreamInvalidResponse: Outcome.BROKEN,
}


class ArxivClient:
    """A client of arXiv's API. Enter the context to have its connection closed at the end.

    `transport` replaces the network, for tests.
    """

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Take where arXiv is and how patient to be from the settings."""
        self.settings = settings
        self.latest: tuple[int, Outcome] | None = None
        """When it last answered, or did not (Unix seconds), and what came of it."""
        self._transport = transport
        self._tls = trust()
        self._clients = HTTPConnectionPool(self._client, 1, settings.timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.hang_up()

    def _client(self) -> httpx.AsyncClient:
        contact = f" (mailto:{self.settings.contact})" if self.settings.contact else ""
        return httpx.AsyncClient(
            transport=self._transport,
            verify=self._tls,
            timeout=httpx.Timeout(self.settings.timeout, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=30),
            # a redirect would leave the host that the settings name
            follow_redirects=False,
            headers={
                "user-agent": f"arxiv-gateway/{__version__}{contact}",
                "accept": "application/atom+xml",
                "accept-encoding": "gzip",
            },
        )

    async def search(self, sent: dict[str, str], until: float) -> ArxivResponse:
        """Send one request with these parameters; its end is by that moment of the loop's clock.

        The caller sees to the turns. Whatever arXiv does is an Answer.
        """
        meant = "&".join(f"{name}={value}" for name, value in sent.items())
        started = monotonic()
        answer = await self._send(sent, meant, until)
        taken = monotonic() - started
        metrics.count_upstream_request(answer, taken)
        self.latest = int(time()), answer.outcome
        logger.info(
            "arXiv answered %d in %.2f s: %d of %d papers for %r",
            answer.status,
            taken,
            len(answer.entries),
            answer.num_results,
            meant,
        )
        for difference in answer.remarks.get("differences", ()):
            logger.warning("arXiv searched something else: %s (%r)", difference, meant)
        return answer

    async def _send(self, sent: dict[str, str], meant: str, until: float) -> ArxivResponse:
        status, timestamp = 0, int(time())
        end = min(until, asyncio.get_running_loop().time() + self.settings.timeout)
        try:
            async with (
                asyncio.timeout_at(end),
                self._clients.lend() as client,
                client.stream("GET", self.settings.api_url, params=sent) as response,
            ):
                status = response.status_code
                timestamp = _date_of(response, timestamp)
                if status in _BUSY:
                    raise UpstreamThrottled(
                        f"arXiv answered {status}: it asks for a pause",
                        retry_after=_retry_after(response.headers.get("retry-after", ""))
                        or math.ceil(self.settings.cooldown),
                    )
                body = await _read(response)
            small = len(body) <= SMALL
            feed = (
                _parsed(body, status) if small else await asyncio.to_thread(_parsed, body, status)
            )
        except UpstreamError as error:
            return _failed(error, status, timestamp, meant)
        except (TimeoutError, httpx.TimeoutException):
            late = f"arXiv did not finish its answer within {self.settings.timeout:g} seconds"
            return _failed(UpstreamTimeout(late), status, timestamp, meant)
        except httpx.ConnectError as error:
            away = UpstreamUnreachable(f"no connection to arXiv: {error}", retry_after=30)
            return _failed(away, status, timestamp, meant)
        except httpx.HTTPError as error:
            broken = UpstreamInvalidResponse(
                f"arXiv's answer broke off: {error or type(error).__name__}"
            )
            return _failed(broken, status, timestamp, meant)
        return _answer(feed, sent, meant, status, timestamp)


def _answer(
    feed: Feed, sent: dict[str, str], meant: str, status: int, timestamp: int
) -> ArxivResponse:
    """What a good feed says, and what is odd about it."""
    wanted, start = int(sent["max_results"]), int(sent["start"])
    if len(feed.entries) > wanted:
        logger.warning(
            "arXiv sent %d papers for %d: the rest is left out", len(feed.entries), wanted
        )
    for entry in feed.entries:
        if entry.published is None:
            logger.warning("arXiv sent a paper without a date: %s", entry.arxiv_id)
    entries = feed.entries[:wanted]
    expected = min(wanted, feed.items_per_page or wanted, max(0, feed.total - start))
    # on a page of many, an id that is not there may be on another
    whole = start == 0 and wanted >= len(sent["id_list"].split(","))
    remarks = {
        "differences": arxiv_query.differences(sent, feed),
        "missing_ids": arxiv_query.missing_ids(sent, entries) if whole else [],
    }
    return ArxivResponse(
        timestamp=timestamp,
        status=status,
        num_results=feed.total,
        query=feed.query or meant,
        # arXiv at times leaves out papers that it counts: such an answer is no memory
        outcome=Outcome.SUSPECT if len(entries) < expected else Outcome.OK,
        entries=entries,
        remarks={name: found for name, found in remarks.items() if found},
    )


def _failed(failure: UpstreamError, status: int, timestamp: int, meant: str) -> ArxivResponse:
    return ArxivResponse(
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
        raise UpstreamInvalidResponse(f"arXiv's answer is encoded as {encoding[:50]!r}")
    unzip = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    received = 0
    body = bytearray()
    try:
        async for chunk in _raw(response):
            received += len(chunk)
            if unzip is not None and unzip.eof:
                raise UpstreamInvalidResponse("arXiv's compressed answer goes on after its end")
            room = DECODED_LIMIT - len(body) + 1
            body += chunk if unzip is None else unzip.decompress(chunk, room)
            if received > RECEIVED_LIMIT or len(body) > DECODED_LIMIT:
                raise UpstreamInvalidResponse("arXiv's answer is larger than any answer of arXiv's")
    except zlib.error as error:
        raise UpstreamInvalidResponse(f"arXiv's answer cannot be decompressed: {error}") from error
    if unzip is not None and not unzip.eof:
        raise UpstreamInvalidResponse("arXiv's compressed answer broke off")
    return bytes(body)


def _raw(response: httpx.Response) -> httpx.AsyncByteStream:
    """The bytes as received. Unlike `aiter_raw`, also of a transport that answers from memory."""
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - so says AsyncClient
    return response.stream


def _parsed(body: bytes, status: int) -> Feed:
    """The feed in an answer. Raises the UpstreamError that its status or its content means."""
    try:
        feed = arxiv_xml.parse(body)
    except arxiv_xml.InvalidFeed as error:
        if status == HTTPStatus.BAD_REQUEST:
            raise UpstreamRejected("arXiv refuses the query, and does not say why") from error
        if status == HTTPStatus.OK:
            raise UpstreamInvalidResponse(f"arXiv's answer is no feed: {error}") from error
        raise UpstreamInvalidResponse(f"arXiv answered {status}") from error
    if status == HTTPStatus.OK and feed.error is None:
        return feed
    # whatever an error entry calls itself, its summary is the reason
    reason = feed.error or next((entry.summary for entry in feed.entries), "no reason given")
    if status in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST}:
        raise UpstreamRejected(f"arXiv refuses the query: {reason}")
    raise UpstreamInvalidResponse(f"arXiv answered {status}: {reason}")


def _date_of(response: httpx.Response, now: int) -> int:
    """When arXiv says it answered; our clock, where it says nothing or a day yet to come."""
    date = _date(response.headers.get("date", ""))
    return now if date is None or date > now + DAY else date


def _date(text: str) -> int | None:
    """An HTTP date (RFC 9110, 5.6.7) in Unix seconds; None where the text is none."""
    try:
        seconds = mktime_tz(parsedate_tz(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds <= timestamps.LATEST else None


def _retry_after(text: str) -> int | None:
    """Seconds to wait (RFC 9110, 10.2.3) as arXiv asks, a day at most; None where it does not."""
    if text.isascii() and text.isdigit():
        seconds = float(text)
    elif moment := _date(text):
        seconds = max(0.0, moment - time())
    else:
        return None
    return int(min(seconds, DAY))
