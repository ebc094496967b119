"""Cache-Control of static files."""

from collections.abc import Collection

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

IMMUTABLE = b"public, max-age=31536000, immutable"


class StaticCacheMiddleware(ASGIMiddleware):
    """Let a file be cached for as long as possible, since its URL changes with its content.

    During an update, an instance may get the URL of another release: its own file is not stored
    under it.
    """

    def __init__(self, urls: Collection[str]) -> None:
        """`urls` are those of the files of this release, as path and query."""
        self._urls = frozenset(urls)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        target = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        control = IMMUTABLE if target in self._urls else b"no-cache"

        async def send_with_cache(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", control)]
            await send(message)

        await next_app(scope, receive, send_with_cache)
