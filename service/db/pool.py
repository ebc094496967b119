"""Connection pools for every PostgreSQL system, and the errors of the driver.

Connections are in autocommit mode, so a statement is a transaction and takes one round trip.
"""

import asyncio
import os
import select
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Literal, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import make_conninfo
from psycopg.pq import PipelineStatus
from psycopg.rows import BaseRowFactory
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from .. import metrics, sql
from ..errors import DatabaseTimeout, DatabaseUnavailable
from .conninfo import parse_conninfo

POOL_SIZE = 10
MAX_WAITING = 1000
"""Callers that may wait for a connection; further ones are rejected immediately."""
CALL_TIMEOUT = 10.0
"""Seconds that a call may take, including the wait for a connection."""
CHECKOUT_TIMEOUT = 3.0
"""Seconds of these that it may wait for a connection."""
PREPARE_AFTER = 5
"""Executions after which a reading connection prepares a statement."""
READ_BUFFER_BYTES = 250_000
"""Response that a reading connection can receive at once; libpq begins with 16 KiB."""

ReadSystem = Literal["queries", "results"]
System = ReadSystem | Literal["sequence"]
"""A PostgreSQL deployment: of queries, rate limiter, harvests; of results, papers; of numbers."""
Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
ConnectionSource = Callable[[], AbstractAsyncContextManager[Connection]]
Configure = Callable[[Connection], Coroutine[Any, Any, None]]

_NO_CONNECTION = PoolTimeout, TooManyRequests
_CANCELED = errors.QueryCanceled, errors.TransactionTimeout
# the server has become a standby, or a migration changed the result type of a prepared statement
OUTDATED = errors.ReadOnlySqlTransaction, errors.FeatureNotSupported

T = TypeVar("T")


class DatabasePools:
    """Pools of writing and reading connections for every system; equal URLs share one pool.

    Entering the context opens the pools without waiting for a server, so the service starts before
    its database and recovers when the database is available.
    """

    def __init__(
        self,
        url: str | None,
        read_url: str | None = None,
        *,
        results_url: str | None = None,
        results_read_url: str | None = None,
        sequence_url: str | None = None,
    ) -> None:
        """Without `url` this process only reads; the other URLs default to it."""
        self._pools: dict[str, Pool] = {}
        self._writers = {
            "queries": self._get_pool("queries", url, _CONFIGURE_WRITER),
            "results": self._get_pool("results", results_url or url, _CONFIGURE_WRITER),
            "sequence": self._get_pool("sequence", sequence_url or url, _CONFIGURE_WRITER),
        }
        read_url = read_url or url
        results_read_url = results_read_url or results_url or read_url
        self._readers = {
            "queries": self._get_pool("queries, readers", read_url, _CONFIGURE_READER),
            "results": self._get_pool("results, readers", results_read_url, _CONFIGURE_READER),
        }

    async def __aenter__(self) -> Self:
        for pool in self._pools.values():
            await pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.close()

    @property
    def one_system(self) -> bool:
        """Whether a record can be written in one transaction."""
        return len(set(self._writers.values())) == 1

    @property
    def reads_only(self) -> bool:
        """Whether this process has no connection to a primary."""
        return self._writers["results"] is None

    @property
    def systems(self) -> dict[str, ConnectionSource]:
        """Connections to everything this process needs, by name."""
        return {pool.name: partial(_checkout, pool) for pool in self._pools.values()}

    @property
    def read_systems(self) -> list[ReadSystem]:
        """The systems that are read, each PostgreSQL once."""
        if self._readers["queries"] is self._readers["results"]:
            return ["queries"]
        return ["queries", "results"]

    def writer(self, system: System = "queries") -> AbstractAsyncContextManager[Connection]:
        """A working connection for at most CALL_TIMEOUT seconds."""
        return _checkout(self._writers[system])

    def reader(self, system: ReadSystem = "queries") -> AbstractAsyncContextManager[Connection]:
        """A working connection for at most CALL_TIMEOUT seconds."""
        return _checkout(self._readers[system])

    def _get_pool(self, name: str, url: str | None, configure: Configure) -> Pool | None:
        if url is None:
            return None
        defaults: dict[str, Any] = {"connect_timeout": 5, "application_name": "arxiv-gateway"}
        conninfo = make_conninfo(**(defaults | parse_conninfo(url)))
        if conninfo not in self._pools:
            self._pools[conninfo] = _create_pool(name, conninfo, configure)
        return self._pools[conninfo]


def _create_pool(name: str, conninfo: str, configure: Configure) -> Pool:
    pool = AsyncConnectionPool(
        conninfo,
        open=False,
        name=name,
        min_size=1,
        max_size=POOL_SIZE,
        max_waiting=MAX_WAITING,
        # the next call tries again at once; the pool would wait longer after each attempt
        reconnect_timeout=1,
        configure=configure,
        kwargs={"autocommit": True, "prepare_threshold": None},
    )
    metrics.POOLS.add(pool)
    return pool


