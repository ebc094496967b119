"""`serve`: the HTTP service. `writer`: the queue worker."""

import asyncio

import rich_click as click

from .. import server
from ..errors import ConfigurationError
from ..logging import start_logging
from .common import load_settings, open_database


@click.command(
    epilog="Examples:\n\n  arxiv-gateway serve\n\n"
    "  ARXIV_CONTACT=you@example.org ARXIV_WORKERS=2 arxiv-gateway serve"
)
def serve() -> None:
    """Run the HTTP service (the default command).

    Listens on ARXIV_HOST and ARXIV_PORT until SIGTERM or Ctrl-C, and lets running requests finish.
    Without ARXIV_DATABASE_URL, runs an embedded PostgreSQL in ARXIV_DATA_DIR.
    """
    settings = load_settings()
    settings.check_exposure()
    logs = start_logging(settings.log_level, settings.log_format)
    with logs, open_database(settings) as complete:
        server.run(complete)


@click.command(
    epilog="Example:\n\n"
    "  ARXIV_QUEUE_URL=amqp://... ARXIV_DATABASE_URL=postgresql://... arxiv-gateway writer"
)
def writer() -> None:
    """Move searches from the queue to PostgreSQL.

    Needs ARXIV_QUEUE_URL and ARXIV_DATABASE_URL. Any number of them may run. At SIGTERM or
    Ctrl-C, completes its batch.
    """
    settings = load_settings()
    if settings.queue_url is None:
        raise ConfigurationError("ARXIV_QUEUE_URL is not set: set it to the URL of RabbitMQ")
    from ..queue.worker import run_worker  # noqa: PLC0415 - needs the extra `queue`

    with start_logging(settings.log_level, settings.log_format):
        asyncio.run(run_worker(settings, settings.queue_url))
