"""The parts of the service, wired together, for the application and for the command line."""

from contextlib import AsyncExitStack
from typing import Self

import httpx

from service.arxiv import ArXiv
from service.errors import NotConfigured
from service.keys import Keys
from service.search import Searcher
from service.settings import Settings
from service.store import Archive, Connections, Gate, KeyStore, Store

LEASE_MARGIN = 1.0
"""Seconds between the end of a request's time and the moment when the gate takes it for dead."""


class Parts:
    """What the settings ask for. Enter the context to open it."""

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Wire; `transport` replaces the network to arXiv.

        Raises NotConfigured where `database_url` is missing or not understood.
        """
        if settings.database_url is None:
            raise NotConfigured("ARXIV_DATABASE_URL is not set")
        self.settings = settings
        lease = settings.timeout + LEASE_MARGIN
        self._connections = Connections(settings.database_url, settings.database_ro_url)
        self._arxiv = ArXiv(settings, transport)
        gate = Gate(self._connections, interval=settings.interval, lease=lease)
        self.store = Store(self._connections)
        self.archive = Archive(self._connections, settle=settings.settle)
        self.searcher = Searcher(settings, self._arxiv, self.store, gate)
        self.key_store = KeyStore(self._connections)
        self.keys = Keys(self.key_store)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for part in (self._connections, self._arxiv, self.searcher):
            await self._open.enter_async_context(part)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()
