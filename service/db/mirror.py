"""Writes the mirror: records of arXiv's other sources, and the progress of syncs and imports."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg
from msgspec import structs
from psycopg import errors
from psycopg.rows import class_row, dict_row, scalar_row

from .. import metrics, sql
from ..errors import DatabaseUnavailable, RecordRejected
from ..metadata.arxiv_ids import ArxivId
from ..mirror.merging import (
    StoredDetails,
    StoredPaper,
    create_details,
    create_paper,
    merge_authors,
    merge_details,
    merge_paper,
)
from ..models.mirror import (
    ImportState,
    MirrorRecord,
    PaperRows,
    Source,
    SyncState,
    SyncStatus,
)
from ..models.records import PaperInsert
from .binary_rows import SIGNATURE, TRAILER, format_details, format_paper
from .pool import OUTDATED, Connection, DatabasePools, fetch, map_db_errors
from .records import map_rejections

T = TypeVar("T")

MAX_ATTEMPTS = 3
"""Other processes may write the same papers at the same time."""
MERGED_AT_ONCE = 50
"""Records that are merged before other requests run; they take a few milliseconds."""
_CONFLICTS = errors.UniqueViolation, errors.DeadlockDetected
_PERMANENT = errors.DiskFull, errors.InvalidPassword, errors.InvalidAuthorizationSpecification
_encode = msgspec.json.Encoder().encode


class ImportMoved(Exception):
    """The stored progress of an import is not the expected one."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def is_temporary(error: DatabaseUnavailable) -> bool:
    """Return whether the database may be available again after some time, without a change."""
    cause = error.__cause__
    temporary = psycopg.OperationalError, psycopg.InterfaceError, *OUTDATED
    return isinstance(cause, temporary) and not (
        isinstance(cause, (*_PERMANENT, errors.QueryCanceled))
    )


