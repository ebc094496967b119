"""Pools of connections, and what can be known of one without asking the server.

Connections are in autocommit, so a statement is a transaction and costs one round trip.
"""

import asyncio
import os
import select
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import BaseRowFactory
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from .. import metrics, sql
from ..errors import DatabaseUnavailable
from .conninfo import parse_conninfo

POOL_SIZE = 10
MAX_WAITING = 1000
"""Callers that may wait for a connection; further ones are sent away at once."""
CALL_TIMEOUT = 10.0
"""Seconds a call may take, waiting for a connection included."""
CHECKOUT_TIMEOUT = 3.0
"""Seconds of these that it may wait for a connection."""
PREPARE_AFTER = 5
"""Executions after which a reading connection prepares a statement."""
ROOM = 250_000
"""Bytes of an answer that a connection for reading can take at once; without, it is 16 KiB."""

System = Literal["queries", "results", "sequence"]
"""What may live apart: the searches, with the gate and the harvests; the results, with the papers;
the numbers."""
Connection = AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
ConnectionSource = Callable[[], AbstractAsyncContextManager[Connection]]
Configure = Callable[[Connection], Coroutine[Any, Any, None]]

_OUTDATED = (errors.ReadOnlySqlTransaction, errors.FeatureNotSupported)
"""What a connection says that is of no more use: of a standby, or with a statement prepared before
a migration changed the type of what it gives."""

T = TypeVar("T")


class DatabasePools:
    """Connections to write with, and to read with, on every system.

    URLs are what libpq understands (URL or key=value, several hosts too); equal ones are one
    system, with one pool. Entering the context opens the pools without waiting for a server: the
    service starts before its database, and heals when that comes.
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
        """What lives nowhere else is at `url`, and is read from `read_url`, or there too.

        Without `url`, this process only reads.
        """
        self._pools: dict[str, Pool] = {}
        self._writers = {
            "queries": self._pool("queries", url, _configure_writer),
            "results": self._pool("results", results_url or url, _configure_writer),
            "sequence": self._pool("sequence", sequence_url or url, _configure_writer),
        }
        self._readers = {
            "queries": self._pool("queries, readers", read_url or url, _configure_reader),
            "results": self._pool(
                "results, readers",
                results_read_url or results_url or read_url or url,
                _configure_reader,
            ),
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
        """Whether a search can be written in one transaction."""
        return len(set(self._writers.values())) == 1

    @property
    def reads_only(self) -> bool:
        """Whether this process knows no primary."""
        return self._writers["results"] is None

    @property
    def systems(self) -> dict[str, ConnectionSource]:
        """Ways to everything this process needs, by name."""
        return {pool.name: partial(_Lent, pool) for pool in self._pools.values()}

    def writer(self, system: System = "queries") -> AbstractAsyncContextManager[Connection]:
        """ConnectionSource a connection that works, for CALL_TIMEOUT seconds at most."""
        return _Lent(self._writers[system])

    def reader(
        self, system: Literal["queries", "results"] = "queries"
    ) -> AbstractAsyncContextManager[Connection]:
        """ConnectionSource a connection that works, for CALL_TIMEOUT seconds at most."""
        return _Lent(self._readers[system])

    def _pool(self, name: str, url: str | None, configure: Configure) -> Pool | None:
        if url is None:
            return None
        conninfo = _conninfo(url)
        if conninfo not in self._pools:
            self._pools[conninfo] = _pool(name, conninfo, configure)
        return self._pools[conninfo]


class _Lent:
    """A connection that works, for CALL_TIMEOUT seconds at most.

    A class, since a generator would cost as much as all the rest of it.
    """

    __slots__ = ("_conn", "_fuse", "_pool")
    _conn: Connection
    _fuse: asyncio.TimerHandle

    def __init__(self, pool: Pool | None) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        if self._pool is None:
            raise DatabaseUnavailable("this instance only reads: ARXIV_DATABASE_URL is not set")
        end = monotonic() + CALL_TIMEOUT
        while _is_dead(conn := await self._pool.getconn(timeout=CHECKOUT_TIMEOUT)):
            await conn.close()
            await self._pool.putconn(conn)
        # cancelling a call waits for the server, and a server behind a dead network never answers
        self._fuse = asyncio.get_running_loop().call_later(end - monotonic(), _cut, conn)
        self._conn = conn
        return conn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        conn, pool = self._conn, self._pool
        assert pool is not None  # noqa: S101 - it was entered
        try:
            if error or conn.pgconn.transaction_status != TransactionStatus.IDLE:
                await conn.__aexit__(kind, error, where)
            # the next one may lead to whatever is the primary now, and has nothing prepared; who is
            # cancelled as he begins a pipeline leaves it on
            if isinstance(error, _OUTDATED) or conn.pgconn.pipeline_status:
                await conn.close()
        finally:
            self._fuse.cancel()
            await pool.putconn(conn)


def _conninfo(url: str) -> str:
    defaults: dict[str, Any] = {"connect_timeout": 5, "application_name": "arxiv-gateway"}
    return make_conninfo(**(defaults | parse_conninfo(url)))


def _pool(name: str, conninfo: str, configure: Configure) -> Pool:
    pool: Pool = AsyncConnectionPool(
        conninfo,
        open=False,
        name=name,
        min_size=1,
        max_size=POOL_SIZE,
        max_waiting=MAX_WAITING,
        # give up at once what the next call will try again: pauses between tries would grow
        reconnect_timeout=1,
        configure=configure,
        kwargs={"autocommit": True, "prepare_threshold": None},
    )
    metrics.POOLS.add(pool)
    return pool


async def _configure_writer(conn: Connection) -> None:
    """Let statements be prepared that ask for it, and no others; one plan serves them all."""
    await _configure(conn, "auto", sys.maxsize, 0)


async def _configure_reader(conn: Connection) -> None:
    """Let what comes often be prepared, but not its plan: the best one depends on the values."""
    await _configure(conn, "force_custom_plan", PREPARE_AFTER, ROOM)


async def _configure(conn: Connection, plans: str, threshold: int, room: int) -> None:
    """Let statements be prepared that come so often, where nothing stands before the server.

    PgBouncer lends a server for a transaction, and before 1.22 mixes up what is prepared on which.
    """
    values = {"plan_cache_mode": plans, "buffer_bytes": room, "backend_pid": conn.info.backend_pid}
    fuse = asyncio.get_running_loop().call_later(CHECKOUT_TIMEOUT, _cut, conn)
    try:
        cursor = await conn.execute(sql.CONFIGURE_SESSION, values)
        if await cursor.fetchone():
            conn.prepare_threshold = threshold
    finally:
        fuse.cancel()


def _is_dead(conn: Connection) -> bool:
    """Whether the server hung up: an idle connection has nothing to say. Costs no round trip."""
    if conn.closed:
        return True
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def connection_was_lost(error: psycopg.OperationalError) -> bool:
    """Whether the connection ended, so that nobody can say what became of the statements."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return False
    return error.sqlstate is None or isinstance(error, errors.AdminShutdown | errors.CrashShutdown)


