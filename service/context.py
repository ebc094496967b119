"""The parts of the service, wired together, for the application and for the command line."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from time import time
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx

from . import timestamps
from .api_keys import ApiKeyCache
from .arxiv_client import ArxivClient
from .db.api_keys import ApiKeyStore
from .db.pool import DatabasePools
from .db.rate_limiter import RateLimiter
from .db.reader import RecordReader
from .db.reconcile import Reconciler
from .db.records import RecordStore
from .errors import ConfigurationError
from .models.records import ResultRow
from .models.responses import ArxivState
from .search import LocalSearchService, SearchService
from .settings import READING, Settings

if TYPE_CHECKING:
    from .queue.rabbitmq import RecordQueue

LEASE_MARGIN = 1.0
"""Seconds between the end of a request's time and the moment when the gate takes it for dead."""


class Written(Protocol):
    """What frontends need to know of what was just written."""

    async def fetch_results(self, query_id: int) -> list[ResultRow]:
        """The results of one search, in their order."""

    @property
    def systems(self) -> Collection[str]:
        """The names of what is needed."""

    async def fetch_migrations(self, system: str) -> set[str]:
        """The names of the migrations that one of them has had."""


class Context(ABC):
    """What frontends work with, wherever it is. Enter the context to open it."""

    store: Written
    search_service: SearchService
    keys: ApiKeyCache
    buffer: "RecordQueue | None" = None

    def __init__(
        self,
        settings: Settings,
        reader: RecordReader,
        *to_open: AbstractAsyncContextManager[Any],
    ) -> None:
        """Open these parts in their order."""
        self.settings = settings
        self.reader = reader
        self._to_open = to_open
        self._open = AsyncExitStack()

    @abstractmethod
    async def arxiv_state(self) -> ArxivState | None:
        """How things stand with arXiv, where that is known. Raises StoreUnavailable."""

    async def __aenter__(self) -> Self:
        for part in self._to_open:
            await self._open.enter_async_context(part)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()


class LocalContext(Context):
    """The database and the way to arXiv, in this process."""

    store: RecordStore
    search_service: LocalSearchService

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Wire; `transport` replaces the network to arXiv.

        Raises NotConfigured where `database_url` is missing, although something here writes, or
        not understood.
        """
        if settings.only_reads and (writing := settings.served - READING):
            raise ConfigurationError(
                f"ARXIV_DATABASE_URL is not set, but {', '.join(sorted(writing))} in"
                " ARXIV_ENDPOINTS do more than read: set it, or leave them out"
            )
        if settings.database_url is None and not settings.only_reads:
            raise ConfigurationError("ARXIV_DATABASE_URL is not set")
        lease = settings.timeout + LEASE_MARGIN
        connections = create_pools(settings)
        self.arxiv = ArxivClient(settings, transport)
        self.rate_limiter = RateLimiter(connections, interval=settings.interval, lease=lease)
        self.buffer, self.store = _store(settings.queue_url, connections)
        self.reconciliation = Reconciler(connections)
        self.search_service = LocalSearchService(
            settings, self.arxiv, self.store, self.rate_limiter
        )
        self.key_store = ApiKeyStore(connections)
        self.keys = ApiKeyCache(self.key_store)
        reader = RecordReader(connections, settle=settings.settle)
        buffers = [self.buffer] if self.buffer else []
        super().__init__(settings, reader, connections, *buffers, self.arxiv, self.search_service)

    async def arxiv_state(self) -> ArxivState:
        """As the gate and the latest request of this process tell."""
        state, zone = await self.rate_limiter.fetch_status(), self.settings.zone
        when, outcome = self.arxiv.latest or (None, None)
        closed_until = int(time() + state.cooldown) if state.cooldown else None
        return ArxivState(
            last_request=timestamps.to_iso(when, zone) if when else None,
            last_outcome=outcome,
            asking=state.in_progress,
            waiting=state.waiting,
            closed_until=timestamps.to_iso(closed_until, zone) if closed_until else None,
        )


class RemoteContext(Context):
    """The same behind a backend."""

    def __init__(self, settings: Settings, backend_url: str) -> None:
        """Wire a client of the backend."""
        # here, since most have no backend, and start sooner without
        from .backend.client import (  # noqa: PLC0415
            Backend,
            RemoteApiKeys,
            RemoteReader,
            RemoteRecords,
            RemoteSearchService,
        )

        backend = Backend(settings, backend_url)
        self.store = RemoteRecords(backend)
        self.search_service = RemoteSearchService(settings, backend)
        self.keys = ApiKeyCache(RemoteApiKeys(backend))
        super().__init__(settings, RemoteReader(backend), backend, self.search_service)
        self._backend = backend

    async def arxiv_state(self) -> ArxivState | None:
        """As the backend told when it was asked whether it is ready."""
        return self._backend.health.arxiv if self._backend.health else None


def create_context(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> Context:
    """What the settings ask for; `transport` replaces the network to arXiv.

    Raises NotConfigured where `database_url` is missing or not understood.
    """
    if settings.backend_url is not None:
        return RemoteContext(settings, settings.backend_url)
    return LocalContext(settings, transport)


def create_pools(settings: Settings) -> DatabasePools:
    """Ways to the systems that the settings name."""
    return DatabasePools(
        settings.database_url,
        settings.database_ro_url,
        results_url=settings.results_database_url,
        results_read_url=settings.results_database_ro_url,
        sequence_url=settings.sequence_database_url,
    )


def _store(
    queue_url: str | None, connections: DatabasePools
) -> "tuple[RecordQueue | None, RecordStore]":
    if queue_url is None:
        return None, RecordStore(connections)
    # here, since they need the extra `queue`
    from .db.queued_records import QueuedRecordStore  # noqa: PLC0415
    from .queue.rabbitmq import RecordQueue  # noqa: PLC0415

    buffer = RecordQueue(queue_url)
    return buffer, QueuedRecordStore(connections, buffer)
