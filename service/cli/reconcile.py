"""`reconcile`: records of which a part is missing."""

import asyncio
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.table import Table

from ..context import LocalContext
from ..db.reconcile import Mismatch
from ..settings import Settings
from .common import Integer, require_database, run_interactive

if TYPE_CHECKING:
    from ..queue.rabbitmq import RecordQueue

UNREPAIRED = 3
"""Exit status if mismatches remain."""


@click.command(
    epilog="Examples:\n\n  arxiv-gateway reconcile\n\n  arxiv-gateway reconcile --repair"
)
@click.option("--repair", is_flag=True, help="Record the missing searches; otherwise only list.")
@click.option(
    "--grace",
    type=Integer(0, 86_400),
    default=90,  # a write is retried for 30 seconds, and its last attempt may take up to 40
    metavar="SECONDS",
    help="Time after which a mismatch is not a write in progress.",
)
def reconcile(*, repair: bool, grace: int) -> None:
    """Find, and with --repair repair, results without their search.

    A crash can leave such results if searches and results are on separate PostgreSQL systems.
    Exits with 3 if anything remains unrepaired.
    """
    run_interactive(partial(run_reconcile, repair=repair, grace=grace), require_database)


async def run_reconcile(settings: Settings, *, repair: bool, grace: int) -> None:
    """Print the mismatches. Exits with UNREPAIRED if any remain."""
    async with LocalContext(settings) as context:
        if context.queue and repair:
            await _check_queue_is_idle(context.queue)
        mismatches = await context.reconciler.find_mismatches()
        if mismatches:
            notice = "mismatches, or writes in progress: checking again in"
            click.echo(f"{len(mismatches)} {notice} {grace} s", err=True)
            await asyncio.sleep(grace)
            latest = await context.reconciler.find_mismatches()
            mismatches = [mismatch for mismatch in latest if mismatch in mismatches]
        repaired = await context.reconciler.repair(mismatches) if repair else 0
    _print_table(mismatches)
    click.echo(f"{len(mismatches)} mismatches, {repaired} repaired")
    if repaired < len(mismatches):
        sys.exit(UNREPAIRED)


async def _check_queue_is_idle(queue: "RecordQueue") -> None:
    """Exit with 1 if the search of some results may still be in the queue."""
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not queue.connected:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.1)
    backlog = await queue.fetch_backlog()
    if backlog is None:
        sys.exit("nothing is repaired: cannot check whether searches are waiting in the queue")
    if backlog.waiting or backlog.writers:
        sys.exit(
            f"nothing is repaired: {backlog.waiting} searches are waiting in the queue and"
            f" {backlog.writers} queue workers are running; stop them when the queue is empty, then"
            " repair"
        )


def _print_table(mismatches: list[Mismatch]) -> None:
    if not mismatches:
        return
    table = Table("query", "results", "of", "", box=None, pad_edge=False)
    for each in mismatches:
        expected = "?" if each.expected is None else str(each.expected)
        table.add_row(str(each.query_id), str(each.stored), expected, _describe(each))
    Console(emoji=False, highlight=False).print(table)


def _describe(mismatch: Mismatch) -> str:
    if mismatch.is_repairable:
        return "without their search, as after a crash: use --repair"
    if mismatch.stored:
        return "WRONG: the search has another number of results; investigate"
    return "WRONG: a search without its results; investigate"
