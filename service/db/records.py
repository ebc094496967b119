"""Inserts records: a search with its results and papers, completely or not at all."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
from msgspec import structs
from msgspec.structs import asdict
from psycopg import AsyncCursor, errors
from psycopg.rows import class_row, dict_row, scalar_row, tuple_row

from .. import metrics, sql, timestamps
from ..errors import Conflict, DatabaseUnavailable, RecordRejected
from ..metadata.atom_entries import create_links
from ..metadata.dois import parse_dois, replace_doi_links
from ..metadata.person_names import split_author_text, split_authors
from ..metadata.withdrawal import is_withdrawn
from ..models.arxiv import ArxivResponse, Entry, is_mirrored
from ..models.records import (
    Gap,
    Harvest,
    PaperInsert,
    Record,
    RecordedSearch,
    ResultInsert,
    ResultRow,
)
from ..models.requests import ResultPayload, WriteQueryRequest, WriteResultsRequest
from .pool import Connection, DatabasePools, connection_was_lost, fetch, map_db_errors

logger = logging.getLogger(__name__)

MAX_QUERY_ID_ATTEMPTS = 100
"""How many successive numbers of the sequence may belong to records that operators wrote."""
QUERY_IDS_IN_USE = "the next numbers of the sequence are in use by other records"
SAME_HARVEST = "another process runs the same harvest"

MAX_REASON_CHARS = 500
"""How much of PostgreSQL's reason for a rejection is passed on."""

_REJECTIONS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
    errors.RaiseException,  # by a trigger
)

BeforeRetry = Callable[[], Awaitable[None]]
"""To be called before an operation is tried a second time."""
_encode = msgspec.json.Encoder().encode


async def do_nothing() -> None:
    """Hold nothing that has to be released before a retry."""


@contextmanager
def map_rejections() -> Iterator[None]:
    """Turn errors of PostgreSQL about the content of records into RecordRejected."""
    try:
        yield
    except _REJECTIONS as error:
        reasons = filter(None, (error.diag.message_primary, error.diag.message_detail))
        raise RecordRejected((": ".join(reasons) or str(error))[:MAX_REASON_CHARS]) from error


