"""What the search index reads: papers, and which of them have changed.

Each read belongs to a snapshot, which also tells what data the server has. Reads may go to another
server each time, and a standby may be behind the one before.
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from psycopg.rows import tuple_row

from .. import sql
from ..search_index.schema import IndexedPaper
from .pool import Connection, DatabasePools, map_db_errors


class Source(NamedTuple):
    """What the server that is read knows of the table `papers`."""

    database: str
    """Identifies the table: its server, its database and itself."""
    timeline: int
    """Increases at each failover; a standby may report it late."""
    is_standby: bool
    oldest: int
    """All earlier transactions have ended: the snapshot has what they wrote."""
    next: int
    """This transaction and all later ones have not begun yet."""
    visible_until: int
    """Unix seconds: later papers are left out because of the read delay."""


class PaperKey(NamedTuple):
    """Identifies a version of a paper."""

    arxiv_id: str
    version: int


class PaperChange(NamedTuple):
    """The transaction that wrote a version of a paper, and since when there is this version."""

    key: PaperKey
    changed: int
    first_timestamp: int


class PaperRead(NamedTuple):
    """A version of a paper, and since when there is this version."""

    paper: IndexedPaper
    first_timestamp: int


FIRST_KEY = PaperKey("", -1)
"""Before the keys of all papers."""


class PaperSnapshot:
    """The papers as they are at one moment on one server."""

    def __init__(self, conn: Connection, source: Source) -> None:
        self._conn = conn
        self.source = source

    async def fetch_changes(self, changed: int, after: PaperKey, limit: int) -> list[PaperChange]:
        """What was written by this transaction after this key, and by later transactions."""
        values = _build_position(after) | {"after_changed": str(changed), "limit": limit}
        rows = await self._fetch(sql.SELECT_PAPER_CHANGES, values | {"next": str(self.source.next)})
        return [_create_change(*row) for row in rows]

    async def fetch_papers(self, arxiv_ids: Collection[str]) -> list[PaperRead]:
        """All versions of these papers, one paper after the other."""
        rows = await self._fetch(sql.SELECT_INDEXED_PAPERS, {"arxiv_ids": [*arxiv_ids]})
        return [PaperRead(IndexedPaper(*row[:-1]), row[-1]) for row in rows]

    async def fetch_batch(self, after: PaperKey, limit: int) -> list[PaperRead]:
        """The papers after this key."""
        rows = await self._fetch(sql.SELECT_PAPER_BATCH, _build_position(after) | {"limit": limit})
        return [PaperRead(IndexedPaper(*row[:-1]), row[-1]) for row in rows]

    async def fetch_keys(self, after: PaperKey, limit: int) -> list[PaperChange]:
        """The keys after this one, and what wrote these papers."""
        rows = await self._fetch(sql.SELECT_PAPER_KEYS, _build_position(after) | {"limit": limit})
        return [_create_change(*row) for row in rows]

    async def estimate_total(self) -> int:
        """About how many versions of papers there are; 0 if that is unknown."""
        [(estimate,)] = await self._fetch(sql.ESTIMATE_PAPERS, {})
        return max(int(estimate), 0)

    async def _fetch(self, statement: bytes, values: Mapping[str, object]) -> list[Any]:
        cursor = self._conn.cursor(row_factory=tuple_row, binary=True)
        await cursor.execute(statement, values)
        return await cursor.fetchall()


class PaperChanges:
    """Opens snapshots of the papers."""

    def __init__(self, pools: DatabasePools, *, read_delay: float = 0) -> None:
        self._pools = pools
        self._read_delay = read_delay

    @asynccontextmanager
    async def open_snapshot(self) -> AsyncGenerator[PaperSnapshot, None]:
        """A snapshot, whose reads must end within CALL_TIMEOUT. Raises DatabaseUnavailable."""
        with map_db_errors():
            async with self._pools.reader("results") as conn:
                # in one transaction, since a pooler may use another server for each transaction
                await conn.execute(sql.BEGIN_SNAPSHOT)
                cursor = conn.cursor(row_factory=tuple_row)
                await cursor.execute(sql.SELECT_INDEX_SOURCE, {"read_delay": self._read_delay})
                [source] = await cursor.fetchall()
                yield PaperSnapshot(conn, Source(*source))
                await conn.execute(sql.COMMIT)


def _build_position(after: PaperKey) -> dict[str, object]:
    return {"after_arxiv_id": after.arxiv_id, "after_version": after.version}


def _create_change(arxiv_id: str, version: int, changed: int, first_timestamp: int) -> PaperChange:
    return PaperChange(PaperKey(arxiv_id, version), changed, first_timestamp)
