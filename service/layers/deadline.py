"""How long a caller waits: its header Request-Timeout, in seconds. What is left is passed on."""

import asyncio
import re
from contextvars import ContextVar

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from service.errors import BadInput, DeadlinePassed

NAME = "request-timeout"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the caller stops waiting, by the event loop's clock; None: it did not say."""


class Deadline:
    """ASGI: ends a request, its stream too, once its caller does not wait any more."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap what answers, inside of what explains errors."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Raises BadInput for a header that is none, and DeadlinePassed."""
        name = NAME.encode()
        given = scope["type"] == ScopeType.HTTP and dict(scope["headers"]).get(name)
        if not given:
            await self.app(scope, receive, send)
            return
        text = given.decode("latin-1").strip()
        if not _SECONDS.fullmatch(text):
            raise BadInput("Request-Timeout", "is a header with a number of seconds: 2.5")
        end = asyncio.get_running_loop().time() + float(text)
        token = deadline.set(end)
        try:
            async with asyncio.timeout_at(end) as limit:
                await self.app(scope, receive, send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlinePassed(f"the {text} seconds of Request-Timeout are over") from None
        finally:
            deadline.reset(token)
