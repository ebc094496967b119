"""Errors of `/api/query` as arXiv's API reports them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from ..errors import REJECTED
from ..formats.arxiv_feed import MEDIA_TYPE, render_error
from ..models.responses import Problem
from ..problems import MEDIA_TYPE as PROBLEM_TYPE
from ..problems import Headers

PATH = ["api", "query"]


class ApiErrorMiddleware(ASGIMiddleware):
    """Turn problems into the feed with one entry in which arXiv reports an error.

    This is outside of everything that rejects requests, so that clients of arXiv's API, which know
    no other errors, can read all of them.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if [*filter(None, scope["path"].split("/"))] == PATH:
            send = ProblemSender(send, _render, {b"content-type": MEDIA_TYPE.encode()}).send
        await next_app(scope, receive, send)


Render = Callable[[Problem], tuple[int, bytes]]
"""Returns the status and the body in place of a problem."""


class ProblemSender:
    """Sends one response. The start of a problem is delayed until its body is there."""

    def __init__(
        self,
        send: Send,
        render: Render,
        replaced: Mapping[bytes, bytes],
        headers: Headers | None = None,
    ) -> None:
        """`replaced` are the new values of headers of problems, which also get these `headers`."""
        self._send = send
        self._render = render
        self._replaced = replaced
        self._headers = headers or []
        self._start: HTTPResponseStartEvent | None = None

    async def send(self, message: Message) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type") == PROBLEM_TYPE.encode():
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start:
            problem = msgspec.json.decode(message["body"], type=Problem)
            status, message["body"] = self._render(problem)
            await self._send(self._create_start(self._start, status, len(message["body"])))
        await self._send(message)

    def _create_start(
        self, start: HTTPResponseStartEvent, status: int, length: int
    ) -> HTTPResponseStartEvent:
        replaced = {**self._replaced, b"content-length": b"%d" % length}
        headers = [(name, replaced.get(name, value)) for name, value in start["headers"]]
        return {**start, "status": status, "headers": [*headers, *self._headers]}


def _render(problem: Problem) -> tuple[int, bytes]:
    detail = problem.detail.removeprefix(REJECTED)
    return _get_status(problem), render_error(detail, datetime.now(UTC))


def _get_status(problem: Problem) -> int:
    """Return arXiv's status if it reports an error of its own, which is a 502 elsewhere."""
    upstream = problem.upstream_status or 0
    is_unusable = problem.status == HTTPStatus.BAD_GATEWAY
    return (
        upstream if is_unusable and upstream >= HTTPStatus.INTERNAL_SERVER_ERROR else problem.status
    )
