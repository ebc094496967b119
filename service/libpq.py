"""Where a URL leads, as libpq and the programs on it understand it."""

from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from service.errors import NotConfigured


def libpq_environment(url: str) -> dict[str, str]:
    """The environment variables that tell psql where a URL or key=value string tells us to go.

    A password given so is not seen in the list of processes. Raises NotConfigured for a URL that
    libpq does not understand. Options without a variable (keepalives and the like) are left out.
    """
    parsed(url)
    return {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(url.encode())
        if option.envvar is not None and option.val is not None
    }


def parsed(url: str) -> dict[str, Any]:
    """What a URL or key=value string says. Raises NotConfigured for one that is none."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # the driver's message may quote the URL, and so the password
        raise NotConfigured(
            "the database URL is not understood: give postgresql://user:password@host/database"
            " or key=value pairs"
        ) from error
