"""Exceptions, each with its HTTP status.

This module knows nothing else about HTTP: `problems.py` turns exceptions into responses.

ServiceError
├── InvalidParameter            400  a parameter is invalid; the error names it
├── InvalidApiQuery             400  a parameter of arXiv's API is invalid
├── InvalidHost                 400  the Host header is malformed or not allowed
├── Unauthorized                401  a backend endpoint was called without its token
│   └── InvalidApiKey           401  the API key is missing, invalid or revoked
│       └── InvalidProxyApiKey  407  the same, of a client that uses the service as its proxy
├── FormRejected                403  a form is not from a page of this service, or has expired
├── NotFound                    404  no such search or paper is recorded
├── NotAcceptable               406  no available format matches the Accept header
├── Conflict                    409  another record has this query_id
│   └── ApiKeyNameTaken         409  another API key has this name
├── SyncInProgress              409  another process updates the mirror
├── NotComparable               409  the search has no usable response to compare
├── UnsupportedMediaType        415  the body is not declared as JSON, or as a form
│   └── UnsupportedEncoding     415  the body is compressed
├── TooManyRequests             429  the quota of the API client is used up
├── LimitExceeded                    the HTTP server does not accept a request; any 4xx or 5xx
├── ClientDisconnected          499  the client disconnected before the response
├── UpstreamError
│   ├── UpstreamRejected        400  arXiv rejected the query
│   ├── UpstreamThrottled       503  arXiv demanded a cooldown (429, 403, 503)
│   ├── UpstreamUnreachable     503  no connection to arXiv
│   ├── UpstreamTimeout         504  arXiv did not respond in time
│   └── UpstreamInvalidResponse 502  arXiv's response is unusable
├── QueueTooLong                503  the wait for the rate limiter would be too long
├── TooManyResponses            503  clients leave too many large responses unread
├── DatabaseUnavailable         503  PostgreSQL is unavailable, full or not migrated
│   └── DatabaseTimeout         503  PostgreSQL cancelled a statement that took too long
├── IndexUnavailable            503  the search index is being built, or cannot be used
├── BackendUnavailable          503  the backend is unavailable or does not respond as a backend
├── BackendError                     the backend responded with an error; its status is passed on
├── RequestTimedOut             504  the Request-Timeout of the request expired
├── QueueUnavailable                 RabbitMQ is unavailable; searches are recorded directly
├── RecordRejected                   PostgreSQL rejected the content of a record
└── ConfigurationError               a setting or the installation is invalid; the start fails
"""

from http import HTTPStatus


class ServiceError(Exception):
    """The base class of all errors that are reported to API clients or users."""

    status_code: int = 500
    title: str = HTTPStatus(500).phrase
    retry_after: int | None = None
    """Seconds until a retry is useful."""
    parameter: str | None = None
    """The parameter concerned, if there is one."""

    def __init_subclass__(
        cls, *, status: int | None = None, title: str | None = None, retry_after: int | None = None
    ) -> None:
        """Set the status, the title, which is the standard phrase by default, and Retry-After."""
        cls.status_code = status or cls.status_code
        cls.title = title or HTTPStatus(cls.status_code).phrase
        cls.retry_after = retry_after

    def __init__(
        self,
        detail: str,
        *,
        status_code: int | None = None,
        title: str | None = None,
        retry_after: int | None = None,
        query_id: int | None = None,
        upstream_status: int | None = None,
    ) -> None:
        """Take the problem and its remedy.

        `query_id` is the number of the record of a failed search, and `upstream_status` the status
        of arXiv's response. Only exceptions without a status of their own take `status_code` and
        `title`.
        """
        super().__init__(detail)
        self.detail = detail
        if status_code is not None:
            self.status_code = status_code
            self.title = title or HTTPStatus(status_code).phrase
        if retry_after is not None:
            self.retry_after = retry_after
        self.query_id = query_id
        self.upstream_status = upstream_status


class InvalidParameter(ServiceError, status=400):
    """A parameter is invalid; `detail` begins with its name."""

    parameter: str

    def __init__(self, parameter: str, reason: str) -> None:
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


class InvalidApiQuery(ServiceError, status=400):
    """A parameter of arXiv's API is invalid; `detail` is the message that arXiv sends."""


class InvalidHost(ServiceError, status=400):
    """The Host header is malformed or not in ARXIV_ALLOWED_HOSTS."""


