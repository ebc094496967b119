"""Metrics of the service, in addition to those of Litestar's plugin and of the process.

Labels have a small set of fixed values; text from clients or arXiv never becomes a label.

With several workers, prometheus-client runs in multiprocess mode: each worker writes its values to
files in PROMETHEUS_MULTIPROC_DIR, and `create_registry` adds them up.
"""

import os
import re
from asyncio import CancelledError
from collections import Counter as Totals
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial, wraps
from http import HTTPStatus
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import (
    PLATFORM_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
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

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that switches prometheus-client to multiprocess mode when it is imported."""

# a series for the start of each counter would double their number
disable_created_metrics()  # type: ignore[no-untyped-call]

SEARCHES = Counter(
    "arxiv_gateway_searches_total",
    "Searches, by outcome and by where the response came from.",
    ["outcome", "answered_by"],
)
AT_HAND = SEARCHES.labels(Outcome.OK.value, "process")
UPSTREAM_REQUESTS = Counter(
    "arxiv_gateway_upstream_requests_total",
    "Requests to arXiv, by outcome and HTTP status (none: no response).",
    ["outcome", "status"],
)
UPSTREAM_DURATION = Histogram(
    "arxiv_gateway_upstream_request_duration_seconds",
    "Duration of requests to arXiv, including failed ones.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120),
)
GATE_WAIT = Histogram(
    "arxiv_gateway_gate_wait_seconds",
    "Time that searches waited for the rate limiter, or for another search's response.",
    buckets=(0.01, 0.1, 1, 3, 6, 12, 30, 60, 120, 300, 600),
)
GATE_WAITING = Gauge(
    "arxiv_gateway_gate_waiting",
    "Searches of this instance that are waiting for the rate limiter.",
    multiprocess_mode="livesum",
)
GATE_CLOSED = Gauge(
    "arxiv_gateway_gate_closed_until_timestamp_seconds",
    "End of the pause that arXiv demanded, as this instance last read it; 0 if there is none.",
    multiprocess_mode="livemostrecent",
)
ROWS_WRITTEN = Counter(
    "arxiv_gateway_rows_written_total", "Rows inserted into a table or updated in it.", ["table"]
)
REFUSED = Counter(
    "arxiv_gateway_refused_total",
    "Requests rejected before they reached a handler, by status.",
    ["status"],
)
POOL_CONNECTIONS = Gauge(
    "arxiv_gateway_pool_connections",
    "Connections to PostgreSQL: idle, or in use (including those being opened).",
    ["pool", "state"],
    multiprocess_mode="livesum",
)
POOL_CONNECTIONS_MAX = Gauge(
    "arxiv_gateway_pool_connections_max",
    "Maximum number of connections to PostgreSQL.",
    ["pool"],
    multiprocess_mode="livesum",
)
POOL_WAITING = Gauge(
    "arxiv_gateway_pool_waiting",
    "Calls waiting for a connection; one that gives up is counted until a connection is free.",
    ["pool"],
    multiprocess_mode="livesum",
)
POOL_WAIT_SECONDS = Counter(
    "arxiv_gateway_pool_wait_seconds_total",
    "Total time that calls have waited for a connection.",
    ["pool"],
)
POOL_REFUSALS = Counter(
    "arxiv_gateway_pool_refusals_total",
    "Calls that got no connection, because of a timeout or because too many were waiting.",
    ["pool"],
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
"""Outcomes of failed searches; a search is abandoned if all its clients disconnect."""
_STATUSES = {status.value for status in HTTPStatus}

# created at the start, since Prometheus sees no increase in a series that begins with 1
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


class HasOutcome(Protocol):
    """The result of a search."""

    @property
    def outcome(self) -> str:
        """The outcome of the search."""


P = ParamSpec("P")
T = TypeVar("T", bound=HasOutcome)


def count_searches(search: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Decorate a method that searches, to count its calls except those with invalid parameters."""

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


def count_upstream_request(response: ArxivResponse, seconds: float) -> None:
    """Count a request to arXiv and its duration."""
    status = str(response.status) if response.status in _STATUSES else "other"
    UPSTREAM_REQUESTS.labels(response.outcome, status if response.status else "none").inc()
    UPSTREAM_DURATION.observe(seconds)


def count_refusal(status: int) -> None:
    """Count a request that was rejected before it reached a handler."""
    REFUSED.labels(str(status)).inc()


def set_cooldown(seconds: float) -> None:
    """Set the remaining time of the pause that arXiv demanded."""
    GATE_CLOSED.set(time() + seconds if seconds else 0)


def count_rows(**rows: int) -> None:
    """Count written rows by table."""
    for table, number in rows.items():
        ROWS_WRITTEN.labels(table).inc(number)


class Pool(Protocol):
    """A connection pool."""

    name: str

    @property
    def closed(self) -> bool:
        """Whether the pool is closed or not yet open."""

    @property
    def max_size(self) -> int:
        """The maximum number of connections."""

    def get_stats(self) -> dict[str, int]:
        """Return counters since the pool was opened, and current values."""


class PoolMetrics:
    """The metrics of the connection pools of this process. Pools with the same name are added up.

    `update` reads the pools: at each scrape, and with several workers also periodically, since a
    scrape reaches one of them.
    """

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[Pool, Totals[str]] = WeakKeyDictionary()
        self._names: set[str] = set()

    def add(self, pool: Pool) -> None:
        """Include this pool while it is open."""
        self._pools[pool] = Totals()

    def update(self) -> None:
        """Set the metrics to the current values."""
        totals: dict[str, Totals[str]] = {name: Totals() for name in self._names}
        for pool, previous in self._pools.items():
            if pool.closed:
                continue
            stats = Totals(pool.get_stats())
            total = totals.setdefault(pool.name, Totals())
            total.update(stats)
            total["max_size"] += pool.max_size
            waited = stats["requests_wait_ms"] - previous["requests_wait_ms"]
            POOL_WAIT_SECONDS.labels(pool.name).inc(waited / 1000)
            refusals = stats["requests_errors"] - previous["requests_errors"]
            POOL_REFUSALS.labels(pool.name).inc(refusals)
            self._pools[pool] = stats
        for name, total in totals.items():
            idle = total["pool_available"]
            POOL_CONNECTIONS.labels(name, "idle").set(idle)
            POOL_CONNECTIONS.labels(name, "in_use").set(total["pool_size"] - idle)
            POOL_CONNECTIONS_MAX.labels(name).set(total["max_size"])
            POOL_WAITING.labels(name).set(total["requests_waiting"])
        self._names.update(totals)


class QueueCollector(Collector):
    """The state of the queue at the latest scrape; no metrics without a queue."""

    def __init__(self) -> None:
        self.connected: bool | None = None
        self.backlog: Backlog | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield what is known."""
        if self.connected is None:
            return
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_connected",
            "Whether RabbitMQ is connected; searches are written directly otherwise.",
            self.connected,
        )
        if self.backlog is None:
            return
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_waiting",
            "Recorded searches waiting in the queue, without those that writers have taken.",
            self.backlog.waiting,
        )
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_writers",
            "Writers connected to the queue.",
            self.backlog.writers,
        )
        yield GaugeMetricFamily(
            "arxiv_gateway_queue_parked",
            "Searches that could not be stored and are parked.",
            self.backlog.parked,
        )


class WorkerProcessCollector(Collector):
    """The process_ metrics of all workers, added up; the start time is that of the latest start."""

    def collect(self) -> Iterator[Metric]:
        """Read /proc for each worker."""
        families: dict[str, Metric] = {}
        values: dict[str, list[float]] = {}
        for pid in find_workers():
            for family in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                families[family.name] = family
                values.setdefault(family.name, []).extend(each.value for each in family.samples)
        for name, family in families.items():
            combine = max if name == "process_start_time_seconds" else sum
            [sample] = family.samples[:1]
            family.samples = [sample._replace(value=combine(values[name]))]
            yield family


def create_registry() -> CollectorRegistry:
    """Return what `/metrics` shows: the metrics of this process, or of all workers."""
    if MULTIPROCESS_DIR not in os.environ:
        return REGISTRY
    _remove_gauges_of_dead_workers()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in (QUEUE, PLATFORM_COLLECTOR, WorkerProcessCollector()):
        registry.register(collector)
    return registry


def find_workers() -> list[int]:
    """Return the process ids of the running workers, from the files of their metrics."""
    files = Path(os.environ[MULTIPROCESS_DIR]).glob("*.db")
    pids = {int(match[1]) for file in files if (match := _PID.search(file.name))}
    return sorted(pid for pid in pids if _is_running(pid))


def _remove_gauges_of_dead_workers() -> None:
    """Leave the gauges of dead workers out of the totals. Their counters are kept."""
    for file in Path(os.environ[MULTIPROCESS_DIR]).glob("gauge_live*.db"):
        if (match := _PID.search(file.name)) and not _is_running(int(match[1])):
            mark_process_dead(int(match[1]))  # type: ignore[no-untyped-call]


_PID = re.compile(r"_(\d+)\.db$")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


POOLS, QUEUE = PoolMetrics(), QueueCollector()
REGISTRY.register(QUEUE)
