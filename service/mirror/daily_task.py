"""What the daily tasks within the service have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from time import time
from typing import Self

from .. import arxiv_schedule
from ..backoff import Backoff

START_DELAY = 0.5
"""Seconds before the first look: a start answers requests first."""
RETRY_PAUSE, MAX_RETRY_PAUSE = 60.0, 3600.0
"""Seconds until work that failed is repeated: the first pause, and the longest."""
SHUTDOWN_TIMEOUT = 1.0


class DailyTask(ABC):
    """Looks again and again whether there is work, while its context is entered."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._backoff = Backoff(RETRY_PAUSE, MAX_RETRY_PAUSE)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task  # noqa: S101 - see __aenter__
        self._task.cancel()
        await asyncio.wait([self._task], timeout=SHUTDOWN_TIMEOUT)

    async def _run(self) -> None:
        pause = START_DELAY
        while True:
            await asyncio.sleep(pause)
            pause = await self._look()

    @abstractmethod
    async def _look(self) -> float:
        """Do the work that is due; return the seconds until the next look. Raises nothing."""

    async def _avoid_rush(self) -> None:
        """Wait while arXiv publishes its announcement."""
        if left := arxiv_schedule.find_rush_left(self._clock()):
            await asyncio.sleep(left)