class RecordStore:
    """Writes records, and reads what writers need; everything else is read by `RecordReader`."""

    def __init__(self, pools: DatabasePools) -> None:
        self._pools = pools
        self._results = partial(pools.writer, "results")

    async def insert(
        self,
        record: Record,
        harvest: Harvest | None = None,
        before_retry: BeforeRetry = do_nothing,
    ) -> int:
        """Write a record and return its query_id, in one round trip.

        The query_id of the record is used if it is free. With separate systems, this takes four
        round trips, and a failure in between may leave results without their search.

        If the connection is lost, it is unknown whether the record was committed. The write is then
        retried under the same write_key, which the database accepts once; callers may retry too.

        Raises Conflict if another process has recorded this page of the harvest, RecordRejected if
        PostgreSQL rejects the content, DatabaseTimeout if the write takes too long, and otherwise
        DatabaseUnavailable.
        """
        insert = self._insert if self._pools.one_system else self._insert_separately
        with map_db_errors(), map_rejections():
            try:
                record.query_id = await insert(record, harvest)
            except psycopg.OperationalError as error:
                if not connection_was_lost(error):
                    raise
                logger.warning("connection lost during a write, retrying: %s", error)
                await before_retry()
                record.query_id = await insert(record, harvest)
        return record.query_id

    async def _insert(self, record: Record, harvest: Harvest | None) -> int:
        values = build_insert_values(record, harvest)
        statements = [sql.INSERT_QUERY, sql.INSERT_RESULTS, sql.UPSERT_PAPERS]
        statements += [sql.UPDATE_HARVEST] if harvest else []
        for _ in range(MAX_QUERY_ID_ATTEMPTS):
            try:
                async with self._pools.writer() as conn:
                    query, results, papers, *_ = await _transact(conn, values, *statements)
                    [query_id] = await anext(query)
            except errors.UniqueViolation as error:
                if query_id := await self._find_earlier_write(record, error):
                    return query_id
                values["query_id"] = None  # an operator has used it: take the next one
            else:
                metrics.count_rows(queries=1, results=results.rowcount, papers=papers.rowcount)
                return int(query_id)
        raise DatabaseUnavailable(QUERY_IDS_IN_USE)

    async def _insert_separately(self, record: Record, harvest: Harvest | None) -> int:
        """Take a query_id, insert the results under it, then the search.

        The record keeps the query_id until all is done, so that a retry continues.
        """
        for _ in range(MAX_QUERY_ID_ATTEMPTS):
            if not record.query_id:
                query_id, is_recorded = await self._take_free_query_id(record.write_key)
                if is_recorded:  # by another process
                    return query_id
                record.query_id = query_id
            values = build_insert_values(record, harvest)
            try:
                if not record.results or await self._insert_results(values):
                    query_id = await self._insert_query(record, values, harvest)
                    if query_id:
                        return query_id
            except Conflict:
                record.query_id = 0
                raise
            record.query_id = 0
        raise DatabaseUnavailable(QUERY_IDS_IN_USE)

    async def _insert_results(self, values: Mapping[str, object]) -> bool:
        """Write results and papers; false if the query_id has other results."""
        async with self._results() as conn:
            try:
                results, papers = await _transact(
                    conn, values, sql.INSERT_RESULTS, sql.UPSERT_PAPERS
                )
            except errors.UniqueViolation:
                await conn.rollback()
                match = await conn.execute(sql.MATCH_RESULTS, values)
                return bool(match.rowcount)
        metrics.count_rows(results=results.rowcount, papers=papers.rowcount)
        return True

    async def _insert_query(
        self, record: Record, values: Mapping[str, object], harvest: Harvest | None
    ) -> int:
        """Write a search whose results are recorded; 0 if another one has its query_id."""
        progress = [sql.UPDATE_HARVEST] if harvest else []
        try:
            async with self._pools.writer("queries") as conn:
                await _transact(conn, values, sql.INSERT_QUERY, *progress)
        except errors.UniqueViolation as error:
            return await self._find_earlier_write(record, error)
        metrics.count_rows(queries=1)
        return record.query_id

    async def _find_earlier_write(self, record: Record, error: errors.UniqueViolation) -> int:
        """The query_id under which this search is recorded, or 0 if another one has its query_id.

        Raises Conflict if another process has recorded this page of the harvest.
        """
        if error.diag.constraint_name == "queries_harvest_page":
            raise Conflict(SAME_HARVEST) from error
        write_key = {"write_key": record.write_key}
        rows = await fetch(self._pools.writer, scalar_row, sql.SELECT_QUERY_BY_WRITE_KEY, write_key)
        return int(rows[0]) if rows else 0

    async def insert_batch(self, records: Sequence[Record]) -> set[UUID]:
        """Write records under their query_ids, in one round trip (separate systems: three).

        Records that exist already are left unchanged. Returns the write_keys of those whose
        query_id belongs to another record; they are not recorded.

        Writes nothing and raises RecordRejected if PostgreSQL rejects the content of any record;
        the caller finds it by bisection. Other failures are DatabaseUnavailable.
        """
        insert = self._insert_batch if self._pools.one_system else self._insert_batch_separately
        with map_db_errors():
            try:
                with map_rejections():
                    return await insert(records)
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                raise DatabaseUnavailable(f"the database fails: {error}") from error

    async def _insert_batch(self, records: Sequence[Record]) -> set[UUID]:
        statements = sql.INSERT_BATCH, sql.UPSERT_PAPERS, sql.SELECT_BATCH_STATE
        async with self._pools.writer() as conn:
            *_, states = await _transact(conn, _build_batch_values(records), *statements)
            return {write_key async for write_key, is_recorded, _ in states if not is_recorded}

    async def _insert_batch_separately(self, records: Sequence[Record]) -> set[UUID]:
        if len({record.query_id for record in records}) < len(records):
            # bisection finds out which one keeps it
            raise RecordRejected("a query_id occurs twice")
        before = await self._fetch_batch_state(records)
        new = [record for record in records if not any(before[record.write_key])]
        if new and not await self._insert_results_batch(new):
            raise RecordRejected("other results are recorded under this query_id")
        async with self._pools.writer("queries") as conn:
            await conn.execute(sql.INSERT_QUERIES_BATCH, _build_batch_values(new))
        after = await self._fetch_batch_state(records)
        return {write_key for write_key, (is_recorded, _) in after.items() if not is_recorded}

    async def _fetch_batch_state(self, records: Sequence[Record]) -> dict[UUID, tuple[bool, bool]]:
        """Whether each record exists, and whether its query_id is in use."""
        values = _build_batch_values(records)
        rows = await fetch(self._pools.writer, tuple_row, sql.SELECT_BATCH_STATE, values)
        return {write_key: (is_recorded, is_taken) for write_key, is_recorded, is_taken in rows}

    async def _insert_results_batch(self, records: Sequence[Record]) -> bool:
        """Write results and papers; false if a query_id has other results."""
        if len(records) == 1:
            # a failure between the two systems leaves results: here they are compared
            [record] = records
            return not record.results or await self._insert_results(build_insert_values(record))
        statements = sql.INSERT_RESULTS_BATCH, sql.UPSERT_PAPERS
        async with self._results() as conn:
            await _transact(conn, _build_batch_values(records), *statements)
        return True

    async def find_latest(self, search_key: UUID) -> RecordedSearch | None:
        """The newest usable record of a search."""
        values, row_type = {"search_key": search_key}, class_row(RecordedSearch)
        rows = await fetch(self._pools.writer, row_type, sql.SELECT_LATEST_RECORD, values)
        return next(iter(rows), None)

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, in their order, from where they are written."""
        values = {"query_ids": [query_id]}
        return await fetch(self._results, class_row(ResultRow), sql.SELECT_QUERY_RESULTS, values)

    async def fetch_entries(self, query_id: int) -> list[Entry]:
        """The entries of arXiv's response to one search, from where they are written."""
        values = {"query_id": query_id}
        rows = await fetch(self._results, dict_row, sql.SELECT_ENTRIES, values)
        return list(map(create_entry, msgspec.convert(rows, list[PaperInsert])))

    async def find_harvest(self, query: str) -> Harvest | None:
        """The latest harvest of a query."""
        values, row_type = {"query": query}, class_row(Harvest)
        rows = await fetch(self._pools.writer, row_type, sql.SELECT_LATEST_HARVEST, values)
        return next(iter(rows), None)

    async def start_harvest(self, query: str, submitted_from: int, submitted_to: int) -> None:
        """Start a harvest of a period (Unix seconds), unless one of this query is unfinished."""
        values = {"query": query, "submitted_from": submitted_from, "submitted_to": submitted_to}
        with map_db_errors():
            async with self._pools.writer() as conn:
                await conn.execute(sql.INSERT_HARVEST, values)

    async def update_harvest(self, harvest: Harvest) -> None:
        """Store the progress of a harvest without a page.

        Raises Conflict if another process has stored this progress.
        """
        values = build_harvest_values(harvest)
        if not await fetch(self._pools.writer, scalar_row, sql.UPDATE_HARVEST, values):
            raise Conflict(SAME_HARVEST)

    async def fetch_gaps(self, query: str) -> list[Gap]:
        """What all harvests of a query have skipped, the oldest first."""
        values = {"query": query}
        return await fetch(self._pools.writer, class_row(Gap), sql.SELECT_HARVEST_GAPS, values)

    async def fetch_harvested_ids(self, query: str) -> set[str]:
        """The arXiv IDs of the papers stored by all harvests of a query."""
        values = {"query": query}
        pages = await fetch(self._pools.writer, scalar_row, sql.SELECT_HARVEST_QUERY_IDS, values)
        by_page = {"query_ids": pages}
        return set(await fetch(self._results, scalar_row, sql.SELECT_ARXIV_IDS, by_page))

    async def take_query_id(self) -> int:
        """Take a number from the sequence."""
        sequence = partial(self._pools.writer, "sequence")
        [query_id] = await fetch(sequence, scalar_row, sql.NEXT_QUERY_ID)
        return int(query_id)

    async def _take_free_query_id(self, write_key: UUID | None = None) -> tuple[int, bool]:
        """Take a number that no operator has used.

        On separate systems, returns that of this write and True if it is recorded already.
        """
        for _ in range(MAX_QUERY_ID_ATTEMPTS):
            if self._pools.one_system:
                [query_id] = await fetch(self._pools.writer, scalar_row, sql.NEXT_FREE_QUERY_ID)
                if query_id:
                    return int(query_id), False
                continue
            query_id = await self.take_query_id()
            key = {"query_id": query_id, "write_key": write_key}
            rows = await fetch(
                self._pools.writer, tuple_row, sql.SELECT_QUERY_BY_ID_OR_WRITE_KEY, key
            )
            for existing, is_ours in rows:
                if is_ours:
                    return int(existing), True
            if not rows:
                return query_id, False
        raise DatabaseUnavailable(QUERY_IDS_IN_USE)

    async def write_query(self, query: WriteQueryRequest) -> None:
        """Record a search under its query_id. Raises Conflict if another one has it."""
        values = asdict(query)
        with map_db_errors():
            async with self._pools.writer() as conn:
                rows = await conn.execute(sql.WRITE_QUERY, values)
                metrics.count_rows(queries=rows.rowcount)
                if not rows.rowcount:
                    rows = await conn.execute(sql.MATCH_QUERY, values)
        if not rows.rowcount:
            raise Conflict(f"query_id: another search is recorded under {query.query_id}")

    async def write_results(self, body: WriteResultsRequest) -> None:
        """Record results under a query_id. Raises Conflict if it has other results."""
        results = [_split_authors(result) for result in body.results]
        papers = [_convert_paper(result, body.timestamp) for result in results]
        values = {
            "query_id": body.query_id,
            "timestamp": body.timestamp,
            "results": _encode([_convert_result(result) for result in results]).decode(),
            "papers": _encode(papers).decode(),
        }
        with map_db_errors():
            async with self._results() as conn, conn.transaction():
                inserted = await conn.execute(sql.WRITE_RESULTS, values)
                match = await conn.execute(sql.MATCH_RESULTS, values)
                if inserted.rowcount not in {0, len(papers)} or not match.rowcount:
                    raise Conflict(f"query_id: other results are recorded under {body.query_id}")
                upserted = await conn.execute(sql.UPSERT_PAPERS, values)
        metrics.count_rows(results=inserted.rowcount, papers=upserted.rowcount)

    @property
    def systems(self) -> Collection[str]:
        """The names of all systems that are needed for reading and writing."""
        return self._pools.systems.keys()

    async def fetch_migrations(self, system: str) -> set[str]:
        """The names of the migrations that were applied to a system."""
        return set(await fetch(self._pools.systems[system], scalar_row, sql.SELECT_MIGRATIONS))


