"""What was recorded, read back: lists in a stable order, from any place on at the same cost.

A list has a key, by which it is ordered. A page begins after the key of the row before it, and a
whole list is read in batches that each begin after the last: no transaction stays open however slow
the reader is, and no connection is held while nothing is read.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime, tzinfo
from functools import lru_cache, partial
from itertools import starmap
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct, msgpack, structs
from psycopg import DataError, errors
from psycopg.rows import tuple_row

from .. import sql
from ..errors import DatabaseUnavailable, InvalidParameter
from ..models.filters import PaperFilter, Position, QueryFilter, ResultFilter, SortKey
from ..models.records import (
    INT2_MAX,
    INT8_MAX,
    Count,
    PaperRow,
    PaperVersion,
    QueryRow,
    RankedPaperRow,
    ResultRow,
    Run,
)
from ..models.requests import Text
from ..singleflight import SingleFlight, mark_retrieved
from .milestones import Milestones
from .pool import DatabasePools, Lend, map_db_errors

MOST_RANKED = 20_000
"""Papers of one full text search that are put in order; it takes 10 to 20 µs for each."""
MOST_COUNTED = 100_000
"""Papers of one search that facets count."""
MOST_CATEGORIES = 50
MOST_MARKED = 10_000
"""Characters of a text in which matches are marked; lists of thousands of authors are longer."""
SLOW = 4
"""Reads at once that may take long, by words or category: others are to find a connection."""
SLOW_PATIENCE = 5.0
"""Seconds for which one more waits."""
YEARS = range(1900, 2200)
"""Those that can be told apart; arXiv began in 1991."""
FEED_RUNS, FEED_PAPERS = 30, 100
T = TypeVar("T", bound=Struct)
R = TypeVar("R")
_encode = msgpack.Encoder().encode


class ListDefinition(Struct, Generic[T], frozen=True):
    """Rows of one kind in one order; the columns of the statements are the fields of the rows."""

    rows: type[T]
    key: tuple[str, ...]
    shape: tuple[Any, ...]
    """The types of the key, as narrow as those of its columns."""
    on: bytes
    back: bytes | None
    """The statement of the opposite order; None where there is none."""
    first: int
    """Rows of a whole list that are read before its first byte is sent."""
    system: Literal["queries", "results"] = "results"

    def key_of(self, row: T) -> SortKey:
        """What the row is ordered by."""
        return tuple(getattr(row, name) or 0 for name in self.key)


BigInt = Annotated[int, Meta(ge=-INT8_MAX, le=INT8_MAX)]
SmallInt = Annotated[int, Meta(ge=0, le=INT2_MAX)]

QUERIES = ListDefinition(
    QueryRow,
    ("timestamp", "query_id"),
    (BigInt, BigInt),
    sql.SELECT_QUERIES,
    sql.SELECT_QUERIES_BACK,
    first=200,
    system="queries",
)
RESULTS = ListDefinition(
    ResultRow,
    ("timestamp", "query_id", "result_number"),
    (BigInt, BigInt, SmallInt),
    sql.SELECT_RESULTS,
    sql.SELECT_RESULTS_BACK,
    first=200,
)
PAPERS = ListDefinition(
    PaperRow,
    ("published", "arxiv_id", "version"),
    (BigInt, Text, SmallInt),
    sql.SELECT_PAPERS,
    sql.SELECT_PAPERS_BACK,
    first=50,
)
RANKED = ListDefinition(
    RankedPaperRow,
    ("distance", "arxiv_id", "version"),
    (float, Text, SmallInt),
    sql.RANK_PAPERS,
    None,
    first=50,
)


class _Number(Struct, frozen=True):
    query_id: int


Filter = QueryFilter | ResultFilter | PaperFilter


class RecordReader:
    """Recorded searches, results and papers; what is younger than `settle` is left out."""

    def __init__(self, connections: DatabasePools, *, settle: float = 0) -> None:
        """Read over these connections; `settle` is in seconds."""
        self._connections = connections
        self._readers: dict[str, Lend] = {
            "queries": partial(connections.reader, "queries"),
            "results": partial(connections.reader, "results"),
        }
        self._settle = settle
        self._milestones = Milestones(connections, settle)
        self._shared: SingleFlight[Any] = SingleFlight()
        self._slow = asyncio.Semaphore(SLOW)

    async def page(
        self,
        kind: ListDefinition[T],
        wanted: Filter,
        place: Position,
        limit: int,
        *,
        newest: bool = False,
    ) -> list[T]:
        """At most so many rows from that place on; `newest` is against the order of the list.

        The rows are shared with whoever asks for the same at the same time.
        """
        asked = _encode((kind.key, wanted, place, limit, newest))
        read = partial(self._page, kind, wanted, place, limit, newest=newest)
        return await self.together(asked, read)

    async def together(self, asked: Hashable, read: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """What is read, which all who ask for it at the same moment get together."""
        found: R = await self._shared.read(asked, read)
        return found

    async def _page(
        self, kind: ListDefinition[T], wanted: Filter, place: Position, limit: int, *, newest: bool
    ) -> list[T]:
        against = newest != place.back
        statement = kind.back if against else kind.on
        assert statement  # noqa: S101 - nobody offers the way back where there is none
        after = place.key or (None,) * len(kind.key)
        values = structs.asdict(wanted) | {
            f"after_{name}": value for name, value in zip(kind.key, after, strict=True)
        }
        values |= {"limit": limit, "offset": place.offset}
        if kind is RESULTS and wanted == ResultFilter():
            values |= await self._milestones.shortcut(place.offset, back=against)
        async with self._turn(wanted):
            rows = await self._rows(kind.rows, statement, values, self._readers[kind.system])
        return rows[::-1] if place.back else rows

    def _turn(self, wanted: Filter) -> AbstractAsyncContextManager[None]:
        """Wait while others look for words, if it is about words."""
        is_slow = getattr(wanted, "words", None) or getattr(wanted, "category", None)
        return self._slow_turn() if is_slow else nullcontext()

    @asynccontextmanager
    async def _slow_turn(self) -> AsyncGenerator[None, None]:
        """Wait while others read slowly. Raises StoreUnavailable where that takes long."""
        try:
            async with asyncio.timeout(SLOW_PATIENCE):
                await self._slow.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("too many searches for words are under way") from error
        try:
            yield
        finally:
            self._slow.release()

    async def batches(
        self,
        kind: ListDefinition[T],
        wanted: Filter,
        place: Position,
        size: Callable[[], int],
        *,
        newest: bool = False,
    ) -> AsyncGenerator[list[T], None]:
        """All rows from that place on; a few at first, then more, as many at once as `size` says.

        While one batch is used, the next is being read.
        """

        def read(begin: Position, limit: int) -> asyncio.Task[list[T]]:
            return asyncio.create_task(self._page(kind, wanted, begin, limit, newest=newest))

        limit = kind.first
        reading = read(place, limit)
        try:
            # shielded: who hangs up is cancelled again and again, and a connection that is
            # cancelled more than once cannot be used any more
            while rows := await asyncio.shield(reading):
                is_last, limit = len(rows) < limit, min(2 * limit, size())
                if not is_last:
                    reading = read(Position(kind.key_of(rows[-1])), limit)
                    await asyncio.sleep(0)  # so that the database begins before we go on
                yield rows
                if is_last:
                    break
        finally:
            reading.add_done_callback(mark_retrieved)
            reading.cancel()

    async def query(self, query_id: int) -> Run | None:
        """One search."""
        found = await self._rows(
            Run, sql.SELECT_QUERY, {"query_id": query_id}, self._readers["queries"]
        )
        return found[0] if found else None

    async def runs(self, run: Run, limit: int) -> list[Run]:
        """The runs of the same search with a good answer up to this one, the latest first."""
        wanted = structs.asdict(run) | {"limit": limit}
        return await self._rows(Run, sql.SELECT_RUNS, wanted, self._readers["queries"])

    async def results_of(self, run: Run) -> list[ResultRow]:
        """The results of a search, in their order.

        A standby may lag behind the one that knew of the search. Then the primary is asked;
        raises StoreUnavailable where this process does not know it.
        """
        wanted = {"query_ids": [run.query_id]}
        found = await self._rows(ResultRow, sql.SELECT_QUERY_RESULTS, wanted)
        if len(found) >= run.num_entries:
            return found
        if self._connections.reads_only:
            raise DatabaseUnavailable(f"the results of search {run.query_id} are not here yet")
        primary = partial(self._connections.writer, "results")
        return await self._rows(ResultRow, sql.SELECT_QUERY_RESULTS, wanted, primary)

    async def feed(self, runs: Sequence[Run]) -> list[PaperRow]:
        """What these runs of a search found, the latest first, with the time of its first run."""
        same = {"search_key": runs[0].search_key, "query": runs[0].query}
        numbers = await self._rows(_Number, sql.SELECT_SAME, same, self._readers["queries"])
        wanted = {
            "query_ids": [run.query_id for run in runs],
            "all_query_ids": [number.query_id for number in numbers],
            "limit": FEED_PAPERS,
        }
        return await self._rows(PaperRow, sql.SELECT_FEED, wanted)

    async def versions(self, arxiv_id: str) -> list[PaperRow]:
        """The versions of one paper, the latest first."""
        return await self._rows(PaperRow, sql.SELECT_VERSIONS, {"arxiv_id": arxiv_id})

    async def papers_of(self, names: Collection[PaperVersion]) -> dict[PaperVersion, PaperRow]:
        """The papers of these names."""
        wanted = {"arxiv_ids": [name for name, _ in names], "versions": [n for _, n in names]}
        found = await self._rows(PaperRow, sql.SELECT_PAPERS_OF, wanted)
        return {(paper.arxiv_id, paper.version): paper for paper in found}

    async def counts(self, wanted: PaperFilter, tz: tzinfo) -> list[Count]:
        """How many papers match, in all, of each category and of each year of this zone."""
        values = structs.asdict(wanted) | {
            "categories": MOST_CATEGORIES,
            "most": MOST_COUNTED + 1,  # one more than is told, to see whether there are more
            "first_year": YEARS[0],
            "years": _beginnings(tz),
        }
        async with self._turn(wanted):
            return await self._rows(Count, sql.COUNT_PAPERS, values)

    async def _rows(
        self, kind: type[T], statement: bytes, values: Mapping[str, Any], lend: Lend | None = None
    ) -> list[T]:
        """All rows of a statement, in one round trip to where results are read, or to `lend`."""
        given = {"settle": self._settle, "most": MOST_RANKED, "most_marked": MOST_MARKED, **values}
        with map_db_errors():
            async with (lend or self._readers["results"])() as conn:
                cursor = conn.cursor(row_factory=tuple_row, binary=True)
                try:
                    await cursor.execute(statement, given)
                except (DataError, errors.SyntaxError) as error:  # from a frontend that is none
                    raise InvalidParameter(
                        "body", "asks what PostgreSQL does not understand"
                    ) from error
                # by position: a third of the cost of a call by name for each row
                return list(starmap(kind, await cursor.fetchall()))


@lru_cache(maxsize=4)
def _beginnings(tz: tzinfo) -> list[int]:
    """When each of YEARS begins in a zone, in Unix seconds."""
    return [int(datetime(year, 1, 1, tzinfo=tz).timestamp()) for year in YEARS]
