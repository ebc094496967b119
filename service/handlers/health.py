"""`/health/live` and `/health/ready`."""

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from .. import openapi
from ..context import Context
from ..health import READY, check_health
from ..models.arxiv import Outcome
from ..models.responses import ArxivState, Health

NO_STORE = CacheControlHeader(no_store=True)
EXAMPLE = Health(
    status=READY,
    arxiv=ArxivState(
        last_request="2026-11-23T20:15:00", last_outcome=Outcome.OK, asking=False, waiting=0
    ),
)


@get(
    "/health/live",
    summary="Check whether the process responds",
    tags=["operations"],
    responses=openapi.describe_json(Health, "The process responds.", example=Health(status="live"))
    | openapi.INVALID_PARAMETER,
    cache_control=NO_STORE,
)
async def get_liveness() -> Health:
    """Report that the process responds. Nothing else is checked."""
    return Health(status="live")


@get(
    "/health/ready",
    summary="Check whether the service is ready",
    tags=["operations"],
    responses=openapi.describe_json(Health, "The service is ready.", example=EXAMPLE)
    | openapi.INVALID_PARAMETER
    | {503: ResponseSpec(Health, description="Not ready; `detail` gives the reason.")},
    cache_control=NO_STORE,
)
async def get_readiness(context: NamedDependency[Context]) -> Response[Health]:
    """Report whether every PostgreSQL, or the backend, responds and has all migrations.

    Four things are reported without making an instance unready. `arxiv` is the state of the rate
    limiter, if the instance sends requests to arXiv; recorded searches are available without
    arXiv. `queue` is the state of RabbitMQ, if it is in use; without it, searches are recorded
    directly. `index` is the state of the search index; an instance that serves only `papers` is
    not ready without one. `mirror` is how current the mirror of arXiv's metadata is, if there is
    one. If a database has migrations of a newer release, `detail` lists them.
    """
    health = await check_health(context)
    return Response(health, status_code=200 if health.status == READY else 503)