async def _transact(
    conn: Connection, values: Mapping[str, object], *statements: bytes
) -> list[AsyncCursor[Any]]:
    """Execute statements in one transaction and one round trip.

    Begin and commit are statements: without them, an exception in this block would commit what is
    queued; `conn.transaction()` costs three more round trips.
    """
    async with conn.pipeline():
        await conn.execute(sql.BEGIN)
        cursors = [await _execute(conn, statement, values) for statement in statements]
        await conn.execute(sql.COMMIT)
    return cursors


async def _execute(
    conn: Connection, statement: bytes, values: Mapping[str, object]
) -> AsyncCursor[Any]:
    return await conn.execute(statement, values, prepare=True)


def create_record(
    response: ArxivResponse, search_key: UUID | None = None, query_id: int = 0
) -> Record:
    """Everything that is stored of a response; the papers of the mirror are stored already."""
    papers = [] if is_mirrored(response.remarks) else response.entries
    return Record(
        query_id=query_id,
        timestamp=response.timestamp,
        status=response.status,
        num_results=response.num_results,
        num_entries=len(response.entries),
        query=response.query,
        outcome=response.outcome,
        write_key=uuid4(),
        search_key=search_key,
        remarks=response.remarks or None,
        feed_link=response.feed_link,
        acknowledged=int(time()),
        results=[
            ResultInsert(entry.author, entry.title, entry.journal, entry.arxiv_id, entry.version)
            for entry in response.entries
        ],
        papers=[_convert_paper(entry, response.timestamp) for entry in papers],
    )


