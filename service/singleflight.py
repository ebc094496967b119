"""Concurrent identical reads share one execution.

A caller never receives data that was read before its call: callers that arrive during a read share
the next one, which starts when the current one has ended.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """The current and the next read for each key."""

    def __init__(self) -> None:
        self._current: dict[Hashable, asyncio.Task[T]] = {}
        self._next: dict[Hashable, asyncio.Task[T]] = {}

    async def read(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `start`, or of the same read started after this call."""
        task = self._next.get(key)
        if task is None:
            task = asyncio.create_task(self._run(key, self._current.get(key), start))
            task.add_done_callback(mark_retrieved)
            self._next[key] = task
        return await asyncio.shield(task)

    async def _run(
        self,
        key: Hashable,
        previous: asyncio.Task[T] | None,
        start: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        if previous:
            await asyncio.wait([previous])
        self._current[key] = current = self._next.pop(key)
        try:
            return await start()
        finally:
            if self._current.get(key) is current:
                del self._current[key]


def mark_retrieved(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging the exception of a task that no caller waits for any more.

    The frames of its traceback refer to the task, and to data that may be large: free them.
    """
    error = None if task.cancelled() else task.exception()
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
