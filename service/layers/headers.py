"""Headers as ASGI brings them."""

from litestar.types import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first one of this name; Litestar would look through all of them, and decode each."""
    for each, value in scope["headers"]:
        if each == name:
            return value
    return None
