"""`sync`: the mirror of arXiv's metadata."""

import sys
from datetime import UTC, date, datetime
from functools import partial
from time import time

import rich_click as click
from rich import progress as bars
from rich.console import Console

from ..arxiv_schedule import find_feed_day
from ..context import LocalContext
from ..errors import ConfigurationError
from ..escaping import escape_hidden
from ..mirror.announcements import AnnouncementResult, read_announcements
from ..mirror.oai_xml import MetadataPrefix
from ..mirror.sync import (
    FORMATS,
    LEASE_SECONDS,
    Selection,
    SyncProgress,
    SyncResult,
)
from ..mirror.sync import (
    sync as sync_mirror,
)
from ..settings import Settings
from .common import create_text_type, require_primary, run_interactive

INCOMPLETE = 1
"""Exit status if records are missing."""
MAX_SET_LENGTH = 100
MAX_DAYS = 20


def _parse_day(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a date such as 2026-11-30") from error


def _check_days(since: date | None, until: date | None) -> None:
    if since and since > datetime.now(UTC).date():
        raise click.BadParameter("it is in the future", param_hint="--from")
    if since and until and since > until:
        raise click.BadParameter("it is before --from", param_hint="--until")


@click.command(
    epilog="Examples:\n\n  arxiv-gateway sync\n\n  arxiv-gateway sync --set cs\n\n"
    "  arxiv-gateway sync --from 2026-11-01 --until 2026-11-15"
)
@click.option(
    "--from",
    "since",
    type=_parse_day,
    metavar="DATE",
    help="First day of the changes to receive.  [default: where the last sync or import ended]",
)
@click.option(
    "--until",
    type=_parse_day,
    metavar="DATE",
    help="Last day of the changes to receive.  [default: today]",
)
@click.option(
    "--set",
    "set_spec",
    type=create_text_type(MAX_SET_LENGTH),
    default="",
    metavar="SET",
    help="Only papers of this set, such as `cs` or `physics:hep-th`.  [default: all]",
)
@click.option(
    "--format",
    "metadata_format",
    type=click.Choice(FORMATS[:1]),
    help="Only this format, which takes half of the requests: names of authors are less exact."
    "  [default: both]",
)
def sync(
    since: date | None, until: date | None, set_spec: str, metadata_format: MetadataPrefix | None
) -> None:
    """Bring the mirror of arXiv's metadata up to date, over OAI-PMH.

    Receives the records that arXiv has changed since the last sync or import, or all of them.
    Then reads today's announcements. Searches of a running service go first. Can be interrupted at
    any time: the same command continues.

    Exits with 1 if any records are missing. The same command requests days again that arXiv did not
    send. Records that are invalid are received again only when arXiv changes them, or with --from.
    """
    _check_days(since, until)
    formats = (metadata_format,) if metadata_format else FORMATS
    selection = Selection(since, until, set_spec, formats)
    run_interactive(partial(run_sync, selection), require_primary)


async def run_sync(selection: Selection, settings: Settings) -> None:
    """Sync the mirror, and show the progress.

    Exits with INCOMPLETE if records are missing. Raises ServiceError.
    """
    for name in ("oai_url", "rss_url"):
        if problem := next(settings.find_interval_problems(name), None):
            raise ConfigurationError(problem)
    console = Console(stderr=True)
    columns = (
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TextColumn(
            "{task.fields[records]} records, {task.fields[rate]}/s, {task.fields[day]}"
        ),
        bars.TimeElapsedColumn(),
    )
    remaining = "left:", bars.TimeRemainingColumn(compact=True)
    async with LocalContext(settings) as context:
        with bars.Progress(
            *columns, *remaining, console=console, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("", total=None, records=0, rate="-", day="waiting for arXiv")

            def report(progress: SyncProgress) -> None:
                elapsed = bar.tasks[task].elapsed
                bar.update(
                    task,
                    completed=(progress.day - progress.first_day).days,
                    total=(progress.last_day - progress.first_day).days or None,
                    records=progress.records,
                    rate=round(progress.records / elapsed) if elapsed else "-",
                    day=progress.day,
                )

            result = await sync_mirror(
                context.mirror_store,
                context.oai,
                selection,
                report=report,
                max_wait=LEASE_SECONDS + 5,
            )
        # before the feeds, which may fail
        _print_result(result)
        announcements = await _read_announcements(context, selection)
    _print_announcements(announcements)
    if not result.is_complete or (announcements and announcements.failures):
        sys.exit(INCOMPLETE)


async def _read_announcements(
    context: LocalContext, selection: Selection
) -> AnnouncementResult | None:
    """Read today's announcements if the sync is of all papers up to now."""
    day = find_feed_day(time())
    if day is None or selection.until or selection.set_spec:
        return None
    return await read_announcements(
        context.announcement_store, context.mirror_store, context.feed_client, day
    )


def _print_result(result: SyncResult) -> None:
    state = result.state
    click.echo(f"{result.records} records received in {result.pages} responses")
    if state.covered_until:
        click.echo(f"the mirror has all changes from {state.covered_from} to {state.covered_until}")
    if state.run_invalid:
        click.echo(f"{state.run_invalid} records are invalid and were left out", err=True)
    if state.skipped:
        days = ", ".join(map(str, state.skipped[:MAX_DAYS]))
        others = len(state.skipped) - MAX_DAYS
        more = f" and {others} other days" if others > 0 else ""
        click.echo(
            f"arXiv sent no usable records of {escape_hidden(days + more)}. Run the same command"
            " again to retry",
            err=True,
        )


def _print_announcements(result: AnnouncementResult | None) -> None:
    if result is None:
        return
    if result.feeds:
        click.echo(f"{result.papers} announcements of {result.day} in {result.feeds} feeds")
    for failure in result.failures:
        click.echo(f"cannot read the announcements of {escape_hidden(failure)}", err=True)
    if not result.is_complete:
        click.echo("Some announcements of today are read by a later sync", err=True)
