"""ETag, conditional requests (304), compression of bodies, and HEAD."""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from http import HTTPStatus

import anyio
from anyio.lowlevel import checkpoint
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import (
    ASGIApp,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Message,
    Receive,
    Scope,
    Send,
)

from .compression import Compressor, Encoding, choose_encoding
from .scope import join_headers

MAX_CACHED_ETAG_BYTES = 4096
"""Bodies up to this size have their ETag cached."""
MIN_COMPRESSED_BYTES = 500
"""Smaller bodies are not compressed: it would save nothing."""

_COMPRESSED_TYPES = (b"image/", b"audio/", b"video/", b"font/")
_ETAG = re.compile(rb'(?:W/)?("[^"]*")')
Headers = list[tuple[bytes, bytes]]


class ConditionalMiddleware(ASGIMiddleware):
    """Add a strong ETag to responses, answer with 304, and compress bodies.

    The start of a response with Content-Length is delayed until its body is there, since the ETag
    is a digest of the body. A response without it is a stream: it has no ETag, and each chunk is
    compressed and sent as it comes. If a stream fails, the compressed data stays without its end.

    If the client gets no body (304, HEAD of a stream), the application is cancelled.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        sender = _ResponseSender(scope, send)
        if not sender.may_omit_body:
            await next_app(scope, receive, sender.send)
            return
        with anyio.CancelScope() as sender.cancel_scope:
            await next_app(scope, receive, sender.send)


class _ResponseSender:
    """Sends one response, and transforms it on the way."""

    __slots__ = (
        "_accept_encoding",
        "_compressor",
        "_encoding",
        "_headers",
        "_if_none_match",
        "_is_cacheable",
        "_is_delayed",
        "_is_head",
        "_is_not_modified",
        "_send",
        "_start",
        "cancel_scope",
        "may_omit_body",
    )
    _start: HTTPResponseStartEvent
    cancel_scope: anyio.CancelScope

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._is_head = scope.get("method") == "HEAD"
        self._is_cacheable = self._is_head or scope.get("method") == "GET"
        self._accept_encoding = join_headers(scope, b"accept-encoding")
        self._if_none_match = join_headers(scope, b"if-none-match")
        self.may_omit_body = self._is_head or bool(self._if_none_match)
        self._encoding: Encoding | None = None
        self._compressor: Compressor | None = None
        self._is_delayed = self._is_not_modified = False

    async def send(self, message: Message) -> None:
        """Send one message of the application."""
        if message["type"] == "http.response.start":
            self._prepare_start(message)
            if self._is_not_modified:
                await self._send_without_body()
            elif not self._is_delayed:
                await self._start_stream()
        elif message["type"] == "http.response.body":
            if not self._is_delayed:
                await self._send_chunk(message)
            elif message.get("more_body"):
                await self._start_stream()
                await self._send_chunk(message)
            else:
                await self._send_whole(message)
        else:
            await self._send(message)

    def _prepare_start(self, message: HTTPResponseStartEvent) -> None:
        """Add the headers that do not depend on the body."""
        self._start = message
        headers: Headers = list(message["headers"])
        fields = self._headers = dict(headers)
        length = fields.get(b"content-length")
        self._is_cacheable = self._is_cacheable and message["status"] == HTTPStatus.OK
        if self._is_cacheable and b"cache-control" not in fields:
            headers.append((b"cache-control", b"no-cache"))
        if _is_compressible(fields):
            headers = add_vary(headers, b"Accept-Encoding")
            if self._accept_encoding:
                encoding, is_required = choose_encoding(self._accept_encoding.decode("latin-1"))
                if length is None or int(length) >= MIN_COMPRESSED_BYTES or is_required:
                    self._encoding = encoding
        message["headers"] = headers
        if etag := fields.get(b"etag"):
            message["headers"] = _remove_header(headers, b"etag")
            self._set_etag(etag)
        self._is_delayed = length is not None

    def _set_etag(self, etag: bytes) -> None:
        """Add the ETag, and turn the response into a 304 if the client has that version."""
        if self._encoding:
            etag = b'%s%s"' % (etag[:-1], self._encoding.etag_suffix)
        self._start["headers"] = [*self._start["headers"], (b"etag", etag)]
        if self._is_cacheable and self._if_none_match and matches_etag(etag, self._if_none_match):
            self._is_not_modified = True
            self._start["status"] = HTTPStatus.NOT_MODIFIED
            self._start["headers"] = [
                field
                for field in self._start["headers"]
                if not field[0].startswith(b"content-") or field[0] == b"content-location"
            ]

    async def _start_stream(self) -> None:
        self._is_delayed = False
        if self._encoding:
            headers = _remove_header(self._start["headers"], b"content-length")
            self._start["headers"] = [*headers, (b"content-encoding", self._encoding.name.encode())]
            self._compressor = self._encoding.create_compressor()
        if self._is_head:
            await self._send_without_body()
        else:
            await self._send(self._start)

    async def _send_chunk(self, message: HTTPResponseBodyEvent) -> None:
        if self._compressor:
            body = message["body"]
            message["body"] = self._compressor.compress(body) if body else b""
            if not message.get("more_body"):
                message["body"] += self._compressor.finish()
        await self._send(message)

    async def _send_whole(self, message: HTTPResponseBodyEvent) -> None:
        body = message["body"]
        if self._is_cacheable and b"etag" not in self._headers and self._may_be_stored():
            compute = _compute_cached_etag if len(body) <= MAX_CACHED_ETAG_BYTES else _compute_etag
            self._set_etag(compute(self._headers.get(b"content-type", b""), body))
        if self._is_not_modified:
            message["body"] = b""
        elif self._encoding:
            message["body"] = body = self._encoding.compress(body)
            self._start["headers"] = [
                *_remove_header(self._start["headers"], b"content-length"),
                (b"content-encoding", self._encoding.name.encode()),
                (b"content-length", b"%d" % len(body)),
            ]
        if self._is_head:
            message["body"] = b""
        await self._send(self._start)
        await self._send(message)

    def _may_be_stored(self) -> bool:
        return b"no-store" not in self._headers.get(b"cache-control", b"")

    async def _send_without_body(self) -> None:
        """Send the headers alone and cancel the application, which would go on to the body."""
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self.cancel_scope.cancel()
        await checkpoint()  # raises the cancellation here


def matches_etag(etag: bytes, if_none_match: bytes) -> bool:
    """Compare an ETag with If-None-Match by weak comparison (RFC 9110, 13.1.2)."""
    return if_none_match.strip() == b"*" or etag.removeprefix(b"W/") in _ETAG.findall(if_none_match)


def add_vary(headers: Headers, name: bytes) -> Headers:
    """Add a request header to `Vary`, which can have values already."""
    values = [value for key, value in headers if key == b"vary"]
    return [*_remove_header(headers, b"vary"), (b"vary", b", ".join([*values, name]))]


def _compute_etag(content_type: bytes, body: bytes) -> bytes:
    digest = blake2b(content_type, digest_size=16)
    digest.update(body)
    return b'"%s"' % digest.hexdigest().encode()


_compute_cached_etag = lru_cache(maxsize=256)(_compute_etag)


def _remove_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> Headers:
    return [field for field in headers if field[0] != name]


def _is_compressible(headers: dict[bytes, bytes]) -> bool:
    return (
        b"content-type" in headers
        and not headers[b"content-type"].startswith(_COMPRESSED_TYPES)
        and b"content-encoding" not in headers
        and b"no-transform" not in headers.get(b"cache-control", b"")
    )
