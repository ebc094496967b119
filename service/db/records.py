"""Searches, their results and the papers they tell of: recorded whole or not at all."""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import TypeVar, cast
from uuid import UUID

import msgspec
import psycopg
from msgspec import structs
from msgspec.structs import asdict
from psycopg import errors
from psycopg.rows import class_row, scalar_row, tuple_row

from .. import metrics, sql, timestamps
from ..errors import Conflict, DatabaseUnavailable, RecordRejected
from ..models.arxiv import ArxivResponse, Entry
from ..models.records import Harvest, PaperInsert, Record, RecordedSearch, ResultInsert, ResultRow
from ..models.requests import ResultPayload, WriteQueryRequest, WriteResultsRequest
from ..withdrawal import is_withdrawn
from .pool import Connection, DatabasePools, connection_was_lost, fetch, map_db_errors

logger = logging.getLogger(__name__)

WRITE_TRIES = 100
"""How many numbers in a row may be taken by records that operators wrote themselves."""
NUMBERS_TAKEN = "the next numbers of the sequence are taken by other records"

_REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    errors.ProgramLimitExceeded,
    errors.RaiseException,  # by a trigger
)

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class RecordStore:
    """What is written to PostgreSQL, and what writers need to know; `Archive` reads the rest."""

    def __init__(self, connections: DatabasePools) -> None:
        """Write over these connections."""
        self._connections = connections
        self._numbers: dict[UUID, int] = {}
        """Of records that are not known to be whole, by their write_key."""

    async def save(
        self, answer: ArxivResponse, harvest: Harvest | None = None, query_id: int | None = None
    ) -> int:
        """Record a search and all its results, or nothing, in one round trip; its query_id.

        That is the one given, taken before, unless an operator's own record has it by now.

        Where queries, results and numbers live apart, it takes four, and an end on the way leaves
        results without their search, never a search without its results.

        With them goes how far that brings a harvest. Raises Conflict where another process has
        brought it as far already; then nothing is recorded, or results alone.

        A connection lost on the way leaves the fate of the write unknown. It is then repeated
        under the answer's own key, which the database accepts once; so may the caller.
        """
        record = record_of(answer, query_id or 0)
        head = {
            **asdict(record),
            "query_id": query_id,
            "remarks": _encode(record.remarks).decode() if record.remarks else None,
            "harvest_id": harvest and harvest.harvest_id,
            "harvest_page": harvest and harvest.page,
        }
        body = _body(query_id, record.timestamp, record.results, record.papers)
        save = self._save if self._connections.one_system else self._save_apart
        with map_db_errors():
            try:
                return await save(head, body, harvest)
            except psycopg.OperationalError as error:
                if not connection_was_lost(error):
                    raise
                logger.warning("the connection was lost in mid-write: repeating it (%s)", error)
                return await save(head, body, harvest)

    async def _save(
        self, head: Mapping[str, object], body: Mapping[str, object], harvest: Harvest | None
    ) -> int:
        for _ in range(WRITE_TRIES):
            try:
                async with self._connections.writer() as conn:
                    query = conn.cursor(row_factory=scalar_row)
                    # begin and commit are statements: without them, an exception in this block
                    # would commit what is queued; conn.transaction() would cost three more trips
                    async with conn.pipeline():
                        await conn.execute(sql.BEGIN)
                        await query.execute(sql.INSERT_QUERY, head, prepare=True)
                        results = await conn.execute(sql.INSERT_RESULTS, body, prepare=True)
                        papers = await conn.execute(sql.UPSERT_PAPERS, body, prepare=True)
                        if harvest:
                            await conn.execute(sql.HARVEST_ADVANCE, asdict(harvest))
                        await conn.execute(sql.COMMIT)
                    query_id: int = await anext(query)
                    metrics.wrote(queries=1, results=results.rowcount, papers=papers.rowcount)
                    return query_id
            except errors.UniqueViolation as error:
                if error.diag.constraint_name == "queries_write_key_key":
                    return await self._saved(head)
                if error.diag.constraint_name == "queries_harvest_page":
                    raise Conflict("another process is at the same harvest") from error
                # an operator's own record has this number: take the next
                head, body = {**head, "query_id": None}, {**body, "query_id": None}
        raise DatabaseUnavailable(NUMBERS_TAKEN)

    async def _save_apart(
        self, head: Mapping[str, object], body: Mapping[str, object], harvest: Harvest | None
    ) -> int:
        """The same on several systems: a number, the results under it, the search.

        The number is kept until all is done, so that a repeat goes on where it was.
        """
        key = cast("UUID", head["write_key"])
        for _ in range(WRITE_TRIES):
            if key not in self._numbers:
                taken = await self.next_query_id()
                wanted = {"query_id": taken, "write_key": key}
                known = await fetch(self._connections.writer, tuple_row, sql.SELECT_NUMBER, wanted)
                for query_id, is_ours in known:
                    if is_ours:  # another process has made this write
                        return int(query_id)
                if known:
                    continue
                self._numbers[key] = taken
            number = {"query_id": self._numbers[key]}
            written = not head["num_entries"] or await self._save_results({**body, **number})
            try:
                query_id = await self._save_query({**head, **number}, harvest) if written else 0
            except Conflict:
                del self._numbers[key]
                raise
            del self._numbers[key]
            if query_id:
                return query_id
        raise DatabaseUnavailable(NUMBERS_TAKEN)

    async def _free_number(self) -> int:
        """The next number; 0 where an operator's own record has it."""
        if self._connections.one_system:
            [query_id] = await fetch(self._connections.writer, scalar_row, sql.NEXT_FREE_NUMBER)
            return int(query_id)
        query_id = await self.next_query_id()
        number = {"query_id": query_id, "write_key": None}
        taken = await fetch(self._connections.writer, tuple_row, sql.SELECT_NUMBER, number)
        return 0 if taken else query_id

    async def _save_results(self, body: Mapping[str, object]) -> bool:
        """Record results and papers; whether they are, and no others, under their number."""
        async with self._connections.writer("results") as conn:
            try:
                async with conn.pipeline():
                    await conn.execute(sql.BEGIN)
                    results = await conn.execute(sql.INSERT_RESULTS, body)
                    papers = await conn.execute(sql.UPSERT_PAPERS, body)
                    await conn.execute(sql.COMMIT)
            except errors.UniqueViolation:
                await conn.rollback()
                same = await conn.execute(sql.SAME_RESULTS, body)
                return bool(same.rowcount)  # else they are an operator's
        metrics.wrote(results=results.rowcount, papers=papers.rowcount)
        return True

    async def _save_query(self, head: Mapping[str, object], harvest: Harvest | None) -> int:
        """Record a search whose results are recorded; its number, 0 where another one has it."""
        try:
            async with self._connections.writer("queries") as conn, conn.pipeline():
                await conn.execute(sql.BEGIN)
                await conn.execute(sql.INSERT_QUERY, head)
                if harvest:
                    await conn.execute(sql.HARVEST_ADVANCE, asdict(harvest))
                await conn.execute(sql.COMMIT)
        except errors.UniqueViolation as error:
            if error.diag.constraint_name == "queries_harvest_page":
                raise Conflict("another process is at the same harvest") from error
            return await self._saved(head)
        metrics.wrote(queries=1)
        return cast("int", head["query_id"])

    async def _saved(self, head: Mapping[str, object]) -> int:
        """The number under which an earlier try of this write recorded the search, or 0."""
        found = await fetch(self._connections.writer, scalar_row, sql.SELECT_WRITE, head)
        return int(found[0]) if found else 0

    def forget(self, write_key: UUID) -> None:
        """Keep nothing of a write that nobody will try again."""
        self._numbers.pop(write_key, None)

    async def store(self, records: Sequence[Record]) -> set[UUID]:
        """Record searches under the numbers taken for them, all in one round trip, or none.

        Those that are recorded already are left as they are. Gives the write_key of those whose
        number something else has: they are not recorded. Where queries and results live apart, it
        takes three trips, and results come first. Raises Unstorable where PostgreSQL refuses any
        for what it holds; a caller finds out which by halves. Any other failure may pass, and is
        StoreUnavailable.
        """
        store = self._store if self._connections.one_system else self._store_apart
        with map_db_errors():
            try:
                return await store(records)
            except _REFUSALS as error:
                said = error.diag.message_primary, error.diag.message_detail
                raise RecordRejected(": ".join(filter(None, said)) or str(error)) from error
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                raise DatabaseUnavailable(f"the database fails: {error}") from error

    async def _store(self, records: Sequence[Record]) -> set[UUID]:
        body = _batch(records)
        async with self._connections.writer() as conn:
            states = conn.cursor(row_factory=tuple_row)
            async with conn.pipeline():
                await conn.execute(sql.BEGIN)
                await conn.execute(sql.INSERT_MANY, body)
                await conn.execute(sql.UPSERT_PAPERS, body)
                await conn.execute(sql.COMMIT)
                await states.execute(sql.SELECT_RECORDED_OF_MANY, body)
            return {write_key async for write_key, is_recorded, _ in states if not is_recorded}

    async def _store_apart(self, records: Sequence[Record]) -> set[UUID]:
        if len({record.query_id for record in records}) < len(records):
            raise RecordRejected("a number came twice")  # which has it, is found out by halves
        before = await self._states(_batch(records))
        new = [record for record in records if not any(before[record.write_key])]
        if new and not await self._store_results(new):
            raise RecordRejected("other results are recorded under its number")
        body = _batch(new)
        async with self._connections.writer("queries") as conn:
            await conn.execute(sql.INSERT_QUERIES, body)
        after = await self._states(_batch(records))
        return {write_key for write_key, (is_recorded, _) in after.items() if not is_recorded}

    async def _states(self, body: Mapping[str, object]) -> dict[UUID, tuple[bool, bool]]:
        """Whether each of some searches is recorded, and whether its number is in use."""
        lend = self._connections.writer
        rows = await fetch(lend, tuple_row, sql.SELECT_RECORDED_OF_MANY, body)
        return {write_key: (is_recorded, is_taken) for write_key, is_recorded, is_taken in rows}

    async def _store_results(self, records: Sequence[Record]) -> bool:
        """Record results and papers; whether they are, and no others, under their numbers."""
        if len(records) == 1:
            # an end between the two systems leaves results: here they are compared
            [record] = records
            return not record.results or await self._save_results(
                _body(record.query_id, record.timestamp, record.results, record.papers)
            )
        body = _batch(records)
        async with self._connections.writer("results") as conn, conn.pipeline():
            await conn.execute(sql.BEGIN)
            await conn.execute(sql.INSERT_RESULTS_OF_MANY, body)
            await conn.execute(sql.UPSERT_PAPERS, body)
            await conn.execute(sql.COMMIT)
        return True

    async def harvest(self, query: str) -> Harvest | None:
        """The latest harvest of a query."""
        latest = {"query": query}
        rows = await fetch(self._connections.writer, class_row(Harvest), sql.HARVEST_LATEST, latest)
        return rows[0] if rows else None

    async def begin_harvest(self, query: str, submitted_from: int, submitted_to: int) -> None:
        """Begin a harvest of the papers submitted in that time (Unix seconds).

        Where one of this query is under way already, that one is gone on with.
        """
        window = {"submitted_from": submitted_from, "submitted_to": submitted_to}
        with map_db_errors():
            async with self._connections.writer() as conn:
                await conn.execute(sql.HARVEST_BEGIN, {"query": query, **window})

    async def harvested(self, query: str) -> set[str]:
        """The arXiv ids of the papers that all harvests of a query have stored."""
        pages = {
            "query_ids": await fetch(
                self._connections.writer, scalar_row, sql.HARVEST_PAGES, {"query": query}
            )
        }
        return set(await fetch(self._results, scalar_row, sql.SELECT_ARXIV_IDS, pages))

    async def recorded(self, search_key: UUID) -> RecordedSearch | None:
        """The newest good answer to a search."""
        wanted = {"search_key": search_key}
        rows = await fetch(
            self._connections.writer, class_row(RecordedSearch), sql.SELECT_RECORDED, wanted
        )
        return rows[0] if rows else None

    async def results_of(self, query_id: int) -> list[ResultRow]:
        """The results of one search, which may just have been written, in their order."""
        wanted = {"query_ids": [query_id]}
        return await fetch(self._results, class_row(ResultRow), sql.SELECT_QUERY_RESULTS, wanted)

    async def next_query_id(self) -> int:
        """Take one number from the sequence."""
        lend = partial(self._connections.writer, "sequence")
        [query_id] = await fetch(lend, scalar_row, sql.NEXT_QUERY_ID)
        return int(query_id)

    async def write_query(self, query: WriteQueryRequest) -> None:
        """Record a search under its own number. Raises Conflict where another one has it."""
        sent = asdict(query)
        with map_db_errors():
            async with self._connections.writer() as conn:
                written = await conn.execute(sql.WRITE_QUERY, sent)
                metrics.wrote(queries=written.rowcount)
                if not written.rowcount:
                    written = await conn.execute(sql.SAME_QUERY, sent)
        if not written.rowcount:
            raise Conflict(f"query_id: another search is recorded under {query.query_id}")

    async def write_results(self, body: WriteResultsRequest) -> None:
        """Record the results of a search. Raises Conflict where others have the same number."""
        results = [_row(result) for result in body.results]
        papers = [_paper(result, body.timestamp) for result in body.results]
        sent = _body(body.query_id, body.timestamp, results, papers)
        with map_db_errors():
            async with self._results() as conn, conn.transaction():
                written = await conn.execute(sql.WRITE_RESULTS, sent)
                same = await conn.execute(sql.SAME_RESULTS, sent)
                if written.rowcount not in {0, len(results)} or not same.rowcount:
                    raise Conflict(f"query_id: other results are recorded under {body.query_id}")
                upserted = await conn.execute(sql.UPSERT_PAPERS, sent)
        metrics.wrote(results=written.rowcount, papers=upserted.rowcount)

    @property
    def systems(self) -> Collection[str]:
        """The names of all systems that are needed, for writing and for reading."""
        return self._connections.systems.keys()

    async def migrations(self, system: str) -> set[str]:
        """The names of the migrations that a system has had."""
        lend = self._connections.systems[system]
        return set(await fetch(lend, scalar_row, sql.SELECT_MIGRATIONS))

    def _results(self) -> AbstractAsyncContextManager[Connection]:
        return self._connections.writer("results")


