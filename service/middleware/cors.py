"""Which web pages may read the answers (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from http import HTTPStatus

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..settings import ENDPOINTS
from .conditional import varied
from .paths import first_segment

CLOSED = frozenset({*ENDPOINTS["backend"], "metrics"})
"""First segments of paths that no page reads: they are for operators, and write."""

_READABLE = (
    b"access-control-expose-headers",
    (
        b"Age, Cache-Status, Content-Disposition, ETag, Link, RateLimit, RateLimit-Policy,"
        b" Retry-After, X-Request-ID"
    ),
)
_SENT = b"Cache-Control, Content-Type, If-None-Match, X-Request-ID"


class CorsMiddleware:
    """ASGI, around all answers, the errors too: a page is to read why it was refused."""

    def __init__(self, app: ASGIApp, origins: frozenset[str], *, keys: bool) -> None:
        """Let pages of these origins read; `*` is any. With `keys` they may send theirs."""
        self.app = app
        self.granted = [
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            # without keys there is only the backend's token, which has no place in a page
            (b"access-control-allow-headers", b"Authorization, " * keys + _SENT),
            (b"access-control-max-age", b"7200"),
        ]
        self.origins = {origin.encode() for origin in origins}
        self.any = "*" in origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP or first_segment(scope) in CLOSED:
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"])
        origin = b"*" if self.any else given.get(b"origin")
        allowed = self.any or origin in self.origins

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                if not self.any:  # without an Origin too: a cache may keep that answer for all
                    headers = varied(headers, b"Origin")
                if allowed and origin:
                    headers += [(b"access-control-allow-origin", origin), _READABLE]
                message["headers"] = headers
            await send(message)

        asks_first = b"access-control-request-method" in given and allowed
        if asks_first and scope["method"] == HttpMethod.OPTIONS:
            await self._grant(send_readable)
        else:
            await self.app(scope, receive, send_readable)

    async def _grant(self, send: Send) -> None:
        """Answer a preflight request: the one that follows may be sent."""
        status = HTTPStatus.NO_CONTENT
        await send({"type": "http.response.start", "status": status, "headers": self.granted})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
