"""What can go wrong, each with its HTTP.

ServiceError
├── BadInput               400  the caller's parameter, named
├── WrongHost              400  a Host header that is not ours
├── Unauthorized           401  a backend call without the token
│   └── KeyRefused         401  an API key that is missing or does not count
├── TooManyRequests        429  the caller has used up its rate
├── NotFound               404  nothing of this name is recorded
├── NotAcceptable          406  a format that is not served
├── WrongMediaType         415  a body that is not said to be JSON
├── Conflict               409  another record has this query_id
│   └── NameTaken          409  another API key has this name
├── NotComparable          409  the search has no usable answer
├── UpstreamError
│   ├── UpstreamRefused    400  arXiv calls the query wrong
│   ├── UpstreamBusy       503  arXiv asks for patience (429, 403, 503)
│   ├── UpstreamUnreachable 503 no connection to arXiv
│   ├── UpstreamTimeout    504  arXiv did not finish in time
│   └── UpstreamBroken     502  arXiv answered what nobody can use
├── ClientGone             499  nobody waits for the answer any more
├── TooBusy                503  the wait for a turn at arXiv is too long
├── StoreUnavailable       503  PostgreSQL is away, full, or not migrated
├── BackendProblem              what the backend of a frontend says, as it says it
├── BackendUnavailable     503  the backend is away, or does not answer as one does
├── DeadlinePassed         504  the caller's Request-Timeout is over
├── QueueUnavailable            RabbitMQ is away, or takes nothing more; searches go another way
├── Unstorable                  PostgreSQL refuses a search for what it holds; it is parked
└── NotConfigured               a setting or an installation is wrong; ends the start
"""

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models.arxiv import ArxivResponse


class ServiceError(Exception):
    """Any failure the service explains to its caller as problem+json (RFC 9457)."""

    status_code: int = HTTPStatus.INTERNAL_SERVER_ERROR
    title: str = "The service failed"
    parameter: str | None = None
    """The caller's, where one is wrong."""

    def __init__(
        self, detail: str, *, retry_after: int | None = None, query_id: int | None = None
    ) -> None:
        """Explain in `detail`; `retry_after` is in seconds, `query_id` names the record kept."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.query_id = query_id


class InvalidParameter(ServiceError):
    """A parameter is wrong; it is named first in the detail."""

    status_code = HTTPStatus.BAD_REQUEST
    title = "A parameter is wrong"
    parameter: str

    def __init__(self, parameter: str, reason: str) -> None:
        """Name the parameter and say what is wrong with it."""
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


class Unauthorized(ServiceError):
    """A backend endpoint was called without the token it asks for."""

    status_code = HTTPStatus.UNAUTHORIZED
    title = "The backend token is missing or wrong"


class InvalidApiKey(Unauthorized):
    """A caller without an API key that counts, where one is asked for."""

    title = "The API key is missing or wrong"


class TooManyRequests(ServiceError):
    """The caller's rate is used up for now."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many requests"


class InvalidHost(ServiceError):
    """The Host header names none of ARXIV_ALLOWED_HOSTS."""

    status_code = HTTPStatus.BAD_REQUEST
    title = "The Host header is wrong"


class NotAcceptable(ServiceError):
    """The Accept header takes none of the formats there are; they are named in the detail."""

    status_code = HTTPStatus.NOT_ACCEPTABLE
    title = "No such format is served"


class NotFound(ServiceError):
    """Nothing of this name is recorded."""

    status_code = HTTPStatus.NOT_FOUND
    title = "It is not recorded"


class UnsupportedMediaType(ServiceError):
    """A body that is not said to be JSON; a web page can send others without its user's consent."""

    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "The body's media type is wrong"


class Conflict(ServiceError):
    """A different record is stored under the same query_id."""

    status_code = HTTPStatus.CONFLICT
    title = "The query_id is taken"


class ApiKeyNameTaken(Conflict):
    """An API key that counts has this name."""

    title = "The name is taken"


class NotComparable(ServiceError):
    """The search has no usable answer, so nothing can be told of what is new in it."""

    status_code = HTTPStatus.CONFLICT
    title = "The search has no usable answer"


class UpstreamError(ServiceError):
    """arXiv sent no usable response; the attempt is recorded."""

    response: "ArxivResponse"
    """The failed attempt as it is recorded; set by ArxivClient."""


class UpstreamRejected(UpstreamError):
    """arXiv understood the request and calls it wrong."""

    status_code = HTTPStatus.BAD_REQUEST
    title = "arXiv refuses the query"


class UpstreamThrottled(UpstreamError):
    """arXiv asks to be left alone for a while."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "arXiv asks for patience"


class UpstreamUnreachable(UpstreamError):
    """There is no connection to arXiv."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "arXiv cannot be reached"


class UpstreamTimeout(UpstreamError):
    """arXiv did not finish its answer in time."""

    status_code = HTTPStatus.GATEWAY_TIMEOUT
    title = "arXiv did not answer in time"


class UpstreamInvalidResponse(UpstreamError):
    """arXiv answered something that is no feed, or failed inside."""

    status_code = HTTPStatus.BAD_GATEWAY
    title = "arXiv's answer is unusable"


class ClientDisconnected(ServiceError):
    """The client hung up; only the log sees this."""

    status_code = 499  # nginx's number for it: no standard has one
    title = "The client has gone"


class QueueTooLong(ServiceError):
    """No turn at arXiv will come within ARXIV_MAX_WAIT, or arXiv wants to be left alone."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "arXiv cannot be asked now"


class DatabaseUnavailable(ServiceError):
    """PostgreSQL is away, full, or not migrated."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database is not available"

    def __init__(self, detail: str, *, query_id: int | None = None) -> None:
        """Say what is wrong; a later try may find it mended."""
        super().__init__(detail, retry_after=5, query_id=query_id)


class BackendError(ServiceError):
    """What the backend says went wrong; its log says more under the same request_id."""

    def __init__(
        self,
        detail: str,
        *,
        title: str,
        status_code: int,
        retry_after: int | None = None,
        query_id: int | None = None,
    ) -> None:
        """Say what the backend said."""
        super().__init__(detail, retry_after=retry_after, query_id=query_id)
        self.title = title
        self.status_code = status_code


class BackendUnavailable(ServiceError):
    """The backend is away, or does not answer as one does."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The backend is not available"

    def __init__(self, detail: str) -> None:
        """Say what is wrong; a later try may find it mended."""
        super().__init__(detail, retry_after=5)


class RequestTimedOut(ServiceError):
    """The caller does not wait any longer, as its header Request-Timeout said."""

    status_code = HTTPStatus.GATEWAY_TIMEOUT
    title = "The time for the answer is over"


class QueueUnavailable(ServiceError):
    """RabbitMQ is away, or takes nothing more; no client sees this, as searches go another way."""

    title = "The queue is not available"


class RecordRejected(ServiceError):
    """PostgreSQL refuses a search for what it holds; only the writer sees this."""

    title = "The search cannot be stored"


class ConfigurationError(ServiceError):
    """The service cannot start as it is configured or installed."""

    title = "The service cannot start"
