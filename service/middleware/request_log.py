"""The request ID, and one log line per request."""

import logging
import re
from random import getrandbits
from time import perf_counter

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send

from ..errors import ClientDisconnected, ServiceError
from ..logging import NOTICE, error_was_logged, key_name, request_id
from .scope import get_header

logger = logging.getLogger(__name__)

_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestLogMiddleware(ASGIMiddleware):
    """Take X-Request-ID from the request or generate one, and log each request when it ends."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        own_id = get_header(scope, b"x-request-id") or b""
        if not _VALID_ID.fullmatch(own_id):
            own_id = b"%032x" % getrandbits(128)  # not a secret
        id_token, key_token = request_id.set(own_id.decode()), key_name.set("")
        error_was_logged.set(False)
        started_at = perf_counter()
        exchange = _Exchange(own_id, receive, send)
        try:
            await next_app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if not exchange.status or not (cause := _find_service_error(error)):
                raise
            # the server closes the connection if a response is left incomplete
            _log_truncation(scope, cause)
        finally:
            _log_request(scope, exchange, perf_counter() - started_at)
            request_id.reset(id_token)
            key_name.reset(key_token)


class _Exchange:
    """The messages of one request and its response."""

    def __init__(self, own_id: bytes, receive: Receive, send: Send) -> None:
        self._own_id = own_id
        self._receive = receive
        self._send = send
        self._request_complete = self._response_complete = False
        self.status = 0
        self.cache_status = b""
        self.disconnected = False

    async def receive(self) -> ReceiveMessage:
        message = await self._receive()
        if message["type"] == "http.request":
            self._request_complete = not message.get("more_body")
        elif not self._response_complete:
            self.disconnected = True
            if not self._request_complete:
                raise ClientDisconnected("the client disconnected before the end of the body")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.cache_status = dict(message["headers"]).get(b"cache-status", b"")
            message["headers"] = [*message["headers"], (b"x-request-id", self._own_id)]
        elif message["type"] == "http.response.body":
            self._response_complete = not message.get("more_body")
        await self._send(message)


def _log_truncation(scope: Scope, error: ServiceError) -> None:
    cause = f" ({error.__cause__!r})" if error.__cause__ else ""
    text = "response to %s %s is truncated: %s%s"
    logger.error(text, scope.get("method"), _get_raw_path(scope), error.detail, cause)
    error_was_logged.set(True)


def _log_request(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    logger.log(
        NOTICE,
        "%s %s %d in %.1f ms%s%s",
        scope.get("method"),
        _get_raw_path(scope),
        ClientDisconnected.status_code if exchange.disconnected else exchange.status,
        seconds * 1000,
        f" for {key_name.get()}" if key_name.get() else "",
        # the service's own Cache-Status (RFC 9211) begins with its name
        exchange.cache_status.decode("latin-1").replace("arxiv-gateway; ", ", "),
    )


def _get_raw_path(scope: Scope) -> str:
    """Return the path as it was sent: the decoded one can contain line breaks."""
    return scope["raw_path"].decode("ascii", "replace")


def _find_service_error(error: BaseException | None) -> ServiceError | None:
    """Return the ServiceError behind an error of Litestar, if there is one."""
    while error is not None and not isinstance(error, ServiceError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return error
