"""Headers that are sent in several lines."""

from typing import cast

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send


class RepeatedHeadersMiddleware(ASGIMiddleware):
    """Join the lines of each header by commas (RFC 9110, 5.2), so that all code reads one value.

    A header that may be sent once only, such as Host or Authorization, becomes malformed thereby.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        joined: dict[bytes, bytes] = {}
        headers = list(scope["headers"])
        for name, value in headers:
            joined[name] = joined[name] + b", " + value if name in joined else value
        if len(joined) < len(headers):
            scope = cast("HTTPScope", scope).copy()
            scope["headers"] = [*joined.items()]
        await next_app(scope, receive, send)