class Unauthorized(ServiceError, status=401):
    """A backend endpoint was called without its token."""


class InvalidApiKey(Unauthorized):
    """The API key is missing, invalid or revoked."""


class InvalidProxyApiKey(InvalidApiKey, status=407):
    """The API key is missing, invalid or revoked. The client uses the service as its proxy."""


class FormRejected(ServiceError, status=403, title="Form rejected"):
    """A form is not from a page of this service, or has expired."""


class NotFound(ServiceError, status=404):
    """No such search, paper or API key is recorded."""


class NotAcceptable(ServiceError, status=406):
    """No available format matches the Accept header; `detail` lists the formats."""


class Conflict(ServiceError, status=409):
    """A different record is stored under the same query_id."""


class ApiKeyNameTaken(Conflict):
    """A valid API key has this name."""


class SyncInProgress(ServiceError, status=409, title="A sync is in progress"):
    """Another process updates the mirror."""


class NotComparable(ServiceError, status=409):
    """The search has no usable response, so nothing can be compared with it."""


class UnsupportedMediaType(ServiceError, status=415):
    """The body is not declared as JSON, or as a form where a form is expected.

    Web pages can send other types than JSON without a preflight.
    """


class UnsupportedEncoding(UnsupportedMediaType):
    """The body has a content coding."""


class TooManyRequests(ServiceError, status=429):
    """The quota of the API client is used up."""


class LimitExceeded(ServiceError):
    """A request is malformed, too large or too slow for the HTTP server."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail, status_code=status, retry_after=retry_after)


class ClientDisconnected(ServiceError, status=499, title="Client Closed Request"):
    """The client disconnected before the response. The status is nginx's; only the log shows it."""


class UpstreamError(ServiceError):
    """arXiv did not send a usable response. The attempt is recorded."""


REJECTED = "arXiv rejects the query: "
"""What precedes arXiv's own message in the detail of UpstreamRejected."""


class UpstreamRejected(UpstreamError, status=400, title="arXiv rejected the query"):
    """arXiv rejected the query."""


class UpstreamThrottled(UpstreamError, status=503, title="Throttled by arXiv"):
    """arXiv demanded a cooldown."""


class UpstreamUnreachable(UpstreamError, status=503, title="arXiv is unreachable"):
    """The connection to arXiv failed."""


class UpstreamTimeout(UpstreamError, status=504, title="arXiv did not respond in time"):
    """arXiv did not respond in time."""


class UpstreamInvalidResponse(UpstreamError, status=502, title="Unusable response from arXiv"):
    """arXiv's response is not a feed, or it reports an internal error."""


class QueueTooLong(ServiceError, status=503, title="Too many waiting searches"):
    """The search would wait longer than ARXIV_MAX_WAIT, or until after a cooldown."""


class TooManyResponses(ServiceError, status=503, retry_after=5):
    """The responses that clients have not read yet would use too much memory."""


class DatabaseUnavailable(ServiceError, status=503, title="Database unavailable", retry_after=5):
    """PostgreSQL is unavailable, full or not migrated."""


class DatabaseTimeout(DatabaseUnavailable, status=503, title="Database unavailable", retry_after=5):
    """PostgreSQL cancelled a statement that took too long."""


class IndexUnavailable(ServiceError, status=503, title="Search index unavailable", retry_after=10):
    """The search index is being built, or cannot be used."""


class BackendUnavailable(ServiceError, status=503, title="Backend unavailable", retry_after=5):
    """The backend is unavailable or does not respond as a backend."""


class BackendError(ServiceError):
    """An error of the backend, passed on. The backend logs it under the same request_id."""


class RequestTimedOut(ServiceError, status=504, title="Request timed out"):
    """The request took longer than its header Request-Timeout allows."""


class QueueUnavailable(ServiceError, title="Queue unavailable"):
    """RabbitMQ is unavailable or full. No client sees this: searches are recorded directly."""


class RecordRejected(ServiceError, title="Record rejected by PostgreSQL"):
    """PostgreSQL rejected the content of a record, so writing it again is useless.

    No client sees this: an UpstreamInvalidResponse reports it.
    """


class ImportFailed(ServiceError, title="Import failed"):
    """A file is not a snapshot, truncated or damaged, or another process imports it too."""


class ConfigurationError(ServiceError, title="Invalid configuration"):
    """The service cannot start with these settings or this installation."""
