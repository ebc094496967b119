"""The Cache-Control header of a request, and disconnects of the client."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..errors import ClientDisconnected
from ..problems import AnyRequest

T = TypeVar("T")


def bypasses_cache(request: AnyRequest) -> bool:
    """Return whether the request has `Cache-Control: no-cache` (RFC 9111, section 5.2.1.4)."""
    directives = ",".join(request.headers.getall("cache-control", [])).split(",")
    return "no-cache" in {directive.strip().lower() for directive in directives}


async def cancel_on_disconnect(request: AnyRequest, work: Coroutine[Any, Any, T]) -> T:
    """Await the work; if the client disconnects first, cancel it and raise ClientDisconnected."""
    task = asyncio.create_task(work)
    try:
        await asyncio.sleep(0)  # a cached response is there at once
        if not task.done():
            await _wait_or_disconnect(task, request)
        return task.result()
    finally:
        task.cancel()


async def _wait_or_disconnect(task: asyncio.Task[Any], request: AnyRequest) -> None:
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected("the client disconnected before the response")
    finally:
        disconnect.cancel()


async def _wait_for_disconnect(request: AnyRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
