"""Answers on the wire: a whole one goes out in one write, of which uvicorn makes two.

Each write is a call of the kernel, and a packet.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        HTTPResponseStartEvent,
        Scope,
    )

LARGE = 64 * 2**10
"""Bytes of a body that would be copied for nothing: it takes several writes anyway."""
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
"""What no header may hold (RFC 9110, 5.5)."""


class Joined:
    """An application whose heads wait for their bodies, where those are to follow at once."""

    __slots__ = ("_app", "_cycle", "_fields", "_start")
    _start: "HTTPResponseStartEvent"

    def __init__(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        """Answer in this cycle of uvicorn's."""
        self._cycle = cycle
        self._app = app
        self._fields: dict[bytes, bytes] | None = None
        """The headers of the head that waits."""

    def __call__(
        self, scope: "Scope", receive: "ASGIReceiveCallable", _: "ASGISendCallable"
    ) -> Awaitable[None]:
        """Serve one request."""
        return self._app(scope, receive, self._send)

    async def _send(self, message: "ASGISendEvent") -> None:
        """Write what is an answer as a whole; what is not, uvicorn writes."""
        if self._fields is not None:
            fields, self._fields = self._fields, None
            if self._written(fields, message):
                return
            await self._cycle.send(self._start)
        elif message["type"] == "http.response.start" and not self._cycle.response_started:
            fields = dict(message["headers"])
            if b"content-length" in fields:
                self._start, self._fields = message, fields
                return
        await self._cycle.send(message)

    def _written(self, fields: dict[bytes, bytes], message: "ASGISendEvent") -> bool:
        """Write head and body, as uvicorn would, unless there is more to it than that.

        The names of headers are ours, and in lower case: only values may come from elsewhere.
        """
        cycle = self._cycle
        if (
            message["type"] != "http.response.body"
            or message.get("more_body")
            or len(body := message["body"]) > LARGE
            or fields[b"content-length"] != b"%d" % len(body)
            or b"connection" in fields
            or b"transfer-encoding" in fields
            or cycle.scope["method"] == "HEAD"
            or not cycle.keep_alive
            or cycle.disconnected
            or cycle.flow.write_paused
        ):
            return False
        headers = [*cycle.default_headers, *self._start["headers"]]
        head = b"".join([b"%s: %s\r\n" % field for field in headers])
        if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(headers):
            return False  # uvicorn says what is wrong
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        status = STATUS_LINE[self._start["status"]]
        cycle.transport.write(b"".join((status, head, b"\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        return True
