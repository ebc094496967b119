"""Cancel requests whose client has disconnected."""

import asyncio
from contextlib import suppress

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from ..errors import ClientDisconnected
from ..problems import send_problem

WATCH_AFTER = 0.05
"""Seconds after which a request is watched; most end earlier, and cost only a timer."""
IS_COMPLETED = {"is_completed": True}
"""The `opt` of handlers that are not cancelled, because they write."""


class DisconnectMiddleware(ASGIMiddleware):
    """Cancel a request when its client disconnects before the response has started.

    The request is cancelled once, since a database connection that is cancelled twice is unusable.
    Litestar cancels a response that has started, if it is a stream.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope["route_handler"].opt.get("is_completed"):
            await next_app(scope, receive, send)
            return
        request = _WatchedRequest(receive, send)
        if scope.get("method") != HttpMethod.POST:
            request.start_timer()
        try:
            async with request.timeout:
                await next_app(scope, request.receive, request.send)
        except TimeoutError:
            if not request.timeout.expired():
                raise
            # sent, so that it passes through the middleware that counts responses
            await send_problem(
                ClientDisconnected("the client disconnected before the response"), send
            )
        finally:
            request.stop()


class _WatchedRequest:
    """A request that is cancelled by its timeout, which expires when the client disconnects."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self.timeout = asyncio.timeout(None)

    async def receive(self) -> ReceiveMessage:
        message = await self._receive()
        # only one task can receive a body, so the request is watched after it
        if message["type"] == "http.request" and not message.get("more_body"):
            self.start_timer()
        return message

    async def send(self, message: Message) -> None:
        self.stop()
        await self._send(message)

    def start_timer(self) -> None:
        """Watch the client if the request takes longer than WATCH_AFTER."""
        if not self._timer:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WATCH_AFTER, self._start_watch)

    def _start_watch(self) -> None:
        self._watch = asyncio.create_task(self._wait_for_disconnect())

    async def _wait_for_disconnect(self) -> None:
        with suppress(ClientDisconnected):  # before the watch began
            while (await self._receive())["type"] != "http.disconnect":
                pass
        self.timeout.reschedule(asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Stop watching."""
        if self._timer:
            self._timer.cancel()
        if self._watch:
            self._watch.cancel()
