"""The cookies of browsers: their names, flags and values."""

import re
from urllib.parse import urlsplit

from litestar.datastructures import Cookie
from litestar.types import Scope

from .settings import Settings

SESSION_COOKIE = "arxiv-gateway-session"
FORM_COOKIE = "arxiv-gateway-csrf"

_HOST_PREFIX = "__Host-"
"""Browsers accept a cookie with this prefix only over TLS and without a domain. Another host of the
same domain therefore cannot set it."""
_SEPARATOR = re.compile(rb"[;,] *")  # repeated headers are joined by commas


def create_cookie(
    scope: Scope, settings: Settings, name: str, value: str, max_age: int | None = None
) -> Cookie:
    """Return a cookie that scripts cannot read, and that only pages of this site send by POST.

    It is Lax rather than Strict: browsers omit a strict cookie if a link from another site leads
    here, so the page would get a new secret, and the forms in other tabs would expire.
    """
    uses_tls = _uses_tls(scope, settings)
    return Cookie(
        key=_get_full_name(name, uses_tls=uses_tls),
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=uses_tls,
    )


def find_cookies(scope: Scope, settings: Settings, name: str) -> list[str]:
    """Return the values of all cookies of this name, in the order of the request.

    Over TLS, these are the cookies with the prefix only.
    """
    full_name = _get_full_name(name, uses_tls=_uses_tls(scope, settings)).encode()
    header = dict(scope["headers"]).get(b"cookie", b"")
    pairs = (pair.partition(b"=") for pair in _SEPARATOR.split(header))
    return [value.decode("latin-1") for found, _, value in pairs if found == full_name]


def _get_full_name(name: str, *, uses_tls: bool) -> str:
    return f"{_HOST_PREFIX}{name}" if uses_tls else name


def _uses_tls(scope: Scope, settings: Settings) -> bool:
    """Return whether browsers use TLS, which may end at a proxy that the service does not trust."""
    return scope["scheme"] == "https" or urlsplit(settings.public_url or "").scheme == "https"
