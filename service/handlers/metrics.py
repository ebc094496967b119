"""`/metrics`: metrics in the text format of Prometheus."""

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .. import metrics
from ..context import Context


@get("/metrics", include_in_schema=False)
async def show_metrics(context: NamedDependency[Context]) -> Response[bytes]:
    """Return the metrics of all workers.

    Litestar's PrometheusController creates its registry itself, without the queue and the
    processes of the workers.
    """
    queue = context.queue
    metrics.QUEUE.backlog = await queue.fetch_backlog() if queue else None
    metrics.QUEUE.connected = queue.connected if queue else None
    metrics.POOLS.update()
    return Response(
        generate_latest(metrics.create_registry()),
        media_type=CONTENT_TYPE_LATEST,
        headers={"cache-control": "no-store"},
    )
