"""Limit the memory of large responses, which clients may be slow to read."""

from contextvars import ContextVar

import anyio
from anyio.lowlevel import checkpoint
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPResponseBodyEvent, Message, Receive, Scope, Send

from ..errors import TooManyResponses
from ..heap import trim_heap_later
from ..problems import reject_request

MAX_RESERVED_BYTES = 64 * 2**20
"""Of all responses in progress. One response is always allowed, however large."""
PIECE_BYTES = 2**16
"""The server accepts a piece only when its buffer holds less than this."""
TRIMMED_BYTES = 16 * 2**20
"""After this much was reserved, free memory is returned to the system."""
TRIM_DELAY = 1.0

_current: "ContextVar[_Response | None]" = ContextVar("response", default=None)


def reserve_memory(size: int) -> None:
    """Reserve memory for the response to the current request, until it has ended.

    Handlers call this before they read many rows. Raises TooManyResponses.
    """
    if response := _current.get():
        response.reserve(size)


def release_memory(size: int) -> None:
    """Release what is reserved for the response to the current request beyond `size`."""
    if response := _current.get():
        response.release(size)


class ResponseBudgetMiddleware(ASGIMiddleware):
    """Respond with 503 if the large responses in progress would use too much memory.

    A large body is sent in pieces, and its memory is reserved until the server has accepted the
    last one, which it does only if the client reads.
    """

    def __init__(self) -> None:
        self._reserved = self._peak = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        with anyio.CancelScope() as cancel_scope:
            response = _Response(self, send, cancel_scope)
            token = _current.set(response)
            try:
                await next_app(scope, receive, response.send)
            finally:
                _current.reset(token)
                response.release(0)
                self._trim_if_idle()

    def reserve(self, size: int) -> None:
        """Reserve memory. Raises TooManyResponses."""
        if self._reserved and self._reserved + size > MAX_RESERVED_BYTES:
            raise TooManyResponses(
                "too many large responses are in progress: retry later, or request smaller pages"
            )
        self._reserved += size
        self._peak = max(self._peak, self._reserved)

    def release(self, size: int) -> None:
        """Release memory."""
        self._reserved -= size

    def _trim_if_idle(self) -> None:
        if not self._reserved and self._peak >= TRIMMED_BYTES:
            self._peak = 0
            trim_heap_later(TRIM_DELAY)


class _Response:
    """One response, which starts when the size of its body is known, or its first part is there."""

    def __init__(
        self, budget: ResponseBudgetMiddleware, send: Send, cancel_scope: anyio.CancelScope
    ) -> None:
        self._budget = budget
        self._send = send
        self._cancel_scope = cancel_scope
        self._start: Message | None = None
        self.reserved = 0

    def reserve(self, size: int) -> None:
        """Reserve up to `size` in all. Raises TooManyResponses."""
        if size > max(PIECE_BYTES, self.reserved):
            self._budget.reserve(size - self.reserved)
            self.reserved = size

    def release(self, size: int) -> None:
        """Keep at most `size` in all."""
        if size < self.reserved:
            self._budget.release(self.reserved - size)
            self.reserved = size

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            if self._start:
                await self._start_response(self._start, len(message["body"]))
            await self._send_pieces(message)
        else:
            await self._send(message)

    async def _start_response(self, start: Message, size: int) -> None:
        self._start = None
        try:
            self.reserve(size)
        except TooManyResponses as error:
            await reject_request(error, self._send)
            self._cancel_scope.cancel()
            await checkpoint()  # raises the cancellation here
        await self._send(start)

    async def _send_pieces(self, message: HTTPResponseBodyEvent) -> None:
        body, more_body = message["body"], message.get("more_body", False)
        begin = 0
        while begin + PIECE_BYTES < len(body):
            piece = body[begin : begin + PIECE_BYTES]
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            begin += PIECE_BYTES
        rest = body[begin:]
        await self._send({"type": "http.response.body", "body": rest, "more_body": more_body})