def build_insert_values(record: Record, harvest: Harvest | None = None) -> dict[str, object]:
    """The parameters of the statements that insert one record."""
    return {
        **(build_harvest_values(harvest) if harvest else {}),
        **asdict(record),
        "query_id": record.query_id or None,
        "remarks": _encode(record.remarks).decode() if record.remarks else None,
        "results": _encode(record.results).decode(),
        "papers": _encode(record.papers).decode(),
        "harvest_id": harvest and harvest.harvest_id,
        "harvest_page": harvest and harvest.page,
    }


def build_harvest_values(harvest: Harvest) -> dict[str, object]:
    """The parameters of the statement that stores the progress of a harvest."""
    gap = asdict(harvest.skipped) if harvest.skipped else dict.fromkeys(Gap.__struct_fields__)
    return {
        **asdict(harvest),
        **{f"gap_{name}": value for name, value in gap.items()},
        "retried_gap_id": harvest.retried and harvest.retried.gap_id,
    }


def _build_batch_values(records: Sequence[Record]) -> dict[str, str]:
    """The parameters of the statements that insert several records."""
    results = [structs.replace(record, papers=[]) for record in records]
    searches = [structs.replace(record, results=[]) for record in results]
    return {
        "searches": _encode(searches).decode(),
        "results": _encode(results).decode(),
        "papers": _encode([paper for record in records for paper in record.papers]).decode(),
    }


