"""`/metrics`: what Prometheus wants to know."""

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.plugins.prometheus import PrometheusController

from ..context import Context
from ..metrics import QUEUE


class Metrics(PrometheusController):
    """`/metrics`, for Prometheus."""

    path = "/metrics"
    cache_control = CacheControlHeader(no_store=True)
    include_in_schema = False

    @get()
    async def get(self, context: NamedDependency[Context]) -> Response[bytes]:
        """Look into the queue, and tell everything."""
        QUEUE.backlog = await context.queue.backlog() if context.queue else None
        QUEUE.connected = context.queue.connected if context.queue else None
        answer: Response[bytes] = await PrometheusController.get.fn(self)
        return answer
