"""Errors as pages for browsers, also of requests that do not reach a handler."""

from collections.abc import Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Self

from jinja2 import Template
from litestar.types import Scope
from msgspec import Struct

from ..formats.negotiation import parse_media_type, select_offer
from ..middleware.error_pages import MEDIA_TYPE, RenderPage
from ..middleware.scope import get_first_segment
from ..models.responses import Problem
from ..problems import Headers
from ..sessions import Session, get_session
from ..settings import Settings
from ..sign_in_redirect import create_sign_in_url, get_target
from .page import HEADERS, create_common_values, create_environment

PAGE_HEADERS: Headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

_OFFERS = {
    "json": [parse_media_type("application/json"), parse_media_type("application/problem+json")],
    "html": [parse_media_type("text/html")],
}


class FailedRequest(Struct, frozen=True):
    """What an error page shows of a request."""

    path: str
    target: str
    """The path and the query."""
    session: Session | None = None

    @classmethod
    def from_scope(cls, scope: Scope) -> Self:
        """Describe a request of the application."""
        return cls(scope["path"], get_target(scope), get_session(scope))

    @classmethod
    def from_target(cls, target: bytes) -> Self:
        """Describe a request that does not reach the application. Its target can be incomplete."""
        text = target.decode("latin-1")
        return cls(text.partition("?")[0], text)


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

    def choose_renderer(self, scope: Scope) -> RenderPage | None:
        """Return what renders problems as pages, or None if no browser shows them to its user."""
        if not (self._is_path_of_page(scope["path"]) or _prefers_html(dict(scope["headers"]))):
            return None
        # the session is found later
        return lambda problem: self._render(FailedRequest.from_scope(scope), problem)

    def create_rejection(
        self, target: bytes, headers: Headers, problem: Problem
    ) -> tuple[Headers, bytes] | None:
        """Return the headers and the body for a request that does not reach the application.

        None if no page is wanted. Target and headers can be incomplete.
        """
        request = FailedRequest.from_target(target)
        # the path counts only for targets that are too long: their headers are not read
        is_too_long = problem.status == HTTPStatus.REQUEST_URI_TOO_LONG
        is_page = is_too_long and self._is_path_of_page(request.path)
        if not (is_page or _prefers_html(dict(headers))):
            return None
        content_type = (b"content-type", MEDIA_TYPE.encode())
        return [content_type, *PAGE_HEADERS], self._render(request, problem)

    def _is_path_of_page(self, path: str) -> bool:
        return get_first_segment(path) in self._segments

    def _render(self, request: FailedRequest, problem: Problem) -> bytes:
        values = create_common_values(request.path, request.session, self._settings)
        url = create_sign_in_url(request.target)
        return self._template.render(values, problem=problem, sign_in_url=url).encode()


def _prefers_html(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser opens the path. Java and others also name `text/html` first."""
    if headers.get(b"sec-fetch-dest") == b"document":
        return True
    accept = headers.get(b"accept", b"").decode("latin-1")
    return "application/xhtml+xml" in accept.lower() and select_offer(accept, _OFFERS) == "html"
