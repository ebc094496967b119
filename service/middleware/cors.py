"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import ENDPOINTS
from .conditional import add_vary
from .scope import get_first_segment

EXCLUDED = frozenset({*ENDPOINTS["backend"], "metrics"})
"""First segments of the paths that are never available to web pages: they are for operators."""

_EXPOSED = (
    b"Age, Cache-Status, Content-Disposition, ETag, Link, RateLimit, RateLimit-Policy, Retry-After,"
    b" X-Request-ID"
)
_REQUEST_HEADERS = b"Cache-Control, Content-Type, If-None-Match, X-Request-ID"


class CorsMiddleware(ASGIMiddleware):
    """Allow pages of the configured origins to read responses, including errors.

    Litestar's own CORS support overwrites `Vary` and has no excluded paths.
    """

    def __init__(self, origins: frozenset[str], *, allow_keys: bool) -> None:
        """`*` in `origins` allows every origin. With `allow_keys`, pages may send API keys."""
        allowed_headers = b"Authorization, " + _REQUEST_HEADERS if allow_keys else _REQUEST_HEADERS
        self.preflight_headers = [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", allowed_headers),
            (b"access-control-max-age", b"7200"),
        ]
        self.origins = {origin.encode() for origin in origins}
        self.any_origin = "*" in origins

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if get_first_segment(scope["path"]) in EXCLUDED:
            await next_app(scope, receive, send)
            return
        request_headers = dict(scope["headers"])
        origin = b"*" if self.any_origin else request_headers.get(b"origin", b"")
        allowed_origin = origin if self.any_origin or origin in self.origins else b""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._add_headers(dict(message["headers"]), allowed_origin)
            await send(message)

        is_options = scope.get("method") == HttpMethod.OPTIONS
        if is_options and allowed_origin and b"access-control-request-method" in request_headers:
            headers = self.preflight_headers
            await send_with_headers(
                {"type": "http.response.start", "status": 204, "headers": headers}
            )
            await send_with_headers({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await next_app(scope, receive, send_with_headers)

    def _add_headers(
        self, headers: dict[bytes, bytes], allowed_origin: bytes
    ) -> list[tuple[bytes, bytes]]:
        if not self.any_origin:  # also without Origin: caches store that response too
            add_vary(headers, b"Origin")
        if allowed_origin:
            headers[b"access-control-allow-origin"] = allowed_origin
            headers[b"access-control-expose-headers"] = _EXPOSED
        return [*headers.items()]
