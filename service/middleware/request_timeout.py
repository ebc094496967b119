"""The request header Request-Timeout: how many seconds the client waits for the response."""

import asyncio
import re
from contextvars import ContextVar

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InvalidParameter, RequestTimedOut
from ..problems import send_problem
from .scope import join_headers

HEADER = "request-timeout"
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the client stops waiting, by the clock of the event loop; None without Request-Timeout.
A frontend passes the remaining time on to its backend."""


class RequestTimeoutMiddleware(ASGIMiddleware):
    """Cancel a request, including a streamed response, when its Request-Timeout expires.

    The 504 is sent here and not raised, so that it passes through the middleware that counts
    responses. Raises RequestTimedOut if the response has already started.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if not (value := join_headers(scope, HEADER.encode())):
            await next_app(scope, receive, send)
            return
        text = value.decode("latin-1").strip()
        if not _SECONDS.fullmatch(text):
            detail = "must be a number of seconds, for example 2.5"
            await send_problem(InvalidParameter("Request-Timeout", detail), send)
            return
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
