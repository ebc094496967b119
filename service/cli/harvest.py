"""`harvest`: all papers that match a query."""

import sys
from collections.abc import Sequence
from functools import partial

import rich_click as click
from rich import progress as bars
from rich.console import Console

from ..arxiv_query import MAX_QUERY_LENGTH
from ..context import LocalContext
from ..escaping import escape_hidden
from ..harvest import Harvester, describe_gap
from ..models.records import Gap
from ..settings import Settings
from .common import Integer, create_text_type, require_database, run_interactive

INCOMPLETE = 3
"""Exit status if papers are missing, because arXiv's responses with them were unusable."""
MAX_LINES = 20


@click.command(
    epilog="Examples:\n\n  arxiv-gateway harvest cat:cs.SE\n\n"
    "  arxiv-gateway harvest 'cat:cs.SE AND abs:\"unit test\"' --max 20000"
)
@click.argument("query", type=create_text_type(MAX_QUERY_LENGTH))
@click.option(
    "--max",
    "max_papers",
    type=Integer(1, 10**9),
    metavar="N",
    help="Maximum number of papers.  [default: all]",
)
def harvest(query: str, max_papers: int | None) -> None:
    """Store all papers that match QUERY, in arXiv's query language.

    Can be interrupted at any time: the same command resumes where it stopped. After a completed
    harvest, it retrieves only new papers, and those that are missing.

    Papers that make arXiv's responses unusable are skipped. Exits with 3 if any are missing.
    """
    run_interactive(partial(run_harvest, query, max_papers), require_database)


async def run_harvest(query: str, max_papers: int | None, settings: Settings) -> None:
    """Store all papers that match, and show the progress.

    Exits with INCOMPLETE if papers are missing. Raises ServiceError.
    """
    async with LocalContext(settings) as context:
        harvester = Harvester(query, max_papers, context.search_service, context.records)
        console = Console(stderr=True)
        columns = bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeElapsedColumn()
        remaining = "left:", bars.TimeRemainingColumn()
        with bars.Progress(
            "papers", *columns, *remaining, console=console, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("", total=None)
            counts = []
            async for progress in harvester.run():
                counts.append(progress.stored)
                bar.update(task, completed=progress.stored, total=progress.total or None)
        gaps = await harvester.fetch_gaps()
    click.echo(f"{counts[-1]} papers are stored, {counts[-1] - counts[0]} new")
    if gaps:
        _print_gaps(gaps)
        sys.exit(INCOMPLETE)


def _print_gaps(gaps: Sequence[Gap]) -> None:
    missing = sum(gap.missing for gap in gaps)
    papers = "1 paper is" if missing == 1 else f"{missing} papers are"
    click.echo(
        f"{papers} missing, because arXiv's responses were unusable. Run the same command again to"
        " retry:",
        err=True,
    )
    for gap in gaps[:MAX_LINES]:
        click.echo(f"  {escape_hidden(describe_gap(gap))}", err=True)
    if len(gaps) > MAX_LINES:
        click.echo(f"  and {len(gaps) - MAX_LINES} more ranges", err=True)
