"""Metrics of the service, in addition to those of Litestar's plugin and of the process.

Labels have a small set of fixed values; text from clients or arXiv never becomes a label.

With several workers, prometheus-client runs in multiprocess mode: each worker writes its values to
files in PROMETHEUS_MULTIPROC_DIR, and `create_registry` adds them up.
"""

import os
from asyncio import CancelledError
from collections import Counter as Totals
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from http import HTTPStatus
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakKeyDictionary

import prometheus_client as prometheus
from msgspec import structs
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector, CollectorRegistry

from . import errors
from .models.arxiv import ArxivResponse, Outcome

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

    from .models.records import RecordedSearch
    from .queue.rabbitmq import Backlog
    from .search import SearchReply

MULTIPROCESS_DIR = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that switches prometheus-client to multiprocess mode when it is imported."""

# a series for the start of each counter would double their number
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

SEARCHES = Counter(
    "arxiv_gateway_searches_total",
    "Searches, by outcome and by where the response came from.",
    ["outcome", "answered_by"],
)
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
RATE_LIMITER_WAIT = Histogram(
    "arxiv_gateway_gate_wait_seconds",
    "Time that searches waited for the rate limiter, or for another search's response.",
    buckets=(0.01, 0.1, 1, 3, 6, 12, 30, 60, 120, 300, 600),
)
RATE_LIMITER_WAITING = Gauge(
    "arxiv_gateway_gate_waiting",
    "Searches of this instance that are waiting for the rate limiter.",
    multiprocess_mode="livesum",
)
RATE_LIMITER_COOLDOWN = Gauge(
    "arxiv_gateway_gate_closed_until_timestamp_seconds",
    "End of the cooldown, as this instance last read it; 0 if there is none.",
    multiprocess_mode="livemostrecent",
)
ROWS_WRITTEN = Counter(
    "arxiv_gateway_rows_written_total", "Rows inserted into a table or updated in it.", ["table"]
)
REJECTED = Counter(
    "arxiv_gateway_refused_total",
    "Requests rejected before they reached a handler, by status.",
    ["status"],
)

INDEX_PAPERS = Gauge(
    "arxiv_gateway_index_papers",
    "Versions of papers in the search index of this machine.",
    multiprocess_mode="livemostrecent",
)
INDEX_SYNC_TIME = Gauge(
    "arxiv_gateway_index_synced_timestamp_seconds",
    "When the search index of this machine last agreed with PostgreSQL.",
    multiprocess_mode="livemostrecent",
)
INDEX_BUILDS = Counter(
    "arxiv_gateway_index_builds_total", "Builds of the search index by this instance."
)

MIRROR_SYNC_TIME = Gauge(
    "arxiv_gateway_mirror_synced_timestamp_seconds",
    "Time of arXiv's data in the mirror, as this instance last read it; 0 if it is not complete.",
    multiprocess_mode="livemostrecent",
)
MIRROR_DUE_TIME = Gauge(
    "arxiv_gateway_mirror_due_timestamp_seconds",
    "When arXiv has newer data than the mirror; 0 without a mirror.",
    multiprocess_mode="livemostrecent",
)
MIRROR_REQUESTS = Counter(
    "arxiv_gateway_mirror_requests_total",
    "Requests for pages of records from arXiv's OAI-PMH, by outcome.",
    ["outcome"],
)
MIRROR_RECORDS = Counter(
    "arxiv_gateway_mirror_records_total",
    "Records received from arXiv's OAI-PMH: stored or invalid.",
    ["result"],
)

_PoolGauge = partial(Gauge, multiprocess_mode="livesum")
POOL_CONNECTIONS = _PoolGauge(
    "arxiv_gateway_pool_connections",
    "Connections to PostgreSQL: idle, or in use (including those being opened).",
    ["pool", "state"],
)
POOL_CONNECTIONS_MAX = _PoolGauge(
    "arxiv_gateway_pool_connections_max", "Maximum number of connections to PostgreSQL.", ["pool"]
)
POOL_WAITING = _PoolGauge(
    "arxiv_gateway_pool_waiting",
    "Calls waiting for a connection; one that gives up is counted until a connection is free.",
    ["pool"],
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
QUEUE_GAUGES = {
    "connected": "Whether RabbitMQ is connected; searches are written directly otherwise.",
    "waiting": "Recorded searches waiting in the queue, without those a queue worker has taken.",
    "writers": "Queue workers connected to the queue.",
    "parked": "Searches that could not be stored and are parked.",
}
"""The gauges arxiv_gateway_queue_...; all but the first are named after the fields of Backlog."""

FAILURE_OUTCOMES: dict[type[BaseException], str] = {
    CancelledError: "abandoned",
    errors.QueueTooLong: "turned_away",
    errors.DatabaseUnavailable: "no_database",
    errors.BackendUnavailable: "no_backend",
    errors.BackendError: "backend_problem",
    errors.UpstreamRejected: Outcome.REFUSED,
    errors.UpstreamThrottled: Outcome.BUSY,
    errors.UpstreamUnreachable: Outcome.UNREACHABLE,
    errors.UpstreamTimeout: Outcome.TIMEOUT,
    errors.UpstreamInvalidResponse: Outcome.BROKEN,
}
"""Outcomes of failed searches; a search is abandoned if all its clients disconnect."""
_STATUS_LABELS = {0: "none"} | {status.value: str(status.value) for status in HTTPStatus}

# created at the start, since Prometheus sees no increase in a series that begins with 1
_INITIAL_SERIES = {
    SEARCHES: "ok arxiv, ok database, ok flight, ok mirror, ok process, ok stale, suspect arxiv, "
    + ", ".join(f"{outcome} nobody" for outcome in (*FAILURE_OUTCOMES.values(), "failed")),
    UPSTREAM_REQUESTS: "ok 200, suspect 200, refused 400, busy 429, busy 503, broken 500, "
    "timeout none, unreachable none",
    ROWS_WRITTEN: "queries, results, papers",
    MIRROR_REQUESTS: "ok, refused, busy, broken, timeout, unreachable",
    MIRROR_RECORDS: "stored, invalid",
    REJECTED: "400, 401, 408, 414, 417, 429, 431, 501, 503, 504, 505",
}
for _metric, _series in _INITIAL_SERIES.items():
    for _labels in _series.split(", "):
        _metric.labels(*_labels.split())


class SearchCounter(Protocol):
    """An object whose searches are counted."""

    def count_search(self, outcome: str, answered_by: str, waits: Sequence[float]) -> None:
        """Count a search that waited for the rate limiter this often and long."""


P = ParamSpec("P")
S = TypeVar("S", bound=SearchCounter)
T = TypeVar("T", bound="SearchReply | RecordedSearch | ArxivResponse")

_waits: ContextVar[list[float]] = ContextVar("waits")
"""The waits of a search. The task that runs the search inherits the list."""


def count_searches(
    search: Callable[Concatenate[S, P], Awaitable[T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Decorate a method that searches, to count its calls except those with invalid parameters."""

    @wraps(search)
    async def counting(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        waits: list[float] = []
        token = _waits.set(waits)
        try:
            result = await search(self, *args, **kwargs)
        except errors.InvalidParameter:
            raise
        except BaseException as error:
            self.count_search(FAILURE_OUTCOMES.get(type(error), "failed"), "nobody", waits)
            raise
        finally:
            _waits.reset(token)
        self.count_search(result.outcome, getattr(result, "answered_by", "arxiv"), waits)
        return result

    return counting


def count_wait(seconds: float) -> None:
    """Count the time that the current search has waited for the rate limiter."""
    RATE_LIMITER_WAIT.observe(seconds)
    if (waits := _waits.get(None)) is not None:
        waits.append(seconds)


def count_upstream_request(response: ArxivResponse, seconds: float) -> None:
    """Count a request to arXiv and its duration."""
    status = _STATUS_LABELS.get(response.status, "other")
    UPSTREAM_REQUESTS.labels(response.outcome, status).inc()
    UPSTREAM_DURATION.observe(seconds)


def set_cooldown(seconds: float) -> None:
    """Set the remaining time of the cooldown."""
    RATE_LIMITER_COOLDOWN.set(time() + seconds if seconds else 0)


def set_mirror_times(synced_at: int | None, due: float) -> None:
    """Set the time of the mirror's data, and when the mirror has to be synced next."""
    MIRROR_SYNC_TIME.set(synced_at or 0)
    MIRROR_DUE_TIME.set(due)


def count_rows(**rows: int) -> None:
    """Count written rows by table."""
    for table, number in rows.items():
        ROWS_WRITTEN.labels(table).inc(number)


class PoolMetrics:
    """The metrics of this process's connection pools; pools with the same name are added up."""

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[AsyncConnectionPool[Any], Totals[str]] = WeakKeyDictionary()
        self._names: set[str] = set()

    def add(self, pool: "AsyncConnectionPool[Any]") -> None:
        """Include this pool while it is open."""
        self._pools[pool] = Totals()

    def update(self) -> None:
        """Read the pools: at a scrape, and in each of several workers also periodically."""
        totals: dict[str, Totals[str]] = {name: Totals() for name in self._names}
        for pool, previous in self._pools.items():
            if pool.closed:
                continue
            stats = Totals(pool.get_stats())
            milliseconds = stats["requests_wait_ms"] - previous["requests_wait_ms"]
            POOL_WAIT_SECONDS.labels(pool.name).inc(milliseconds / 1000)
            refusals = stats["requests_errors"] - previous["requests_errors"]
            POOL_REFUSALS.labels(pool.name).inc(refusals)
            totals.setdefault(pool.name, Totals()).update(stats)
            self._pools[pool] = stats
        for name, total in totals.items():
            _set_pool_gauges(name, total)
        self._names.update(totals)


def _set_pool_gauges(name: str, total: Mapping[str, int]) -> None:
    idle = total["pool_available"]
    POOL_CONNECTIONS.labels(name, "idle").set(idle)
    POOL_CONNECTIONS.labels(name, "in_use").set(total["pool_size"] - idle)
    POOL_CONNECTIONS_MAX.labels(name).set(total["pool_max"])
    POOL_WAITING.labels(name).set(total["requests_waiting"])


class QueueCollector(Collector):
    """The state of the queue at the latest scrape; no metrics without a queue."""

    def __init__(self) -> None:
        self.connected: bool | None = None
        self.backlog: Backlog | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield what is known."""
        known = {} if self.connected is None else {"connected": self.connected}
        known |= structs.asdict(self.backlog) if self.backlog else {}
        for name, value in known.items():
            yield GaugeMetricFamily(f"arxiv_gateway_queue_{name}", QUEUE_GAUGES[name], value)


class WorkerProcessCollector(Collector):
    """The process_ metrics of all workers, added up; the start time is that of the latest start."""

    def collect(self) -> Iterator[Metric]:
        """Read /proc for each worker."""
        families: dict[str, list[Metric]] = {}
        for pid in find_workers():
            process = prometheus.ProcessCollector(pid=partial(int, pid), registry=None)
            for family in process.collect():
                families.setdefault(family.name, []).append(family)
        for name, [family, *others] in families.items():
            combine = max if name == "process_start_time_seconds" else sum
            value = combine(same.samples[0].value for same in (family, *others))
            family.samples = [family.samples[0]._replace(value=value)]
            yield family


def create_registry() -> CollectorRegistry:
    """Return what `/metrics` shows: the metrics of this process, or of all workers."""
    if MULTIPROCESS_DIR not in os.environ:
        return prometheus.REGISTRY
    find_workers()  # removes the gauges of dead workers
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    for collector in (QUEUE, prometheus.PLATFORM_COLLECTOR, WorkerProcessCollector()):
        registry.register(collector)
    return registry


def find_workers() -> list[int]:
    """Return the ids of running workers, and remove the gauges of dead ones from the totals."""
    files = Path(os.environ[MULTIPROCESS_DIR]).glob("*_*.db")
    running = []
    for pid in sorted({int(file.stem.rpartition("_")[2]) for file in files}):
        try:
            os.kill(pid, 0)
            running.append(pid)
        except ProcessLookupError:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
    return running


POOLS, QUEUE = PoolMetrics(), QueueCollector()
prometheus.REGISTRY.register(QUEUE)