def _cut(conn: Connection) -> None:
    """End a connection under whoever waits for it: libpq sees the end of the stream at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


async def fetch(
    lend: ConnectionSource,
    shape: BaseRowFactory[T],
    statement: bytes,
    values: Mapping[str, object] | None = None,
) -> list[T]:
    """All rows of a statement in this shape, in one round trip."""
    with map_db_errors():
        async with lend() as conn:
            cursor = conn.cursor(row_factory=shape)
            await cursor.execute(statement, values)
            return await cursor.fetchall()


@contextmanager
def map_db_errors() -> Iterator[None]:
    """Turn the driver's errors into one that tells the caller what it may know."""
    try:
        yield
    except (PoolTimeout, TooManyRequests) as error:
        raise DatabaseUnavailable(
            "no database connection is free, or the database is away"
        ) from error
    except (
        errors.UndefinedTable,
        errors.UndefinedColumn,
        errors.UndefinedFunction,
        errors.UndefinedObject,
    ) as error:
        raise DatabaseUnavailable("the database is not migrated: run the migrations") from error
    except errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable("the database only reads: it is a standby") from error
    except (errors.QueryCanceled, errors.TransactionTimeout) as error:
        raise DatabaseUnavailable("the database takes too long: something blocks it") from error
    except errors.FeatureNotSupported as error:
        raise DatabaseUnavailable(f"the database was changed just now: {error}") from error
    except errors.InsufficientPrivilege as error:
        raise DatabaseUnavailable("the database role may not do this") from error
    except errors.DiskFull as error:
        raise DatabaseUnavailable("the database's disk is full") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolClosed) as error:
        raise DatabaseUnavailable("the database is away") from error
    except psycopg.InternalError as error:
        raise DatabaseUnavailable(f"the database fails: {error}") from error
