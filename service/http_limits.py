"""What a client may send, and how long it may take: bounds that uvicorn does not set."""

import asyncio
import logging
import math
import termios
from array import array
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from . import metrics
from .logging import NOTICE, request_id
from .middleware.security_headers import CLOSED, HEADERS
from .models.responses import Problem
from .problems import MEDIA_TYPE

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

logger = logging.getLogger(__name__)

HEAD = 64 * 2**10
"""Bytes of a request's line and headers; 500 characters in each term are 30 KiB at most."""
URL = 48 * 2**10
"""Bytes of these that the target may have."""
FIELDS = 100
"""Headers of a request."""
AHEAD = 100
"""Requests that may wait on a connection for an answer; thousands fit into what comes at once."""
CONNECTIONS = 800
"""At a time; a process may have 1,024 files open where nobody raised that."""
REFUSED_AT_ONCE = 64
"""Further ones that are told so; each takes a file for a second."""
HEAD_PATIENCE = 10.0
"""Seconds from the connection, or the last answer, to the end of the next request's headers."""
BODY_PATIENCE = 60.0
"""Seconds that a body may take."""
LINGER = 1.0
"""Seconds for which is thrown away what comes after a refusal."""
READER_PATIENCE = 120.0
"""Seconds for which a client may take nothing of an answer that is ready."""


