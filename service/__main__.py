"""The command line: python -m service [serve | writer | migrate | search | harvest | reconcile]."""

import argparse
import asyncio
import io
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import uvicorn
from msgspec import structs

from service import __version__, embedded, migrations, terminal
from service.app import create_app
from service.errors import BadInput, NotConfigured, ServiceError
from service.logging import NOTICE, started
from service.search import Finder
from service.settings import Settings

logger = logging.getLogger("service")

TERMINATED, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT
"""What a shell expects of a command that a signal ended."""
GRACE = 15
"""Seconds that running requests get at the end beyond what arXiv may take."""


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
    commands.add_parser("writer", help="store the searches that wait in ARXIV_QUEUE_URL")
    commands.add_parser("migrate", help="apply migrations/*.sql with psql to every database")
    terminal.add_search(commands.add_parser("search", help="search once, and print the papers"))
    terminal.add_harvest(
        commands.add_parser("harvest", help="store all papers that match, however many")
    )
    terminal.add_reconcile(
        commands.add_parser(
            "reconcile", help="find, and repair, searches of which a part is missing"
        )
    )
    options = parser.parse_args()

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a title may have any character
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings.from_env()
        COMMANDS[options.command or "serve"](settings, options)
    except (NotConfigured, BadInput) as error:
        sys.stderr.write(f"{parser.prog}: {error.detail}\n")
        return 2
    except ServiceError as error:
        sys.stderr.write(f"{parser.prog}: {error.title}: {error.detail}\n")
        return 1
    except KeyboardInterrupt:
        if options.command in {None, "serve", "writer"}:
            return 0
        sys.stderr.write("stopped; what is stored stays, and the same command goes on with it\n")
        return INTERRUPTED
    return 0


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Answer HTTP until a signal ends it."""
    with started(settings.log_level, settings.log_format), _database(settings) as complete:
        app = create_app(complete)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.timeout) + GRACE,
        )
        _Server(config, app.state.searcher).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, searcher: Finder) -> None:
        super().__init__(config)
        self.searcher = searcher

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the service listens, once it does."""
        await super().startup(sockets)
        for listener in (part for server in self.servers for part in server.sockets):
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            logger.log(NOTICE, "listening on http://%s:%d", shown, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what only waits; what arXiv is being asked, and what is read, comes to its end."""
        self.searcher.close()
        await super().shutdown(sockets)


def writer(settings: Settings, _: argparse.Namespace) -> None:
    """Store what waits in the queue until a signal ends it."""
    if settings.queue_url is None:
        raise NotConfigured("ARXIV_QUEUE_URL is not set: there is nothing to write from")
    from service.writer import work  # noqa: PLC0415 - it needs the extra `queue`

    with started(settings.log_level, settings.log_format):
        asyncio.run(work(settings))


def migrate(settings: Settings, _: argparse.Namespace) -> None:
    """Apply to every database the migrations that it has not had."""
    _check_has_database(settings)
    if settings.only_reads:
        raise NotConfigured("ARXIV_DATABASE_URL is not set: migrations are not for what only reads")
    with started(settings.log_level, settings.log_format), _database(settings):
        systems = {
            # an embedded one has been migrated at its start
            "database": settings.database_url,
            "database of the results": settings.results_database_url,
            "database of the sequence": settings.sequence_database_url,
        }
        for name, url in systems.items():
            if url is not None:
                _migrate(url, name)


def search(settings: Settings, options: argparse.Namespace) -> None:
    """Search once."""
    _on_terminal(terminal.search, settings, options)


def harvest(settings: Settings, options: argparse.Namespace) -> None:
    """Store all papers that match."""
    _check_has_database(settings)
    _on_terminal(terminal.harvest, settings, options)


def reconcile(settings: Settings, options: argparse.Namespace) -> None:
    """Find searches of which a part is missing."""
    _check_has_database(settings)
    _on_terminal(terminal.reconcile, settings, options)


def _on_terminal(
    command: Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, None]],
    settings: Settings,
    options: argparse.Namespace,
) -> None:
    """Run a command whose output is for a person: only what is amiss goes into the log, aside."""
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stderr)
    logging.getLogger("psycopg").setLevel("ERROR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with _database(settings) as complete:
        asyncio.run(command(complete, options))


COMMANDS = {
    "serve": serve,
    "writer": writer,
    "migrate": migrate,
    "search": search,
    "harvest": harvest,
    "reconcile": reconcile,
}


@contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database in them: the one they name, or an embedded one, migrated.

    A frontend needs none.
    """
    if settings.backend_url or settings.database_url or settings.only_reads:
        yield settings
        return
    with embedded.server(settings.data_path) as url:
        _migrate(url)
        yield structs.replace(
            settings,
            database_url=f"{url} user=arxiv_rw",
            database_ro_url=f"{url} user=arxiv_ro",
        )


def _check_has_database(settings: Settings) -> None:
    if settings.backend_url is not None:
        raise NotConfigured("ARXIV_BACKEND_URL: this is done where the database is")


def _migrate(url: str, name: str = "database") -> None:
    applied = migrations.apply(url)
    for migration in applied:
        logger.log(NOTICE, "applied migration %s", migration)
    logger.log(NOTICE, "the %s is up to date", name)


def _stop(*_: object) -> NoReturn:
    """End by SIGTERM as by the end of the program: what runs is wound up."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
