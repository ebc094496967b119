"""Concurrent identical calls share one execution.

`SingleFlight` is for reads: a caller never receives data that was read before its call, so callers
that arrive during a read share the next one, which starts when the current one has ended.
`InFlight` is for searches: callers may join while it is in progress. Both are cancelled when the
last caller has left.
"""

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from .errors import QueueTooLong

T = TypeVar("T")

STOPPING_RETRY_AFTER = 5
"""The Retry-After of searches that wait when the service stops."""


class SingleFlight(Generic[T]):
    """The current and the next read for each key. A read is cancelled when no caller is left."""

    def __init__(self) -> None:
        self._current: dict[Hashable, _Read[T]] = {}
        self._next: dict[Hashable, _Read[T]] = {}

    async def read(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `start`, or of the same read started after this call."""
        if (read := self._next.get(key)) is None:
            read = self._next[key] = _Read()
            read.task = asyncio.create_task(self._run(key, read, self._current.get(key), start))
            read.task.add_done_callback(mark_retrieved)
        read.callers += 1
        try:
            return await asyncio.shield(read.task)
        finally:
            read.callers -= 1
            if not read.callers:
                _remove(self._next, key, read)  # callers that follow do not share it
                read.task.cancel()

    async def _run(
        self,
        key: Hashable,
        read: "_Read[T]",
        previous: "_Read[T] | None",
        start: Callable[[], Coroutine[Any, Any, T]],
    ) -> T:
        if previous:
            await asyncio.wait([previous.task])
        _remove(self._next, key, read)
        self._current[key] = read
        try:
            return await start()
        finally:
            _remove(self._current, key, read)


class _Read(Generic[T]):
    """A read, and how many callers wait for it."""

    task: asyncio.Task[T]
    callers = 0


def _remove(reads: dict[Hashable, _Read[T]], key: Hashable, read: _Read[T]) -> None:
    if reads.get(key) is read:
        del reads[key]


class InFlight(Generic[T]):
    """A search in progress, which several clients may wait for."""

    def __init__(self, start: "Callable[[InFlight[T]], Coroutine[Any, Any, T]]") -> None:
        self.upstream_started = False
        """Whether a request to arXiv is in progress; its response is recorded in any case."""
        self._clients = 0
        self._is_stopping = False
        self.task = asyncio.create_task(start(self))
        self.task.add_done_callback(mark_retrieved)

    @property
    def is_abandoned(self) -> bool:
        """Whether no further attempt should be made."""
        return self._is_stopping or not self._clients

    @property
    def is_ending(self) -> bool:
        """Whether it has ended or is being cancelled, so that no more clients may join."""
        return self.task.done() or self.task.cancelling() > 0

    async def join(self) -> T:
        """Wait for the result. The search is cancelled when its last client disconnects."""
        self._clients += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if not (self._is_stopping and self.task.cancelled()):
                raise
            raise QueueTooLong(
                "the service is stopping", retry_after=STOPPING_RETRY_AFTER
            ) from None
        finally:
            self._clients -= 1
            if not self._clients and not self.upstream_started:
                self.task.cancel()

    def cancel_pending(self) -> None:
        """Cancel the search unless a request is in progress; then make no further attempt."""
        self._is_stopping = True
        if not self.upstream_started:
            self.task.cancel()


def mark_retrieved(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging the exception of a task that no caller waits for any more.

    The frames of its traceback refer to the task, and to data that may be large: free them.
    """
    error = None if task.cancelled() else task.exception()
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
