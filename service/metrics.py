"""The service's own series at `/metrics`, beside those of Litestar's plugin and of the process.

Labels have few values, all of them ours: what clients and arXiv send never becomes one.
"""

from asyncio import CancelledError
from collections import Counter as Sums
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import wraps
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .errors import (
    BackendError,
    BackendUnavailable,
    DatabaseUnavailable,
    InvalidParameter,
    QueueTooLong,
    UpstreamInvalidResponse,
    UpstreamRejected,
    UpstreamThrottled,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from .models.arxiv import ArxivResponse, Outcome

if TYPE_CHECKING:
    from .queue.rabbitmq import Backlog

# when a series began is of use to nobody here, and would double their number
disable_created_metrics()  # type: ignore[no-untyped-call]

SEARCHES = Counter(
    "arxiv_gateway_searches_total",
    "Searches, by what came of them, and by which memory answered, or arxiv, or nobody.",
    ["outcome", "answered_by"],
)
AT_HAND = SEARCHES.labels(Outcome.OK.value, "process")
"""The most frequent of them, found beforehand: looking it up would cost as much as counting."""
UPSTREAM_REQUESTS = Counter(
    "arxiv_gateway_upstream_requests_total",
    "Requests to arXiv, by what came of them and the HTTP status (none: there was no answer).",
    ["outcome", "status"],
)
UPSTREAM_DURATION = Histogram(
    "arxiv_gateway_upstream_request_duration_seconds",
    "How long requests to arXiv took, whatever came of them.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120),
)
GATE_WAIT = Histogram(
    "arxiv_gateway_gate_wait_seconds",
    "How long searches waited until it was their turn at arXiv, or another's answer served them.",
    buckets=(0.01, 0.1, 1, 3, 6, 12, 30, 60, 120, 300, 600),
)
GATE_WAITING = Gauge(
    "arxiv_gateway_gate_waiting", "Searches of this process that wait for their turn at arXiv."
)
GATE_CLOSED = Gauge(
    "arxiv_gateway_gate_closed_until_timestamp_seconds",
    "Until when arXiv wants to be left alone, as it last told this process; 0: it never did.",
)
ROWS_WRITTEN = Counter(
    "arxiv_gateway_rows_written_total", "Rows added to a table, or changed in it.", ["table"]
)

REFUSED = Counter(
    "arxiv_gateway_refused_total",
    "Requests that got no further than the door, by the status: no key, rate, host, bounds.",
    ["status"],
)

ENDS: dict[type[BaseException], str] = {
    CancelledError: "abandoned",
    QueueTooLong: "turned_away",
    DatabaseUnavailable: "no_database",
    BackendUnavailable: "no_backend",
    BackendError: "backend_problem",
    UpstreamRejected: Outcome.REFUSED.value,
    UpstreamThrottled: Outcome.BUSY.value,
    UpstreamUnreachable: Outcome.UNREACHABLE.value,
    UpstreamTimeout: Outcome.TIMEOUT.value,
    UpstreamInvalidResponse: Outcome.BROKEN.value,
}
"""What is said of searches without an answer; abandoned are those whose clients have gone."""
_STATUSES = {status.value for status in HTTPStatus}

# known from the start: of a series that begins with 1, Prometheus sees no increase
for _end in {*ENDS.values(), "failed"}:
    SEARCHES.labels(_end, "nobody")
SEARCHES.labels(Outcome.SUSPECT.value, "arxiv")
for _outcome, _status in (
    (Outcome.OK, "200"),
    (Outcome.SUSPECT, "200"),
    (Outcome.REFUSED, "400"),
    (Outcome.BUSY, "429"),
    (Outcome.BUSY, "503"),
    (Outcome.BROKEN, "500"),
    (Outcome.TIMEOUT, "none"),
    (Outcome.UNREACHABLE, "none"),
):
    UPSTREAM_REQUESTS.labels(_outcome.value, _status)
for _by in ("arxiv", "database", "flight", "process", "stale"):
    SEARCHES.labels(Outcome.OK.value, _by)
for _table in ("queries", "results", "papers"):
    ROWS_WRITTEN.labels(_table)
for _refusal in (400, 401, 408, 414, 429, 431, 503):
    REFUSED.labels(str(_refusal))


class Outcomes(Protocol):
    """What a search gives."""

    @property
    def outcome(self) -> str:
        """What came of it."""


P = ParamSpec("P")
T = TypeVar("T", bound=Outcomes)


def counted(search: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Count each call of a search, but what is none: bad input."""

    @wraps(search)
    async def counting(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result = await search(*args, **kwargs)
        except InvalidParameter:
            raise
        except BaseException as error:
            SEARCHES.labels(ENDS.get(type(error), "failed"), "nobody").inc()
            raise
        SEARCHES.labels(result.outcome, getattr(result, "answered_by", "arxiv")).inc()
        return result

    return counting


def asked(answer: ArxivResponse, seconds: float) -> None:
    """Count a request to arXiv."""
    status = str(answer.status) if answer.status in _STATUSES else "other"
    UPSTREAM_REQUESTS.labels(answer.outcome, status if answer.status else "none").inc()
    UPSTREAM_DURATION.observe(seconds)


def refused(status: int) -> None:
    """Count a request that was refused at the door."""
    REFUSED.labels(str(status)).inc()


def closed(seconds: float) -> None:
    """Tell for how long arXiv wants to be left alone."""
    GATE_CLOSED.set(time() + seconds if seconds else 0)


def wrote(**rows: int) -> None:
    """Count the rows written, by the table."""
    for table, number in rows.items():
        ROWS_WRITTEN.labels(table).inc(number)


class Pool(Protocol):
    """What is to be known of a pool of connections."""

    name: str

    @property
    def closed(self) -> bool:
        """Whether it is not open, or no longer."""

    @property
    def max_size(self) -> int:
        """How many connections it may have."""

    def get_stats(self) -> dict[str, int]:
        """Its numbers, since it was opened."""


class Pools(Collector):
    """The pools that are open, looked at when Prometheus asks. Those of one name are added up."""

    def __init__(self) -> None:
        """Begin without a pool."""
        self._pools: WeakSet[Pool] = WeakSet()

    def add(self, pool: Pool) -> None:
        """Show this pool while it is open."""
        self._pools.add(pool)

    def collect(self) -> Iterator[Metric]:
        """Read the numbers of all of them."""
        connections = GaugeMetricFamily(
            "arxiv_gateway_pool_connections",
            "Connections to PostgreSQL: idle, or in use (lent, or being opened).",
            labels=["pool", "state"],
        )
        limit = GaugeMetricFamily(
            "arxiv_gateway_pool_connections_max",
            "How many connections there may be.",
            labels=["pool"],
        )
        waiting = GaugeMetricFamily(
            "arxiv_gateway_pool_waiting",
            "Calls in the queue for a connection; who gives up is in it until one is free.",
            labels=["pool"],
        )
        waited = CounterMetricFamily(
            "arxiv_gateway_pool_wait_seconds_total",
            "How long calls have waited for a connection, in all.",
            labels=["pool"],
        )
        refused = CounterMetricFamily(
            "arxiv_gateway_pool_refusals_total",
            "Calls that got no connection: in time, or because too many waited already.",
            labels=["pool"],
        )
        for name, sums in self._sums().items():
            idle = sums["pool_available"]
            connections.add_metric([name, "idle"], idle)
            connections.add_metric([name, "in_use"], sums["pool_size"] - idle)
            limit.add_metric([name], sums["max_size"])
            waiting.add_metric([name], sums["requests_waiting"])
            waited.add_metric([name], sums["requests_wait_ms"] / 1000)
            refused.add_metric([name], sums["requests_errors"])
        yield from (connections, limit, waiting, waited, refused)

    def _sums(self) -> dict[str, Sums[str]]:
        found: dict[str, Sums[str]] = {}
        for pool in self._pools:
            if not pool.closed:
                sums = found.setdefault(pool.name, Sums())
                sums.update(pool.get_stats())
                sums["max_size"] += pool.max_size
        return found


class Queue(Collector):
    """The queue, as it was when `/metrics` last looked; nothing where there is none."""

    def __init__(self) -> None:
        """Begin without a queue."""
        self.connected: bool | None = None
        self.backlog: Backlog | None = None

    def collect(self) -> Iterator[Metric]:
        """Tell what was seen."""
        if self.connected is None:
            return
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_connected",
            "Whether RabbitMQ is there; without it searches are written directly.",
            self.connected,
        )
        if self.backlog is None:
            return
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_waiting",
            "Recorded searches that wait, beside those that writers have in hand.",
            self.backlog.waiting,
        )
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_writers",
            "Writers that take searches from the queue.",
            self.backlog.writers,
        )
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_parked",
            "Searches that could not be stored and wait for a person.",
            self.backlog.parked,
        )


POOLS, QUEUE = Pools(), Queue()
REGISTRY.register(POOLS)
REGISTRY.register(QUEUE)