class MirrorStore:
    """Stores records of papers, with the progress of what delivers them in the same transaction."""

    def __init__(self, pools: DatabasePools) -> None:
        self._writer = partial(pools.writer, "results")

    async def save(
        self, records: Sequence[MirrorRecord], progress: SyncState | ImportState | None = None
    ) -> int:
        """Store records and the progress, or nothing; return how many papers are new or changed.

        Records must be few enough to be written within CALL_TIMEOUT. Raises RecordRejected if
        PostgreSQL rejects the content of any record, and otherwise DatabaseUnavailable.
        """
        return await self._transact(lambda conn: _save(conn, records, progress))

    async def save_rows(
        self,
        rows: Sequence[PaperRows],
        parse: Callable[[PaperRows], MirrorRecord],
        progress: ImportState | None = None,
        position: int = 0,
    ) -> int:
        """Store rows like `save`; the records of papers that are stored already are merged.

        Raises ImportMoved if there is progress, and the stored progress is not at `position`, and
        the same exceptions as `save`.
        """
        return await self._transact(lambda conn: _save_rows(conn, rows, parse, progress, position))

    async def _transact(self, action: Callable[[Connection], Awaitable[int]]) -> int:
        """Run a transaction, again if it conflicts with another one."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                with map_db_errors(), map_rejections():
                    async with self._writer() as conn, conn.transaction():
                        return await action(conn)
            except (DatabaseUnavailable, RecordRejected) as error:
                if attempt == MAX_ATTEMPTS or not isinstance(error.__cause__, _CONFLICTS):
                    raise
        raise AssertionError

    async def fetch_sync(self, set_spec: str) -> SyncState:
        """The progress of the sync of a set; that of one which has not begun if it is unknown."""
        rows = await self._fetch(SyncState, sql.SELECT_SYNC, {"set_spec": set_spec})
        return rows[0] if rows else SyncState(set_spec=set_spec)

    async def fetch_import(self, digest: str) -> ImportState | None:
        """The progress of the import of a file."""
        rows = await self._fetch(ImportState, sql.SELECT_IMPORT, {"digest": digest})
        return rows[0] if rows else None

    async def fetch_newest_import(self) -> int | None:
        """The datestamp up to which the whole snapshots that were imported are complete."""
        newest: list[int | None] = await fetch(self._writer, scalar_row, sql.SELECT_NEWEST_IMPORT)
        return newest[0]

    async def acquire_sync(self, holder: UUID, seconds: float) -> bool:
        """Take or renew the lease of the sync; false if another process has it."""
        values = {"holder": holder, "seconds": seconds}
        return bool(await fetch(self._writer, scalar_row, sql.ACQUIRE_SYNC, values))

    async def release_sync(self, holder: UUID) -> None:
        """Release the lease of the sync."""
        with map_db_errors():
            async with self._writer() as conn:
                await conn.execute(sql.RELEASE_SYNC, {"holder": holder})

    async def delay_sync(self, seconds: float) -> None:
        """Let no process repeat a sync that failed before this time has passed."""
        with map_db_errors():
            async with self._writer() as conn:
                await conn.execute(sql.DELAY_SYNC, {"seconds": seconds})

    async def fetch_sync_pause(self) -> float:
        """The seconds until a sync that failed may be repeated."""
        rows: list[float] = await fetch(self._writer, scalar_row, sql.SELECT_SYNC_PAUSE)
        return max(rows[0], 0.0) if rows else 0.0

    async def _fetch(
        self, row_type: type[T], statement: bytes, values: Mapping[str, object]
    ) -> list[T]:
        return await fetch(self._writer, class_row(row_type), statement, values)


class MirroredPaper(PaperInsert, frozen=True):
    """A stored paper."""

    is_mirrored: bool = False
    """Whether a source with versions has it."""


def _build_names(names: Sequence[ArxivId]) -> dict[str, object]:
    return {
        "arxiv_ids": [name.name for name in names],
        "versions": [name.version for name in names],
    }


class MirrorReader:
    """Reads what answers from the mirror need."""

    def __init__(self, pools: DatabasePools) -> None:
        self._reader = partial(pools.reader, "results")

    async def fetch_syncs(self) -> list[SyncState]:
        """The progress of all syncs."""
        return await fetch(self._reader, class_row(SyncState), sql.SELECT_SYNCS)

    async def fetch_sync_status(self) -> SyncStatus | None:
        """How current the mirror is; None without one."""
        rows = await fetch(self._reader, class_row(SyncStatus), sql.SELECT_SYNC_STATUS)
        return rows[0] if rows else None

    async def fetch_papers(self, names: Sequence[ArxivId]) -> list[MirroredPaper]:
        """The papers with these identifiers, in their order; unknown ones are left out.

        Without a version, this is the latest one that arXiv has.
        """
        values = _build_names(names)
        rows = await fetch(self._reader, dict_row, sql.SELECT_MIRRORED_PAPERS, values)
        return msgspec.convert(rows, list[MirroredPaper])

    async def fetch_with_syncs(
        self, names: Sequence[ArxivId]
    ) -> tuple[list[MirroredPaper], list[SyncState]]:
        """The same and the progress of all syncs, both as of one moment on one server."""
        with map_db_errors():
            async with self._reader() as conn:
                syncs = conn.cursor(row_factory=class_row(SyncState))
                papers = conn.cursor(row_factory=dict_row)
                async with conn.pipeline():
                    await conn.execute(sql.BEGIN_SNAPSHOT)
                    await syncs.execute(sql.SELECT_SYNCS)
                    await papers.execute(sql.SELECT_MIRRORED_PAPERS, _build_names(names))
                    await conn.execute(sql.COMMIT)
                rows = await papers.fetchall()
                return msgspec.convert(rows, list[MirroredPaper]), await syncs.fetchall()


async def _save_rows(
    conn: Connection,
    rows: Sequence[PaperRows],
    parse: Callable[[PaperRows], MirrorRecord],
    progress: ImportState | None,
    position: int,
) -> int:
    if progress:
        cursor = await conn.execute(sql.LOCK_IMPORT, {"digest": progress.digest})
        [stored] = await cursor.fetchone() or (0,)
        if stored != position:
            raise ImportMoved(stored)
    known = await _find_known(conn, rows)
    records = [parse(row) for row in rows if row.arxiv_id in known]
    new = [row for row in rows if row.arxiv_id not in known] if known else rows
    return await _save(conn, records, progress, new)


async def _find_known(conn: Connection, rows: Sequence[PaperRows]) -> set[str]:
    """Return the papers that cannot simply be copied: they are stored, or in several rows."""
    if not rows:
        return set()
    # psycopg takes much longer for lists
    values = {
        "arxiv_ids": " ".join(row.arxiv_id for row in rows),
        "versions": " ".join(str(row.version) for row in rows),
    }
    cursor = conn.cursor(row_factory=scalar_row)
    await cursor.execute(sql.SELECT_STORED_IDS, values)
    counts = Counter(row.arxiv_id for row in rows)
    repeated = {arxiv_id for arxiv_id, number in counts.items() if number > 1}
    return repeated.union(await cursor.fetchall())


async def _save(
    conn: Connection,
    records: Sequence[MirrorRecord],
    progress: SyncState | ImportState | None,
    rows: Sequence[PaperRows] = (),
) -> int:
    """Store records, and rows of papers that are not stored."""
    changes = await _read_stored(conn, records)
    for number, record in enumerate(records):
        changes.add(record)
        if number % MERGED_AT_ONCE == 0:
            await asyncio.sleep(0)
    new_papers, updated_papers = changes.new_papers, changes.updated_papers
    updated_details = changes.updated_details
    details = [row.details for row in rows]
    details += [format_details(each, each.other_sources) for each in changes.new_details]
    papers = [row.paper for row in rows]
    papers += [format_paper(each, each.timestamp, each.other_sources) for each in new_papers]
    await _copy(conn, sql.COPY_DETAILS, details)
    await _copy(conn, sql.COPY_PAPERS, papers)
    if updated_details:
        values = {"details": _encode(updated_details).decode()}
        await conn.execute(sql.UPSERT_DETAILS, values)
    if updated_papers:
        await conn.execute(sql.UPSERT_PAPERS, {"papers": _encode(updated_papers).decode()})
    if touched := changes.list_touched([*new_papers, *updated_papers]):
        await conn.execute(sql.TOUCH_PAPERS, {"arxiv_ids": touched})
    if isinstance(progress, SyncState):
        await conn.execute(sql.UPSERT_SYNC, structs.asdict(progress))
    elif progress:
        await conn.execute(sql.UPSERT_IMPORT, structs.asdict(progress))
    num_papers = len(papers) + len(updated_papers)
    metrics.count_rows(papers=num_papers)
    return num_papers


async def _read_stored(conn: Connection, records: Sequence[MirrorRecord]) -> "_Changes":
    """Read and lock the rows that records may change."""
    if not records:
        return _Changes([], [])
    ids = [record.arxiv_id for record in records]
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(sql.SELECT_STORED_DETAILS, {"arxiv_ids": ids})
    details = msgspec.convert(await cursor.fetchall(), list[StoredDetails])
    latest = {row.arxiv_id: row.version for row in details}
    keys = [
        (record.arxiv_id, record.version or latest.get(record.arxiv_id, 0)) for record in records
    ]
    values = {"arxiv_ids": ids, "versions": [version for _, version in keys]}
    await cursor.execute(sql.SELECT_STORED_PAPERS, values)
    papers = msgspec.convert(await cursor.fetchall(), list[StoredPaper])
    return _Changes(papers, details)


class _Changes:
    """The rows that records add or change."""

    def __init__(self, papers: list[StoredPaper], details: list[StoredDetails]) -> None:
        self._stored_papers = {(paper.arxiv_id, paper.version): paper for paper in papers}
        self._stored_details = {row.arxiv_id: row for row in details}
        self._papers = dict(self._stored_papers)
        self._details = dict(self._stored_details)

    def add(self, record: MirrorRecord) -> None:
        if record.version is None:
            self._add_authors(record)
            return
        key = record.arxiv_id, record.version
        paper, details = self._papers.get(key), self._details.get(record.arxiv_id)
        self._papers[key] = merge_paper(paper, record) if paper else create_paper(record)
        if record.source != Source.RSS:
            self._details[record.arxiv_id] = (
                merge_details(details, record) if details else create_details(record)
            )

    def _add_authors(self, record: MirrorRecord) -> None:
        """Add names to the version to which the record belongs: it does not tell which one."""
        details = self._details.get(record.arxiv_id)
        if details and details.datestamp == record.datestamp:
            key = record.arxiv_id, details.version
            if paper := self._papers.get(key):
                self._papers[key] = merge_authors(paper, record)

    @property
    def new_papers(self) -> list[StoredPaper]:
        return _select_new(self._papers, self._stored_papers)

    @property
    def updated_papers(self) -> list[StoredPaper]:
        return _select_updated(self._papers, self._stored_papers)

    def list_touched(self, papers: Sequence[StoredPaper]) -> list[str]:
        """Papers other than these whose report number, which the index has, has changed."""
        written = {paper.arxiv_id for paper in papers}
        return sorted(
            arxiv_id
            for arxiv_id, details in self._details.items()
            if arxiv_id not in written
            and details.report_number != _get_report_number(self._stored_details.get(arxiv_id))
        )

    @property
    def new_details(self) -> list[StoredDetails]:
        return _select_new(self._details, self._stored_details)

    @property
    def updated_details(self) -> list[StoredDetails]:
        return _select_updated(self._details, self._stored_details)


def _get_report_number(details: StoredDetails | None) -> str | None:
    return details.report_number if details else None


def _select_new(rows: Mapping[Any, T], stored: Mapping[Any, T]) -> list[T]:
    return [rows[key] for key in sorted(rows.keys() - stored.keys())]


def _select_updated(rows: Mapping[Any, T], stored: Mapping[Any, T]) -> list[T]:
    return [rows[key] for key in stored if rows[key] != stored[key]]


async def _copy(conn: Connection, statement: bytes, rows: Sequence[bytes]) -> None:
    if rows:
        async with conn.cursor() as cursor, cursor.copy(statement) as copy:
            await copy.write(b"".join([SIGNATURE, *rows, TRAILER]))
