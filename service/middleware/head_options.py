"""HEAD for every path that supports GET, and OPTIONS."""

from http import HTTPStatus
from typing import Literal, cast

from litestar.enums import HttpMethod, ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class HeadOptionsMiddleware(ASGIMiddleware):
    """Route HEAD as GET, and answer OPTIONS with the methods that a path supports.

    Litestar rejects HEAD, and its own OPTIONS lists the methods of a single handler only.
    `ConditionalMiddleware`, outside of this one, removes the body of a response to HEAD: it needs
    the body to compute the ETag.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        request = cast("HTTPScope", scope)
        if request["method"] == HttpMethod.OPTIONS:
            # no path supports TRACE, so the response is a 405 with the header Allow
            await next_app(_replace_method(request, "TRACE"), receive, _convert_405(send))
        elif request["method"] == HttpMethod.HEAD:
            await next_app(_replace_method(request, "GET"), receive, send)
        else:
            await next_app(scope, receive, send)


def _convert_405(send: Send) -> Send:
    """Turn a 405 into a 204 with the same Allow header. A 404 stays a 404."""
    converted = False

    async def send_converted(message: Message) -> None:
        nonlocal converted
        if (
            message["type"] == "http.response.start"
            and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED
        ):
            converted = True
            message["status"] = HTTPStatus.NO_CONTENT
            message["headers"] = [field for field in message["headers"] if field[0] == b"allow"]
        elif message["type"] == "http.response.body" and converted:
            message["body"] = b""
        await send(message)

    return send_converted


def _replace_method(scope: HTTPScope, method: Literal["GET", "TRACE"]) -> HTTPScope:
    replaced = scope.copy()
    replaced["method"] = method
    return replaced
