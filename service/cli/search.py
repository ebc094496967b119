"""`search`: one search, with its papers."""

from functools import partial
from typing import Any, get_args

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from ..arxiv_query import MAX_MIRROR_RESULT, MAX_QUERY_LENGTH
from ..context import create_context
from ..escaping import escape_hidden_in_json
from ..models.arxiv import MAX_RESULTS, SearchSource, SortBy, SortOrder
from ..models.responses import Result, SearchSummary
from ..search import summarize, wait_for_results
from ..search_params import MAX_TERM_LENGTH, parse_search
from ..settings import Settings
from .common import Integer, create_text_type, run_interactive, sanitize_text

TERM = create_text_type(MAX_TERM_LENGTH)
EXPRESSION = create_text_type(MAX_QUERY_LENGTH)
START = Integer(0, MAX_MIRROR_RESULT)
SORT_BY = click.Choice(get_args(SortBy))
SORT_ORDER = click.Choice(get_args(SortOrder))
_ORIGINS = {"arxiv": "arXiv", "mirror": "the mirror"}


@click.command(
    epilog="Examples:\n\n  arxiv-gateway search --title testing --max-results 5\n\n"
    "  arxiv-gateway search --category 'cs.*' --sort-by submittedDate --json\n\n"
    "  arxiv-gateway search --query 'ti:\"unit test\" ANDNOT cat:cs.AI'"
)
@click.option("--author", type=TERM, help="Words of one author's name.")
@click.option("--title", type=TERM, help="A phrase of the title.")
@click.option("--journal", type=TERM, help="A phrase of the journal reference.")
@click.option("--abstract", type=TERM, help="A phrase of the abstract.")
@click.option("--comment", type=TERM, help="A phrase of the comment.")
@click.option("--any", type=TERM, help="A phrase of any field.")
@click.option(
    "--category",
    type=create_text_type(100),
    multiple=True,
    help="A category such as cs.SE, or an archive such as cs; repeat it to match any of several.",
)
@click.option(
    "--id-list", type=EXPRESSION, help="arXiv identifiers, separated by commas or spaces."
)
@click.option("--query", type=EXPRESSION, help="A query in arXiv's query language.")
@click.option("--submitted-from", type=EXPRESSION, help="First date of version 1: 2026-01-31.")
@click.option("--submitted-to", type=EXPRESSION, help="Last date of version 1.")
@click.option("--start", type=START, default=0, metavar="N", help="Number of papers to skip.")
@click.option(
    "--max-results",
    type=Integer(1, MAX_RESULTS),
    metavar="N",
    help="Number of papers to return.  [default: ARXIV_MAX_RESULTS, or all of --id-list]",
)
@click.option("--sort-by", type=SORT_BY, default="relevance", help="Sort key.")
@click.option("--sort-order", type=SORT_ORDER, default="descending", help="Sort direction.")
@click.option(
    "--source",
    type=click.Choice(get_args(SearchSource)),
    help="What answers.  [default: ARXIV_SOURCE, or auto]",
)
@click.option("--no-cache", is_flag=True, help="Send the search to arXiv even if it is cached.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as /arxiv returns it.")
def search(
    *,
    source: SearchSource | None,
    no_cache: bool,
    as_json: bool,
    **parameters: Any,  # noqa: ANN401
) -> None:
    """Run one search, record it, and print the papers.

    The options are the parameters of /arxiv; all terms must match.
    """
    parameters["category"] = list(parameters["category"]) or None
    print_papers = partial(
        print_search, parameters, source=source, bypass_cache=no_cache, as_json=as_json
    )
    run_interactive(print_papers)


async def print_search(
    parameters: dict[str, Any],
    settings: Settings,
    *,
    source: SearchSource | None,
    bypass_cache: bool,
    as_json: bool,
) -> None:
    """Print the papers that match, from the cache, arXiv or the mirror. Raises ServiceError."""
    context = create_context(settings)
    search = parse_search(settings.zone, **parameters)
    async with context:
        reply = await context.search_service.search(
            search, bypass_cache=bypass_cache, source=source
        )
        summary = summarize(search, reply, settings)
        rows = await wait_for_results(reply.recorded, context.records.fetch_results)
        summary.results = Result.from_rows(rows, settings.zone)
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(summary)).decode()
        click.echo(escape_hidden_in_json(text))
    else:
        _print_table(summary, _ORIGINS.get(reply.answered_by, "the cache"))


def _print_table(summary: SearchSummary, origin: str) -> None:
    console = Console(emoji=False, highlight=False)
    table = Table("", "paper", "authors", "title", "journal", box=None, pad_edge=False)
    for result in summary.results or ():
        version = f"v{result.version}" if result.version else ""
        texts = map(sanitize_text, (result.author, result.title, result.journal or ""))
        table.add_row(str(result.result_number + 1), f"{result.arxiv_id or ''}{version}", *texts)
    console.print(table)
    console.print(
        f"{summary.num_entries} of {summary.num_results} papers, from {origin},"
        f" {summary.timestamp}, query {summary.query_id}",
    )
    for warning in summary.warnings:
        console.print(sanitize_text(f"warning: {warning}"))
    if summary.missing_ids:
        console.print(sanitize_text(f"not returned: {', '.join(summary.missing_ids)}"))
