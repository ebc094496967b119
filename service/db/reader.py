"""Read recorded searches, results and papers.

A list has a stable order, given by a key. A page begins after the key of the row before it, so it
takes the same time at any depth. A whole list is read in batches, each beginning after the last
row of the one before: no transaction stays open and no connection is in use while a client reads.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from itertools import starmap
from typing import Annotated, Any, Generic, TypeVar, cast

from msgspec import Meta, Struct, convert, structs
from psycopg import DataError, errors
from psycopg.rows import class_row, dict_row, scalar_row, tuple_row

from .. import sql
from ..errors import DatabaseUnavailable, InvalidParameter
from ..models import records
from ..models.filters import (
    AnnouncementFilter,
    PaperFilter,
    Position,
    QueryFilter,
    ResultFilter,
    SortKey,
)
from ..models.mirror import ImportState, PaperDetails
from ..models.records import (
    INT2_MAX,
    INT4_MAX,
    INT8_MAX,
    AnnouncedDay,
    AnnouncedPaperRow,
    Announcement,
    DatabaseServer,
    DatabaseStatus,
    PaperRow,
    PaperVersion,
    QueryRow,
    ResultRow,
    Run,
    SearchCount,
    TableSize,
    Text,
)
from ..singleflight import SingleFlight, mark_retrieved
from .pool import ConnectionSource, DatabasePools, ReadSystem, fetch, map_db_errors

MAX_SLOW_READS = 4
"""Concurrent reads that may scan a whole table; other reads need connections too."""
SLOW_FILTERS = frozenset(
    {"status", "text", "author", "title", "journal", "words", "category", "archive"}
)
"""Filters without an index, or whose index finds too many rows if what they contain is common."""
MAX_FAST_OFFSET = 10_000
"""Rows that a page may skip in a fast read; PostgreSQL reads all of them."""
SLOW_READ_TIMEOUT = 5.0
"""Seconds that a slow read may wait for the others."""
STALL_SECONDS = 1.0
"""Seconds after which a client that reads nothing keeps no rows in memory that were read ahead."""
TEXT_PARAMETERS = ("author", "title", "journal")
"""Parameters of clients that become a tsquery."""
FEED_RUNS, FEED_PAPERS = 30, 100
Row = TypeVar("Row", bound=Struct)
Filter = QueryFilter | ResultFilter | PaperFilter | AnnouncementFilter


class InvalidFilter(InvalidParameter):
    """PostgreSQL cannot interpret a filter, or a tsquery in it is too large."""


class ListDefinition(Struct, Generic[Row], frozen=True):
    """A sorted list; the columns of its statements are the fields of its rows, in this order."""

    row_type: type[Row]
    key: dict[str, Any]
    """The columns that the list is sorted by, with types as narrow as theirs."""
    statement: bytes | None
    """None if the list is not in PostgreSQL's order."""
    reverse_statement: bytes | None
    """The statement for the opposite order; None if the list cannot be read backwards."""
    first_batch_size: int
    """Rows of a whole list that are read before its first byte is sent."""
    system: ReadSystem = "results"

    def get_key(self, row: Row) -> SortKey:
        """The values that a row is sorted by."""
        return tuple(getattr(row, name) or 0 for name in self.key)


class ListSelection(Struct, Generic[Row], frozen=True):
    """Selects the rows of a list that match a filter; `newest` reverses their order."""

    definition: ListDefinition[Row]
    filters: Filter
    newest: bool = False


BigInt = Annotated[int, Meta(ge=-INT8_MAX, le=INT8_MAX)]
SmallInt = Annotated[int, Meta(ge=0, le=INT2_MAX)]
Rank = Annotated[int, Meta(ge=0, le=INT4_MAX)]

QUERIES = ListDefinition(
    records.QueryRow,
    {"timestamp": BigInt, "query_id": BigInt},
    sql.SELECT_QUERIES,
    sql.SELECT_QUERIES_DESC,
    first_batch_size=200,
    system="queries",
)
RESULTS = ListDefinition(
    ResultRow,
    {"timestamp": BigInt, "query_id": BigInt, "result_number": SmallInt},
    sql.SELECT_RESULTS,
    sql.SELECT_RESULTS_DESC,
    first_batch_size=50,
)
PAPERS = ListDefinition(
    PaperRow,
    {"published": BigInt, "arxiv_id": Text, "version": SmallInt},
    sql.SELECT_PAPERS,
    sql.SELECT_PAPERS_DESC,
    first_batch_size=50,
)
RANKED = ListDefinition(
    records.RankedPaperRow,
    {"generation": BigInt, "rank": Rank, "arxiv_id": Text, "version": SmallInt},
    None,
    None,
    first_batch_size=50,
)
ANNOUNCEMENTS = ListDefinition(
    AnnouncedPaperRow,
    {"type_rank": SmallInt, "arxiv_id": Text},
    sql.SELECT_ANNOUNCEMENTS,
    sql.SELECT_ANNOUNCEMENTS_DESC,
    first_batch_size=50,
)


