"""What holds for any parameter: its path knows it, it is given once, and it is text."""

from collections import Counter
from functools import lru_cache
from urllib.parse import parse_qsl

from litestar.enums import HttpMethod
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from ..errors import InvalidParameter, UnsupportedMediaType
from ..handlers.params import get_parameters
from ..problems import answer
from .scope import header

MOST = 100
"""Parameters of a request."""
SHORT = 500
"""Bytes of a query string that is remembered where it was right."""


class QueryParamsMiddleware:
    """ASGI, around each handler: refuses what Litestar would pass over when it reads parameters.

    No guard: for each of those, Litestar copies the handler.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap what answers, inside of what explains errors."""
        self.app = app
        self._seen = lru_cache(maxsize=256)(_check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; an error would pass by what counts answers."""
        try:
            if scope.get("method") == HttpMethod.POST:
                _check_type(scope)
            if query := scope["query_string"]:
                check = self._seen if len(query) <= SHORT else _check
                check(query, scope["route_handler"], scope["path_template"])
        except (InvalidParameter, UnsupportedMediaType) as error:
            await answer(error, send)
            return
        await self.app(scope, receive, send)


def _check_type(scope: Scope) -> None:
    given = header(scope, b"content-type") or b""
    if given.partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("send the body as content-type: application/json")


def _check(query: bytes, handler: BaseRouteHandler, path: str) -> None:
    """Refuse a name that is unknown or given twice, and a value that is no text."""
    try:
        text = query.decode("ascii")
        if text.count("&") > MOST:
            raise InvalidParameter("query string", f"has more than {MOST} parameters")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidParameter("query string", "is not percent-encoded UTF-8") from None
    known = get_parameters(handler)
    for name, times in Counter(name for name, _ in pairs).items():
        if name not in known:
            hint = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidParameter(name[:100], f"{path} has no such parameter; {hint}")
        if times > 1 and known[name].max_items is None:
            raise InvalidParameter(name, f"is given {times} times")
    for name, value in pairs:
        if "\0" in value:
            raise InvalidParameter(name, "holds a NUL character")
