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
    """What an error page depends on."""

    path: str
    target: str
    """The path and the query."""
    headers: dict[bytes, bytes]
    session: Session | None = None

    @classmethod
    def from_scope(cls, scope: Scope) -> Self:
        """Describe a request of the application, whose session may not be known yet."""
        headers = dict(scope["headers"])
        return cls(scope["path"], get_target(scope), headers, get_session(scope))

    @classmethod
    def from_target(cls, target: bytes, headers: Headers) -> Self:
        """Describe a request that does not reach the application. Both can be incomplete."""
        text = target.decode("latin-1")
        return cls(text.partition("?")[0], text, dict(headers))


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
        request = FailedRequest.from_scope(scope)
        if not (self._is_path_of_page(request) or _prefers_html(request.headers)):
            return None
        # described again: the session is found later
        return lambda problem: self._render(FailedRequest.from_scope(scope), problem)

    def create_rejection(
        self, target: bytes, headers: Headers, problem: Problem
    ) -> tuple[Headers, bytes] | None:
        """Return the headers and the body for a request that does not reach the application.

        None if no page is wanted. Target and headers can be incomplete.
        """
        request = FailedRequest.from_target(target, headers)
        # the path counts only for targets that are too long: their headers are not read
        is_too_long = problem.status == HTTPStatus.REQUEST_URI_TOO_LONG
        if not (_prefers_html(request.headers) or (is_too_long and self._is_path_of_page(request))):
            return None
        content_type = (b"content-type", MEDIA_TYPE.encode())
        return [content_type, *PAGE_HEADERS], self._render(request, problem)

    def _is_path_of_page(self, request: FailedRequest) -> bool:
        return get_first_segment(request.path) in self._segments

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
