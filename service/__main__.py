"""The command line: python -m service [serve | writer | migrate | database | search | ...]."""

import argparse
import asyncio
import gc
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, NoReturn

from msgspec import structs

from . import __version__, embedded_postgres, reach
from .db import migrations
from .db.conninfo import check_database_urls, libpq_environment
from .errors import ConfigurationError, InvalidParameter, ServiceError
from .logging import NOTICE, start_logging
from .settings import Settings

logger = logging.getLogger("service")

TERMINATED, INTERRUPTED = 128 + signal.SIGTERM, 128 + signal.SIGINT
"""What a shell expects of a command that a signal ended."""


def main() -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="arxiv-gateway: one polite door to the arXiv API, with a memory.",
        epilog="Settings come from the environment: see the README.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Command)
    commands.add_parser("serve", help="answer HTTP (the default)")
    commands.add_parser("writer", help="store the searches that wait in ARXIV_QUEUE_URL")
    commands.add_parser("migrate", help="apply migrations/*.sql with psql to every database")
    psql = commands.add_parser("database", help="run a program against the database: psql, pg_dump")
    psql.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM", help="and its words")
    for name, what, describe in (
        ("search", "search once, and print the papers", lambda to: _terminal().add_search(to)),
        (
            "harvest",
            "store all papers that match, however many",
            lambda to: _terminal().add_harvest(to),
        ),
        (
            "reconcile",
            "find, and repair, searches of which a part is missing",
            lambda to: _terminal().add_reconcile(to),
        ),
        ("keys", "API keys: add, list, revoke", lambda to: _key_commands().add_keys(to)),
    ):
        commands.add_parser(name, help=what).describe = describe
    options = parser.parse_args()

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a title may have any character
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings.from_env()
        check_database_urls(settings)
        COMMANDS[options.command or "serve"](settings, options)
    except (ConfigurationError, InvalidParameter) as error:
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


class _Command(argparse.ArgumentParser):
    """A command whose options are described once it is the one: the others need not be imported."""

    describe: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """Describe them first."""
        if self.describe:
            self.describe(self)
        return super().parse_known_args(args, namespace)


def _terminal() -> ModuleType:
    from .cli import terminal  # noqa: PLC0415

    return terminal


def _key_commands() -> ModuleType:
    from .cli import key_commands  # noqa: PLC0415

    return key_commands


def serve(settings: Settings, _: argparse.Namespace) -> None:
    """Answer HTTP until a signal ends it."""
    reach.check(settings)
    gc.disable()  # what is made at the start stays: see serving.run
    # while the database starts
    Thread(target=import_module, args=["service.server"]).start()
    Thread(target=_read_certificates).start()
    with start_logging(settings.log_level, settings.log_format), _database(settings) as complete:
        import_module("service.server").run(complete)


def _read_certificates() -> None:
    """Most of it without Python's lock; what is wrong with them, is said where they are needed."""
    with suppress(Exception):
        import_module("service.http_pool").ssl_context()


def writer(settings: Settings, _: argparse.Namespace) -> None:
    """Store what waits in the queue until a signal ends it."""
    if settings.queue_url is None:
        raise ConfigurationError("ARXIV_QUEUE_URL is not set: there is nothing to write from")
    from .queue.worker import run_worker  # noqa: PLC0415 - it needs the extra `queue`

    with start_logging(settings.log_level, settings.log_format):
        asyncio.run(run_worker(settings))


def migrate(settings: Settings, _: argparse.Namespace) -> None:
    """Apply to every database the migrations that it has not had."""
    _check_has_database(settings)
    if settings.only_reads:
        raise ConfigurationError(
            "ARXIV_DATABASE_URL is not set: migrations are not for what only reads"
        )
    with start_logging(settings.log_level, settings.log_format), _database(settings):
        systems = {
            # an embedded one has been migrated at its start
            "database": settings.database_url,
            "database of the results": settings.results_database_url,
            "database of the sequence": settings.sequence_database_url,
        }
        for name, url in systems.items():
            if url is not None:
                _migrate(url, name)


def database(settings: Settings, options: argparse.Namespace) -> None:
    """Run a program that takes the database's address from libpq's variables, and end as it did.

    An embedded PostgreSQL runs meanwhile, if need be; nothing is migrated.
    """
    _check_has_database(settings)
    if settings.only_reads:
        raise ConfigurationError("ARXIV_DATABASE_URL is not set: name the database there")
    program = options.program or ["psql"]
    with ExitStack() as stack:
        url = settings.database_url
        path = os.environ.get("PATH", os.defpath)
        if url is None:
            url = stack.enter_context(embedded_postgres.server(settings.data_path))
            path = f"{Path(str(embedded_postgres.program('psql'))).parent}{os.pathsep}{path}"
        environment = os.environ | libpq_environment(url) | {"PATH": path}
        if (found := shutil.which(program[0], path=path)) is None:
            raise ConfigurationError(f"there is no program {program[0]!r}")
        ended = subprocess.run([found, *program[1:]], env=environment, check=False)  # noqa: S603
    # of a signal, what a shell says of it
    sys.exit(ended.returncode if ended.returncode >= 0 else 128 - ended.returncode)


def search(settings: Settings, options: argparse.Namespace) -> None:
    """Search once."""
    _on_terminal(_terminal().search, settings, options)


def harvest(settings: Settings, options: argparse.Namespace) -> None:
    """Store all papers that match."""
    _check_has_database(settings)
    _on_terminal(_terminal().harvest, settings, options)


def reconcile(settings: Settings, options: argparse.Namespace) -> None:
    """Find searches of which a part is missing."""
    _check_has_database(settings)
    _on_terminal(_terminal().reconcile, settings, options)


def keys(settings: Settings, options: argparse.Namespace) -> None:
    """Make, list or revoke API keys."""
    _check_has_database(settings)
    if settings.only_reads:
        raise ConfigurationError("ARXIV_DATABASE_URL is not set: keys are for where it is written")
    _on_terminal(_key_commands().run, settings, options)


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
    "database": database,
    "search": search,
    "harvest": harvest,
    "reconcile": reconcile,
    "keys": keys,
}


@contextmanager
def _database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database in them: the one they name, or an embedded one, migrated.

    A frontend needs none.
    """
    if settings.backend_url or settings.database_url or settings.only_reads:
        yield settings
        return
    with embedded_postgres.server(settings.data_path) as url:
        _migrate(url)
        yield structs.replace(
            settings,
            database_url=f"{url} user=arxiv_rw",
            database_ro_url=f"{url} user=arxiv_ro",
        )


def _check_has_database(settings: Settings) -> None:
    if settings.backend_url is not None:
        raise ConfigurationError("ARXIV_BACKEND_URL: this is done where the database is")


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
