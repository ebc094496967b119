"""The request header Request-Timeout: how many seconds the client waits for the response."""

import asyncio
import re

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InvalidParameter, RequestTimedOut
from ..http_headers import REQUEST_TIMEOUT, deadline
from ..problems import send_problem
from .scope import join_headers

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class RequestTimeoutMiddleware(ASGIMiddleware):
    """Cancel a request, including a streamed response, when its Request-Timeout expires.

    The 504 is sent here and not raised, so that it passes through the middleware that counts
    responses. Raises RequestTimedOut if the response has already started.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        text = join_headers(scope, REQUEST_TIMEOUT.encode()).decode("latin-1")
        if not text:
            await next_app(scope, receive, send)
        elif _SECONDS.fullmatch(text.strip()):
            await self._limit(text.strip(), scope, receive, send, next_app)
        else:
            detail = "must be a number of seconds, for example 2.5"
            await send_problem(InvalidParameter("Request-Timeout", detail), send)

    async def _limit(
        self, text: str, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
    ) -> None:
        response_started = False

        async def send_and_note_start(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        expires_at = asyncio.get_running_loop().time() + float(text)
        token = deadline.set(expires_at)
        try:
            async with asyncio.timeout_at(expires_at) as timeout:
                await next_app(scope, receive, send_and_note_start)
        except TimeoutError:
            if not timeout.expired():
                raise
            error = RequestTimedOut(f"the request took longer than its Request-Timeout of {text} s")
            if response_started:
                raise error from None
            await send_problem(error, send)
        finally:
            deadline.reset(token)
