"""What a path belongs to."""

from litestar.types import Scope


def first_segment(scope: Scope) -> str:
    """The first segment of the path; Litestar passes over empty ones."""
    return next(filter(None, scope["path"].split("/")), "")
