"""One index on disk, and how it follows PostgreSQL.

Rows of `papers` bear the transaction that wrote them. A snapshot has everything that transactions
before its oldest one wrote, and may have more. So each read begins at the position, the oldest
transaction of the snapshot before: whatever order transactions commit in, none is missed. Versions
that were read already, although later than the position, are remembered.
"""

import os
import time
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Self

import tantivy
from msgspec import structs

from ..db.paper_changes import (
    FIRST_KEY,
    PaperChange,
    PaperChanges,
    PaperKey,
    PaperRead,
    Source,
)
from ..db.paper_source import Baseline, OtherDatabase, PaperSource
from ..heap import return_free_memory
from . import state
from .comparison import find_differences
from .schema import IndexedPaper, create_documents, create_index, open_index
from .state import IndexState
from .threads import run_in_thread

BATCH = 2000
"""Rows that are read at once."""
TRIM_INTERVAL = 1.0
"""Seconds after which free memory is returned to the system again."""
HEAP_BYTES = 30_000_000
"""Memory for documents that are not on disk yet."""
BUILD_HEAP_BYTES = 150_000_000
"""The same during a build: larger segments need less merging."""
BUILD_THREADS = min(os.cpu_count() or 1, 4)
"""Threads of tantivy during a build. Otherwise one: each writes a segment of its own."""


class DamagedIndex(ValueError):
    """tantivy cannot read the index: it must be built again."""


class IndexInUse(Exception):
    """A writer of a service in this process that has ended is not closed yet."""


class Writer:
    """Writes documents. All methods block; they raise ValueError and OSError."""

    def __init__(self, index: tantivy.Index, heap_bytes: int, threads: int = 1) -> None:
        self.index = index
        self._open_writer: tantivy.IndexWriter | None = index.writer(heap_bytes, threads)
        self._trimmed = 0.0

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create an index in a new directory."""
        path.mkdir(mode=0o700)
        return cls(create_index(path), BUILD_HEAP_BYTES, BUILD_THREADS)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an index. Raises DamagedIndex or IndexInUse."""
        try:
            return cls(open_index(path), HEAP_BYTES)
        except ValueError as error:
            if "LockBusy" in str(error):
                raise IndexInUse from error
            if state.find_cause(error):
                raise
            raise DamagedIndex(str(error)) from error

    @property
    def _writer(self) -> tantivy.IndexWriter:
        if self._open_writer is None:
            raise ValueError("the writer of the index is closed")
        return self._open_writer

    def close(self) -> None:
        """Discard what is not committed, and let another writer open the index."""
        self._open_writer = None

    def add(self, papers: Iterable[Collection[IndexedPaper]]) -> None:
        """Add new papers, each with all its versions."""
        for versions in papers:
            for document in create_documents([*versions]):
                self._writer.add_document(document)

    def replace(self, arxiv_ids: Iterable[str], papers: Iterable[Collection[IndexedPaper]]) -> None:
        """Remove these papers, and add what there is of them now."""
        for arxiv_id in arxiv_ids:
            self._writer.delete_documents_by_term("arxiv_id", arxiv_id)
        self.add(papers)

    def commit(self) -> int:
        """Make everything durable and visible to readers; the number of documents."""
        self._writer.commit()
        self.index.reload()
        if (now := time.monotonic()) > self._trimmed + TRIM_INTERVAL:
            self._trimmed = now
            return_free_memory()  # tantivy's threads leave 10 MB each
        return self.count()

    def count(self) -> int:
        """The number of documents."""
        return self.index.searcher().num_docs

    def finish(self) -> int:
        """Commit and complete the merges; the number of documents. Nothing can follow."""
        writer = self._writer  # `close` may be called meanwhile
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()
        return self.count()


