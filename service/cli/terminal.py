"""Searches, harvests and repairs on a terminal."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, get_args
from unicodedata import category

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
from rich.text import Text

from ..arxiv_query import MAX_QUERY_LENGTH, MAX_RESULT
from ..context import LocalContext, create_context
from ..db.reconcile import Mismatch
from ..handlers.arxiv import receipt, results_of
from ..harvest import Harvester
from ..models.arxiv import MAX_RESULTS, SortBy, SortOrder
from ..models.responses import Result, SearchSummary
from ..search_params import MAX_TERM_LENGTH, parse_search
from ..settings import Settings

if TYPE_CHECKING:
    from ..queue.rabbitmq import RecordQueue

TERMS = ("author", "title", "journal", "abstract", "comment", "any")
GRACE = 90
"""Seconds; the last try of a write begins after 30, and takes up to twice ten, twice."""
AMISS = 3
"""The status at the end of `reconcile` that is no failure of its own."""
BROKER_PATIENCE = 10.0
LOOK_AGAIN = 0.1
"""Seconds until the queue is there, and between two looks."""
OTHERS = ("id-list", "query", "submitted-from", "submitted-to")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `search`: the parameters of `/arxiv`."""
    limits = dict.fromkeys(TERMS, MAX_TERM_LENGTH) | dict.fromkeys(OTHERS, MAX_QUERY_LENGTH)
    for name, longest in limits.items():
        parser.add_argument(f"--{name}", type=_text(longest), help="as the parameter of /arxiv")
    parser.add_argument(
        "--category", type=_text(100), action="append", help="may be given several times: any"
    )
    parser.add_argument("--start", type=_whole(0, MAX_RESULT - 1), default=0, metavar="N")
    parser.add_argument("--max-results", type=_whole(1, MAX_RESULTS), metavar="N")
    parser.add_argument("--sort-by", choices=get_args(SortBy), default="relevance")
    parser.add_argument("--sort-order", choices=get_args(SortOrder), default="descending")
    parser.add_argument("--no-cache", action="store_true", help="ask arXiv in any case")
    parser.add_argument("--json", action="store_true", help="print JSON, as /arxiv answers it")


def add_harvest(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `harvest`."""
    parser.add_argument(
        "query",
        type=_text(MAX_QUERY_LENGTH),
        metavar="QUERY",
        help="in arXiv's query language: cat:cs.SE",
    )
    parser.add_argument("--max", type=_whole(1, 10**9), metavar="N", help="how many papers at most")


def add_reconcile(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `reconcile`."""
    parser.add_argument(
        "--repair", action="store_true", help="record what is missing; without it, only look"
    )
    parser.add_argument(
        "--grace",
        type=_whole(0, 86_400),
        default=GRACE,
        metavar="SECONDS",
        help="what is amiss for longer is not being written just now (default: %(default)s)",
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Read a number within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return read


def _text(longest: int) -> Callable[[str], str]:
    """Read text of so many characters at most; the command line may hold bytes that are none."""

    def read(text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise argparse.ArgumentTypeError("it is not UTF-8") from None
        if len(text) > longest:
            raise argparse.ArgumentTypeError(f"it is longer than {longest} characters")
        return text

    return read


def _plain(text: str) -> Text:
    """What arXiv sends is no command to a terminal, and no markup of ours."""
    return Text("".join(" " if category(sign) in {"Cc", "Cf"} else sign for sign in text))


async def search(settings: Settings, options: argparse.Namespace) -> None:
    """Print the papers that match, from memory or from arXiv. Raises what Searcher.find raises."""
    context = create_context(settings)
    asked = parse_search(
        settings.zone,
        author=options.author,
        title=options.title,
        journal=options.journal,
        abstract=options.abstract,
        comment=options.comment,
        any=options.any,
        id_list=options.id_list,
        query=options.query,
        submitted_from=options.submitted_from,
        submitted_to=options.submitted_to,
        category=options.category,
        start=options.start,
        max_results=options.max_results,
        sort_by=options.sort_by,
        sort_order=options.sort_order,
    )
    async with context:
        found = await context.search_service.search(asked, bypass_cache=options.no_cache)
        answer = receipt(found, settings)
        answer.results = Result.from_rows(await results_of(answer, context), settings.zone)
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer)).decode() + "\n")
    else:
        _print(answer, found.how)


def _print(answer: SearchSummary, how: str) -> None:
    console = Console(emoji=False, highlight=False)
    table = Table("", "paper", "authors", "title", "journal", box=None, pad_edge=False)
    for result in answer.results or ():
        version = f"v{result.version}" if result.version else ""
        table.add_row(
            str(result.result_number + 1),
            f"{result.arxiv_id or ''}{version}",
            _plain(result.author),
            _plain(result.title),
            _plain(result.journal or ""),
        )
    console.print(table)
    whence = "remembered" if how.startswith("hit") else "from arXiv"
    console.print(
        f"{answer.num_entries} of {answer.num_results} papers, {whence}, {answer.timestamp},"
        f" query {answer.query_id}",
    )
    for warning in answer.warnings:
        console.print(_plain(f"warning: {warning}"))
    if answer.missing_ids:
        console.print(f"did not come back: {', '.join(answer.missing_ids)}")


async def harvest(settings: Settings, options: argparse.Namespace) -> None:
    """Store all papers that match, showing how far it is. Raises what Harvester.run raises."""
    async with LocalContext(settings) as context:
        harvester = Harvester(options.query, options.max, context.search_service, context.records)
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


async def reconcile(settings: Settings, options: argparse.Namespace) -> None:
    """Print the searches of which a part is missing. Ends with AMISS where any are left so."""
    async with LocalContext(settings) as context:
        if context.queue and options.repair:
            await _check_nothing_waits(context.queue)
        amiss = await context.reconciler.find_mismatches()
        if amiss:
            sys.stderr.write(
                f"{len(amiss)} amiss, or being written: looking again in {options.grace} s\n"
            )
            await asyncio.sleep(options.grace)
            amiss = [each for each in await context.reconciler.find_mismatches() if each in amiss]
        repaired = await context.reconciler.repair(amiss) if options.repair else 0
    console = Console(emoji=False, highlight=False)
    if amiss:
        table = Table("query", "results", "of", "", box=None, pad_edge=False)
        for each in amiss:
            said = "?" if each.expected is None else str(each.expected)
            table.add_row(str(each.query_id), str(each.stored), said, _verdict(each))
        console.print(table)
    console.print(f"{len(amiss)} amiss, {repaired} repaired")
    if repaired < len(amiss):
        sys.exit(AMISS)


async def _check_nothing_waits(buffer: "RecordQueue") -> None:
    """End with 1 where a search may still come whose results are there already."""
    for _ in range(int(BROKER_PATIENCE / LOOK_AGAIN)):
        if buffer.connected:
            break
        await asyncio.sleep(LOOK_AGAIN)
    backlog = await buffer.backlog()
    if backlog is None:
        sys.exit("nothing is repaired: whether searches wait in the queue cannot be seen")
    if backlog.waiting or backlog.writers:
        sys.exit(
            f"nothing is repaired: {backlog.waiting} searches wait in the queue and"
            f" {backlog.writers} writers are at work. Let them finish, stop them, and repair then"
        )


def _verdict(mismatch: Mismatch) -> str:
    if mismatch.is_repairable:
        return "without their search, as after a crash: --repair"
    if mismatch.stored:
        return "WRONG: the search says another number; look into it"
    return "WRONG: a search without its results; look into it"
