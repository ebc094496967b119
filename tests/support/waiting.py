"""Waits until something is the case."""

import asyncio
from collections.abc import Callable

PAUSE = 0.01
TIMEOUT = 20.0


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; other tasks run meanwhile."""
    for _ in range(round(TIMEOUT / PAUSE)):
        if condition():
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError
