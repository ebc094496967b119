"""The one user of PostgreSQL: structs in, structs out.

Connections are in autocommit, so a statement is a transaction and costs one round trip. Errors of
the driver leave here as StoreUnavailable, with their cause.
"""

import asyncio
import logging
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import msgspec
import psycopg
from psycopg import AsyncConnection, errors, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row, scalar_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from service import sql
from service.errors import Conflict, NotConfigured, StoreUnavailable
from service.models import (
    Answer,
    QueryToWrite,
    ResultRow,
    ResultsToWrite,
    ResultToWrite,
    StoredQuery,
    StoredResult,
)

logger = logging.getLogger(__name__)

POOL_SIZE = 10
MAX_WAITING = 200
"""Callers that may wait for a connection; further ones are sent away at once."""
PATIENCE = 10.0
"""Seconds a call may take, waiting for a connection included."""
CONNECTION_PATIENCE = 3.0
"""Seconds of these that it may wait for a connection."""
WRITE_TRIES = 100
"""How many numbers in a row may be taken by records that operators wrote themselves."""

_encode = msgspec.json.Encoder().encode

_Connection = AsyncConnection[Any]


class Store:
    """Searches and their results in PostgreSQL.

    `url` and `read_url` are what libpq understands (URL or key=value, several hosts too). Entering
    the context opens the pools without waiting for a server: the service starts before its
    database, and heals when that comes.
    """

    def __init__(self, url: str, read_url: str | None = None, *, settle: float = 0) -> None:
        """Reads go to `read_url`, without rows younger than `settle` seconds."""
        self.settle = settle
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

    async def save(self, answer: Answer) -> int:
        """Record a search and all its results, or nothing, in one round trip; its query_id.

        A connection lost on the way leaves the fate of the write unknown. It is then repeated
        under the same key, which the database accepts once.
        """
        head = {
            "timestamp": answer.timestamp,
            "status": answer.status,
            "num_results": answer.num_results,
            "num_entries": len(answer.entries),
            "query": answer.query,
            "outcome": answer.outcome,
            "write_key": uuid4(),
        }
        rows = [ResultRow(entry.author, entry.title, entry.journal) for entry in answer.entries]
        results = {"timestamp": answer.timestamp, "results": _encode(rows).decode()}
        with _explained():
            try:
                return await self._save(head, results)
            except psycopg.OperationalError as error:
                if not _lost(error):
                    raise
                logger.warning("the connection was lost in mid-write: repeating it (%s)", error)
                return await self._save(head, results)

    async def _save(self, head: Mapping[str, object], results: Mapping[str, object]) -> int:
        for _ in range(WRITE_TRIES):
            try:
                async with self._connection(self._writers) as conn:
                    query = conn.cursor(row_factory=scalar_row)
                    # begin and commit are statements: without them, an exception in this block
                    # would commit what is queued; conn.transaction() would cost three more trips
                    async with conn.pipeline():
                        await conn.execute(sql.BEGIN)
                        await query.execute(sql.INSERT_QUERY, head)
                        await conn.execute(sql.INSERT_RESULTS, results)
                        await conn.execute(sql.COMMIT)
                    query_id: int = await anext(query)
                    return query_id
            except errors.UniqueViolation as error:
                if error.diag.constraint_name == "queries_write_key_key":
                    return await self._saved(head)
                # an operator's own record has this number: take the next
        raise StoreUnavailable("the next numbers of the sequence are taken by other records")

    async def _saved(self, head: Mapping[str, object]) -> int:
        async with self._connection(self._writers) as conn:
            query = conn.cursor(row_factory=scalar_row)
            await query.execute(sql.SELECT_WRITE, head)
            query_id: int = await anext(query)
            return query_id

    async def next_query_id(self) -> int:
        """Take one number from the sequence."""
        with _explained():
            async with self._connection(self._writers) as conn:
                query = conn.cursor(row_factory=scalar_row)
                await query.execute(sql.NEXT_QUERY_ID)
                query_id: int = await anext(query)
                return query_id

    async def write_query(self, query: QueryToWrite) -> None:
        """Record a search under its own number. Raises Conflict where another one has it."""
        sent = msgspec.structs.asdict(query)
        with _explained():
            async with self._connection(self._writers) as conn:
                written = await conn.execute(sql.WRITE_QUERY, sent)
                if not written.rowcount:
                    written = await conn.execute(sql.SAME_QUERY, sent)
        if not written.rowcount:
            raise Conflict(f"query_id: another search is recorded under {query.query_id}")

    async def write_results(self, body: ResultsToWrite) -> None:
        """Record the results of a search. Raises Conflict where others have the same number."""
        rows = [_row(result) for result in body.results]
        sent = {
            "query_id": body.query_id,
            "timestamp": body.timestamp,
            "results": _encode(rows).decode(),
        }
        with _explained():
            async with self._connection(self._writers) as conn, conn.transaction():
                written = await conn.execute(sql.WRITE_RESULTS, sent)
                if written.rowcount != len(rows):
                    written = await conn.execute(sql.SAME_RESULTS, sent)
                if written.rowcount != len(rows):
                    raise Conflict(f"query_id: other results are recorded under {body.query_id}")

    async def queries(self, start: int, end: int) -> list[StoredQuery]:
        """Searches with start <= timestamp <= end (Unix seconds), oldest first."""
        found = {"start": start, "end": end, "settle": self.settle}
        with _explained():
            async with self._connection(self._readers) as conn:
                rows = conn.cursor(row_factory=class_row(StoredQuery))
                await rows.execute(sql.SELECT_QUERIES, found)
                return await rows.fetchall()

    async def results(self, page: int, items_per_page: int) -> list[StoredResult]:
        """One page of all results, in the order of their searches; page 0 is the first."""
        found = {"limit": items_per_page, "offset": page * items_per_page, "settle": self.settle}
        with _explained():
            async with self._connection(self._readers) as conn:
                rows = conn.cursor(row_factory=class_row(StoredResult))
                await rows.execute(sql.SELECT_RESULTS, found)
                return await rows.fetchall()

    async def migrations(self) -> set[str]:
        """The names of the migrations that the database has had."""
        with _explained():
            async with self._connection(self._writers) as conn:
                names = conn.cursor(row_factory=scalar_row)
                await names.execute(sql.SELECT_MIGRATIONS)
                return set(await names.fetchall())

    @asynccontextmanager
    async def _connection(
        self, pool: AsyncConnectionPool[_Connection]
    ) -> AsyncIterator[_Connection]:
        """A connection that works, for PATIENCE seconds at most."""
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