def _split_authors(result: ResultPayload) -> ResultPayload:
    """Return the result with its authors as if arXiv had sent them."""
    authors = split_authors(_list_names(result.authors), result.affiliations)
    groups = {*authors.groups, *result.group_authors}
    return structs.replace(
        result,
        authors=authors.names,
        affiliations=authors.affiliations,
        group_authors=[name for name in authors.names if name in groups],
    )


def _list_names(authors: list[str] | str) -> list[str]:
    return split_author_text(authors) if isinstance(authors, str) else authors


def _convert_result(result: ResultPayload) -> ResultInsert:
    author = ", ".join(_list_names(result.authors))
    return ResultInsert(author, result.title, result.journal, result.arxiv_id, result.version)


def _convert_paper(entry: Entry | ResultPayload, timestamp: int) -> PaperInsert:
    dois = parse_dois(entry.dois)
    return PaperInsert(
        timestamp=timestamp,
        arxiv_id=entry.arxiv_id,
        version=entry.version,
        title=entry.title,
        authors=_list_names(entry.authors),
        affiliations=entry.affiliations if any(entry.affiliations) else None,
        abstract=entry.summary,
        journal=entry.journal,
        comment=entry.comment,
        published=_to_seconds(entry.published),
        updated=_to_seconds(entry.updated),
        dois=dois,
        primary_category=entry.primary_category,
        categories=entry.categories,
        links=replace_doi_links(entry.links, dois) or None,
        withdrawn=is_withdrawn(entry.comment),
        group_authors=entry.group_authors,
        sent=entry.sent,
    )


def create_entry(paper: PaperInsert) -> Entry:
    """The Atom entry from which a paper was stored; the same for a paper of another source."""
    links = paper.links or []
    if paper.links is None and paper.abstract is not None and not paper.sent:
        links = create_links(paper.arxiv_id, paper.version or None, paper.dois)
    return Entry(
        arxiv_id=paper.arxiv_id,
        version=paper.version,
        authors=paper.authors,
        affiliations=paper.affiliations or [[] for _ in paper.authors],
        group_authors=paper.group_authors,
        title=paper.title,
        journal=paper.journal,
        summary=paper.abstract or "",
        comment=paper.comment,
        published=timestamps.to_datetime(paper.published),
        updated=timestamps.to_datetime(paper.updated),
        dois=paper.dois,
        primary_category=paper.primary_category,
        categories=paper.categories,
        links=links,
        sent=paper.sent,
    )


def _to_seconds(moment: datetime | None) -> int | None:
    """Unix seconds; UTC without an offset, None if some time zones cannot represent it."""
    if moment is None:
        return None
    seconds = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    return seconds if timestamps.EARLIEST <= seconds <= timestamps.LATEST else None
