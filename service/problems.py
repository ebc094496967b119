"""Exceptions -> application/problem+json (RFC 9457)."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import Send

from . import errors, metrics
from .errors import ServiceError
from .escaping import escape_hidden
from .http_headers import DEFAULT_POLICY, SECURITY_HEADERS
from .logging import NOTICE, request_id
from .models.responses import Problem

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
AnyRequest = Request[Any, Any, Any]
Headers = list[tuple[bytes, bytes]]

BEARER = 'Bearer realm="arxiv-gateway"'
_BASIC = 'Basic realm="arxiv-gateway", charset="UTF-8"'
"""After other schemes: urllib before Python 3.8.3 reads only the last one in a header."""
_LOGGED_AS_WARNING = (
    errors.QueueTooLong | errors.TooManyResponses | errors.BackendError | errors.RequestTimedOut
)
"""Server errors that are not faults of this process: a backend logs its own errors, and the others
depend on the load and on how long a client waits."""


def handle_service_error(_: AnyRequest, error: ServiceError) -> Response[Problem]:
    """Respond with the status, title and detail of the exception."""
    _log_server_error(error)
    return _create_response(error, {})


def handle_http_exception(_: AnyRequest, error: HTTPException) -> Response[Problem]:
    """Respond to an error that Litestar detects: unknown path, invalid value, body too large."""
    headers = dict(error.headers or {})
    if allow := headers.get("allow"):
        # HeadOptionsMiddleware adds methods to those of Litestar
        methods = {*allow.split(", "), "OPTIONS"}
        headers["allow"] = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s", error.detail)
    detail, parameter = _describe_http_exception(error, headers)
    problem = ServiceError(detail, status_code=error.status_code)
    problem.parameter = parameter
    return _create_response(problem, headers)


def _describe_http_exception(
    error: HTTPException, headers: dict[str, str]
) -> tuple[str, str | None]:
    """Return the detail of the problem, and the parameter concerned, if there is one."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "there is no such path: see /schema for the paths", None
    if "allow" in headers:
        return f"the path does not support this method: use one of {headers['allow']}", None
    if isinstance(error, ValidationException) and isinstance(error.extra, list) and error.extra:
        problems = [_describe_invalid_value(entry) for entry in error.extra]
        return "; ".join(f"{name}: {reason}" for name, reason in problems), problems[0][0]
    return str(error.detail), None


def handle_unexpected_error(_: AnyRequest, error: Exception) -> Response[Problem]:
    """Log an unhandled exception with its traceback, and respond with the request ID only."""
    logger.error("unhandled %s", type(error).__name__, exc_info=error)
    detail = "unexpected error: report this request_id to the operator, whose log has the cause"
    return _create_response(ServiceError(detail), {})


EXCEPTION_HANDLERS: dict[type[Exception] | int, Any] = {
    ServiceError: handle_service_error,
    HTTPException: handle_http_exception,
    Exception: handle_unexpected_error,
}


async def reject_request(error: ServiceError, send: Send) -> None:
    """Send a problem from outside of the middleware that counts responses, and count it."""
    metrics.REJECTED.labels(error.status_code).inc()
    await send_problem(error, send)


async def send_problem(error: ServiceError, send: Send) -> None:
    """Send a problem from ASGI middleware, outside of Litestar's exception handlers."""
    _log_server_error(error)
    headers, body = _encode_problem(error)
    await send({"type": "http.response.start", "status": error.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _encode_problem(error: ServiceError) -> tuple[Headers, bytes]:
    body = msgspec.json.encode(_create_problem(error))
    headers = _create_headers(error)
    headers |= {"content-type": MEDIA_TYPE, "content-length": str(len(body))}
    return [(name.encode(), value.encode()) for name, value in headers.items()], body


def create_rejection(
    error: ServiceError,
    server_headers: Headers,
    create_page: Callable[[Problem], tuple[Headers, bytes] | None] = lambda _: None,
) -> bytes:
    """Log and count a request that does not reach the application; return the whole response.

    `create_page` returns the headers and the body in place of those of the problem, if any.
    """
    own_id = uuid4().hex
    token = request_id.set(own_id)
    logger.log(NOTICE, "rejected with %d: %s", error.status_code, error.detail)
    metrics.REJECTED.labels(error.status_code).inc()
    headers, body = _encode_problem(error)
    headers += [*server_headers, *SECURITY_HEADERS, DEFAULT_POLICY]
    if page := create_page(_create_problem(error)):
        own_headers, body = page
        length = (b"content-length", b"%d" % len(body))
        headers = [*(dict(headers) | dict([*own_headers, length])).items()]
    request_id.reset(token)
    headers += [(b"connection", b"close"), (b"x-request-id", own_id.encode())]
    lines = [f"HTTP/1.1 {error.status_code} {error.title}".encode()]
    lines += [b"%s: %s" % header for header in headers]
    return b"\r\n".join([*lines, b"", body])


def _log_server_error(error: ServiceError) -> None:
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        level = logging.WARNING if isinstance(error, _LOGGED_AS_WARNING) else logging.ERROR
        cause = f" ({error.__cause__!r})" if error.__cause__ else ""
        logger.log(level, "%s: %s%s", error.title, error.detail, cause)


def _create_problem(error: ServiceError) -> Problem:
    return Problem(
        title=error.title,
        status=error.status_code,
        detail=escape_hidden(error.detail),
        request_id=request_id.get(),
        parameter=escape_hidden(error.parameter) if error.parameter else None,
        query_id=error.query_id,
        retry_after=error.retry_after,
        upstream_status=error.upstream_status,
    )


def _create_headers(error: ServiceError) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, errors.InvalidProxyApiKey):
        headers["proxy-authenticate"] = _BASIC
    elif isinstance(error, errors.Unauthorized):
        headers["www-authenticate"] = f"{BEARER}, {_BASIC}"
    if isinstance(error, errors.UnsupportedEncoding):
        headers["accept-encoding"] = "identity"  # RFC 9110, 12.5.3
    return headers


def _create_response(error: ServiceError, headers: dict[str, str]) -> Response[Problem]:
    return Response(
        _create_problem(error),
        status_code=error.status_code,
        headers=headers | _create_headers(error),
        media_type=MEDIA_TYPE,
    )


def _describe_invalid_value(entry: dict[str, Any]) -> tuple[str, str]:
    """Return the parameter and the reason of an entry of `ValidationException.extra`."""
    name, reason = str(entry.get("key", "data"))[:100], str(entry["message"])[:500]
    if name != "data":
        return name, reason
    # without a body, Litestar looks up the argument `data` in vain
    return "body", "is missing" if reason == str(KeyError("data")) else reason
