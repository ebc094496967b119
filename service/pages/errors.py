"""Errors as pages for browsers, also of requests that do not reach a handler."""

from functools import partial

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from ..formats.negotiation import parse_media_type, select_offer
from ..middleware.api_errors import ProblemSender
from ..middleware.scope import get_first_segment, get_header
from ..models.responses import Problem
from ..settings import Settings
from .page import HEADERS, create_common_values, create_environment

MEDIA_TYPE = "text/html; charset=utf-8"

_OFFERS = {
    "json": [parse_media_type("application/json"), parse_media_type("application/problem+json")],
    "html": [parse_media_type("text/html")],
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class PageErrorMiddleware(ASGIMiddleware):
    """Turn problems into pages for the paths of pages, and for clients that prefer HTML.

    This is outside of everything that rejects requests.
    """

    def __init__(self, settings: Settings, segments: frozenset[str]) -> None:
        """`segments` are the first segments of the paths of pages."""
        self._settings = settings
        self._segments = segments
        self._template = create_environment().get_template("error.html")

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, and its response or a page."""
        if get_first_segment(scope) in self._segments or _prefers_html(scope):
            render = partial(self._render, scope)
            send = ProblemSender(send, render, MEDIA_TYPE, _HEADERS).send
        await next_app(scope, receive, send)

    def _render(self, scope: Scope, problem: Problem) -> tuple[int, bytes]:
        values = create_common_values(scope, self._settings)
        return problem.status, self._template.render(values, problem=problem).encode()


def _prefers_html(scope: Scope) -> bool:
    accept = get_header(scope, b"accept") or b""
    return select_offer(accept.decode("latin-1"), _OFFERS) == "html"
