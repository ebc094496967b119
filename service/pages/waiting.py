"""Wait for what a search has just recorded: a queue or a replica may delay it."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.1
EXTRA_SECONDS = 2.0
"""Longer than the read delay, which operators set to what the recording may take."""


async def wait_until_visible(read: Callable[[], Awaitable[object]], read_delay: float) -> None:
    """Return when `read` returns something, or later than it should take."""
    loop = asyncio.get_running_loop()
    end = loop.time() + read_delay + EXTRA_SECONDS
    while not await read() and loop.time() < end:  # noqa: ASYNC110 - the database does not notify
        await asyncio.sleep(POLL_SECONDS)
