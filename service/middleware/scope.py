"""Headers as ASGI brings them."""

from litestar.types import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first one of this name; Litestar would look through all of them, and decode each."""
    for each, value in scope["headers"]:
        if each == name:
            return value
    return None


def joined(scope: Scope, name: bytes) -> bytes:
    """All of this name as one (RFC 9110, 5.3), which is empty where there is none."""
    if header(scope, name) is None:  # as it is mostly
        return b""
    return b", ".join([value for each, value in scope["headers"] if each == name])
