"""The command line: `arxiv-gateway`, or `python -m service` in the repository."""

import io
import signal
import sys
from typing import Any

import rich_click as click

from .. import __version__
from ..errors import ConfigurationError, InvalidParameter, ServiceError
from ..escaping import escape_hidden
from .database import database, migrate
from .harvest import harvest
from .import_snapshot import import_snapshot
from .index import index
from .keys import keys
from .reconcile import reconcile
from .search import search
from .serve import serve, writer
from .sync import sync

COMPLETE_VARIABLE = "_ARXIV_GATEWAY_COMPLETE"
SERVICES = (None, "serve", "writer")
"""Commands that end successfully at a signal; `serve` is the default command."""


class _Commands(click.RichGroup):
    """Turns the service's exceptions into messages and exit statuses."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click declares it
        try:
            return super().invoke(ctx)
        except (ConfigurationError, InvalidParameter) as error:
            _print_error(f"{ctx.command_path}: {error.detail}")
            ctx.exit(2)
        except ServiceError as error:
            _print_error(f"{ctx.command_path}: {error.title}: {error.detail}")
            ctx.exit(1)
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in SERVICES:
                ctx.exit(0)
            click.echo("interrupted; the same command resumes with what is stored", err=True)
            ctx.exit(128 + signal.SIGINT)  # as shells report it


def _print_error(text: str) -> None:
    # psql's messages have several lines
    click.echo("\n".join(map(escape_hidden, text.split("\n"))), err=True)


@click.group(
    "arxiv-gateway",
    cls=_Commands,
    commands=[
        serve,
        writer,
        search,
        harvest,
        import_snapshot,
        reconcile,
        index,
        sync,
        keys,
        migrate,
        database,
    ],
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Examples:\n\n  ARXIV_CONTACT=you@example.org arxiv-gateway\n\n"
    "  arxiv-gateway search --title testing\n\n  arxiv-gateway harvest cat:cs.SE\n\n"
    "Settings are environment variables; see docs/configuration.md.\n\n"
    "Shell completion, in ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish:\n\n"
    f'  eval "$({COMPLETE_VARIABLE}=bash_source arxiv-gateway)"\n\n'
    f'  eval "$({COMPLETE_VARIABLE}=zsh_source arxiv-gateway)"\n\n'
    f"  {COMPLETE_VARIABLE}=fish_source arxiv-gateway | source",
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """A caching, rate-limiting HTTP gateway to the arXiv API.

    Without a command, runs `serve`. All commands share the settings, the database and the rate
    limiter with a running service.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # titles may have any character
    # an exception, so that resources are released
    ends_with_success = ctx.invoked_subcommand in {*SERVICES, "migrate", "database"}
    status = 0 if ends_with_success else 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve)


def main() -> None:
    """Run one command, and exit with its status."""
    commands(complete_var=COMPLETE_VARIABLE)
