"""Redirects of browsers without a session to the form that accepts an API key, and back."""

import re
from http import HTTPStatus
from urllib.parse import parse_qs, quote, unquote, urlencode

from litestar.enums import HttpMethod
from litestar.types import Receive, Scope, Send

from .api_keys import KEY_PATTERN
from .settings import SEARCH_SEGMENTS

SIGN_IN = "sign-in"
"""First segment of the path of the form."""

_REJECTED_SEGMENTS = SEARCH_SEGMENTS | {SIGN_IN, "sign-out"}
_LOCAL_TARGET = re.compile(r"/(?![/\\])[!-\[\]-~]{0,8000}")
"""Browsers treat `\\` as `/`, and `//` begins the name of a host."""
_MAX_FORM_BYTES = 8000


def is_local_target(target: str) -> bool:
    """Return whether a target is a path of this service that a redirect may contain.

    Rejects targets with an API key, of searches of arXiv, and of sign-in and sign-out.
    """
    if not _LOCAL_TARGET.fullmatch(target) or KEY_PATTERN.search(target):
        return False
    segments = [*filter(None, unquote(re.split("[?#]", target)[0]).split("/"))]
    # browsers resolve dots, so another path may follow
    return _REJECTED_SEGMENTS.isdisjoint(segments[:1]) and {".", ".."}.isdisjoint(segments)


def create_sign_in_url(target: str) -> str:
    """Return the path of the form, with the target to which it leads.

    The target is left out if it is the start page, or if a redirect may not contain it.
    """
    if target == "/" or not is_local_target(target):
        return f"/{SIGN_IN}"
    return f"/{SIGN_IN}?next={quote(target, safe='/')}"


def get_target(scope: Scope) -> str:
    """Return the path and the query of a request."""
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return (scope["raw_path"] + query).decode("latin-1")


async def redirect_to_sign_in(scope: Scope, receive: Receive, send: Send) -> None:
    """Redirect to the form, which then leads to the page that was requested.

    After a form, this is the page with the form; that of a search has the same text again.
    """
    target = get_target(scope)
    if scope.get("method") == HttpMethod.POST:
        target = scope["path"].removesuffix("/runs")
        if target == "/":
            target += await _read_search(receive)
    headers = [
        (b"location", create_sign_in_url(target).encode()),
        (b"cache-control", b"no-store"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": HTTPStatus.SEE_OTHER, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read_search(receive: Receive) -> str:
    """Return the query string for the search in the form of a request, if it is not too long."""
    body, more = b"", True
    while more and len(body) <= _MAX_FORM_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return ""
        body += message["body"]
        more = message["more_body"]
    if more or len(body) > _MAX_FORM_BYTES:
        return ""
    form = parse_qs(body.decode("latin-1"))
    fields = [(name, form[name][0]) for name in ("mode", "q") if name in form]
    return f"?{urlencode(fields)}" if fields else ""
