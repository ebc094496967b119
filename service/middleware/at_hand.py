"""Answers that are at hand before Litestar reads a request, which costs more than all the rest."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from litestar.types import ASGIApp, Receive, Scope, Send

from ..errors import ServiceError
from ..problems import answer

OPTION = "at_hand"
"""Of a handler: a Look for requests that it has had before."""


class Ready(NamedTuple):
    """An answer of status 200, as it goes out."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


Look = Callable[[Scope], Awaitable[Ready | None]]


class AtHand:
    """ASGI, around each handler: asks its Look first."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap what answers, inside of what counts it."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; an error would pass by what counts answers."""
        look: Look | None = scope["route_handler"].opt.get(OPTION)
        try:
            ready = await look(scope) if look else None
        except ServiceError as error:
            await answer(error, send)
            return
        if ready is None:
            await self.app(scope, receive, send)
            return
        headers = [*ready.headers, (b"content-length", b"%d" % len(ready.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ready.body, "more_body": False})
