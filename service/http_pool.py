"""HTTP clients of one connection each, lent for one call.

A pool of httpcore 1.0 never gets back the connection of a call that was given up too early
(https://github.com/encode/httpcore/issues/1093). Here, what such a call used is thrown away.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from ssl import SSLContext
from typing import Self

import httpx

from .errors import ConfigurationError


@cache
def ssl_context() -> SSLContext:
    """Whose certificates the clients trust: read once, since that takes 20 ms.

    Raises NotConfigured where there are none to be read.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"SSL_CERT_FILE or SSL_CERT_DIR: no certificates can be read there ({error})"
        ) from error


class HTTPConnectionPool:
    """Lends clients, those that were used last first. Enter the context to end them all with it."""

    def __init__(self, make: Callable[[], httpx.AsyncClient], most: int, patience: float) -> None:
        """Lend no more than `most` at a time; a borrower waits so many seconds for one."""
        self._make = make
        self._free = asyncio.Semaphore(most)
        self._patience = patience
        self._idle: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_idle()

    async def close_idle(self) -> None:
        """Close what is not lent."""
        while self._idle:
            await self._idle.pop().aclose()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for the block. Raises httpx.PoolTimeout where none gets free in time."""
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("all connections are taken") from error
        try:
            client = self._idle.pop() if self._idle else self._make()
            try:
                yield client
            except BaseException:
                await client.aclose()
                raise
            self._idle.append(client)
        finally:
            self._free.release()
