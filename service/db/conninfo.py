"""Connection strings, as libpq and its programs interpret them."""

import re
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from ..errors import ConfigurationError
from ..settings import Settings


def create_libpq_environment(url: str) -> dict[str, str]:
    """The environment variables that make psql connect to a URL or key=value string.

    A password is then not visible in the list of processes. Raises ConfigurationError for an
    invalid URL. Options without a variable, such as keepalives, are left out.
    """
    parse_conninfo(url)
    return {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(url.encode())
        if option.envvar is not None and option.val is not None
    }


def parse_conninfo(url: str) -> dict[str, Any]:
    """The options in a URL or key=value string. Raises ConfigurationError for an invalid one."""
    try:
        options = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        options = {}
    # the error of libpq may contain the URL and so the password; and libpq takes what follows an
    # @ or precedes a / in a password for a part of the address, which would be logged
    has_odd_host = any("@" in host[1:] for host in str(options.get("host", "")).split(","))
    if not options or has_odd_host or not re.fullmatch("[0-9,]*", str(options.get("port", ""))):
        raise ConfigurationError(
            "the database URL is invalid: use postgresql://user:password@host/database"
            " (in a password, %40 for @ and %2F for /) or key=value pairs"
        )
    return options


def check_database_urls(settings: Settings) -> None:
    """Raise ConfigurationError, with the name of the setting, for an invalid database URL."""
    for name in settings.__struct_fields__:
        if name.endswith(("database_url", "database_ro_url")):
            try:
                parse_conninfo(getattr(settings, name) or "dbname=any")
            except ConfigurationError as error:
                raise ConfigurationError(f"ARXIV_{name.upper()}: {error.detail}") from error
