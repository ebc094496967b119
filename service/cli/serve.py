"""`serve`: the HTTP service."""

import rich_click as click

from .. import server
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
    with (
        start_logging(settings.log_level, settings.log_format),
        open_database(settings) as complete,
    ):
        server.run(complete)
