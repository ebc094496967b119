"""`index`: the search index of this machine."""

import asyncio
import sys
import time
from functools import partial
from pathlib import Path

import rich_click as click
from rich import progress as bars
from rich.console import Console

from ..context import create_pools
from ..db.paper_changes import PaperChanges
from ..db.paper_source import PaperSource
from ..db.pool import DatabasePools
from ..errors import IndexUnavailable
from ..escaping import escape_hidden
from ..search_index import comparison, state
from ..search_index.comparison import Difference
from ..search_index.indexer import Indexer
from ..search_index.schema import open_index
from ..settings import Settings
from .common import require_database, run_interactive

DIFFERS = 1
"""Exit status of --verify if something differs."""
MAX_LINES = 20
POLL_SECONDS = 0.2
GRACE_SECONDS = 3.0
"""Time after which a difference is not a change that is being indexed."""
BEHIND_SECONDS = 5.0
"""Time without an update after which the index is shown as behind."""


@click.command(
    epilog="Examples:\n\n  arxiv-gateway index\n\n  arxiv-gateway index --rebuild\n\n"
    "  arxiv-gateway index --verify"
)
@click.option("--rebuild", is_flag=True, help="Build the index again; searches use the old one.")
@click.option("--verify", is_flag=True, help="Compare the index with PostgreSQL.")
def index(*, rebuild: bool, verify: bool) -> None:
    """Show the search index of this machine, and update it.

    The index is in ARXIV_INDEX_DIR. A running service keeps it up to date, and also rebuilds it
    for this command; otherwise this command does. With --verify, exits with 1 if the index differs
    from PostgreSQL; --rebuild repairs it.
    """
    run_interactive(partial(run_index, rebuild=rebuild, verify=verify), require_database)


async def run_index(settings: Settings, *, rebuild: bool, verify: bool) -> None:
    """Update and print the index, or its differences. Exits with DIFFERS if there are any."""
    folder = settings.index_path
    async with create_pools(settings) as pools:
        indexer = Indexer(pools, folder, settings.settle)
        try:
            if rebuild:
                state.request_rebuild(folder)
            await _follow(indexer, folder)
            _print_state(folder)
            differences = await _verify(pools, settings) if verify else []
        except OSError as error:
            raise IndexUnavailable(state.describe_error(folder, error)) from error
        finally:
            indexer.close()
    if verify:
        _print_differences(differences)
    if differences:
        sys.exit(DIFFERS)


async def _follow(indexer: Indexer, folder: Path) -> None:
    """Wait for an update, or for the build that another process runs, and show the progress."""
    console = Console(stderr=True)
    columns = bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeElapsedColumn()
    with bars.Progress("papers", *columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, visible=False)
        updating = asyncio.create_task(indexer.update())
        while True:
            await asyncio.wait([updating], timeout=POLL_SECONDS)
            if progress := state.read_progress(folder):
                total = progress.total or None
                bar.update(task, completed=progress.indexed, total=total, visible=True)
            if not updating.done():
                continue
            is_ours = await updating
            if is_ours or not _is_awaited(folder):
                return
            # by another process, unless it has ended meanwhile
            await asyncio.sleep(POLL_SECONDS)
            updating = asyncio.create_task(indexer.update())


def _is_awaited(folder: Path) -> bool:
    """Whether another process is to build the index. Raises IndexUnavailable if it cannot."""
    status = state.read_status(folder)
    if status.reason and (not status.is_usable or state.is_rebuild_requested(folder)):
        raise IndexUnavailable(status.reason)
    return not status.is_usable or state.is_rebuild_requested(folder)


def _print_state(folder: Path) -> None:
    status, current = state.read_status(folder), state.read_state(folder)
    click.echo(f"directory  {escape_hidden(str(folder))}")
    if current:
        click.echo(f"papers     {current.papers}, each version counted")
        click.echo(f"position   transaction {current.position}, timeline {current.timeline}")
    click.echo(f"state      {escape_hidden(_describe_state(folder, status.reason))}")


def _describe_state(folder: Path, reason: str | None) -> str:
    if reason:
        return f"failed: {reason}"
    age = time.time() - (state.read_sync_time(folder) or 0)
    return "complete" if age < BEHIND_SECONDS else f"behind: updated {age:.0f} s ago"


async def _verify(pools: DatabasePools, settings: Settings) -> list[Difference]:
    """What differs, except what is being indexed."""
    source = await PaperSource.create(PaperChanges(pools, read_delay=settings.settle))
    current = state.read_state(settings.index_path)
    if current is None or current.database != source.baseline.database:
        raise IndexUnavailable("this machine has no search index of this database")
    try:
        opened = open_index(settings.index_path / current.directory)
        found = [each async for each in comparison.find_differences(source, opened)]
        if not found:
            return []
        await asyncio.sleep(GRACE_SECONDS)
        arxiv_ids = sorted({difference.key.arxiv_id for difference in found})
        return [
            difference
            for start in range(0, len(arxiv_ids), comparison.BATCH)
            for difference in await comparison.find_current_differences(
                source, opened, arxiv_ids[start : start + comparison.BATCH]
            )
        ]
    except ValueError as error:
        raise IndexUnavailable(f"cannot read the search index: {error}; use --rebuild") from error


def _print_differences(differences: list[Difference]) -> None:
    if not differences:
        click.echo("the index agrees with PostgreSQL")
        return
    click.echo(f"{len(differences)} versions of papers differ; use --rebuild")
    for difference in differences[:MAX_LINES]:
        click.echo(f"  {escape_hidden(_describe(difference))}")
    if len(differences) > MAX_LINES:
        click.echo(f"  and {len(differences) - MAX_LINES} more")


def _describe(difference: Difference) -> str:
    (arxiv_id, version), expected, indexed = difference
    name = f"{arxiv_id}v{version}" if version else arxiv_id
    if indexed is None:
        return f"{name} is not in the index"
    if expected is None:
        return f"{name} is not in PostgreSQL"
    return f"{name} has another state in the index"
