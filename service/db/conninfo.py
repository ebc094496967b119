"""Where a URL leads, as libpq and the programs on it understand it."""

import re
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from ..errors import ConfigurationError
from ..settings import Settings


def libpq_environment(url: str) -> dict[str, str]:
    """The environment variables that tell psql where a URL or key=value string tells us to go.

    A password given so is not seen in the list of processes. Raises NotConfigured for a URL that
    libpq does not understand. Options without a variable (keepalives and the like) are left out.
    """
    parse_conninfo(url)
    return {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(url.encode())
        if option.envvar is not None and option.val is not None
    }


def parse_conninfo(url: str) -> dict[str, Any]:
    """What a URL or key=value string says. Raises NotConfigured for one that is none."""
    try:
        found = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        found = {}
    # the driver's own message may quote the URL, and so the password; and what is behind an @ or
    # before a / in a password it takes for a part of the address, which the log would show
    odd_host = any("@" in host[1:] for host in str(found.get("host", "")).split(","))
    if not found or odd_host or not re.fullmatch("[0-9,]*", str(found.get("port", ""))):
        raise ConfigurationError(
            "the database URL is not understood: give postgresql://user:password@host/database"
            " (in a password, %40 for @ and %2F for /) or key=value pairs"
        )
    return found


def check_database_urls(settings: Settings) -> None:
    """Raises NotConfigured, with the setting's name, for the URL of a database that is none."""
    for name in settings.__struct_fields__:
        if name.endswith(("database_url", "database_ro_url")):
            try:
                parse_conninfo(getattr(settings, name) or "dbname=any")
            except ConfigurationError as error:
                raise ConfigurationError(f"ARXIV_{name.upper()}: {error.detail}") from error