@asynccontextmanager
async def _checkout(pool: Pool | None) -> AsyncGenerator[Connection, None]:
    if pool is None:
        raise DatabaseUnavailable("this instance only reads: ARXIV_DATABASE_URL is not set")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CALL_TIMEOUT
    while _was_closed_by_server(conn := await pool.getconn(timeout=CHECKOUT_TIMEOUT)):
        await conn.close()
        await pool.putconn(conn)
    # cancelling a call waits for the server, and a server behind a dead network never responds
    timer = loop.call_at(deadline, _shut_down, conn)
    try:
        async with conn:  # rolls back after an exception
            yield conn
    except OUTDATED:
        await conn.close()
        raise
    finally:
        # a call that is cancelled while it enters a pipeline leaves the connection in it
        if conn.info.pipeline_status != PipelineStatus.OFF:
            await conn.close()
        timer.cancel()
        await pool.putconn(conn)


def _was_closed_by_server(conn: Connection) -> bool:
    """Whether an idle connection has data to read; this takes no round trip."""
    poll = select.poll()
    if not conn.closed:
        poll.register(conn.fileno(), select.POLLIN | select.POLLHUP)
    return conn.closed or bool(poll.poll(0))


def _shut_down(conn: Connection) -> None:
    """Shut the socket down; libpq sees the end of the stream immediately."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


async def _configure(
    conn: Connection, *, plan_cache_mode: str, prepare_after: int, buffer_bytes: int = 0
) -> None:
    """Enable prepared statements unless there is a pooler: PgBouncer before 1.22 confuses them."""
    values: dict[str, object] = {"plan_cache_mode": plan_cache_mode, "buffer_bytes": buffer_bytes}
    values["backend_pid"] = conn.info.backend_pid
    timer = asyncio.get_running_loop().call_later(CHECKOUT_TIMEOUT, _shut_down, conn)
    try:
        cursor = await conn.execute(sql.CONFIGURE_SESSION, values)
        if await cursor.fetchone():
            conn.prepare_threshold = prepare_after
    finally:
        timer.cancel()


_CONFIGURE_WRITER = partial(_configure, plan_cache_mode="auto", prepare_after=sys.maxsize)
"""Prepares only the statements executed with `prepare=True`; one plan serves all values."""
_CONFIGURE_READER = partial(
    _configure,
    plan_cache_mode="force_custom_plan",
    prepare_after=PREPARE_AFTER,
    buffer_bytes=READ_BUFFER_BYTES,
)
"""Prepares frequent statements, but plans each execution: the best plan depends on the values."""


def connection_was_lost(error: psycopg.OperationalError) -> bool:
    """Whether the connection ended, so that the outcome of its statements is unknown."""
    if isinstance(error, _NO_CONNECTION):
        return False
    return error.sqlstate is None or isinstance(error, errors.AdminShutdown | errors.CrashShutdown)


async def fetch(
    source: ConnectionSource,
    row_factory: BaseRowFactory[T],
    statement: bytes,
    values: Mapping[str, object] | None = None,
) -> list[T]:
    """All rows of a statement, in one round trip."""
    with map_db_errors():
        async with source() as conn:
            cursor = conn.cursor(row_factory=row_factory)
            await cursor.execute(statement, values)
            return await cursor.fetchall()


_NOT_MIGRATED = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedObject,
)
_DETAILS: dict[str, type[psycopg.Error] | tuple[type[psycopg.Error], ...]] = {
    "no database connection is free, or the database is unavailable": _NO_CONNECTION,
    "the database is not migrated: run the migrations": _NOT_MIGRATED,
    "the database is read-only: it is a standby": errors.ReadOnlySqlTransaction,
    "the database schema has just changed: {error}": errors.FeatureNotSupported,
    "the database role may not execute this statement": errors.InsufficientPrivilege,
    "the disk of the database is full": errors.DiskFull,
    "the database is unavailable": (psycopg.OperationalError, psycopg.InterfaceError),
    "PostgreSQL reported an internal error: {error}": psycopg.InternalError,
}
"""The detail for each class of errors; the first that matches is used."""


@contextmanager
def map_db_errors() -> Iterator[None]:
    """Turn errors of the driver into DatabaseUnavailable with a detail that operators can use.

    Raises DatabaseTimeout if PostgreSQL cancelled the statement.
    """
    try:
        yield
    except _CANCELED as error:
        raise DatabaseTimeout("the database takes too long: it may be blocked") from error
    except psycopg.Error as error:
        for detail, kinds in _DETAILS.items():
            if isinstance(error, kinds):
                raise DatabaseUnavailable(detail.format(error=error)) from error
        raise
