"""`migrate` and `database`: the databases themselves."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import rich_click as click

from .. import embedded_postgres
from ..db.conninfo import libpq_environment
from ..errors import ConfigurationError
from ..logging import start_logging
from ..settings import Settings
from .common import apply_migrations, load_settings, open_database, require_primary


@click.command(
    epilog="Example:\n\n  ARXIV_DATABASE_URL='dbname=arxiv user=postgres' arxiv-gateway migrate"
)
def migrate() -> None:
    """Apply the pending migrations to every database.

    Needs psql, or the extra `embedded`, and URLs with the owners of the databases.
    """
    migrate_databases(load_settings())


def migrate_databases(settings: Settings) -> None:
    """Migrate each system that the settings name. An embedded one is migrated at its start."""
    require_primary(settings)
    with start_logging(settings.log_level, settings.log_format), open_database(settings):
        for url, name in (
            (settings.database_url, "database"),
            (settings.results_database_url, "database of the results"),
            (settings.sequence_database_url, "database of the sequence"),
        ):
            if url is not None:
                apply_migrations(url, name)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Examples:\n\n  arxiv-gateway database\n\n"
    "  arxiv-gateway database psql -c 'select count(*) from queries'\n\n"
    "  arxiv-gateway database pg_dump --format=custom --file=arxiv.dump",
)
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def database(program: tuple[str, ...]) -> None:
    """Run PROGRAM (default: psql) with the address of the database in its environment.

    Starts an embedded PostgreSQL if necessary. Exits with the status of the program.
    """
    settings = load_settings()
    require_primary(settings)
    command = program or ("psql",)
    url, path = settings.database_url, os.environ.get("PATH", os.defpath)
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(embedded_postgres.server(settings.data_path))
            path = f"{Path(str(embedded_postgres.find_program('psql'))).parent}{os.pathsep}{path}"
        environment = os.environ | libpq_environment(url) | {"PATH": path}
        executable = shutil.which(command[0], path=path)
        if executable is None:
            raise ConfigurationError(f"cannot find the program {command[0]!r} on the PATH")
        command = (executable, *command[1:])
        status = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    sys.exit(status if status >= 0 else 128 - status)
