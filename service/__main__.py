"""The command line: python -m service [serve | migrate]."""

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import uvicorn
from msgspec import structs

from service import __version__, embedded, migrations
from service.app import create_app
from service.errors import NotConfigured
from service.logging import NOTICE, started
from service.settings import Settings

logger = logging.getLogger("service")

GRACE = 30
"""Seconds that running requests get at the end."""


def main() -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="arxiv-gateway: one polite door to the arXiv API, with a memory.",
        epilog="Settings come from the environment: see the README.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="answer HTTP (the default)")
    commands.add_parser("migrate", help="apply migrations/*.sql with psql to ARXIV_DATABASE_URL")
    command = parser.parse_args().command or "serve"

    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings.from_env()
        with started(settings.log_level, settings.log_format):
            {"serve": serve, "migrate": migrate}[command](settings)
    except NotConfigured as error:
        print(f"{parser.prog}: {error.detail}", file=sys.stderr)  # noqa: T201 - no log yet
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def serve(settings: Settings) -> None:
    """Answer HTTP until a signal ends it."""
    with _database(settings) as complete:
        config = uvicorn.Config(
            create_app(complete),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        _Server(config).run()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the service listens, once it does."""
        await super().startup(sockets)
        for listener in (part for server in self.servers for part in server.sockets):
            host, port = listener.getsockname()[:2]
            logger.log(NOTICE, "listening on http://%s:%d", host, port)


def migrate(settings: Settings) -> None:
    """Apply the migrations that the database has not had."""
    if settings.database_url is None:
        with embedded.server(settings.data_path) as url:
            _migrate(url)
    else:
        _migrate(settings.database_url)


@contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database in them: the one they name, or an embedded one, migrated."""
    if settings.database_url is not None:
        yield settings
        return
    with embedded.server(settings.data_path) as url:
        _migrate(url)
        yield structs.replace(
            settings,
            database_url=f"{url} user=arxiv_rw",
            database_ro_url=settings.database_ro_url or f"{url} user=arxiv_ro",
        )


def _migrate(url: str) -> None:
    applied = migrations.apply(url)
    for name in applied:
        logger.log(NOTICE, "applied migration %s", name)
    logger.log(NOTICE, "the database is up to date")


def _stop(*_: object) -> NoReturn:
    """End by SIGTERM as by the end of the program: what runs is wound up."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
