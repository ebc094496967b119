"""Errors as application/problem+json (RFC 9457), with a detail a person can act on."""

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from litestar.types import Send

from . import metrics
from .errors import (
    BackendError,
    ClientDisconnected,
    InvalidParameter,
    QueueTooLong,
    RequestTimedOut,
    ServiceError,
    Unauthorized,
)
from .logging import request_id
from .models.responses import Problem

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
AnyRequest = Request[Any, Any, Any]
_GONE = "client disconnected prematurely"
"""Litestar's word for a client that breaks off within its body; it calls that an error of ours."""


def of_service(_: AnyRequest, error: ServiceError) -> Response[Problem]:
    """An error of ours: it brings its own status, title and detail."""
    return _response(*_told(error))


async def refuse(error: ServiceError, send: Send) -> None:
    """Answer with an error of ours at the door, where nothing else counts it."""
    metrics.count_refusal(error.status_code)
    await answer(error, send)


async def answer(error: ServiceError, send: Send) -> None:
    """Answer with an error of ours from outside of what explains errors."""
    problem, headers = _told(error)
    body = msgspec.json.encode(problem)
    headers |= {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "cache-control": "no-store",
    }
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _told(error: ServiceError) -> tuple[Problem, dict[str, str]]:
    """What the client is told of an error, with its headers; the log, where it is our fault."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # the backend has logged its own, and how long a caller waits is his own affair
        is_known = isinstance(error, QueueTooLong | BackendError | RequestTimedOut)
        level = logging.WARNING if is_known else logging.ERROR
        cause = f" ({error.__cause__!r})" if error.__cause__ else ""
        logger.log(level, "%s: %s%s", error.title, error.detail, cause)
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    problem = Problem(
        title=error.title,
        status=error.status_code,
        detail=error.detail,
        request_id=request_id.get(),
        parameter=error.parameter,
        query_id=error.query_id,
        retry_after=error.retry_after,
    )
    return problem, headers


def of_framework(request: AnyRequest, error: HTTPException) -> Response[Problem]:
    """An error that Litestar found: no such path, a value out of bounds, a body too large."""
    detail, parameter = str(error.detail), None
    if detail == _GONE:
        return of_service(request, ClientDisconnected("the client hung up within its body"))
    if isinstance(error.__cause__, SerializationException):
        detail, parameter = f"body: is not JSON ({error.detail})", "body"
    elif isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        faults = [_fault(fault) for fault in error.extra]
        detail = "; ".join(f"{name}: {reason}" for name, reason in faults)
        parameter = faults[0][0]
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s", error.detail)
    wrong = error.status_code == HTTPStatus.BAD_REQUEST
    problem = Problem(
        title=InvalidParameter.title if wrong else HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=detail,
        request_id=request_id.get(),
        parameter=parameter,
    )
    headers = dict(error.headers or {})
    if allow := headers.get("allow"):
        headers["allow"] = _completed(allow)
    return _response(problem, headers)


def _completed(allow: str) -> str:
    """Litestar's list of a path's methods, with those that layers/methods.py adds to them."""
    methods = {*allow.split(", "), "OPTIONS"}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def of_accident(_: AnyRequest, error: Exception) -> Response[Problem]:
    """Anything nobody thought of: logged whole, told to the client by its id alone."""
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    problem = Problem(
        title="The service failed",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        detail="an unexpected error: the log tells more under this request_id",
        request_id=request_id.get(),
    )
    return _response(problem, {})


def of_depth(request: AnyRequest, _: RecursionError) -> Response[Problem]:
    """A body whose brackets are nested deeper than any reader goes."""
    return of_service(request, InvalidParameter("body", "is nested too deeply"))


def _fault(fault: dict[str, Any]) -> tuple[str, str]:
    """The parameter's name and the reason, from an entry of Litestar's `extra`."""
    name, reason = str(fault.get("key", "data"))[:100], str(fault["message"])[:500]
    if name != "data":
        return name, reason
    return "body", "is missing" if reason == "'data'" else reason


def _response(problem: Problem, headers: dict[str, str]) -> Response[Problem]:
    headers["cache-control"] = "no-store"
    return Response(problem, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


EXCEPTION_HANDLERS: dict[type[Exception] | int, Any] = {
    ServiceError: of_service,
    HTTPException: of_framework,
    RecursionError: of_depth,
    Exception: of_accident,
}
