"""Access to the ASGI scope."""

from litestar.types import Scope


def get_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a request header, whose lines RepeatedHeadersMiddleware has joined.

    `name` is in lower case.
    """
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def get_first_segment(scope: Scope) -> str:
    """Return the first non-empty segment of the path: Litestar ignores empty segments."""
    return next(filter(None, scope["path"].split("/")), "")
