"""Redirects to what a search has just recorded, as soon as it can be read."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from litestar.response import Redirect
from litestar.status_codes import HTTP_303_SEE_OTHER

from ..context import Context
from ..metadata.arxiv_ids import ArxivId, format_versioned_id
from ..models.records import PaperRow
from ..papers import select_version

POLL_SECONDS = 0.1
EXTRA_SECONDS = 2.0
"""Longer than the read delay, which operators set to what the recording may take."""


async def redirect_to_search(context: Context, query_id: int) -> Redirect:
    """Redirect to the page of a search that was just recorded."""
    read = partial(context.reader.fetch_run, query_id, ignore_read_delay=True)
    await _wait_until_visible(read, context.settings.settle)
    return Redirect(f"/searches/{query_id}", status_code=HTTP_303_SEE_OTHER)


async def redirect_to_paper(context: Context, arxiv_id: ArxivId) -> Redirect:
    """Redirect to the page of a paper that was just recorded."""

    async def read() -> PaperRow | None:
        versions = await context.reader.fetch_versions(arxiv_id.name, ignore_read_delay=True)
        return select_version(versions, arxiv_id.version)

    await _wait_until_visible(read, context.settings.settle)
    return Redirect(create_paper_path(*arxiv_id), status_code=HTTP_303_SEE_OTHER)


def create_paper_path(name: str, version: int | None) -> str:
    """Return the path of the page of a paper."""
    return f"/abs/{format_versioned_id(name, version)}"


async def _wait_until_visible(read: Callable[[], Awaitable[object]], read_delay: float) -> None:
    """Return when `read` returns something, or later than it should take.

    A queue or a replica may delay what was recorded.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + read_delay + EXTRA_SECONDS
    while not await read() and loop.time() < end:  # noqa: ASYNC110 - the database does not notify
        await asyncio.sleep(POLL_SECONDS)
