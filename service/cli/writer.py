"""`writer`: the queue worker."""

import asyncio

import rich_click as click

from ..errors import ConfigurationError
from ..logging import start_logging
from .common import load_settings


@click.command(
    epilog="Example:\n\n"
    "  ARXIV_QUEUE_URL=amqp://... ARXIV_DATABASE_URL=postgresql://... arxiv-gateway writer"
)
def writer() -> None:
    """Move searches from the queue to PostgreSQL.

    Needs ARXIV_QUEUE_URL and ARXIV_DATABASE_URL. Any number of writers may run. At SIGTERM or
    Ctrl-C, completes its batch.
    """
    settings = load_settings()
    if settings.queue_url is None:
        raise ConfigurationError("ARXIV_QUEUE_URL is not set: set it to the URL of RabbitMQ")
    from ..queue.worker import run_worker  # noqa: PLC0415 - needs the extra `queue`

    with start_logging(settings.log_level, settings.log_format):
        asyncio.run(run_worker(settings))
