"""`/metrics`: what Prometheus wants to know, of requests and of the queue."""

from collections.abc import Iterator

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.plugins.prometheus import PrometheusController
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.parts import Parts

HELP = {
    "arxiv_queue_connected": "Whether RabbitMQ is there; without it searches are written directly",
    "arxiv_queue_waiting": "Recorded searches that wait, beside those that writers have in hand",
    "arxiv_queue_writers": "Writers that take searches from the queue",
    "arxiv_queue_parked": "Searches that could not be stored and wait for a person",
}


class _Queue(Collector):
    """The queue as it was seen last; nothing where there is none."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, value in self.seen.items():
            yield GaugeMetricFamily(name, HELP[name], value)


_queue = _Queue()
REGISTRY.register(_queue)


class Metrics(PrometheusController):
    """`/metrics`, for Prometheus."""

    path = "/metrics"
    cache_control = CacheControlHeader(no_store=True)
    include_in_schema = False

    @get()
    async def get(self, parts: NamedDependency[Parts]) -> Response[bytes]:
        """Look into the queue, and tell everything."""
        _queue.seen = await _look(parts)
        answer: Response[bytes] = await PrometheusController.get.fn(self)
        return answer


async def _look(parts: Parts) -> dict[str, float]:
    if parts.buffer is None:
        return {}
    backlog = await parts.buffer.backlog()
    seen: dict[str, float] = {"arxiv_queue_connected": parts.buffer.connected}
    if backlog:
        seen["arxiv_queue_waiting"] = backlog.waiting
        seen["arxiv_queue_writers"] = backlog.writers
        seen["arxiv_queue_parked"] = backlog.parked
    return seen
