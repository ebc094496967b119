"""The command line: python -m service [serve | migrate | search | harvest | keys]."""

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

from service import __version__, embedded, key_commands, migrations, reach, terminal, wire
from service.app import create_app
from service.errors import BadInput, NotConfigured, ServiceError
from service.logging import NOTICE, started
from service.search import Searcher
from service.settings import GUARDED, Settings

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
    commands.add_parser("migrate", help="apply migrations/*.sql with psql to ARXIV_DATABASE_URL")
    terminal.add_search(commands.add_parser("search", help="search once, and print the papers"))
    terminal.add_harvest(
        commands.add_parser("harvest", help="store all papers that match, however many")
    )
    key_commands.add_keys(commands.add_parser("keys", help="API keys: add, list, revoke"))
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
        if options.command in {None, "serve"}:
            return 0
        sys.stderr.write("stopped; what is stored stays, and the same command goes on with it\n")
        return INTERRUPTED
    return 0


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Answer HTTP until a signal ends it."""
    reach.check(settings)
    with started(settings.log_level, settings.log_format), _database(settings) as complete:
        app = create_app(complete)
        if GUARDED in settings.endpoints and settings.backend_token is None:
            logger.log(NOTICE, "no backend endpoints: ARXIV_BACKEND_TOKEN is not set")
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=wire.protocol(),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(settings.timeout) + GRACE,
        )
        _Server(config, app.state.searcher).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, searcher: Searcher) -> None:
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


def migrate(settings: Settings, _: argparse.Namespace) -> None:
    """Apply the migrations that the database has not had."""
    with started(settings.log_level, settings.log_format), _database(settings):
        if settings.database_url is not None:  # an embedded one has been migrated at its start
            _migrate(settings.database_url)


def search(settings: Settings, options: argparse.Namespace) -> None:
    """Search once."""
    _on_terminal(terminal.search, settings, options)


def harvest(settings: Settings, options: argparse.Namespace) -> None:
    """Store all papers that match."""
    _on_terminal(terminal.harvest, settings, options)


def keys(settings: Settings, options: argparse.Namespace) -> None:
    """Make, list or revoke API keys."""
    _on_terminal(key_commands.run, settings, options)


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


COMMANDS = {"serve": serve, "migrate": migrate, "search": search, "harvest": harvest, "keys": keys}


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
