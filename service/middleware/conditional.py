"""What goes out: strong tags and 304, content codings and Vary, the headers alone for HEAD."""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    HTTPScope,
    Message,
    Receive,
    Scope,
    Send,
)

from .compression import Coding, Stream, chosen
from .scope import joined

SMALL = 4096
"""Bytes of an answer whose tag is remembered."""
MIN_SIZE = 500
"""Bytes; below, a coding saves nothing that is worth it."""

_CODED_ALREADY = (b"image/", b"audio/", b"video/", b"font/")
_TAG = re.compile(rb'(?:W/)?("[^"]*")')
Headers = list[tuple[bytes, bytes]]


class _Enough(BaseException):
    """The client has all it gets, so the application need not go on. No error: none catches it."""


class ConditionalMiddleware:
    """ASGI, around everything that answers.

    An answer of known length is held until its content is there, and gets a strong ETag made of it.
    One of unknown length is a stream: it has no ETag, and each piece goes on as it comes, coded by
    itself. Where it breaks off, the coding stays without its end.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application that answers HEAD as GET."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, _Answer(scope, send).send)
        except* _Enough:  # from a stream it comes in a group
            pass


class _Answer:
    """One answer on its way out."""

    __slots__ = (
        "_accepted",
        "_coding",
        "_fields",
        "_head",
        "_held",
        "_known",
        "_reads",
        "_send",
        "_start",
        "_stream",
        "_unchanged",
    )
    _start: HTTPResponseStartEvent

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._send = send
        self._head = scope["method"] == "HEAD"
        self._reads = self._head or scope["method"] == "GET"
        self._accepted = joined(scope, b"accept-encoding")
        self._known = joined(scope, b"if-none-match")
        self._coding: Coding | None = None
        self._stream: Stream | None = None
        self._held = self._unchanged = False

    async def send(self, message: Message) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start":
            self._begin(message)
            if self._unchanged:
                await self._end()
            elif not self._held:
                await self._open()
        elif message["type"] == "http.response.body":
            if not self._held:
                await self._go_on(message)
            elif message.get("more_body"):
                await self._open()
                await self._go_on(message)
            else:
                await self._whole(message)
        else:
            await self._send(message)

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        """Take the head, and add to it what needs no content."""
        self._start = message
        headers: Headers = list(message["headers"])
        fields = self._fields = dict(headers)
        length = fields.get(b"content-length")
        self._reads = self._reads and message["status"] == HTTPStatus.OK
        if self._reads and b"cache-control" not in fields:
            headers.append((b"cache-control", b"no-cache"))
        if _may_be_coded(fields):
            headers = varied(headers, b"Accept-Encoding")
            if self._accepted:
                coding, however_small = chosen(self._accepted.decode("latin-1"))
                if length is None or int(length) >= MIN_SIZE or however_small:
                    self._coding = coding
        message["headers"] = headers
        if tag := fields.get(b"etag"):
            message["headers"] = _without(headers, b"etag")
            self._tag(tag)
        self._held = length is not None

    def _tag(self, tag: bytes) -> None:
        """Give this tag to the answer, which needs no content where the client has it already."""
        if self._coding:
            tag = b'%s%s"' % (tag[:-1], self._coding.mark)
        self._start["headers"] = [*self._start["headers"], (b"etag", tag)]
        if self._reads and self._known and _is_known(tag, self._known):
            self._unchanged = True
            self._start["status"] = HTTPStatus.NOT_MODIFIED
            self._start["headers"] = [
                field
                for field in self._start["headers"]
                if not field[0].startswith(b"content-") or field[0] == b"content-location"
            ]

    async def _open(self) -> None:
        """Send the head of an answer whose pieces follow."""
        self._held = False
        if self._coding:
            headers = _without(self._start["headers"], b"content-length")
            self._start["headers"] = [*headers, _field(b"content-encoding", self._coding.name)]
            self._stream = self._coding.stream()
        if self._head:
            await self._end()
        await self._send(self._start)

    async def _go_on(self, message: HTTPResponseBodyEvent) -> None:
        """Send a piece."""
        if self._stream:
            body = message["body"]
            message["body"] = self._stream.piece(body) if body else b""
            if not message.get("more_body"):
                message["body"] += self._stream.end()
        await self._send(message)

    async def _whole(self, message: HTTPResponseBodyEvent) -> None:
        """Send an answer of one piece."""
        body = message["body"]
        if self._reads and b"etag" not in self._fields and self._may_be_kept():
            tag = _small_tag_of if len(body) <= SMALL else _tag_of
            self._tag(tag(self._fields.get(b"content-type", b""), body))
            if self._unchanged:
                await self._end()
        if self._coding:
            message["body"] = body = self._coding.whole(body)
            self._start["headers"] = [
                *_without(self._start["headers"], b"content-length"),
                _field(b"content-encoding", self._coding.name),
                _field(b"content-length", str(len(body))),
            ]
        if self._head:
            message["body"] = b""
        await self._send(self._start)
        await self._send(message)

    def _may_be_kept(self) -> bool:
        return b"no-store" not in self._fields.get(b"cache-control", b"")

    async def _end(self) -> None:
        """Send the head alone. Raises _Enough."""
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        raise _Enough


def _tag_of(content_type: bytes, body: bytes) -> bytes:
    """A strong tag (RFC 9110, 8.8.3)."""
    made = blake2b(content_type, digest_size=16)
    made.update(body)
    return b'"%s"' % made.hexdigest().encode()


_small_tag_of = lru_cache(maxsize=256)(_tag_of)
"""The same answers are given again and again."""


def _field(name: bytes, value: str) -> tuple[bytes, bytes]:
    return name, value.encode()


def _without(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> Headers:
    return [field for field in headers if field[0] != name]


def varied(headers: Headers, on: bytes) -> Headers:
    """Name another request header in `Vary`, which may have some."""
    vary = [value for name, value in headers if name == b"vary"]
    return [*(_without(headers, b"vary") if vary else headers), (b"vary", b", ".join([*vary, on]))]


def _may_be_coded(fields: dict[bytes, bytes]) -> bool:
    return (
        b"content-type" in fields
        and not fields[b"content-type"].startswith(_CODED_ALREADY)
        and b"content-encoding" not in fields
        and b"no-transform" not in fields.get(b"cache-control", b"")
    )


def _is_known(tag: bytes, known: bytes) -> bool:
    """Whether If-None-Match names the tag, by weak comparison (RFC 9110, 13.1.2)."""
    return known.strip() == b"*" or tag.removeprefix(b"W/") in _TAG.findall(known)
