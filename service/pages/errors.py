"""Errors as pages for browsers, also of requests that do not reach a handler."""

from functools import cached_property, partial
from http import HTTPStatus
from typing import cast

from jinja2 import Template
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from ..formats.negotiation import parse_media_type, select_offer
from ..middleware.api_errors import ProblemSender
from ..middleware.scope import get_first_segment, get_header
from ..models.responses import Problem
from ..problems import BEARER, Headers
from ..settings import Settings
from ..sign_in_redirect import create_sign_in_url, get_target
from .page import HEADERS, create_common_values, create_environment

MEDIA_TYPE = "text/html; charset=utf-8"

_OFFERS = {
    "json": [parse_media_type("application/json"), parse_media_type("application/problem+json")],
    "html": [parse_media_type("text/html")],
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

_REPLACED = {
    b"content-type": MEDIA_TYPE.encode(),
    # with Basic, a browser would ask for a password before it shows the page with *Sign in*
    b"www-authenticate": BEARER.encode(),
}


class ErrorPages:
    """Renders problems as pages."""

    def __init__(self, settings: Settings, segments: frozenset[str]) -> None:
        """`segments` are the first segments of the paths of pages."""
        self._settings = settings
        self._segments = segments

    @cached_property
    def _template(self) -> Template:
        """Loaded when it is needed: workers receive this object from their supervisor."""
        return create_environment().get_template("error.html")

    def is_wanted(self, scope: Scope) -> bool:
        """Return whether a browser shows the response to its user."""
        return get_first_segment(scope) in self._segments or _prefers_html(scope)

    def render(self, scope: Scope, problem: Problem) -> bytes:
        """Return the page."""
        values = create_common_values(scope, self._settings)
        url = create_sign_in_url(get_target(scope))
        return self._template.render(values, problem=problem, sign_in_url=url).encode()

    def create_rejection(
        self, target: bytes, headers: Headers, problem: Problem
    ) -> tuple[Headers, bytes] | None:
        """Return the headers and the body for a request that does not reach the application.

        None if no page is wanted. Target and headers can be incomplete.
        """
        path, _, query = target.partition(b"?")
        text = path.decode("latin-1")
        fields = {"path": text, "raw_path": path, "query_string": query, "headers": headers}
        scope = cast("Scope", fields)
        # the path counts only for targets that are too long: their headers are not read
        is_too_long = problem.status == HTTPStatus.REQUEST_URI_TOO_LONG
        if not (self.is_wanted(scope) if is_too_long else _prefers_html(scope)):
            return None
        return [(b"content-type", MEDIA_TYPE.encode()), *_HEADERS], self.render(scope, problem)


class PageErrorMiddleware(ASGIMiddleware):
    """Turn problems into pages for the paths of pages, and for browsers.

    This is outside of everything that rejects requests.
    """

    def __init__(self, pages: ErrorPages) -> None:
        """Take what renders the pages."""
        self._pages = pages

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, and its response or a page."""
        if self._pages.is_wanted(scope):
            render = partial(self._render, scope)
            send = ProblemSender(send, render, _REPLACED, _HEADERS).send
        await next_app(scope, receive, send)

    def _render(self, scope: Scope, problem: Problem) -> tuple[int, bytes]:
        return problem.status, self._pages.render(scope, problem)


def _prefers_html(scope: Scope) -> bool:
    """Return whether a browser opens the path. Java and others also name `text/html` first."""
    if get_header(scope, b"sec-fetch-dest") == b"document":
        return True
    accept = (get_header(scope, b"accept") or b"").decode("latin-1")
    return "application/xhtml+xml" in accept.lower() and select_offer(accept, _OFFERS) == "html"
