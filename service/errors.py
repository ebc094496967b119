"""Exceptions, each with its HTTP status.

The status is a class attribute here, so that a new exception cannot be added without one. This
module knows nothing else about HTTP: `problems.py` turns exceptions into responses.

ServiceError
├── InvalidParameter            400  a parameter is invalid; the error names it
├── InvalidHost                 400  the Host header is malformed or not allowed
├── Unauthorized                401  a backend endpoint was called without its token
│   └── InvalidApiKey           401  the API key is missing, invalid or revoked
├── NotFound                    404  no such search or paper is recorded
├── NotAcceptable               406  no available format matches the Accept header
├── Conflict                    409  another record has this query_id
│   └── ApiKeyNameTaken         409  another API key has this name
├── NotComparable               409  the search has no usable response to compare
├── UnsupportedMediaType        415  the body is not declared as JSON
├── TooManyRequests             429  the quota of the API client is used up
├── LimitExceeded                    a request exceeds a limit of the HTTP server; any 4xx, or 503
├── ClientDisconnected          499  the client disconnected before the response
├── UpstreamError
│   ├── UpstreamRejected        400  arXiv rejected the query
│   ├── UpstreamThrottled       503  arXiv demanded a pause (429, 403, 503)
│   ├── UpstreamUnreachable     503  no connection to arXiv
│   ├── UpstreamTimeout         504  arXiv did not respond in time
│   └── UpstreamInvalidResponse 502  arXiv's response is unusable
├── QueueTooLong                503  the wait for the rate limiter would be too long
├── DatabaseUnavailable         503  PostgreSQL is unavailable, full or not migrated
├── BackendUnavailable          503  the backend is unavailable or does not respond as a backend
├── BackendError                     the backend responded with an error; its status is passed on
├── RequestTimedOut             504  the Request-Timeout of the request expired
├── QueueUnavailable                 RabbitMQ is unavailable; searches are recorded directly
├── RecordRejected                   PostgreSQL rejected the content of a queued record
└── ConfigurationError               a setting or the installation is invalid; the start fails
"""

from http import HTTPStatus


class ServiceError(Exception):
    """The base class of all errors that are reported to API clients or users."""

    status_code: int = HTTPStatus.INTERNAL_SERVER_ERROR
    title: str = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    parameter: str | None = None
    """The parameter concerned, if there is one."""

    def __init__(
        self, detail: str, *, retry_after: int | None = None, query_id: int | None = None
    ) -> None:
        """Create an error.

        `detail` names the problem and the remedy, `retry_after` is in seconds, and `query_id`
        identifies the record of a failed search.
        """
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.query_id = query_id


class InvalidParameter(ServiceError):
    """A parameter is invalid; `detail` begins with its name."""

    status_code = HTTPStatus.BAD_REQUEST
    title = HTTPStatus.BAD_REQUEST.phrase
    parameter: str

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


class InvalidHost(ServiceError):
    """The Host header is malformed or not in ARXIV_ALLOWED_HOSTS."""

    status_code = HTTPStatus.BAD_REQUEST
    title = HTTPStatus.BAD_REQUEST.phrase


class Unauthorized(ServiceError):
    """A backend endpoint was called without its token."""

    status_code = HTTPStatus.UNAUTHORIZED
    title = HTTPStatus.UNAUTHORIZED.phrase


class InvalidApiKey(Unauthorized):
    """The API key is missing, invalid or revoked."""


class NotFound(ServiceError):
    """No such search, paper or API key is recorded."""

    status_code = HTTPStatus.NOT_FOUND
    title = HTTPStatus.NOT_FOUND.phrase


class NotAcceptable(ServiceError):
    """No available format matches the Accept header; `detail` lists the formats."""

    status_code = HTTPStatus.NOT_ACCEPTABLE
    title = HTTPStatus.NOT_ACCEPTABLE.phrase


class Conflict(ServiceError):
    """A different record is stored under the same query_id."""

    status_code = HTTPStatus.CONFLICT
    title = HTTPStatus.CONFLICT.phrase


class ApiKeyNameTaken(Conflict):
    """A valid API key has this name."""


class NotComparable(ServiceError):
    """The search has no usable response, so nothing can be compared with it."""

    status_code = HTTPStatus.CONFLICT
    title = HTTPStatus.CONFLICT.phrase


class UnsupportedMediaType(ServiceError):
    """The body is not declared as JSON. Web pages can send other types without a preflight."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = HTTPStatus.UNSUPPORTED_MEDIA_TYPE.phrase


class TooManyRequests(ServiceError):
    """The quota of the API client is used up."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    title = HTTPStatus.TOO_MANY_REQUESTS.phrase


class LimitExceeded(ServiceError):
    """A request is malformed, too large or too slow for the HTTP server."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.status_code = status
        self.title = HTTPStatus(status).phrase


class ClientDisconnected(ServiceError):
    """The client disconnected before the response. Only the log and the metrics show it."""

    status_code = 499  # of nginx; no standard has a status for it
    title = "Client Closed Request"


class UpstreamError(ServiceError):
    """arXiv did not send a usable response. The attempt is recorded."""


class UpstreamRejected(UpstreamError):
    """arXiv rejected the query."""

    status_code = HTTPStatus.BAD_REQUEST
    title = "arXiv rejected the query"


class UpstreamThrottled(UpstreamError):
    """arXiv demanded a pause."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "arXiv demanded a pause"


class UpstreamUnreachable(UpstreamError):
    """The connection to arXiv failed."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "arXiv is unreachable"


class UpstreamTimeout(UpstreamError):
    """arXiv did not respond in time."""

    status_code = HTTPStatus.GATEWAY_TIMEOUT
    title = "arXiv did not respond in time"


class UpstreamInvalidResponse(UpstreamError):
    """arXiv's response is not a feed, or it reports an internal error."""

    status_code = HTTPStatus.BAD_GATEWAY
    title = "Unusable response from arXiv"


class QueueTooLong(ServiceError):
    """The search would wait longer than ARXIV_MAX_WAIT, or arXiv demanded a longer pause."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Too many waiting searches"


class DatabaseUnavailable(ServiceError):
    """PostgreSQL is unavailable, full or not migrated."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Database unavailable"

    def __init__(self, detail: str, *, query_id: int | None = None) -> None:
        super().__init__(detail, retry_after=5, query_id=query_id)


class BackendUnavailable(ServiceError):
    """The backend is unavailable or does not respond as a backend."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Backend unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after=5)


class BackendError(ServiceError):
    """An error of the backend, passed on. The backend logs it under the same request_id."""

    def __init__(
        self,
        detail: str,
        *,
        title: str,
        status_code: int,
        retry_after: int | None = None,
        query_id: int | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after, query_id=query_id)
        self.title = title
        self.status_code = status_code


class RequestTimedOut(ServiceError):
    """The request took longer than its header Request-Timeout allows."""

    status_code = HTTPStatus.GATEWAY_TIMEOUT
    title = "Request timed out"


class QueueUnavailable(ServiceError):
    """RabbitMQ is unavailable or full. No client sees this: searches are recorded directly."""

    title = "Queue unavailable"


class RecordRejected(ServiceError):
    """PostgreSQL rejected the content of a record. Only the queue worker sees this."""

    title = "Record rejected by PostgreSQL"


class ConfigurationError(ServiceError):
    """The service cannot start with these settings or this installation."""

    title = "Invalid configuration"
