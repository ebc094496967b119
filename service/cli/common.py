"""What several commands share: settings, the database, types of options."""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import rich_click as click
from msgspec import structs
from rich.text import Text

from .. import embedded_postgres
from ..db import migrations
from ..db.conninfo import check_database_urls
from ..errors import ConfigurationError
from ..escaping import is_hidden
from ..logging import NOTICE, MessageFormatter
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
    with embedded_postgres.run_server(settings.data_path) as url:
        apply_migrations(url)
        urls = {"database_url": f"{url} user=arxiv_rw", "database_ro_url": f"{url} user=arxiv_ro"}
        yield structs.replace(settings, **urls)


def apply_migrations(url: str, name: str = "database") -> None:
    """Apply all pending migrations. Raises ConfigurationError."""
    for migration in migrations.apply(url):
        logger.log(NOTICE, "applied migration %s", migration)
    logger.log(NOTICE, "the %s is up to date", name)


def run_interactive(
    action: Callable[[Settings], Coroutine[Any, Any, None]],
    require: Callable[[Settings], None] | None = None,
) -> None:
    """Run a command whose output is for a person; warnings go to standard error."""
    settings = load_settings()
    if require:
        require(settings)
    handler = logging.StreamHandler()
    handler.setFormatter(MessageFormatter())
    logging.basicConfig(level="WARNING", handlers=[handler])
    logging.getLogger("psycopg").setLevel("ERROR")
    with open_database(settings) as complete:
        asyncio.run(action(complete))


def create_text_type(max_length: int) -> Callable[[str], str]:
    """Return a type of parameters: valid UTF-8 of limited length."""

    def text(value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise click.BadParameter("it is not valid UTF-8") from error
        if len(value) > max_length:
            raise click.BadParameter(f"it is longer than {max_length} characters")
        return value

    return text


class Integer(click.IntRange):
    """A range that takes ASCII digits only: `int` also takes `+5`, `1_0` and other digits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click declares it
        """Return the number. Raises click.BadParameter."""
        if isinstance(value, str) and not re.fullmatch("-?[0-9]+", value):
            self.fail(f"{value!r} is not a whole number in digits", param, ctx)
        return super().convert(value, param, ctx)


def sanitize_text(text: str) -> Text:
    """Remove hidden characters, and prevent rich from interpreting markup."""
    return Text("".join(" " if is_hidden(character) else character for character in text))
