"""Errors of `/api/query` as arXiv's API reports them."""

from datetime import UTC, datetime
from http import HTTPStatus

import msgspec
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from ..errors import REJECTED
from ..formats.arxiv_feed import MEDIA_TYPE, render_error
from ..models.responses import Problem
from ..problems import MEDIA_TYPE as PROBLEM_TYPE

PATH = ["api", "query"]


class ApiErrorMiddleware(ASGIMiddleware):
    """Turn problems into the feed with one entry in which arXiv reports an error.

    This is outside of everything that rejects requests, so that clients of arXiv's API, which know
    no other errors, can read all of them.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if [*filter(None, scope["path"].split("/"))] == PATH:
            send = _ErrorSender(send).send
        await next_app(scope, receive, send)


class _ErrorSender:
    """Sends one response. The start of a problem is delayed until its body is there."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: HTTPResponseStartEvent | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type") == PROBLEM_TYPE.encode():
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start:
            problem = msgspec.json.decode(message["body"], type=Problem)
            message["body"] = _render(problem)
            await self._send(_create_start(self._start, problem, len(message["body"])))
        await self._send(message)


def _render(problem: Problem) -> bytes:
    return render_error(problem.detail.removeprefix(REJECTED), datetime.now(UTC))


def _create_start(
    start: HTTPResponseStartEvent, problem: Problem, length: int
) -> HTTPResponseStartEvent:
    replaced = {b"content-type": MEDIA_TYPE.encode(), b"content-length": b"%d" % length}
    headers = [(name, replaced.get(name, value)) for name, value in start["headers"]]
    return {**start, "status": _get_status(problem), "headers": headers}


def _get_status(problem: Problem) -> int:
    """Return arXiv's status if it reports an error of its own, which is a 502 elsewhere."""
    upstream = problem.upstream_status or 0
    is_unusable = problem.status == HTTPStatus.BAD_GATEWAY
    return (
        upstream if is_unusable and upstream >= HTTPStatus.INTERNAL_SERVER_ERROR else problem.status
    )
