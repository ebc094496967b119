"""Calls of tantivy, which block, outside of the event loop."""

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what the function returns. It goes on if this call is cancelled.

    The process can end before the function does, unlike with asyncio.to_thread: a merge takes
    minutes, and an index survives the end of its process at any moment. A panic of tantivy is not
    an Exception; it becomes a ValueError, as tantivy's other errors.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            _notify(loop, future, future.set_exception, error)
        except BaseException as error:  # noqa: BLE001 - a panic
            _notify(loop, future, future.set_exception, ValueError(f"panic: {error}"))
        else:
            _notify(loop, future, future.set_result, result)

    Thread(target=run, daemon=True).start()
    return await future


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
