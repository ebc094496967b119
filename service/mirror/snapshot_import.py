"""Imports a snapshot: worker processes parse its lines while PostgreSQL stores earlier ones."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, closing, suppress
from functools import cached_property
from threading import Semaphore, Thread
from typing import NamedTuple

from msgspec import structs

from ..backoff import Backoff
from ..db.mirror import ImportMoved, MirrorStore, is_temporary
from ..errors import DatabaseTimeout, DatabaseUnavailable, ImportFailed, RecordRejected
from ..models.mirror import ImportState, MirrorRecord, PaperRows, ParsedBlock
from .rejected_lines import RejectedLine, RejectedLines
from .snapshot import parse_line
from .snapshot_blocks import BlockParser, decode_block, split_lines
from .snapshot_file import REMEDY, Block, SnapshotChanged, SnapshotFile

logger = logging.getLogger(__name__)

RETRY_SECONDS = 300.0
"""How long an import waits for an unavailable database."""
SAMPLE_LINES = 100
"""If none of the first lines can be read, the file is not a snapshot."""
MAX_WORKERS = 4
"""Processes that parse; more would wait for PostgreSQL, which stores one block at a time."""
MIN_PAPERS = 1_000_000
"""A file with fewer is probably a part: arXiv has over three million."""
BLOCKS_AHEAD = 2
"""Blocks for each worker that are read before they are needed."""


class ImportProgress(NamedTuple):
    """What an import has done."""

    state: ImportState
    papers: int = 0
    """How many papers are new or changed, since this process began."""
    bytes_read: int = 0
    """How much of the file has been read, compressed or not."""
    rejected: Sequence[RejectedLine] = ()
    """The lines that were rejected since the progress before."""


class SnapshotImport:
    """Imports one file, or the rest of it."""

    def __init__(self, store: MirrorStore, file: SnapshotFile, rejected: RejectedLines) -> None:
        self._store = store
        self._file = file
        self._rejected = rejected
        self._state = ImportState(digest=file.digest, file_name=file.name, started=0)
        self._is_whole = True
        self._has_papers = False
        """Whether any line could be read; its file is a snapshot then."""

    async def start(self, *, restart: bool = False, is_whole: bool = True) -> ImportState:
        """Return the progress with which `run` continues.

        That is none if `restart` is set, or if the file has been imported completely. `is_whole`
        states whether the file has all papers. Raises InvalidParameter if the file of rejected
        lines cannot be written, and DatabaseUnavailable.
        """
        self._is_whole = is_whole
        stored = await self._store.fetch_import(self._file.digest)
        if stored and not stored.finished and not restart:
            self._state = structs.replace(stored, file_name=self._file.name)
        else:
            await self._begin()
        self._has_papers = self._state.lines > self._state.rejected
        self._rejected.keep_until(self._state.lines)
        return self._state

    async def _begin(self) -> None:
        """Store that the import begins with the first line."""
        self._state = ImportState(
            digest=self._file.digest, file_name=self._file.name, started=int(time.time())
        )
        await self._store.save([], self._state)

    async def run(self) -> AsyncIterator[ImportProgress]:
        """Import all further lines; yield the progress after each block.

        A file that has changed since its import was stopped is imported from its beginning, after
        a progress without lines; standard input cannot be read twice, so ImportFailed is raised.

        Also raises ImportFailed if the file is not a snapshot, truncated, damaged, or imported by
        another process too, InvalidParameter if rejected lines cannot be written, and
        DatabaseUnavailable.
        """
        try:
            async with aclosing(self._import_rest()) as steps:
                async for progress in steps:
                    yield progress
        except SnapshotChanged:
            if self._file.size is None:
                raise
        else:
            return
        await self._begin()
        self._has_papers = False
        self._rejected.keep_until(0)
        yield ImportProgress(self._state)
        async with aclosing(self._import_rest()) as steps:
            async for progress in steps:
                yield progress

    async def _import_rest(self) -> AsyncGenerator[ImportProgress, None]:
        papers = 0
        async with aclosing(_parse_blocks(self._file, self._state)) as blocks:
            async for block, parsed in blocks:
                self._check_content(block, parsed)
                lines = _BlockLines(block.data)
                rejected = [
                    RejectedLine(self._state.lines + number + 1, reason, lines[number])
                    for number, reason in parsed.rejected
                ]
                papers += await self._store_block(block, parsed, lines, rejected)
                yield ImportProgress(self._state, papers, block.bytes_read, rejected)
        if not self._has_papers:
            raise ImportFailed(f"{self._file.name} contains no papers: {REMEDY}")
        finished = structs.replace(self._state, finished=int(time.time()), is_whole=self._is_whole)
        await self._save_rows([], _BlockLines(b""), finished)
        self._state = finished
        yield ImportProgress(finished, papers, self._file.size or 0)

    def _check_content(self, block: Block, parsed: ParsedBlock) -> None:
        """Raise ImportFailed for an incomplete line, and if none of the first lines can be read."""
        if parsed.rejected and not block.has_end and block.data.startswith(b"{"):
            raise ImportFailed(
                f"{self._file.name} is truncated: line {self._state.lines + 1} is incomplete, and"
                " all lines before it are stored; download it again and import it again"
            )
        if self._has_papers:
            return
        first = parsed.rows[0].line if parsed.rows else block.num_lines
        unreadable = [reason for number, reason in parsed.rejected if number < first]
        if self._state.rejected + len(unreadable) >= SAMPLE_LINES:
            raise ImportFailed(
                f"{self._file.name} is not a snapshot: none of its first lines can be read"
                f" ({unreadable[0]}); {REMEDY}"
            )
        self._has_papers = bool(parsed.rows)

    async def _store_block(
        self,
        block: Block,
        parsed: ParsedBlock,
        lines: "_BlockLines",
        rejected: list[RejectedLine],
    ) -> int:
        """Store a block and the progress; return how many papers are new or changed.

        Lines whose content PostgreSQL rejects are added to `rejected`.
        """
        self._rejected.add(rejected)
        state = self._advance(block, parsed, len(rejected))
        try:
            papers = await self._save_rows(parsed.rows, lines, state)
        except (RecordRejected, DatabaseTimeout):
            papers, more = await self._save_parts(parsed.rows, lines)
            self._rejected.add(more)
            rejected += more
            state = self._advance(block, parsed, len(rejected))
            await self._save_rows([], lines, state)
        self._state = state
        return papers

    def _advance(self, block: Block, parsed: ParsedBlock, num_rejected: int) -> ImportState:
        return structs.replace(
            self._state,
            lines=self._state.lines + block.num_lines,
            position=block.end,
            tail_digest=block.tail_digest,
            rejected=self._state.rejected + num_rejected,
            newest_datestamp=max(self._state.newest_datestamp, parsed.newest_datestamp),
        )

    async def _save_parts(
        self, rows: Sequence[PaperRows], lines: "_BlockLines"
    ) -> tuple[int, list[RejectedLine]]:
        """Store rows without the progress; return the number of changes and the rejected lines."""
        try:
            return await self._save_rows(rows, lines), []
        except DatabaseTimeout:
            if len(rows) == 1:
                raise
        except RecordRejected as error:
            if len(rows) == 1:
                number = rows[0].line
                line = RejectedLine(self._state.lines + number + 1, error.detail, lines[number])
                return 0, [line]
        middle = len(rows) // 2
        first = await self._save_parts(rows[:middle], lines)
        second = await self._save_parts(rows[middle:], lines)
        return first[0] + second[0], first[1] + second[1]

    async def _save_rows(
        self, rows: Sequence[PaperRows], lines: "_BlockLines", state: ImportState | None = None
    ) -> int:
        """Store rows, and try again for some time if the database is unavailable."""
        backoff, deadline = Backoff(), time.monotonic() + RETRY_SECONDS
        is_retry = False
        while True:
            try:
                return await self._store.save_rows(rows, lines.parse, state, self._state.position)
            except ImportMoved as error:
                # the connection was lost after the commit
                if is_retry and state and error.position == state.position:
                    return len(rows)
                raise ImportFailed(
                    f"another process imports {self._file.name}: wait until it ends"
                ) from error
            except DatabaseUnavailable as error:
                if not is_temporary(error) or time.monotonic() > deadline:
                    raise
                logger.warning("cannot store papers, trying again: %s", error.detail)
            is_retry = True
            await asyncio.sleep(backoff.next_pause())


class _BlockLines:
    """The lines of a block, which are split only if they are needed."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def _lines(self) -> list[bytes]:
        return split_lines(self._data)

    def __getitem__(self, number: int) -> bytes:
        return self._lines[number]

    def parse(self, row: PaperRows) -> MirrorRecord:
        """Return the record of a row."""
        return parse_line(self[row.line])