def record_of(answer: ArxivResponse, query_id: int) -> Record:
    """All that is stored of a search, under this number."""
    return Record(
        query_id=query_id,
        timestamp=answer.timestamp,
        status=answer.status,
        num_results=answer.num_results,
        num_entries=len(answer.entries),
        query=answer.query,
        outcome=answer.outcome,
        write_key=answer.write_key,
        search_key=answer.search_key,
        remarks=answer.remarks or None,
        acknowledged=int(time()),
        results=[
            ResultInsert(entry.author, entry.title, entry.journal, entry.arxiv_id, entry.version)
            for entry in answer.entries
        ],
        papers=[_paper(entry, answer.timestamp) for entry in answer.entries],
    )


def _body(
    query_id: int | None, timestamp: int, results: list[ResultInsert], papers: list[PaperInsert]
) -> dict[str, object]:
    """Results and papers as the statements for one search take them."""
    return {
        "query_id": query_id,
        "timestamp": timestamp,
        "results": _encode(results).decode(),
        "papers": _encode(papers).decode(),
    }


def _batch(records: Sequence[Record]) -> dict[str, str]:
    """Records as the statements for many take them; each takes what it needs."""
    heads = [structs.replace(record, results=[], papers=[]) for record in records]
    results = [
        {
            "query_id": record.query_id,
            "write_key": record.write_key,
            "timestamp": record.timestamp,
            "results": record.results,
        }
        for record in records
    ]
    return {
        "searches": _encode(heads).decode(),
        "results": _encode(results).decode(),
        "papers": _encode([paper for record in records for paper in record.papers]).decode(),
    }


