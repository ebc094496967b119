"""Errors as pages for browsers."""

from collections.abc import Callable

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from ..models.responses import Problem
from ..problems import BEARER, Headers
from .api_errors import ProblemSender

MEDIA_TYPE = "text/html; charset=utf-8"

_REPLACED = {
    b"content-type": MEDIA_TYPE.encode(),
    # with Basic, a browser would ask for a password before it shows the page with *Sign in*
    b"www-authenticate": BEARER.encode(),
}

RenderPage = Callable[[Problem], bytes]
ChooseRenderer = Callable[[Scope], RenderPage | None]
"""Returns what renders the problems of a request as pages; None if its client wants no pages."""


class ErrorPageMiddleware(ASGIMiddleware):
    """Turn problems into pages for the paths of pages, and for browsers.

    This is outside of everything that rejects requests.
    """

    def __init__(self, choose_renderer: ChooseRenderer, headers: Headers) -> None:
        """`headers` are those of all pages."""
        self._choose_renderer = choose_renderer
        self._headers = headers

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if render := self._choose_renderer(scope):
            sender = ProblemSender(
                send, lambda problem: (problem.status, render(problem)), _REPLACED, self._headers
            )
            send = sender.send
        await next_app(scope, receive, send)
