"""`harvest`: all papers that match a query."""

import sys
from functools import partial

import rich_click as click
from rich import progress as bars
from rich.console import Console

from ..arxiv_query import MAX_QUERY_LENGTH
from ..context import LocalContext
from ..harvest import Harvester
from ..settings import Settings
from .common import Integer, create_text_type, require_database, run_interactive


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
    harvest, it retrieves only new papers.
    """
    run_interactive(partial(run_harvest, query, max_papers), require_database)


async def run_harvest(query: str, max_papers: int | None, settings: Settings) -> None:
    """Store all papers that match, and show the progress. Raises ServiceError."""
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
        sys.stdout.write(f"{counts[-1]} papers are stored, {counts[-1] - counts[0]} new\n")
