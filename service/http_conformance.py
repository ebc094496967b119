"""Rules of HTTP that uvicorn does not implement; `http_limits` applies them."""

from litestar.types import Message, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .errors import LimitExceeded

Headers = list[tuple[bytes, bytes]]


def check_framing(version: str, headers: Headers) -> None:
    """Raise LimitExceeded if the version or the transfer coding of a request is not supported."""
    if version not in {"1.0", "1.1"}:  # RFC 9110, 15.6.6
        raise LimitExceeded(505, f"HTTP/{version} is not supported: send HTTP/1.1")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":  # RFC 9112, 6.1
        raise LimitExceeded(400, "HTTP/1.0 has no Transfer-Encoding: send Content-Length")
    if codings not in ([], [b"chunked"]):  # httptools would ignore the others
        raise LimitExceeded(501, "the only Transfer-Encoding that is supported is chunked")


def check_expect(headers: Headers) -> bool:
    """Return whether the client waits for 100 Continue. Raises LimitExceeded (RFC 9110, 10.1.1)."""
    lines = [value.lower() for name, value in headers if name == b"expect"]
    members = [member.strip(b" \t") for member in b",".join(lines).split(b",")]
    if lines and set(members) != {b"100-continue"}:
        raise LimitExceeded(417, "the only Expect that is supported is 100-continue: remove it")
    return bool(lines)


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
