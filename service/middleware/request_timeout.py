"""The request header Request-Timeout: how many seconds the client waits for the response."""

import asyncio
import re

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InvalidParameter, RequestTimedOut
from ..http_headers import REQUEST_TIMEOUT, deadline
from ..problems import reject_request, send_problem
from .scope import get_header

_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class RequestTimeoutMiddleware(ASGIMiddleware):
    """Cancel a request, including a streamed response, when its Request-Timeout expires.

    Outside of everything that waits. Raises RequestTimedOut if the response has already started.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        text = _read_seconds(scope)
        if not text:
            await next_app(scope, receive, send)
        elif _SECONDS.fullmatch(text):
            await self._limit(float(text), scope, receive, _Response(send), next_app)
        else:
            detail = "must be a number of seconds, for example 2.5"
            await reject_request(InvalidParameter("Request-Timeout", detail), send)

    async def _limit(
        self, seconds: float, scope: Scope, receive: Receive, response: "_Response", app: ASGIApp
    ) -> None:
        expires_at = asyncio.get_running_loop().time() + seconds
        token = deadline.set(expires_at)
        try:
            async with asyncio.timeout_at(expires_at) as timeout:
                await app(scope, receive, response.send)
        except TimeoutError:
            if not timeout.expired():
                raise
            if response.is_started and not response.is_complete:
                raise _create_error(scope) from None
            if not response.is_started:
                await reject_request(_create_error(scope), response.send)
        finally:
            deadline.reset(token)


class TimeoutResponseMiddleware(ASGIMiddleware):
    """Respond with 504 to a request that RequestTimeoutMiddleware cancels.

    Inside of the middleware that counts responses, which would count a cancelled request as 200.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        expires_at = deadline.get()
        if expires_at is None:
            await next_app(scope, receive, send)
            return
        response = _Response(send)
        try:
            await next_app(scope, receive, response.send)
        except asyncio.CancelledError:
            is_late = expires_at <= asyncio.get_running_loop().time()
            if is_late and not response.is_started:
                await send_problem(_create_error(scope), send)
            raise


class _Response:
    """Notes how much of a response has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = self.is_complete = False

    async def send(self, message: Message) -> None:
        self.is_started = True
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)


def _read_seconds(scope: Scope) -> str:
    return (get_header(scope, REQUEST_TIMEOUT.encode()) or b"").decode("latin-1").strip(" \t")


def _create_error(scope: Scope) -> RequestTimedOut:
    seconds = _read_seconds(scope)
    return RequestTimedOut(f"the request took longer than its Request-Timeout of {seconds} s")