class RecordReader:
    """Reads from PostgreSQL; rows younger than the read delay are left out."""

    def __init__(self, pools: DatabasePools, *, read_delay: float = 0) -> None:
        self._pools = pools
        self._read_delay = read_delay
        self._pages: SingleFlight[list[Any]] = SingleFlight()
        self._slow_reads = asyncio.Semaphore(MAX_SLOW_READS)

    async def fetch_page(
        self, selection: ListSelection[Row], position: Position, limit: int
    ) -> list[Row]:
        """At most `limit` rows from a position on. Concurrent calls for a page share one read."""
        values = structs.astuple(selection.filters)
        hashable = [tuple(value) if isinstance(value, list) else value for value in values]
        key = (*selection.definition.key, *hashable, position, limit, selection.newest)
        page: list[Row] = await self._pages.read(
            key, partial(self._fetch_page, selection, position, limit)
        )
        return page

    async def _fetch_page(
        self, selection: ListSelection[Row], position: Position, limit: int
    ) -> list[Row]:
        definition = selection.definition
        is_reversed = selection.newest != position.back
        statement = definition.reverse_statement if is_reversed else definition.statement
        assert statement  # noqa: S101 - callers offer no way back where there is none
        key = position.key or (None,) * len(definition.key)
        values = structs.asdict(selection.filters) | {"limit": limit, "offset": position.offset}
        values |= {f"after_{name}": value for name, value in zip(definition.key, key, strict=True)}
        is_slow = _is_slow(selection.filters) or position.offset > MAX_FAST_OFFSET
        async with self._limit_slow_reads() if is_slow else nullcontext():
            page = await self._fetch(definition.row_type, statement, values, definition.system)
        return page[::-1] if position.back else page

    def stream_batches(
        self, selection: ListSelection[Row], position: Position, max_rows: int
    ) -> "BatchReader[Row]":
        """All rows from a position on: first a small batch, then up to `max_rows` each."""
        fetch_page = partial(self._fetch_page, selection)
        return BatchReader(fetch_page, selection.definition, position, max_rows)

    async def fetch_run(self, query_id: int, *, ignore_read_delay: bool = False) -> Run | None:
        """One run of a search."""
        values = {"query_id": query_id, **_get_read_delay(ignore_read_delay)}
        rows = await self._fetch(Run, sql.SELECT_QUERY, values, "queries")
        return rows[0] if rows else None

    async def count_runs(self, since: int, limit: int) -> int:
        """The number of runs from a time on, in Unix seconds, or the limit if it is smaller."""
        values = {"since": since, "limit": limit, "read_delay": self._read_delay}
        read = self._pools.reader
        [number] = await fetch(partial(read, "queries"), scalar_row, sql.COUNT_QUERIES, values)
        return int(number)

    async def fetch_runs(self, run: Run, limit: int) -> list[Run]:
        """Successful runs of the same search up to this one, the latest first."""
        values = structs.asdict(run) | {"limit": limit}
        return await self._fetch(Run, sql.SELECT_RUNS, values, "queries")

    async def fetch_next_run(self, run: Run) -> Run | None:
        """The first successful run of the same search after this one."""
        rows = await self._fetch(Run, sql.SELECT_NEXT_RUN, structs.asdict(run), "queries")
        return rows[0] if rows else None

    async def fetch_results(self, run: Run) -> list[ResultRow]:
        """The results of a run, in their order; from the primary if a standby lacks some of them.

        Raises DatabaseUnavailable if this process has no connection to it.
        """
        values = {"query_ids": [run.query_id]}
        rows = await self._fetch(ResultRow, sql.SELECT_QUERY_RESULTS, values)
        if len(rows) >= run.num_entries:
            return rows
        if self._pools.reads_only:
            missing = f"the results of search {run.query_id}"
            raise DatabaseUnavailable(f"{missing} have not been replicated yet")
        primary = partial(self._pools.writer, "results")
        return await self._fetch(ResultRow, sql.SELECT_QUERY_RESULTS, values, source=primary)

    async def fetch_finding_runs(self, arxiv_id: str, limit: int) -> list[QueryRow]:
        """The latest runs that found a paper in any version."""
        values = {"arxiv_id": arxiv_id, "limit": limit, "read_delay": self._read_delay}
        query_ids = await fetch(
            partial(self._pools.reader, "results"), scalar_row, sql.SELECT_FINDING_RUN_IDS, values
        )
        found = {"query_ids": query_ids}
        return await self._fetch(QueryRow, sql.SELECT_QUERIES_BY_ID, found, "queries")

    async def fetch_feed_papers(self, runs: Sequence[Run]) -> list[PaperRow]:
        """The papers of these runs of a search, dated by the first run with each; newest first."""
        search = {"search_key": runs[0].search_key, "query": runs[0].query}
        all_query_ids = await fetch(self._pools.reader, scalar_row, sql.SELECT_RUN_IDS, search)
        query_ids = [run.query_id for run in runs]
        values = {"query_ids": query_ids, "all_query_ids": all_query_ids, "limit": FEED_PAPERS}
        return await self._fetch(PaperRow, sql.SELECT_FEED_PAPERS, values)

    async def fetch_versions(
        self, arxiv_id: str, *, ignore_read_delay: bool = False
    ) -> list[PaperRow]:
        """The versions of a paper, the latest first."""
        values = {"arxiv_id": arxiv_id, **_get_read_delay(ignore_read_delay)}
        return await self._fetch(PaperRow, sql.SELECT_VERSIONS, values)

    async def fetch_details(self, paper: PaperVersion) -> PaperDetails:
        """What the API does not have of a paper, and the sources of its fields."""
        arxiv_id, version = paper
        values = {"arxiv_id": arxiv_id, "version": version}
        with map_db_errors():
            async with self._pools.reader("results") as conn:
                cursor = conn.cursor(row_factory=dict_row)
                await cursor.execute(sql.SELECT_PAPER_DETAILS, values)
                return convert(await cursor.fetchone() or {}, PaperDetails)

    async def fetch_papers(self, papers: Collection[PaperVersion]) -> dict[PaperVersion, PaperRow]:
        """The papers with these ids and versions."""
        values = {
            "arxiv_ids": [arxiv_id for arxiv_id, _ in papers],
            "versions": [version for _, version in papers],
        }
        rows = await self._fetch(PaperRow, sql.SELECT_PAPERS_BY_ID, values)
        return {(row.arxiv_id, row.version): row for row in rows}

    async def fetch_announced_day(self, filters: AnnouncementFilter) -> AnnouncedDay:
        """The day of these announcements, with their numbers by type; the types do not matter."""
        [day] = await self._fetch(AnnouncedDay, sql.SELECT_ANNOUNCED_DAY, structs.asdict(filters))
        return day

    async def fetch_announcements(self, arxiv_id: str) -> list[Announcement]:
        """When a paper was announced, the latest first."""
        values = {"arxiv_id": arxiv_id}
        return await self._fetch(Announcement, sql.SELECT_PAPER_ANNOUNCEMENTS, values)

    async def fetch_latest_responses(self, limit: int) -> list[QueryRow]:
        """The latest responses of arXiv, the last one first."""
        values = {"limit": limit}
        return await self._fetch(QueryRow, sql.SELECT_LATEST_RESPONSES, values, "queries")

    async def count_searches(self, starts: list[int]) -> list[SearchCount]:
        """The searches in the periods that begin at these times; the last one is open."""
        values = {"starts": starts}
        return await self._fetch(SearchCount, sql.SELECT_SEARCH_STATISTICS, values, "queries")

    async def fetch_imports(self, limit: int) -> list[ImportState]:
        """The progress of the latest imports, the last one first."""
        values = {"limit": limit}
        with map_db_errors():
            async with self._pools.reader("results") as conn:
                cursor = conn.cursor(row_factory=class_row(ImportState))
                await cursor.execute(sql.SELECT_IMPORTS, values)
                return await cursor.fetchall()

    async def fetch_database_status(self) -> list[DatabaseStatus]:
        """The version and the size of each PostgreSQL that is read."""
        return [await self._fetch_status_of(system) for system in self._pools.read_systems]

    async def _fetch_status_of(self, system: ReadSystem) -> DatabaseStatus:
        [server] = await self._fetch(DatabaseServer, sql.SELECT_DATABASE_STATUS, {}, system)
        tables = await self._fetch(TableSize, sql.SELECT_TABLE_SIZES, {}, system)
        return DatabaseStatus(system, server, tables)

    @asynccontextmanager
    async def _limit_slow_reads(self) -> AsyncGenerator[None, None]:
        try:
            async with asyncio.timeout(SLOW_READ_TIMEOUT):
                await self._slow_reads.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("too many slow reads are in progress") from error
        try:
            yield
        finally:
            self._slow_reads.release()

    async def _fetch(
        self,
        row_type: type[Row],
        statement: bytes,
        values: Mapping[str, Any],
        system: ReadSystem = "results",
        source: ConnectionSource | None = None,
    ) -> list[Row]:
        values = {"read_delay": self._read_delay, **values}
        with map_db_errors():
            async with source() if source else self._pools.reader(system) as conn:
                cursor = conn.cursor(row_factory=tuple_row, binary=True)
                try:
                    await cursor.execute(statement, values)
                except (DataError, errors.SyntaxError) as error:
                    reason = "PostgreSQL cannot interpret the filter"
                    raise InvalidFilter("body", reason) from error
                except (errors.ProgramLimitExceeded, errors.StatementTooComplex) as error:
                    names = _list_text_parameters(values)
                    if not names:
                        raise
                    reason = f"PostgreSQL cannot search for it: {error.diag.message_primary}"
                    raise InvalidFilter(", ".join(names), reason) from error
                # by position: a third of the cost of a call with keywords for each row
                return list(starmap(row_type, await cursor.fetchall()))


