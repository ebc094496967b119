"""A pool of HTTP clients with one connection each.

The pool of httpcore 1.0 can lose the connection of a cancelled request for good
(https://github.com/encode/httpcore/issues/1093). Here, a client whose request failed or was
cancelled is closed and replaced.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext

import httpx

from .errors import ConfigurationError


@cache
def ssl_context() -> SSLContext:
    """Load the trusted certificates once, since that takes 20 ms. Raises ConfigurationError."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read there ({error})"
        ) from error


def create_cookie_jar() -> CookieJar:
    """Return a jar that keeps no cookies.

    A client sends its cookies with every request, so a server could make all requests too large.
    """
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


class HTTPConnectionPool:
    """Reuses the most recently used client first."""

    def __init__(
        self, create_client: Callable[[], httpx.AsyncClient], max_clients: int, timeout: float
    ) -> None:
        self._create_client = create_client
        self._free = asyncio.Semaphore(max_clients)
        self._timeout = timeout
        self._idle: list[httpx.AsyncClient] = []

    async def close_idle(self) -> None:
        """Close the clients that are not in use."""
        while self._idle:
            await self._idle.pop().aclose()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[httpx.AsyncClient]:
        """Wait for a free client, up to `timeout` seconds. Raises httpx.PoolTimeout."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("all connections are in use") from error
        try:
            client = self._idle.pop() if self._idle else self._create_client()
            try:
                yield client
            except BaseException:
                await client.aclose()
                raise
            self._idle.append(client)
        finally:
            self._free.release()
