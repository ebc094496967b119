"""HEAD for every path that supports GET, and OPTIONS."""

from http import HTTPStatus
from typing import cast

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class HeadOptionsMiddleware(ASGIMiddleware):
    """Route HEAD as GET, and answer OPTIONS with the methods that a path supports.

    Litestar rejects HEAD, and its own OPTIONS lists the methods of a single handler only.
    `ConditionalMiddleware`, outside of this one, removes the body of a response to HEAD: it needs
    the body to compute the ETag.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request = cast("HTTPScope", scope).copy()
        if request["method"] == HttpMethod.OPTIONS:
            # no path supports TRACE, so the response is a 405 with the header Allow
            request["method"], send = "TRACE", _convert_405(send)
        elif request["method"] == HttpMethod.HEAD:
            request["method"] = "GET"
        await next_app(request, receive, send)


def _convert_405(send: Send) -> Send:
    """Turn a 405 into a 204 with the same Allow header. A 404 stays a 404."""
    converted = False

    async def send_converted(message: Message) -> None:
        nonlocal converted
        if message["type"] == "http.response.start":
            converted = message["status"] == HTTPStatus.METHOD_NOT_ALLOWED
            if converted:
                message["status"] = HTTPStatus.NO_CONTENT
                message["headers"] = [field for field in message["headers"] if field[0] == b"allow"]
        elif message["type"] == "http.response.body" and converted:
            message["body"] = b""
        await send(message)

    return send_converted