def _pool(name: str, url: str) -> AsyncConnectionPool[_Connection]:
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


def _is_dead(conn: _Connection) -> bool:
    """Whether the server hung up: an idle connection has nothing to say. Costs no round trip."""
    if conn.closed:
        return True
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def _lost(error: psycopg.OperationalError) -> bool:
    """Whether the connection ended, so that nobody can say what became of the statements."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return False
    return error.sqlstate is None or isinstance(error, errors.AdminShutdown | errors.CrashShutdown)


def _cut(conn: _Connection) -> None:
    """End a connection under whoever waits for it: libpq sees the end of the stream at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(conn.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the driver's errors into one that tells the caller what it may know."""
    try:
        yield
    except (PoolTimeout, TooManyRequests) as error:
        raise StoreUnavailable("no database connection is free, or the database is away") from error
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedObject) as error:
        raise StoreUnavailable("the database is not migrated: run the migrations") from error
    except errors.InsufficientPrivilege as error:
        raise StoreUnavailable("the database role may not do this") from error
    except errors.DiskFull as error:
        raise StoreUnavailable("the database's disk is full") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolClosed) as error:
        raise StoreUnavailable("the database is away") from error


def _row(result: ResultToWrite) -> ResultRow:
    authors = result.authors
    author = authors if isinstance(authors, str) else ", ".join(authors)
    return ResultRow(author, result.title, result.journal)
