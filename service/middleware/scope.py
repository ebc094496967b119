"""Access to the ASGI scope."""

from litestar.types import Scope


def get_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a request header. `name` is in lower case."""
    return next((value for key, value in scope["headers"] if key == name), None)


def join_headers(scope: Scope, name: bytes) -> bytes:
    """Return all values of a request header, joined by commas (RFC 9110, 5.3)."""
    return b", ".join([value for key, value in scope["headers"] if key == name])


def get_first_segment(scope: Scope) -> str:
    """Return the first non-empty segment of the path: Litestar ignores empty segments."""
    return next(filter(None, scope["path"].split("/")), "")
