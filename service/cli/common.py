"""What several commands share: settings, the database, types of options."""

import asyncio
import logging
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from unicodedata import category

import rich_click as click
from msgspec import structs
from rich.text import Text

from .. import embedded_postgres
from ..db import migrations
from ..db.conninfo import check_database_urls
from ..errors import ConfigurationError
from ..logging import NOTICE
from ..settings import Settings

logger = logging.getLogger(__name__)


def load_settings() -> Settings:
    """Read and check the settings. Raises ConfigurationError."""
    settings = Settings.from_env()
    check_database_urls(settings)
    return settings


def require_database(settings: Settings) -> None:
    """Raise ConfigurationError for a frontend without a database."""
    if settings.backend_url is not None:
        raise ConfigurationError(
            "ARXIV_BACKEND_URL: a frontend has no database; run this command where the database is"
        )


def require_primary(settings: Settings) -> None:
    """Raise ConfigurationError without a database to write to."""
    require_database(settings)
    if settings.only_reads:
        raise ConfigurationError("ARXIV_DATABASE_URL is not set: this command needs the primary")


@contextmanager
def open_database(settings: Settings) -> Iterator[Settings]:
    """Give the settings with the database: the configured one, or an embedded one, migrated."""
    if settings.backend_url or settings.database_url or settings.only_reads:
        yield settings
        return
    with embedded_postgres.server(settings.data_path) as url:
        apply_migrations(url)
        yield structs.replace(
            settings,
            database_url=f"{url} user=arxiv_rw",
            database_ro_url=f"{url} user=arxiv_ro",
        )


def apply_migrations(url: str, name: str = "database") -> None:
    """Apply all pending migrations. Raises ConfigurationError."""
    for migration in migrations.apply(url):
        logger.log(NOTICE, "applied migration %s", migration)
    logger.log(NOTICE, "the %s is up to date", name)


class Action(Protocol):
    """The asynchronous part of a command."""

    def __call__(self, settings: Settings, /) -> Coroutine[Any, Any, None]:
        """Run with these settings, which name the database."""


def run_interactive(action: Action, settings: Settings) -> None:
    """Run a command whose output is for a person; warnings go to standard error."""
    logging.basicConfig(level="WARNING", format="%(message)s", stream=sys.stderr)
    logging.getLogger("psycopg").setLevel("ERROR")
    with open_database(settings) as complete:
        asyncio.run(action(complete))


class TextType(click.ParamType[str]):
    """Valid text of limited length; arguments can contain bytes that are not UTF-8."""

    name = "text"

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def convert(  # noqa: D102 - as click declares it
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail("it is not valid UTF-8", param, ctx)
        if len(text) > self.max_length:
            self.fail(f"it is longer than {self.max_length} characters", param, ctx)
        return text


def plain_text(text: str) -> Text:
    """Remove control characters, and prevent rich from interpreting markup."""
    return Text("".join(" " if category(sign) in {"Cc", "Cf"} else sign for sign in text))
