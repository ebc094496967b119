"""Equal reads at the same time are one.

Nobody is given what was read before he asked: who comes while a read is under way shares the next
one, which begins when that has ended.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Reads by what is asked."""

    def __init__(self) -> None:
        """Begin without any."""
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}
        self._to_come: dict[Hashable, asyncio.Task[T]] = {}

    async def read(self, asked: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `start` gives, or the same that somebody else starts after this call."""
        task = self._to_come.get(asked)
        if task is None:
            task = asyncio.create_task(self._run(asked, self._under_way.get(asked), start))
            task.add_done_callback(forget)
            self._to_come[asked] = task
        return await asyncio.shield(task)

    async def _run(
        self,
        asked: Hashable,
        before: asyncio.Task[T] | None,
        start: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        if before:
            await asyncio.wait([before])
        self._under_way[asked] = mine = self._to_come.pop(asked)
        try:
            return await start()
        finally:
            if self._under_way.get(asked) is mine:
                del self._under_way[asked]


def forget(ended: asyncio.Task[Any]) -> None:
    """Whoever waits gets the error; when nobody does, asyncio must not complain of that."""
    if not ended.cancelled():
        ended.exception()
