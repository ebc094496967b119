"""The dependencies of the handlers and of the command line: clients, pools and services."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from time import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from . import timestamps
from .api_keys import ApiKeyCache
from .arxiv_client import ArxivClient
from .backend.client import (
    BackendClient,
    RemotePaperSearch,
    RemoteReader,
    RemoteRecords,
    RemoteSearchService,
)
from .db.announcements import AnnouncementStore
from .db.api_keys import ApiKeyStore
from .db.mirror import MirrorReader, MirrorStore
from .db.pool import DatabasePools
from .db.rate_limiter import Priority, RateLimiter
from .db.reader import RecordReader
from .db.reconcile import Reconciler
from .db.records import RecordStore
from .db.signing_keys import SigningKeyStore
from .db.statistics import SearchStatistics
from .errors import ConfigurationError
from .feeds import FeedService
from .mirror.announcements import FeedClient
from .mirror.answers import MirrorSearch
from .mirror.daily_announcements import DailyAnnouncements
from .mirror.daily_sync import DailySync, show_metrics
from .mirror.oai_client import OaiClient
from .models.responses import ArxivState, IndexStatus, MirrorStatus
from .paper_search import LocalPaperSearch, PaperSearch
from .papers import PaperService
from .runs import RunService
from .search import LocalSearchService, SearchService
from .search_index.indexer import Indexer
from .search_index.paper_index import PaperIndex
from .search_index.state import read_status
from .sessions import SessionCookies
from .settings import READING, Settings
from .signing import SigningKey

if TYPE_CHECKING:
    from .queue.rabbitmq import RecordQueue


MAX_SERIALIZATIONS = 2


class Context(ABC):
    """The dependencies of the frontend endpoints. Enter the context to open them in order."""

    records: RecordStore | RemoteRecords
    search_service: SearchService
    api_keys: ApiKeyCache
    signing_key: SigningKey
    queue: "RecordQueue | None" = None
    indexer: Indexer | None = None
    """To be entered by a service; commands leave the search index alone."""
    daily_sync: DailySync | None = None
    daily_announcements: DailyAnnouncements | None = None
    """To be entered by a service."""

    def __init__(
        self,
        settings: Settings,
        reader: RecordReader,
        paper_search: PaperSearch,
        *resources: AbstractAsyncContextManager[Any],
    ) -> None:
        self.settings = settings
        self.reader = reader
        self.paper_search = paper_search
        self.papers = PaperService(reader, paper_search, settings.zone)
        self.runs = RunService(reader, settings.zone)
        self.feeds = FeedService(self.records)
        self.sessions = SessionCookies(settings, self.signing_key, self.api_keys)
        self.serializations = asyncio.Semaphore(MAX_SERIALIZATIONS)
        """Limits how many exports take turns in the event loop: other requests run in between."""
        self._resources = resources
        self._exit_stack = AsyncExitStack()

    @abstractmethod
    async def fetch_arxiv_state(self) -> ArxivState | None:
        """Return the state of the requests to arXiv if known. Raises DatabaseUnavailable."""

    @abstractmethod
    async def fetch_mirror_status(self) -> MirrorStatus | None:
        """Return how current the mirror is, if there is one. Raises DatabaseUnavailable."""

    @abstractmethod
    async def fetch_index_status(self) -> IndexStatus | None:
        """Return the state of the search index, if it is known."""

    @abstractmethod
    async def fetch_queue_status(self) -> str | None:
        """Return whether RabbitMQ is connected or away, if it is used and this is known."""

    async def __aenter__(self) -> Self:
        for resource in self._resources:
            await self._exit_stack.enter_async_context(resource)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exit_stack.aclose()


class LocalContext(Context):
    """Database and arXiv client in this process."""

    records: RecordStore
    search_service: LocalSearchService

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        _check_database_settings(settings)
        lease = settings.timeout + 1.0  # it must not expire before the request
        pools = create_pools(settings)
        self.arxiv = ArxivClient(settings, transport)
        self.rate_limiter = RateLimiter(pools, interval=settings.interval, lease=lease)
        background_limiter = RateLimiter(
            pools, interval=settings.interval, lease=lease, priority=Priority.BACKGROUND
        )
        self.oai = OaiClient(settings, background_limiter, transport)
        self.feed_client = FeedClient(settings, background_limiter, transport)
        self.mirror_store = MirrorStore(pools)
        self.announcement_store = AnnouncementStore(pools)
        if settings.sync == "daily":
            self.daily_sync = DailySync(self.mirror_store, self.oai)
            self.daily_announcements = DailyAnnouncements(
                self.announcement_store, self.mirror_store, self.feed_client
            )
        self.records = RecordStore(pools)
        if settings.queue_url is not None:
            self._use_queue(settings.queue_url, pools)
        self.reconciler = Reconciler(pools)
        index = PaperIndex(settings.index_path)
        self._mirror_reader = MirrorReader(pools)
        statistics = SearchStatistics(pools)
        self.search_service = LocalSearchService(
            settings,
            self.arxiv,
            self.records,
            self.rate_limiter,
            MirrorSearch(self._mirror_reader, index),
            statistics,
        )
        self.api_key_store = ApiKeyStore(pools)
        self.api_keys = ApiKeyCache(self.api_key_store.find)
        self.signing_key_store = SigningKeyStore(pools)
        self.signing_key = SigningKey(self.signing_key_store.fetch)
        reader = RecordReader(pools, read_delay=settings.settle)
        queues = [self.queue] if self.queue else []
        paper_search = LocalPaperSearch(index, reader)
        if settings.searches_papers:
            self.indexer = Indexer(pools, settings.index_path, read_delay=settings.settle)
        super().__init__(
            settings,
            reader,
            paper_search,
            pools,
            statistics,
            *queues,
            self.arxiv,
            self.oai,
            self.feed_client,
            self.search_service,
            index,
        )

    def _use_queue(self, queue_url: str, pools: DatabasePools) -> None:
        # imported here: these modules need the extra `queue`
        from .db.queued_records import QueuedRecordStore  # noqa: PLC0415
        from .queue.rabbitmq import RecordQueue  # noqa: PLC0415

        self.queue = RecordQueue(queue_url)
        self.records = QueuedRecordStore(pools, self.queue)

    async def fetch_arxiv_state(self) -> ArxivState:
        """Combine the state of the rate limiter with this process's latest request to arXiv."""
        status, zone = await self.rate_limiter.fetch_status(), self.settings.zone
        last_request, outcome = self.arxiv.latest_request or (None, None)
        closed_until = int(time() + status.cooldown) if status.cooldown else None
        return ArxivState(
            last_request=timestamps.format_iso(last_request, zone) if last_request else None,
            last_outcome=outcome,
            asking=status.in_progress,
            waiting=status.waiting,
            closed_until=timestamps.format_iso(closed_until, zone) if closed_until else None,
            interval=self.settings.interval,
        )

    async def fetch_mirror_status(self) -> MirrorStatus | None:
        """Return how current the mirror is, and show it in the metrics."""
        status, zone = await self._mirror_reader.fetch_sync_status(), self.settings.zone
        if status is None:
            return None
        if status.synced_at:
            show_metrics(status.synced_at, status.synced_at)
        return MirrorStatus(
            synced_at=timestamps.format_iso(status.synced_at, zone) if status.synced_at else None,
            covered_from=status.covered_from.isoformat() if status.covered_from else None,
            covered_until=status.covered_until.isoformat() if status.covered_until else None,
            running=status.running,
            error=status.error,
            invalid=status.invalid,
        )

    async def fetch_index_status(self) -> IndexStatus | None:
        """Return the state of the index of this machine."""
        settings = self.settings
        return read_status(settings.index_path) if settings.searches_papers else None

    async def fetch_queue_status(self) -> str | None:
        """Return whether this process is connected to the queue."""
        if self.queue is None:
            return None
        return "connected" if self.queue.connected else "away"


