"""Around every request: its id, in the response and in each log line, and one line at its end."""

import logging
import re
from random import getrandbits
from time import perf_counter

from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    HTTPResponseStartEvent,
    HTTPScope,
    Message,
    Receive,
    ReceiveMessage,
    Scope,
    Send,
)

from ..errors import ClientDisconnected, ServiceError
from ..logging import NOTICE, caller, request_id
from .scope import header

logger = logging.getLogger(__name__)

_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NO_STATUS = 0
_OURS = "arxiv-gateway; "
"""What the Cache-Status (RFC 9211) of our answers begins with."""


class RequestLogMiddleware:
    """ASGI: takes X-Request-ID from the client, where it is one, or makes one up."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the whole application, so that an unknown path has an id and a line too."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        name = _name(scope)
        token = request_id.set(name.decode())
        nobody = caller.set("")
        started = perf_counter()
        head: HTTPResponseStartEvent | None = None
        whole = gone = False

        async def receive_until_gone() -> ReceiveMessage:
            nonlocal gone
            message = await receive()
            if message["type"] == "http.disconnect":
                gone = not whole
            return message

        async def send_with_id(message: Message) -> None:
            nonlocal head, whole
            if message["type"] == "http.response.start":
                head = message
                message["headers"] = [*message["headers"], (b"x-request-id", name)]
            elif message["type"] == "http.response.body":
                whole = not message.get("more_body")
            await send(message)

        try:
            await self.app(scope, receive_until_gone, send_with_id)
        except Exception as error:
            if head is None or not (fault := _fault(error)):
                raise
            # a server breaks the connection where an answer is left without its end
            _log_cut(scope, fault)
        finally:
            if logger.isEnabledFor(NOTICE):
                _log(scope, head, perf_counter() - started, gone=gone)
            request_id.reset(token)
            caller.reset(nobody)


def _name(scope: HTTPScope) -> bytes:
    """The client's name for the request, or a new one: no secret, so that any will do."""
    given = header(scope, b"x-request-id")
    if given and _ACCEPTABLE.fullmatch(given):
        return given
    return b"%032x" % getrandbits(128)


def _log_cut(scope: HTTPScope, fault: ServiceError) -> None:
    cause = f" ({fault.__cause__!r})" if fault.__cause__ else ""
    text = "%s %s is cut off: %s%s"
    logger.log(logging.ERROR, text, scope["method"], _path(scope), fault.detail, cause)


def _log(
    scope: HTTPScope, head: HTTPResponseStartEvent | None, seconds: float, *, gone: bool
) -> None:
    """Write the line of a request, which may have had no answer."""
    status = head["status"] if head else _NO_STATUS
    cache = dict(head["headers"]).get(b"cache-status", b"") if head else b""
    logger.log(
        NOTICE,
        "%s %s %d in %.1f ms%s%s",
        scope["method"],
        _path(scope),
        ClientDisconnected.status_code if gone else status,
        seconds * 1000,
        f" for {caller.get()}" if caller.get() else "",
        cache.decode("latin-1").replace(_OURS, ", "),
    )


def _path(scope: Scope) -> str:
    """The path as it was sent: decoded, it could hold line ends."""
    return scope["raw_path"].decode("ascii", "replace")


def _fault(error: BaseException | None) -> ServiceError | None:
    """What we know of that is behind an error of the framework."""
    while error is not None and not isinstance(error, ServiceError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error
