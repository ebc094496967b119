"""Access to the ASGI scope."""

from litestar.types import Scope

from ..request_target import ABSOLUTE_TARGET


def get_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a request header, whose lines RepeatedHeadersMiddleware has joined.

    `name` is in lower case.
    """
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def get_first_segment(path: str) -> str:
    """Return the first non-empty segment of a path: Litestar ignores empty segments."""
    return next(filter(None, path.split("/")), "")


def has_absolute_target(scope: Scope) -> bool:
    """Return whether the target was a whole URL, as clients send it to their proxy."""
    return ABSOLUTE_TARGET in scope.get("state", {})
