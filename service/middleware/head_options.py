"""HEAD wherever there is GET, and OPTIONS."""

from http import HTTPStatus
from typing import Literal

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send


class HeadOptionsMiddleware:
    """ASGI: has Litestar answer a HEAD as a GET, and an OPTIONS by what it allows.

    The content of a HEAD goes as far as Representations, which makes its tag of it.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap Litestar: it refuses HEAD, and its own OPTIONS names one handler's methods alone."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
        elif scope["method"] == HttpMethod.OPTIONS:
            # no path takes TRACE, and the refusal says what it takes
            await self.app(_with_method("TRACE", scope), receive, _granting(send))
        elif scope["method"] == HttpMethod.HEAD:
            await self.app(_with_method("GET", scope), receive, send)
        else:
            await self.app(scope, receive, send)


def _granting(send: Send) -> Send:
    """Turn a refusal into the answer to OPTIONS; an unknown path stays unknown."""
    refused = False

    async def grant(message: Message) -> None:
        nonlocal refused
        if (
            message["type"] == "http.response.start"
            and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED
        ):
            refused = True
            message["status"] = HTTPStatus.NO_CONTENT
            message["headers"] = [field for field in message["headers"] if field[0] == b"allow"]
        elif message["type"] == "http.response.body" and refused:
            message["body"] = b""
        await send(message)

    return grant


def _with_method(method: Literal["GET", "TRACE"], scope: HTTPScope) -> HTTPScope:
    other = scope.copy()
    other["method"] = method
    return other