class BatchReader(Generic[Row]):
    """Reads a whole list, and each batch while the caller uses the one before it."""

    def __init__(
        self,
        fetch_page: Callable[[Position, int], Coroutine[Any, Any, list[Row]]],
        definition: ListDefinition[Row],
        position: Position,
        max_rows: int,
    ) -> None:
        self._fetch_page = fetch_page
        self._get_key = definition.get_key
        self._position = position
        self._limit = definition.first_batch_size
        self._reading: asyncio.Task[list[Row]] | None = None
        self._max_rows = max_rows
        self.is_complete = False
        """Whether all rows have been read."""

    async def fetch_batch(self, *, read_ahead: bool = True) -> list[Row]:
        """The next rows, and none after the last; begin to read the following ones."""
        if self.is_complete:
            return []
        self._read_ahead()
        # shielded: a request may be cancelled several times when its client disconnects, and a
        # connection that is cancelled more than once is unusable
        batch = await asyncio.shield(cast("asyncio.Task[list[Row]]", self._reading))
        self._reading = None
        self.is_complete = len(batch) < self._limit
        if not self.is_complete:
            self._position = Position(self._get_key(batch[-1]))
            self._limit = min(2 * self._limit, self._max_rows)
            if read_ahead:
                self._read_ahead()
                await asyncio.sleep(0)  # send the statement before the caller uses the rows
        return batch

    def limit_rows(self, rows: int) -> None:
        """Limit the batches that are not read yet, because rows are large."""
        self._limit = min(self._limit, rows)

    def _read_ahead(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._fetch_page(self._position, self._limit))

    @contextmanager
    def drop_if_stalled(self) -> Iterator[None]:
        """Drop what was read ahead, which is read again later, if the caller takes long."""
        timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self.close)
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Cancel the read in progress, or drop its rows."""
        if self._reading:
            self._reading.add_done_callback(mark_retrieved)
            self._reading.cancel()
            self._reading = None


def _get_read_delay(ignore_read_delay: bool) -> dict[str, float]:  # noqa: FBT001
    return {"read_delay": 0.0} if ignore_read_delay else {}


def _is_slow(filters: Filter) -> bool:
    if isinstance(filters, AnnouncementFilter):  # of one day
        return False
    return any(getattr(filters, name, None) for name in SLOW_FILTERS) or (
        isinstance(filters, QueryFilter) and filters.status is not None
    )


def _list_text_parameters(values: Mapping[str, Any]) -> list[str]:
    """Return the parameters of clients that a tsquery was made of."""
    return [name for name in TEXT_PARAMETERS if values.get(name)]
