"""The parts of the service, wired together, for the application and for the command line."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import httpx

from service.arxiv import ArXiv
from service.errors import NotConfigured
from service.search import Searcher
from service.settings import READING, Settings
from service.store import Archive, Connections, Gate, Reconciliation, Store

if TYPE_CHECKING:
    from service.buffer import Buffer

LEASE_MARGIN = 1.0
"""Seconds between the end of a request's time and the moment when the gate takes it for dead."""


class Parts:
    """What the settings ask for. Enter the context to open it."""

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Wire; `transport` replaces the network to arXiv.

        Raises NotConfigured where `database_url` is missing, although something here writes, or
        not understood.
        """
        if settings.only_reads and (writing := settings.served - READING):
            raise NotConfigured(
                f"ARXIV_DATABASE_URL is not set, but {', '.join(sorted(writing))} in"
                " ARXIV_ENDPOINTS needs more than to read: set it, or leave that out"
            )
        if settings.database_url is None and not settings.only_reads:
            raise NotConfigured("ARXIV_DATABASE_URL is not set")
        self.settings = settings
        lease = settings.timeout + LEASE_MARGIN
        self._connections = connections_of(settings)
        self._arxiv = ArXiv(settings, transport)
        gate = Gate(self._connections, interval=settings.interval, lease=lease)
        self.buffer, self.store = _store(settings.queue_url, self._connections)
        self.reconciliation = Reconciliation(self._connections)
        self.archive = Archive(self._connections, settle=settings.settle)
        self.searcher = Searcher(settings, self._arxiv, self.store, gate)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for part in (self._connections, self.buffer, self._arxiv, self.searcher):
            if part is not None:
                await self._open.enter_async_context(part)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()


def connections_of(settings: Settings) -> Connections:
    """Ways to the systems that the settings name."""
    return Connections(
        settings.database_url,
        settings.database_ro_url,
        results_url=settings.results_database_url,
        results_read_url=settings.results_database_ro_url,
        sequence_url=settings.sequence_database_url,
    )


def _store(queue_url: str | None, connections: Connections) -> "tuple[Buffer | None, Store]":
    if queue_url is None:
        return None, Store(connections)
    # here, since they need the extra `queue`
    from service.buffer import Buffer  # noqa: PLC0415
    from service.store.buffered import BufferedStore  # noqa: PLC0415

    buffer = Buffer(queue_url)
    return buffer, BufferedStore(connections, buffer)
