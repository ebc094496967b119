"""Which web pages may read the answers (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from http import HTTPStatus

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from service.layers.representations import varied
from service.settings import ENDPOINTS

CLOSED = frozenset({*ENDPOINTS["backend"], "metrics"})
"""First segments of paths that no page reads: they are for operators, and write."""

_READABLE = (
    b"access-control-expose-headers",
    b"Age, Cache-Status, Content-Disposition, ETag, Link, Retry-After, X-Request-ID",
)
_GRANTED = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    # not Authorization: the backend's token has no place in a page
    (b"access-control-allow-headers", b"Cache-Control, Content-Type, If-None-Match, X-Request-ID"),
    (b"access-control-max-age", b"7200"),
]


class Cors:
    """ASGI, around all answers, the errors too: a page is to read why it was refused."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        """Let pages of these origins read; `*` stands for any."""
        self.app = app
        self.origins = {origin.encode() for origin in origins}
        self.any = "*" in origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP or _segment(scope) in CLOSED:
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
            await _grant(send_readable)
        else:
            await self.app(scope, receive, send_readable)


def _segment(scope: HTTPScope) -> str:
    """The first segment of the path; Litestar passes over empty ones."""
    return next(filter(None, scope["path"].split("/")), "")


async def _grant(send: Send) -> None:
    """Answer a preflight request: the one that follows may be sent."""
    await send(
        {"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": _GRANTED}
    )
    await send({"type": "http.response.body", "body": b"", "more_body": False})
