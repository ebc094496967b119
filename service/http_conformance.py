"""Rules of HTTP that uvicorn does not implement; `http_limits` applies them."""

import re

from litestar.types import Message, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .errors import LimitExceeded

_ABSOLUTE_TARGET = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)(.*)", re.DOTALL)
Headers = list[tuple[bytes, bytes]]


def check_expect(headers: Headers) -> bool:
    """Return whether the client waits for 100 Continue. Raises LimitExceeded (RFC 9110, 10.1.1)."""
    values = [value.lower() for name, value in headers if name == b"expect"]
    if any(value != b"100-continue" for value in values):
        raise LimitExceeded(417, "the only Expect that is supported is 100-continue: remove it")
    return bool(values)


def apply_target(target: bytes, headers: Headers) -> bytes:
    """Return the path and the query of a target. Its host replaces Host (RFC 9112, 3.2.2)."""
    if not (match := _ABSOLUTE_TARGET.fullmatch(target)):
        return target
    host, path = match.groups()
    headers[:] = [(name, host if name == b"host" else value) for name, value in headers]
    return path if path.startswith(b"/") else b"/" + path


def create_unchunked_send(cycle: RequestResponseCycle) -> Send:
    """Return a replacement of `cycle.send` for HTTP/1.0, which has no chunks (RFC 9112, 6.1).

    The end of the connection ends a body of unknown length. uvicorn sends it unchanged if each part
    has the length that uvicorn still expects.
    """
    send, has_length = cycle.send, False

    async def send_unchunked(message: Message) -> None:
        nonlocal has_length
        if message["type"] == "http.response.start":
            has_length = any(name == b"content-length" for name, _ in message["headers"])
            cycle.chunked_encoding = None if has_length else False
        elif message["type"] == "http.response.body" and not has_length:
            cycle.expected_content_length = len(message["body"])
        await send(message)  # type: ignore[arg-type]

    return send_unchunked
