"""ETag, conditional requests (304), compression of bodies, and HEAD."""

import re
from hashlib import blake2b
from http import HTTPStatus
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from .compression import Encoding, choose_encoding
from .scope import get_header

MIN_COMPRESSED_BYTES = 500  # smaller bodies are not compressed: it would save nothing

_COMPRESSED_TYPES = (b"image/", b"audio/", b"video/", b"font/")
_KEPT = {b"content-location", b"content-security-policy"}
"""Of the headers whose names begin with `content-`, those of a 304. Browsers replace the policy of
the response in their cache by that of the 304."""
_ETAG = re.compile(rb'(?:W/)?("[^"]*")')


class ConditionalMiddleware(ASGIMiddleware):
    """Add a strong ETag to responses, answer with 304, and compress bodies.

    The start of a response with Content-Length is delayed until its body is there, since the ETag
    is a digest of the body. A response without it is a stream: it has no ETag, and each chunk is
    compressed and sent as it comes. If a stream fails, the compressed data stays without its end.

    If the client gets no body (304, HEAD of a stream), the application is cancelled.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        with anyio.CancelScope() as cancel_scope:
            await next_app(scope, receive, _ResponseSender(scope, send, cancel_scope).send)


class _ResponseSender:
    """Sends one response, whose headers have one line each, and transforms it on the way."""

    def __init__(self, scope: Scope, send: Send, cancel_scope: anyio.CancelScope) -> None:
        self._send = send
        self._cancel_scope = cancel_scope
        self._is_head = scope.get("method") == "HEAD"
        self._is_cacheable = self._is_head or scope.get("method") == "GET"
        self._accept_encoding = (get_header(scope, b"accept-encoding") or b"").decode("latin-1")
        self._if_none_match = get_header(scope, b"if-none-match") or b""
        self._encoding: Encoding | None = None
        self._compressor: Any = None
        self._is_delayed = self._is_not_modified = False
        self._status = 0
        self._headers: dict[bytes, bytes] = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._prepare_start(message["status"], dict(message["headers"]))
            if self._is_not_modified:
                await self._send_without_body()
            elif not self._is_delayed:
                await self._start_stream()
        elif message["type"] == "http.response.body":
            body, more_body = message["body"], message.get("more_body", False)
            if self._is_delayed and not more_body:
                await self._send_whole(body)
                return
            if self._is_delayed:
                await self._start_stream()
            await self._send_chunk(body, more_body=more_body)
        else:
            await self._send(message)

    def _prepare_start(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Set the headers that do not depend on the body."""
        self._status, self._headers = status, headers
        length = headers.get(b"content-length")
        self._is_delayed = length is not None
        self._is_cacheable = self._is_cacheable and status == HTTPStatus.OK
        if self._is_cacheable:
            headers.setdefault(b"cache-control", b"no-cache")
        if _is_compressible(headers):
            add_vary(headers, b"Accept-Encoding")
            encoding, is_required = choose_encoding(self._accept_encoding)
            if length is None or int(length) >= MIN_COMPRESSED_BYTES or is_required:
                self._encoding = encoding
        if etag := headers.get(b"etag"):
            self._set_etag(etag)

    def _set_etag(self, etag: bytes) -> None:
        """Set the ETag, and turn the response into a 304 if the client has that version."""
        if self._encoding:
            etag = b'%s%s"' % (etag[:-1], self._encoding.etag_suffix)
        self._headers[b"etag"] = etag
        if self._is_cacheable and self._if_none_match and matches_etag(etag, self._if_none_match):
            self._is_not_modified = True
            self._status = HTTPStatus.NOT_MODIFIED
            self._headers = {
                name: value
                for name, value in self._headers.items()
                if not name.startswith(b"content-") or name in _KEPT
            }

    async def _start_stream(self) -> None:
        self._is_delayed = False
        if self._encoding:
            self._headers.pop(b"content-length", None)
            self._headers[b"content-encoding"] = self._encoding.name.encode()
            self._compressor = self._encoding.create_compressor()
        if self._is_head:
            await self._send_without_body()
        else:
            await self._send_start()

    async def _send_start(self) -> None:
        status, headers = self._status, [*self._headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_chunk(self, body: bytes, *, more_body: bool) -> None:
        if self._encoding:
            chunk = self._encoding.compress_chunk(self._compressor, body) if body else b""
            body = chunk if more_body else chunk + self._compressor.flush()
        await self._send({"type": "http.response.body", "body": body, "more_body": more_body})

    async def _send_whole(self, body: bytes) -> None:
        is_storable = b"no-store" not in self._headers.get(b"cache-control", b"")
        if self._is_cacheable and b"etag" not in self._headers and is_storable:
            digest = blake2b(self._headers.get(b"content-type", b""), digest_size=16)
            digest.update(body)
            self._set_etag(b'"%s"' % digest.hexdigest().encode())
        if self._encoding and not self._is_not_modified:
            body = self._encoding.compress(body)
            self._headers[b"content-encoding"] = self._encoding.name.encode()
            self._headers[b"content-length"] = b"%d" % len(body)
        await self._send_start()
        body = b"" if self._is_head or self._is_not_modified else body
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send_without_body(self) -> None:
        """Send the headers alone and cancel the application, which would go on to the body."""
        await self._send_start()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._cancel_scope.cancel()
        await checkpoint()  # raises the cancellation here


def matches_etag(etag: bytes, if_none_match: bytes) -> bool:
    """Compare an ETag with If-None-Match by weak comparison (RFC 9110, 13.1.2)."""
    return if_none_match.strip() == b"*" or etag.removeprefix(b"W/") in _ETAG.findall(if_none_match)


def add_vary(headers: dict[bytes, bytes], name: bytes) -> None:
    """Add a request header to `Vary`, which can have values already."""
    headers[b"vary"] = b"%s, %s" % (headers[b"vary"], name) if b"vary" in headers else name


def _is_compressible(headers: dict[bytes, bytes]) -> bool:
    return (
        b"content-type" in headers
        and not headers[b"content-type"].startswith(_COMPRESSED_TYPES)
        and b"content-encoding" not in headers
        and b"no-transform" not in headers.get(b"cache-control", b"")
    )
