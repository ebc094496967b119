"""Searches and harvests on a terminal."""

import argparse
import sys

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from service.handlers import parameters
from service.handlers.arxiv import receipt
from service.handlers.results import shown
from service.harvest import Harvester
from service.models import Receipt
from service.parts import Parts
from service.settings import Settings

TEXTS = ("author", "title", "journal", "abstract", "comment", "any", "id-list", "query")
DATES = ("submitted-from", "submitted-to")
LIMITS = {"start": range(10_000), "max-results": range(1, 2001)}


def add_search(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `search`: the parameters of `/arxiv`."""
    for name in (*TEXTS, *DATES):
        parser.add_argument(f"--{name}", help="as the parameter of /arxiv")
    parser.add_argument("--category", action="append", help="may be given several times: any")
    for name, limits in LIMITS.items():
        parser.add_argument(
            f"--{name}", type=int, choices=limits, metavar=f"{limits[0]}..{limits[-1]}"
        )
    parser.add_argument(
        "--sort-by", choices=["relevance", "lastUpdatedDate", "submittedDate"], default="relevance"
    )
    parser.add_argument("--sort-order", choices=["descending", "ascending"], default="descending")
    parser.add_argument("--no-cache", action="store_true", help="ask arXiv in any case")
    parser.add_argument("--json", action="store_true", help="print JSON, as /arxiv answers it")


def add_harvest(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `harvest`."""
    parser.add_argument("query", metavar="QUERY", help="in arXiv's query language: cat:cs.SE")
    parser.add_argument("--max", type=_positive, metavar="N", help="how many papers at most")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


async def search(settings: Settings, options: argparse.Namespace) -> None:
    """Print the papers that match, from memory or from arXiv. Raises what Searcher.find raises."""
    asked = parameters.search(
        author=options.author,
        title=options.title,
        journal=options.journal,
        abstract=options.abstract,
        comment=options.comment,
        any_field=options.any,
        id_list=options.id_list,
        expression=options.query,
        submitted_from=options.submitted_from,
        submitted_to=options.submitted_to,
        category=options.category,
        start=options.start or 0,
        max_results=options.max_results,
        sort_by=options.sort_by,
        sort_order=options.sort_order,
        settings=settings,
    )
    async with Parts(settings) as parts:
        found = await parts.searcher.find(asked, anew=options.no_cache)
        answer = receipt(found, settings)
        answer.results = shown(await parts.store.results_of(answer.query_id), settings.zone)
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer)).decode() + "\n")
    else:
        _print(answer, found.how)


def _print(answer: Receipt, how: str) -> None:
    console = Console()
    table = Table("", "paper", "authors", "title", "journal", box=None, pad_edge=False)
    for result in answer.results or ():
        version = f"v{result.version}" if result.version else ""
        table.add_row(
            str(result.result_number + 1),
            f"{result.arxiv_id or ''}{version}",
            result.author,
            result.title,
            result.journal or "",
        )
    # what arXiv sends is no markup of ours
    console.print(table, markup=False)
    whence = "remembered" if how.startswith("hit") else "from arXiv"
    console.print(
        f"{answer.num_entries} of {answer.num_results} papers, {whence}, {answer.timestamp},"
        f" query {answer.query_id}",
        markup=False,
        highlight=False,
    )
    for warning in answer.warnings:
        console.print(f"warning: {warning}", markup=False)
    if answer.missing_ids:
        console.print(f"arXiv does not know {', '.join(answer.missing_ids)}", markup=False)


async def harvest(settings: Settings, options: argparse.Namespace) -> None:
    """Store all papers that match, showing how far it is. Raises what Harvester.run raises."""
    async with Parts(settings) as parts:
        harvester = Harvester(options.query, options.max, parts.searcher, parts.store)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("papers", total=None)
            counts = []
            async for progress in harvester.run():
                counts.append(progress.stored)
                bar.update(task, completed=progress.stored, total=progress.total or None)
        sys.stdout.write(f"{counts[-1]} papers are stored, {counts[-1] - counts[0]} new\n")
