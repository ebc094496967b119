"""What a client may send, and how long it may take: bounds that uvicorn does not set."""

import asyncio
from typing import Any, cast
from uuid import uuid4

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.layers.security import CLOSED, HEADERS
from service.models import Problem
from service.problems import MEDIA_TYPE

HEAD = 64 * 2**10
"""Bytes of a request's line and headers; 500 characters in each term are 30 KiB at most."""
URL = 48 * 2**10
"""Bytes of these that the target may have."""
FIELDS = 100
"""Headers of a request."""
CONNECTIONS = 800
"""At a time; a process may have 1,024 files open where nobody raised that."""
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

    def fields(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The headers and the body of the answer."""
        name = uuid4().hex
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
SLOW_HEAD = Refusal(
    408, "Request Timeout", f"the headers did not come within {HEAD_PATIENCE:g} seconds"
)
SLOW_BODY = Refusal(
    408, "Request Timeout", f"the body did not come within {BODY_PATIENCE:g} seconds"
)
FULL = Refusal(503, "Service Unavailable", "too many connections: try again later", 5)


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol, which answers what is too much, too long or too slow, and hangs up."""

    _refusal = NO_HTTP
    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _begun = _in_body = _heard = _refused = False
    _fields = _head = _unheard = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, or refuse one connection too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            self._refuse(FULL)
        else:
            self._wait(HEAD_PATIENCE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came.

        The parser keeps what it cannot tell of yet: a long header, or what may stand after the size
        of a chunk. So no more may come than HEAD without a word from it.
        """
        if self._refused:
            return
        self._heard = False
        super().data_received(data)
        self._unheard = 0 if self._heard else self._unheard + len(data)
        if self._unheard > HEAD:
            self._refuse(LARGE_HEAD)
        elif self._in_body and self._timer is None:
            self._wait(BODY_PATIENCE)

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
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        self._begun, self._in_body, self._heard = False, True, True
        self._wait(None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._heard = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, if this one has its answer already."""
        self._in_body, self._heard = False, True
        super().on_message_complete()
        self._wait(HEAD_PATIENCE if self.cycle and self.cycle.response_complete else None)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there."""
        super().on_response_complete()
        if self.cycle.response_complete and not self._in_body and not self.transport.is_closing():
            self._wait(HEAD_PATIENCE)

    def pause_writing(self) -> None:
        """Begin to lose patience with a client that takes nothing."""
        super().pause_writing()
        self._reading = self.loop.call_later(READER_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        """It takes what it gets."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser does not understand, or what one of the above stopped."""
        del msg
        self._refuse(self._refusal)

    def _wait(self, patience: float | None) -> None:
        """Refuse in so many seconds, unless told otherwise."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if patience is not None:
            self._timer = self.loop.call_later(patience, self._lose_patience)

    def _lose_patience(self) -> None:
        if self._refused:
            self.transport.close()
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
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            headers, body = refusal.fields()
            lines = [b"%s: %s\r\n" % field for field in self.server_state.default_headers + headers]
            self.transport.write(b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body]))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait(LINGER)


def protocol() -> type[asyncio.Protocol]:
    """The protocol, for uvicorn's `http`."""
    return cast("type[asyncio.Protocol]", cast("Any", Bounded))
