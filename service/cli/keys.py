"""`keys`: API keys."""

import sys
from datetime import UTC
from functools import partial

import rich_click as click
from rich.console import Console
from rich.table import Table

from .. import api_keys
from ..api_keys import ApiKey, Rate
from ..context import create_pools
from ..db.api_keys import ApiKeyStore
from ..errors import NotFound
from ..settings import Settings
from ..timestamps import format_iso
from .common import require_primary, run_interactive

MAX_LINE_LENGTH = 200
"""Characters of a line of the list that is not written to a terminal."""


def key_name(text: str) -> str:
    """Check the name of a key."""
    if not api_keys.NAME_PATTERN.fullmatch(text):
        raise click.BadParameter(f"{text!r}: use letters, digits and ._@-, at most 64")
    return text


def rate(text: str) -> Rate:
    """Parse the quota of a key."""
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group(
    epilog="Examples:\n\n  arxiv-gateway keys add team-a --rate 120/minute\n\n"
    "  arxiv-gateway keys list\n\n  arxiv-gateway keys revoke team-a"
)
def keys() -> None:
    """Manage API keys, which ARXIV_API_KEYS makes the service require."""


@keys.command(epilog="Example:\n\n  arxiv-gateway keys add team-a --rate 120/minute")
@click.argument("name", type=key_name)
@click.option(
    "--rate",
    type=rate,
    default="600/minute",
    metavar="N/UNIT",
    help="Requests per second, minute, hour or day, for each process of the service.",
)
def add(name: str, rate: Rate) -> None:
    """Create a key, and print it.

    NAME identifies the key in lists and in the log. The key is not stored, only its digest.
    """
    run_interactive(partial(add_key, ApiKey(name, rate)), require_primary)


@keys.command("list", epilog="Example:\n\n  arxiv-gateway keys list")
def list_() -> None:
    """List all keys, including revoked ones."""
    run_interactive(list_keys, require_primary)


@keys.command(epilog="Example:\n\n  arxiv-gateway keys revoke team-a")
@click.argument("name", type=key_name)
def revoke(name: str) -> None:
    """Revoke the key NAME."""
    run_interactive(partial(revoke_key, name), require_primary)


async def add_key(key: ApiKey, settings: Settings) -> None:
    """Store a new key, and print it alone to standard output. Raises ApiKeyNameTaken."""
    text = api_keys.generate_key()
    async with create_pools(settings) as pools:
        await ApiKeyStore(pools).add(key, api_keys.hash_key(text), text[: api_keys.VISIBLE_CHARS])
    print(text)  # noqa: T201 - for a pipe
    sys.stderr.write(f"{key.name} may send {key.rate}; the key cannot be shown again\n")


async def revoke_key(name: str, settings: Settings) -> None:
    """Revoke a key. Raises NotFound."""
    async with create_pools(settings) as pools:
        if not await ApiKeyStore(pools).revoke(name):
            raise NotFound(f"cannot find a valid key with the name {name}")
    sys.stderr.write(f"revoked; takes effect within {api_keys.FRESH_SECONDS:g} seconds\n")


async def list_keys(settings: Settings) -> None:
    """Print all keys, without their secret parts."""
    async with create_pools(settings) as pools:
        rows = await ApiKeyStore(pools).fetch_all()
    is_terminal = sys.stdout.isatty()
    table = Table(box=None)
    for title in ("name", "begins with", "rate", "created", "revoked"):
        table.add_column(title, overflow="fold", no_wrap=not is_terminal)
    for row in rows:
        times = [f"{format_iso(t, UTC)}Z" if t else "" for t in (row.made, row.revoked)]
        table.add_row(row.name, f"{row.beginning}...", str(Rate(row.quota, row.seconds)), *times)
    # rich assumes 80 columns if the output is not a terminal
    Console(width=None if is_terminal else MAX_LINE_LENGTH, markup=False).print(table)
