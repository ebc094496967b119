"""`import`: a snapshot of arXiv's metadata."""

import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import rich_click as click
from rich import progress as bars
from rich.console import Console

from ..context import create_pools
from ..db.mirror import MirrorStore
from ..errors import InvalidParameter
from ..escaping import escape_hidden
from ..mirror.rejected_lines import RejectedLines
from ..mirror.snapshot_file import STANDARD_INPUT, SnapshotFile, open_snapshot
from ..mirror.snapshot_import import MIN_PAPERS, ImportProgress, SnapshotImport
from ..mirror.sync_state import add_import
from ..models.mirror import ImportState
from ..settings import Settings
from .common import require_primary, run_interactive, sanitize_text

REJECTED = 1
"""Exit status if lines could not be read."""
MAX_LINES = 20
"""Rejected lines that are printed."""
REPORT_SECONDS = 10.0
"""Between lines about the progress if standard error is not a terminal."""


@click.command(
    "import",
    epilog="Examples:\n\n  arxiv-gateway import arxiv-metadata-oai-snapshot.json\n\n"
    "  arxiv-gateway import archive.zip --rejected /tmp/rejected\n\n"
    "  unzip -p archive.zip | arxiv-gateway import -",
)
@click.argument("file")
@click.option(
    "--rejected",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Where to write unreadable lines.  [default: FILE.rejected]",
    show_default=False,
)
@click.option(
    "--restart", is_flag=True, help="Begin with the first line if an earlier import was stopped."
)
@click.option(
    "--part",
    is_flag=True,
    help="The file has only a part of arXiv's papers: the next sync does not continue from it.",
)
def import_snapshot(file: str, rejected: Path | None, *, restart: bool, part: bool) -> None:
    """Store all papers of FILE, arXiv's metadata as published on Kaggle.

    FILE is arxiv-metadata-oai-snapshot.json, plain, .gz or .zip; - is standard input. Newer data in
    the database is kept. Can be interrupted at any time: the same command resumes where it stopped.

    Unreadable lines are skipped, and written to FILE.rejected. Exits with 1 if there are any.
    """
    path = rejected or Path(f"{'stdin' if file == STANDARD_INPUT else file}.rejected")
    with open_snapshot(file) as snapshot:
        if file != STANDARD_INPUT and path.exists() and path.samefile(file):
            raise InvalidParameter("--rejected", "this is the file to import: give another path")
        with RejectedLines(path) as lines:
            run = partial(run_import, snapshot, lines, restart=restart, is_whole=not part)
            run_interactive(run, require_primary)


async def run_import(
    file: SnapshotFile,
    rejected: RejectedLines,
    settings: Settings,
    *,
    restart: bool,
    is_whole: bool,
) -> None:
    """Import a file, and show the progress. Exits with REJECTED if lines could not be read.

    Raises ServiceError.
    """
    async with create_pools(settings) as pools:
        store = MirrorStore(pools)
        snapshot_import = SnapshotImport(store, file, rejected)
        start = await snapshot_import.start(restart=restart, is_whole=is_whole)
        with closing(_Report(file, start)) as report:
            async for progress in snapshot_import.run():
                report.show(progress)
        report.print_summary()
        await _print_next_sync(store, progress.state)
    if progress.state.rejected:
        click.echo(f"the rejected lines are in {escape_hidden(str(rejected.path))}", err=True)
        sys.exit(REJECTED)


async def _print_next_sync(store: MirrorStore, state: ImportState) -> None:
    """Print whether the next sync continues from the file."""
    if not state.is_whole:
        click.echo("the next sync does not continue from this part of the papers")
        return
    covered = add_import(await store.fetch_sync(""), await store.fetch_newest_import())
    click.echo(f"the next sync continues with the changes of {covered.covered_until}")
    if state.lines - state.rejected < MIN_PAPERS:
        click.echo(
            "arXiv has more papers than this file. If it is only a part, import it again with"
            " --part: otherwise the mirror counts as complete without the others"
        )


class _Report:
    """Shows the progress: a bar on a terminal, and otherwise a line now and then."""

    def __init__(self, file: SnapshotFile, start: ImportState) -> None:
        self._start, self._progress = start, ImportProgress(start)
        self._started = self._reported = time.monotonic()
        self._num_printed = 0
        self._console = Console(stderr=True)
        columns = bars.BarColumn(), bars.TaskProgressColumn(), bars.TimeElapsedColumn()
        remaining = "left:", bars.TimeRemainingColumn()
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            *columns,
            *remaining,
            console=self._console,
            disable=not self._console.is_terminal,
        )
        if start.lines:
            self._print(f"resuming at line {start.lines + 1}; --restart begins with line 1")
        self._bar.start()
        self._task = self._bar.add_task("lines", total=file.size)

    def close(self) -> None:
        """Stop the bar."""
        self._bar.stop()

    def show(self, progress: ImportProgress) -> None:
        """Show the progress, and the first lines that were rejected."""
        if progress.state.lines < self._start.lines:
            self._print("the file has changed since: beginning with line 1")
            self._start = progress.state
        self._progress = progress
        self._bar.update(
            self._task, completed=progress.bytes_read, description=self._describe_rate()
        )
        for line in progress.rejected[: max(MAX_LINES - self._num_printed, 0)]:
            self._num_printed += 1
            self._print(f"line {line.number}: {line.reason}")
        if progress.rejected and self._num_printed == MAX_LINES:
            self._num_printed += 1
            self._print("further rejected lines are not shown")
        if not self._console.is_terminal and time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            self._print(self._describe_rate() + self._describe_remaining())

    def print_summary(self) -> None:
        """Print what has been imported."""
        state = self._progress.state
        earlier = f", {self._start.lines:,} of them earlier" if self._start.lines else ""
        click.echo(
            f"{state.lines:,} lines{earlier}; {self._progress.papers:,} papers new or changed,"
            f" {state.rejected:,} lines rejected; {time.monotonic() - self._started:.1f} s,"
            f" {self._compute_rate():,.0f} lines/s"
        )

    def _compute_rate(self) -> float:
        num_lines = self._progress.state.lines - self._start.lines
        return num_lines / max(time.monotonic() - self._started, 0.001)

    def _describe_rate(self) -> str:
        return f"{self._progress.state.lines:,} lines, {self._compute_rate():,.0f}/s"

    def _describe_remaining(self) -> str:
        task = self._bar.tasks[0]
        if task.total is None or task.time_remaining is None:
            return ""
        return f", {task.percentage:.0f} %, {task.time_remaining:.0f} s left"

    def _print(self, text: str) -> None:
        self._console.print(sanitize_text(text), soft_wrap=True, highlight=False)
