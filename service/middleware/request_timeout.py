"""How long a caller waits: its header Request-Timeout, in seconds. What is left is passed on."""

import asyncio
import re
from contextvars import ContextVar

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InvalidParameter, RequestTimedOut
from ..problems import answer
from .scope import joined

NAME = "request-timeout"
_NAME = NAME.encode()
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the caller stops waiting, by the event loop's clock; None: it did not say."""


class RequestTimeoutMiddleware:
    """ASGI: ends a request, its stream too, once its caller does not wait any more.

    It answers for itself: an error would pass by what counts answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap what answers, inside of what explains errors."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Raises DeadlinePassed where the answer has begun."""
        given = joined(scope, _NAME)
        if not given or scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        text = given.decode("latin-1").strip()
        if not _SECONDS.fullmatch(text):
            wrong = InvalidParameter("Request-Timeout", "is a header with a number of seconds: 2.5")
            await answer(wrong, send)
            return
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        end = asyncio.get_running_loop().time() + float(text)
        token = deadline.set(end)
        try:
            async with asyncio.timeout_at(end) as limit:
                await self.app(scope, receive, send_on)
        except TimeoutError:
            if not limit.expired():
                raise
            passed = RequestTimedOut(f"the {text} seconds of Request-Timeout are over")
            if begun:
                raise passed from None
            await answer(passed, send)
        finally:
            deadline.reset(token)
