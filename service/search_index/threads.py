"""Calls of tantivy, which block, outside of the event loop."""

import asyncio
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the function returns. It goes on if this call is cancelled.

    The process can end before the function does, unlike with asyncio.to_thread: a merge takes
    minutes, and an index survives the end of its process at any moment.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = convert_panics(partial(function, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            _notify(loop, future, future.set_exception, error)
        else:
            _notify(loop, future, future.set_result, result)

    Thread(target=run, daemon=True).start()
    return await future


def convert_panics(function: Callable[[], T]) -> T:
    """Return what the function returns. A panic of tantivy is a ValueError, as its other errors."""
    try:
        return function()
    except Exception:
        raise
    except BaseException as error:  # a panic is not an Exception
        raise ValueError(f"panic: {error}") from error


def _notify(
    loop: asyncio.AbstractEventLoop,
    future: "asyncio.Future[Any]",
    function: Callable[[Any], None],
    value: object,
) -> None:
    def notify() -> None:
        if not future.done():
            function(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(notify)