async def _parse_blocks(
    file: SnapshotFile, state: ImportState
) -> AsyncGenerator[tuple[Block, ParsedBlock], None]:
    """Yield all further blocks with their content. Raises ImportFailed."""
    loop = asyncio.get_running_loop()
    num_workers = min(MAX_WORKERS, os.cpu_count() or 1)
    blocks: asyncio.Queue[_Parsing | Exception | None] = asyncio.Queue()
    slots = Semaphore(num_workers * BLOCKS_AHEAD)

    def send(item: _Parsing | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(blocks.put_nowait, item)

    with closing(BlockParser(num_workers)) as parser:
        # a thread that waits for standard input must not delay the end of the process
        Thread(target=_read, args=(file, state, parser, slots, send), daemon=True).start()
        while item := await blocks.get():
            if isinstance(item, Exception):
                raise item
            yield item.block, decode_block(await asyncio.wrap_future(item.parsed))
            slots.release()


class _Parsing(NamedTuple):
    """A block that is being parsed."""

    block: Block
    parsed: Future[bytes]


def _read(
    file: SnapshotFile,
    state: ImportState,
    parser: BlockParser,
    slots: Semaphore,
    send: Callable[[_Parsing | Exception | None], None],
) -> None:
    """Read blocks when there are slots for them, and send them; at the end an error or None."""
    try:
        for block in file.read_blocks(state.position, state.tail_digest):
            slots.acquire()
            send(_Parsing(block, parser.submit(block.data)))
        send(None)
    except Exception as error:  # noqa: BLE001 - for the task that waits
        send(error)