def _check_database_settings(settings: Settings) -> None:
    if settings.only_reads and settings.sync == "daily":
        raise ConfigurationError(
            "ARXIV_SYNC: the daily sync writes to the database: set ARXIV_DATABASE_URL"
        )
    if settings.only_reads and (writing := settings.served - READING):
        raise ConfigurationError(
            f"ARXIV_DATABASE_URL is not set, but {', '.join(sorted(writing))} in"
            " ARXIV_ENDPOINTS do more than read: set it, or leave them out"
        )
    if settings.database_url is None and not settings.only_reads:
        raise ConfigurationError("ARXIV_DATABASE_URL is not set")


class RemoteContext(Context):
    """All dependencies through a backend over HTTP."""

    def __init__(self, settings: Settings, backend_url: str) -> None:
        backend = BackendClient(settings, backend_url)
        self.records = RemoteRecords(backend)
        self.search_service = RemoteSearchService(settings, backend)
        self.api_keys = ApiKeyCache(backend.find_api_keys)
        self.signing_key = SigningKey(backend.fetch_signing_key)
        reader = RemoteReader(backend)
        paper_search = RemotePaperSearch(backend, reader)
        super().__init__(settings, reader, paper_search, self.search_service)
        self._exit_stack.push_async_callback(backend.connections.close_idle)
        self._backend = backend

    async def fetch_arxiv_state(self) -> ArxivState | None:
        """Return the state from the backend's latest readiness response."""
        health = await self._backend.fetch_health()
        return health.arxiv if health else None

    async def fetch_mirror_status(self) -> MirrorStatus | None:
        """Return the status from the backend's latest readiness response."""
        health = await self._backend.fetch_health()
        return health.mirror if health else None

    async def fetch_index_status(self) -> IndexStatus | None:
        """Return the state of the backend's index."""
        health = await self._backend.fetch_health()
        return health.index if health else None

    async def fetch_queue_status(self) -> str | None:
        """Return whether the backend is connected to its queue."""
        health = await self._backend.fetch_health()
        return health.queue if health else None


def create_context(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> Context:
    """Create a local or remote context; `transport` replaces the network to arXiv.

    Raises ConfigurationError if a database URL that is needed is missing or invalid.
    """
    if settings.backend_url is not None:
        return RemoteContext(settings, settings.backend_url)
    return LocalContext(settings, transport)


def create_pools(settings: Settings) -> DatabasePools:
    """Create the connection pools for the configured systems."""
    return DatabasePools(
        settings.database_url,
        settings.database_ro_url,
        results_url=settings.results_database_url,
        results_read_url=settings.results_database_ro_url,
        sequence_url=settings.sequence_database_url,
    )