def _row(result: ResultPayload) -> ResultInsert:
    authors = result.authors
    author = authors if isinstance(authors, str) else ", ".join(authors)
    return ResultInsert(author, result.title, result.journal, result.arxiv_id, result.version)


def _paper(told: Entry | ResultPayload, timestamp: int) -> PaperInsert:
    return PaperInsert(
        timestamp=timestamp,
        arxiv_id=told.arxiv_id,
        version=told.version,
        title=told.title,
        authors=_authors(told),
        affiliations=told.affiliations if any(told.affiliations) else None,
        abstract=told.summary,
        journal=told.journal,
        comment=told.comment,
        published=_seconds(told.published),
        updated=_seconds(told.updated),
        dois=told.dois,
        primary_category=told.primary_category,
        categories=told.categories,
        links=told.links or None,
        withdrawn=is_withdrawn(told.comment),
    )


def _authors(told: Entry | ResultPayload) -> list[str]:
    if isinstance(told.authors, str):
        return [name for name in told.authors.split(", ") if name]
    return told.authors


def _seconds(moment: datetime | None) -> int | None:
    """Unix seconds; None for what not every zone can show. Without an offset it is in UTC."""
    if moment is None:
        return None
    seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    return seconds if timestamps.EARLIEST <= seconds <= timestamps.LATEST else None
