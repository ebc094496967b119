"""Validation that applies to all parameters: known, not repeated, valid text, plain numbers."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Receive, Scope, Send

from ..errors import InvalidParameter, UnsupportedEncoding, UnsupportedMediaType
from ..problems import send_problem
from .scope import get_header

MAX_PARAMETERS = 100
IS_LENIENT = {"is_lenient": True}
"""The `opt` of handlers that check their parameters themselves."""

_INTEGER = re.compile("0|-?[1-9][0-9]*")

GetParameters = Callable[[BaseRouteHandler], Mapping[str, QueryParameter]]


class QueryParamsMiddleware(ASGIMiddleware):
    """Reject what Litestar would ignore or reinterpret.

    Unknown and repeated parameters, bodies that are not JSON or are compressed, and numbers that
    Python's `int` accepts, such as `+1`, `1_0`, `1e2` and digits of other scripts.

    A guard could do the same, but Litestar copies the route handler for each guard.
    """

    def __init__(self, get_parameters: GetParameters) -> None:
        """`get_parameters` returns the query parameters of a route handler by name."""
        self.get_parameters = get_parameters

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        try:
            if not scope["route_handler"].opt.get("is_lenient"):
                self._check(scope)
        except (InvalidParameter, UnsupportedMediaType) as error:
            # raised, it would not pass through the middleware that counts responses
            await send_problem(error, send)
        else:
            await next_app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        _check_path_numbers(scope)
        if scope.get("method") == "POST":
            _check_body_headers(scope)
        if query := scope["query_string"]:
            parameters = self.get_parameters(scope["route_handler"])
            _check_parameters(parse_query_string(query), parameters, scope["path_template"])


def _check_body_headers(scope: Scope) -> None:
    content_type = (get_header(scope, b"content-type") or b"").partition(b";")[0].strip()
    if content_type.lower() != b"application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json")
    coding = get_header(scope, b"content-encoding") or b"identity"
    if coding.strip().lower() != b"identity":
        raise UnsupportedEncoding("send the body without Content-Encoding")


def parse_query_string(query: bytes) -> list[tuple[str, str]]:
    """Return the names and values of parameters, in order. Raises InvalidParameter."""
    try:
        text = query.decode("ascii")
        if text.count("&") >= MAX_PARAMETERS:
            raise InvalidParameter("query string", f"has more than {MAX_PARAMETERS} parameters")
        return parse_qsl(text, keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidParameter("query string", "is not percent-encoded UTF-8") from None


def _check_parameters(
    pairs: list[tuple[str, str]], known: Mapping[str, QueryParameter], path: str
) -> None:
    names = [name for name, _ in pairs]
    for name, value in pairs:
        if name not in known:
            takes = ", ".join(known) or "no parameters"
            raise InvalidParameter(name[:100], f"no such parameter; {path} takes {takes}")
        check_parameter(name, value, known[name], names.count(name))


def check_parameter(name: str, value: str, definition: QueryParameter, count: int) -> None:
    """Check a value of a parameter that is given `count` times. Raises InvalidParameter."""
    if definition.max_items is None and count > 1:
        raise InvalidParameter(name, f"is given {count} times; give it once")
    if "\0" in value:
        position = value.index("\0") + 1
        raise InvalidParameter(name, f"contains a NUL character, at character {position}")
    if definition.ge is not None and not _INTEGER.fullmatch(value):
        raise InvalidParameter(name, "is not a whole number in decimal digits")


def _check_path_numbers(scope: Scope) -> None:
    segments = scope["path"].split("/")
    for name, value in scope["path_params"].items():
        if isinstance(value, int) and str(value) not in segments:
            raise InvalidParameter(name, "is not a whole number in decimal digits")
