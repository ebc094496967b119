"""What clients say beside their parameters: that they want it anew, and that they have gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Scope

from ..errors import ClientDisconnected
from ..middleware.scope import join_headers
from ..problems import AnyRequest

T = TypeVar("T")


def bypasses_cache(scope: Scope) -> bool:
    """Whether `Cache-Control: no-cache` (RFC 9111, 5.2.1.4) forbids answers from memory."""
    given = join_headers(scope, b"cache-control")
    return bool(given) and b"no-cache" in {word.strip().lower() for word in given.split(b",")}


async def cancel_on_disconnect(request: AnyRequest, work: Coroutine[Any, Any, T]) -> T:
    """Do the work while the client waits for it. Raises ClientGone where it hangs up before."""
    task = asyncio.create_task(work)
    hang_up = asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait({task, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnected("the client hung up")
    finally:
        hang_up.cancel()
        task.cancel()


async def _hang_up(request: AnyRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
