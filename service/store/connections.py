"""Pools of connections, and what can be known of one without asking the server.

Connections are in autocommit, so a statement is a transaction and costs one round trip.
"""

import asyncio
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from service.errors import NotConfigured, StoreUnavailable

POOL_SIZE = 10
MAX_WAITING = 1000
"""Callers that may wait for a connection; further ones are sent away at once."""
PATIENCE = 10.0
"""Seconds a call may take, waiting for a connection included."""
CONNECTION_PATIENCE = 3.0
"""Seconds of these that it may wait for a connection."""

Connection = AsyncConnection[Any]


class Connections:
    """Connections to write with, and to read with.

    `url` and `read_url` are what libpq understands (URL or key=value, several hosts too). Entering
    the context opens the pools without waiting for a server: the service starts before its
    database, and heals when that comes.
    """

    def __init__(self, url: str, read_url: str | None = None) -> None:
        """Read from `read_url`, or from the same server where there is none."""
        self._writers = _pool("writers", url)
        self._readers = _pool("readers", read_url) if read_url else self._writers

    async def __aenter__(self) -> Self:
        await self._writers.open()
        if self._readers is not self._writers:
            await self._readers.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writers.close()
        if self._readers is not self._writers:
            await self._readers.close()

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Connection]:
        """Lend a connection that works, for PATIENCE seconds at most."""
        async with _lent(self._writers) as conn:
            yield conn

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """Lend a connection that works, for PATIENCE seconds at most."""
        async with _lent(self._readers) as conn:
            yield conn


@asynccontextmanager
async def _lent(pool: AsyncConnectionPool[Connection]) -> AsyncIterator[Connection]:
    end = monotonic() + PATIENCE
    while _is_dead(conn := await pool.getconn(timeout=CONNECTION_PATIENCE)):
        await conn.close()
        await pool.putconn(conn)
    # cancelling a call waits for the server, and a server behind a dead network never answers
    fuse = asyncio.get_running_loop().call_later(end - monotonic(), _cut, conn)
    try:
        async with conn:
            yield conn
    finally:
        fuse.cancel()
        await pool.putconn(conn)


def libpq_environment(url: str) -> dict[str, str]:
    """The environment variables that tell psql where a URL or key=value string tells us to go.

    A password given so is not seen in the list of processes. Raises NotConfigured for a URL that
    libpq does not understand. Options without a variable (keepalives and the like) are left out.
    """
    _parsed(url)
    return {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(url.encode())
        if option.envvar is not None and option.val is not None
    }


def _parsed(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # the driver's message may quote the URL, and so the password
        raise NotConfigured(
            "the database URL is not understood: give postgresql://user:password@host/database"
            " or key=value pairs"
        ) from error


def _pool(name: str, url: str) -> AsyncConnectionPool[Connection]:
    defaults: dict[str, Any] = {"connect_timeout": 5, "application_name": "arxiv-gateway"}
    return AsyncConnectionPool(
        make_conninfo(**(defaults | _parsed(url))),
        open=False,
        name=name,
        min_size=1,
        max_size=POOL_SIZE,
        max_waiting=MAX_WAITING,
        # give up at once what the next call will try again: pauses between tries would grow
        reconnect_timeout=1,
        kwargs={
            "autocommit": True,
            # PgBouncer before 1.22 mixes up prepared statements in transaction pooling
            "prepare_threshold": None,
        },
    )


def _is_dead(conn: Connection) -> bool:
    """Whether the server hung up: an idle connection has nothing to say. Costs no round trip."""
    if conn.closed:
        return True
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def lost(error: psycopg.OperationalError) -> bool:
    """Whether the connection ended, so that nobody can say what became of the statements."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return False
    return error.sqlstate is None or isinstance(error, errors.AdminShutdown | errors.CrashShutdown)


def _cut(conn: Connection) -> None:
    """End a connection under whoever waits for it: libpq sees the end of the stream at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the driver's errors into one that tells the caller what it may know."""
    try:
        yield
    except (PoolTimeout, TooManyRequests) as error:
        raise StoreUnavailable("no database connection is free, or the database is away") from error
    except (
        errors.UndefinedTable,
        errors.UndefinedColumn,
        errors.UndefinedObject,
        errors.UndefinedFunction,
    ) as error:
        raise StoreUnavailable("the database is not migrated: run the migrations") from error
    except errors.ReadOnlySqlTransaction as error:
        raise StoreUnavailable("the database only reads: it is a standby") from error
    except (errors.QueryCanceled, errors.TransactionTimeout) as error:
        raise StoreUnavailable("the database takes too long: something blocks it") from error
    except errors.InsufficientPrivilege as error:
        raise StoreUnavailable("the database role may not do this") from error
    except errors.DiskFull as error:
        raise StoreUnavailable("the database's disk is full") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolClosed) as error:
        raise StoreUnavailable("the database is away") from error
