"""API keys on a terminal: python -m service keys [add | list | revoke]."""

import argparse
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import api_keys
from ..api_keys import ApiKey, Rate
from ..context import create_pools
from ..db.api_keys import ApiKeyStore
from ..errors import NotFound
from ..settings import Settings

DEFAULT_RATE = "600/minute"
MOST = 200
"""Characters that a line of the list has at most."""


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Describe the commands below `keys`."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = commands.add_parser("add", help="make a key, and print it: it is not kept anywhere")
    add.add_argument("name", type=_name, metavar="NAME", help="whose it is; the log has it")
    add.add_argument(
        "--rate",
        type=_rate,
        default=Rate.parse(DEFAULT_RATE),
        metavar="N/UNIT",
        help=f"requests per second, minute, hour or day and instance (default: {DEFAULT_RATE})",
    )
    commands.add_parser("list", help="all keys there have been")
    revoke = commands.add_parser("revoke", help="let a key count no more")
    revoke.add_argument("name", type=_name, metavar="NAME")


def _name(text: str) -> str:
    if not api_keys.NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: give letters, digits and ._@-, 64 at most")
    return text


def _rate(text: str) -> Rate:
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


async def run(settings: Settings, options: argparse.Namespace) -> None:
    """Do what the command line says."""
    connections = create_pools(settings)
    store = ApiKeyStore(connections)
    async with connections:
        if options.action == "add":
            await _add(store, ApiKey(options.name, options.rate))
        elif options.action == "revoke":
            await _revoke(store, options.name)
        else:
            await _list(store)


async def _add(store: ApiKeyStore, key: ApiKey) -> None:
    text = api_keys.generate_key()
    await store.add(key, api_keys.hash_key(text), text[: api_keys.VISIBLE_CHARS])
    print(text)  # noqa: T201 - alone on standard output, for a pipe
    sys.stderr.write(f"{key.name} may ask {key.rate}; nobody can show this key again\n")


async def _revoke(store: ApiKeyStore, name: str) -> None:
    if not await store.revoke(name):
        raise NotFound(f"no key that counts is named {name}")
    sys.stderr.write(f"revoked; every instance knows within {api_keys.FRESH_SECONDS:g} seconds\n")


async def _list(store: ApiKeyStore) -> None:
    table = Table(box=None)
    for title in ("name", "begins with", "rate", "made", "revoked"):
        table.add_column(title, overflow="fold", no_wrap=not sys.stdout.isatty())
    for row in await store.fetch_all():
        rate = Rate(row.quota, row.seconds)
        cells = (
            row.name,
            f"{row.beginning}...",
            str(rate),
            _moment(row.made),
            _moment(row.revoked),
        )
        table.add_row(*map(Text, cells))
    # in a pipe a line is as long as it needs to be: rich takes it for a terminal of 80 columns
    console = Console(width=None if sys.stdout.isatty() else MOST)
    console.print(table)


def _moment(seconds: int | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