class Refusal(msgspec.Struct, frozen=True):
    """An answer to what is no request."""

    status: int
    title: str
    detail: str
    retry_after: int | None = None

    def fields(self, name: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The headers and the body of the answer to the request of this id."""
        body = msgspec.json.encode(
            Problem(
                title=self.title,
                status=self.status,
                detail=self.detail,
                request_id=name,
                retry_after=self.retry_after,
            )
        )
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            (b"x-request-id", name.encode()),
            *HEADERS,
            CLOSED,
        ]
        if self.retry_after is not None:
            headers.append((b"retry-after", b"%d" % self.retry_after))
        return headers, body


NO_HTTP = Refusal(400, "Bad Request", "this is no HTTP request")
LONG_URL = Refusal(414, "URI Too Long", f"the request's target is longer than {URL:,} bytes")
MANY_FIELDS = Refusal(
    431, "Request Header Fields Too Large", f"there are more than {FIELDS} headers"
)
LARGE_HEAD = Refusal(
    431, "Request Header Fields Too Large", f"the headers are larger than {HEAD:,} bytes"
)
MANY_AHEAD = Refusal(
    429, "Too Many Requests", f"more than {AHEAD} requests wait on this connection: read answers", 1
)
SLOW_HEAD = Refusal(
    408, "Request Timeout", f"the headers did not come within {HEAD_PATIENCE:g} seconds"
)
SLOW_BODY = Refusal(
    408, "Request Timeout", f"the body did not come within {BODY_PATIENCE:g} seconds"
)
FULL = Refusal(503, "Service Unavailable", "too many connections: try again later", 5)


class _Patience:
    """Calls once it is over.

    It begins anew with each request. A timer for each would cost more than one that rings too early
    and is set again then.
    """

    __slots__ = ("_call", "_loop", "_over", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        """`call` when it is over."""
        self._loop = loop
        self._call: Callable[[], None] | None = call
        self._over = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether it will be over at some time."""
        return self._over < math.inf

    def begin(self, seconds: float) -> None:
        """Have it over in so many seconds from now."""
        self._over = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._over:
            self._set_timer()

    def pause(self) -> None:
        """Have it last."""
        self._over = math.inf

    def end(self) -> None:
        """Never call any more, nor hold on to what would be called."""
        self._over = math.inf
        self._call = None
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._over, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._over > self._loop.time():
            if self.is_running:
                self._set_timer()
        elif self._call:
            self._over = math.inf
            self._call()


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what is too much, too long or too slow, and hangs up."""

    _refusal = NO_HTTP
    _patience: _Patience
    _reading: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _begun = _in_body = _heard = _refused = False
    _fields = _head = _unheard = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse one connection too many."""
        super().connection_made(transport)
        self._patience = _Patience(self.loop, self._lose_patience)
        if len(self.connections) > CONNECTIONS + REFUSED_AT_ONCE:
            metrics.count_refusal(FULL.status)
            self.transport.abort()
        elif len(self.connections) > CONNECTIONS:
            self._refuse(FULL)
        else:
            self._patience.begin(HEAD_PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._patience.end()
        self._watch(None)
        super().connection_lost(exc)
        if self._running:  # uvicorn tells the latest only, which may be behind this one
            self._running.disconnected = True
            self._running.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Take what came.

        The parser keeps what it cannot tell of yet: a long header, or what may stand after the size
        of a chunk. So no more may come than HEAD without a word from it.
        """
        if self._refused:
            return
        self._heard = False
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        self._unheard = 0 if self._heard else self._unheard + len(data)
        if self._unheard > HEAD:
            self._refuse(LARGE_HEAD)
        elif self._in_body and not self._patience.is_running and not self.pipeline:
            self._patience.begin(BODY_PATIENCE)

    def _parse(self, data: bytes) -> None:
        """Have the parser read it.

        It reads nothing of a request that wants another protocol but the headers. We have no other,
        and such a request is to be answered as any (RFC 9110, 7.8): it is read without its wish.
        Java's client has that in its first request, whatever comes with it.
        """
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as found:
                rest = memoryview(rest)[found.args[0] :]
                self.parser.feed_data(self._without_upgrade())
            else:
                return

    def _without_upgrade(self) -> bytes:
        """What came of a request, but the header Upgrade."""
        kept = [b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)
        return b"".join([line, *kept, b"\r\n"])

    def on_message_begin(self) -> None:
        """Count anew."""
        self._begun = self._heard = True
        self._fields = self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._heard = True
        super().on_url(url)
        if len(self.url) > URL:
            self._stop(LONG_URL)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or what stands like one after a body in chunks."""
        self._heard = True
        self._fields += 1
        self._head += len(name) + len(value) + 4
        if self._fields > FIELDS:
            self._stop(MANY_FIELDS)
        if self._head + len(self.url) > HEAD:
            self._stop(LARGE_HEAD)
        if not self._in_body:  # else it is no header (RFC 9110, 6.5.1), and comes too late for one
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(NO_HTTP)
            return
        self._begun, self._in_body, self._heard = False, True, True
        self._patience.pause()
        super().on_headers_complete()
        if len(self.pipeline) > AHEAD:
            self._stop(MANY_AHEAD)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._heard = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, if this one has its answer already."""
        if self.parser.should_upgrade():
            return
        self._in_body, self._heard = False, True
        super().on_message_complete()
        if self.cycle and self.cycle.response_complete:
            self._patience.begin(HEAD_PATIENCE)
        else:
            self._patience.pause()

    def on_response_complete(self) -> None:
        """Answer the next request, or wait for it: uvicorn has another timer for that."""
        self.server_state.total_requests += 1
        self._watch(READER_PATIENCE)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self._in_body:
            if not self.pipeline:
                self._patience.begin(BODY_PATIENCE)
        elif self.cycle.response_complete:
            self._patience.begin(HEAD_PATIENCE)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        """Begin to lose patience with a client that takes nothing."""
        super().pause_writing()
        self._watch(READER_PATIENCE)

    def resume_writing(self) -> None:
        """It takes what it gets; what is left of a whole answer, it has still to take."""
        super().resume_writing()
        is_whole = self._running is None or self._running.response_complete
        self._watch(READER_PATIENCE if is_whole else None)

    def _watch(self, patience: float | None) -> None:
        """Hang up when in so many seconds nothing is taken of what is ready, if anything is."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if patience is not None and self.transport.get_write_buffer_size():
            self._reading = self.loop.call_later(patience, self._look, self._untaken())

    def _look(self, before: int) -> None:
        if self._untaken() < before:
            self._watch(READER_PATIENCE)
        else:
            self.transport.abort()

    def _untaken(self) -> int:
        """Bytes that the client has not acknowledged.

        Those in the kernel too: it wants no more until a third of its own is gone, megabytes, for
        which a slow reader may need longer.
        """
        in_kernel = array("i", [0])
        with suppress(OSError, ValueError):
            ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
        return self.transport.get_write_buffer_size() + in_kernel[0]

    def _lose_patience(self) -> None:
        if self._refused:
            self.transport.close()
            self._watch(READER_PATIENCE)
        elif self._in_body:
            self._refuse(SLOW_BODY)
        elif self._begun or self._unheard:
            self._refuse(SLOW_HEAD)
        else:
            self.transport.close()

    def _stop(self, refusal: Refusal) -> None:
        """Make the parser give up."""
        self._refusal = refusal
        raise ValueError(refusal.detail)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, and hang up once the client can have read that: unread bytes would reset it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        name = uuid4().hex
        token = request_id.set(name)
        logger.log(NOTICE, "refused with %d: %s", refusal.status, refusal.detail)
        request_id.reset(token)
        metrics.count_refusal(refusal.status)
        running = self._running
        if running is None or running.response_complete or not running.response_started:
            headers, body = refusal.fields(name)
            lines = [b"%s: %s\r\n" % field for field in self.server_state.default_headers + headers]
            self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body]))
        if running is not None:
            running.disconnected = True
            running.message_event.set()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._patience.begin(LINGER)


def protocol() -> type[asyncio.Protocol]:
    """The protocol, for uvicorn's `http`."""
    return cast("type[asyncio.Protocol]", cast("Any", LimitedHttpProtocol))