class SyncedIndex:
    """An index that is in use, with its writer."""

    def __init__(
        self,
        folder: Path,
        changes: PaperChanges,
        writer: Writer,
        index_state: IndexState,
        delayed: dict[str, int],
    ) -> None:
        self._folder = folder
        self._changes = changes
        self._writer = writer
        self.state = index_state
        self._position = index_state.position
        self._remembered: dict[PaperKey, int] = {}
        """Versions from the position on that are indexed, and the transactions that wrote them."""
        self._delayed = delayed
        """Papers with versions that are not visible yet, and when these were recorded."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        changes: PaperChanges,
        index_state: IndexState,
        delayed: dict[str, int] | None = None,
    ) -> Self:
        """Open the index of this state. Raises DamagedIndex, ValueError or OSError.

        `delayed` are papers that become visible later, if they are not on disk yet.
        """
        writer = await run_in_thread(Writer.open, folder / index_state.directory)
        if writer.count() < index_state.papers:
            raise DamagedIndex("documents are missing")
        return cls(
            folder, changes, writer, index_state, state.read_delayed(folder) | (delayed or {})
        )

    def close(self) -> None:
        """Let another writer open the index."""
        self._writer.close()

    def save(self) -> None:
        """Make searches use this index. Raises OSError."""
        state.write_delayed(self._folder, self._delayed)
        self._save(self.state)

    async def sync(self) -> None:
        """Index what has changed. After a ValueError or an OSError, it must be opened again.

        Raises also OtherDatabase, SourceDiverged and DatabaseUnavailable.
        """
        baseline = Baseline(self.state.database, self.state.timeline, self._position)
        cursor: tuple[int, PaperKey] = self._position, FIRST_KEY
        is_complete = False
        while not is_complete:
            async with self._changes.open_snapshot() as snapshot:
                baseline.check(snapshot.source)
                if cursor == (self._position, FIRST_KEY):
                    # the next batch may come from another server, which must not be behind
                    baseline = baseline._replace(position=snapshot.source.oldest)
                rows = await snapshot.fetch_changes(*cursor, BATCH)
                changed = [row for row in rows if self._is_new(row)]
                arxiv_ids = {row.key.arxiv_id for row in changed}
                arxiv_ids |= self._find_due(snapshot.source)
                papers = await snapshot.fetch_papers(arxiv_ids) if arxiv_ids else []
            is_complete = len(rows) < BATCH
            position = baseline.position if is_complete else self._position
            if arxiv_ids:
                await self._write(arxiv_ids, papers, snapshot.source, position)
            self._remembered |= {row.key: row.changed for row in changed}
            if rows:
                cursor = rows[-1].changed, rows[-1].key
        self._advance(baseline.position)

    async def repair(self) -> int:
        """Index all papers that differ from PostgreSQL; their number.

        Raises OtherDatabase, SourceDiverged, DatabaseUnavailable, ValueError or OSError.
        """
        source = await PaperSource.create(self._changes)
        if source.baseline.database != self.state.database:
            raise OtherDatabase
        differing = set[str]()
        async for difference in find_differences(source, self._writer.index):
            differing.add(difference.key.arxiv_id)
        arxiv_ids = sorted(differing)
        for start in range(0, len(arxiv_ids), BATCH):
            batch = arxiv_ids[start : start + BATCH]
            papers, read_from = await source.fetch_papers(batch)
            await self._write(batch, papers, read_from, self.state.position)
        _, timeline, position = source.baseline
        # only now, so that an interrupted repair is repeated
        self._save(structs.replace(self.state, timeline=timeline, position=position))
        self._position, self._remembered = position, {}
        return len(arxiv_ids)

    def _is_new(self, row: PaperChange) -> bool:
        # not `>`: an earlier transaction may have waited for the one that wrote it before
        return row.changed != self._remembered.get(row.key, 0)

    def _find_due(self, source: Source) -> set[str]:
        """The papers whose delay is over."""
        until = source.visible_until
        return {arxiv_id for arxiv_id, recorded in self._delayed.items() if recorded <= until}

    async def _write(
        self,
        arxiv_ids: Collection[str],
        rows: Iterable[PaperRead],
        source: Source,
        position: int,
    ) -> None:
        delayed = {key: when for key, when in self._delayed.items() if key not in arxiv_ids}
        papers = group_versions(select_visible(rows, source, delayed))
        await run_in_thread(self._writer.replace, arxiv_ids, papers)
        count = await run_in_thread(self._writer.commit)
        if delayed != self._delayed:
            state.write_delayed(self._folder, delayed)
            self._delayed = delayed
        self._save(structs.replace(self.state, papers=count, position=position))

    def _advance(self, position: int) -> None:
        """Continue from this position the next time."""
        self._position = position
        remembered = {key: seen for key, seen in self._remembered.items() if seen >= position}
        # otherwise there is nothing that would be indexed again after the end of this process
        if len(remembered) < len(self._remembered) and self.state.position != position:
            self._save(structs.replace(self.state, position=position))
        self._remembered = remembered

    def _save(self, index_state: IndexState) -> None:
        state.write_state(self._folder, index_state)
        self.state = index_state


def select_visible(
    rows: Iterable[PaperRead], source: Source, delayed: dict[str, int]
) -> Iterator[IndexedPaper]:
    """The versions that are visible; adds the papers of others to those that are delayed."""
    for paper, recorded in rows:
        if recorded <= source.visible_until:
            yield paper
        else:
            delayed[paper.arxiv_id] = min(recorded, delayed.get(paper.arxiv_id, recorded))


def group_versions(papers: Iterable[IndexedPaper]) -> list[list[IndexedPaper]]:
    """Papers, each with its versions."""
    return [[*versions] for _, versions in groupby(papers, key=lambda paper: paper.arxiv_id)]
