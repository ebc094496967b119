"""Assertions about measured time, which other programs on the machine disturb.

CPU time of the own thread does not grow while others run, but caches, memory and the speed of the
processor are shared. So a failed measurement is repeated; only a slow function fails each time.
"""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import thread_time

ATTEMPTS = 5


def retry(check: Callable[[], object]) -> None:
    """Call a check until it passes; only the last of the attempts may fail."""
    for _ in range(ATTEMPTS - 1):
        with suppress(Exception):
            check()
            return
    check()


async def retry_async(check: Callable[[], Awaitable[object]]) -> None:
    """Await a check until it passes; only the last of the attempts may fail."""
    for _ in range(ATTEMPTS - 1):
        with suppress(Exception):
            await check()
            return
    await check()


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage of other tests meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def measure_cpu(function: Callable[[], object]) -> float:
    """Return the CPU seconds of this thread during a call."""
    with without_collection():
        started = thread_time()
        function()
        return thread_time() - started


def assert_cpu_below(limit: float, function: Callable[[], object]) -> None:
    """Raise AssertionError if no call takes less than this number of CPU seconds."""

    def check() -> None:
        taken = measure_cpu(function)
        assert taken < limit, f"{taken:.4f} s instead of {limit} s"

    retry(check)


def assert_linear(function: Callable[[int], object], size: int, *, noise: float = 0.02) -> None:
    """Raise AssertionError if four times the size takes more than eight times as long.

    Quadratic time is sixteen times as long, so there is a factor of two on both sides.
    """

    def check() -> None:
        # one after the other, since the machine may become slower at any time
        small = measure_cpu(lambda: function(size))
        large = measure_cpu(lambda: function(4 * size))
        assert large <= max(noise, 8 * small), f"{small:.4f} s, then {large:.4f} s"

    retry(check)
