"""Fixtures: a real PostgreSQL, a stand-in for arXiv over HTTP, and the service."""

import asyncio
import logging
import os
import pwd
import shutil
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any, cast
from uuid import uuid4

import httpx
import hypothesis
import psycopg
import pytest
import uvicorn
from litestar import Litestar
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from demo.arxiv import StandIn
from demo.papers import generate
from service import embedded_postgres
from service.app import add_outer_middleware, create_app
from service.context import create_context
from service.db import migrations
from service.search_index import indexer
from service.settings import Settings

from .support.indexing import papers_are_indexed

# the same examples in every run, so that failures are reproducible
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)

Gateway = httpx.AsyncClient
Serve = Callable[..., Any]


def pytest_report_header() -> str:
    """Show the versions of PostgreSQL and libpq."""
    version = psycopg.pq.version()
    server = f"PostgreSQL {embedded_postgres.VERSION} (embedded)"
    return f"{server}, libpq {version}, psycopg {psycopg.__version__}"


def pytest_sessionstart() -> None:
    """As root, start one PostgreSQL first: xdist workers would race to create its user."""
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(embedded_postgres.SYSTEM_USER)
        except KeyError:
            with TemporaryDirectory() as folder, embedded_postgres.run_server(Path(folder)):
                pass


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> None:
    """Remove the developer's settings and proxies from the environment."""
    for name in list(os.environ):
        if name.startswith(("ARXIV_", "PG")) or name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session")
def quick_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder for databases, in memory if possible: there are many short-lived copies."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it gets a random name
    try:
        roomy = shutil.disk_usage(memory).free > 2**30
    except OSError:
        roomy = False
    if not roomy:
        yield tmp_path_factory.mktemp("databases")
        return
    with TemporaryDirectory(prefix="arxiv-gateway-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server(quick_path: Path) -> Iterator[str]:
    """Start a PostgreSQL server for the session; the superuser's connection string."""
    with embedded_postgres.run_server(quick_path / "server") as url:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("alter system set fsync = off")  # no data is kept
            admin.execute("select pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a database with all migrations applied."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("create database template")
    migrations.apply(make_conninfo(server, dbname="template"))
    return "template"


@contextmanager
def copied(server: str, template: str) -> Iterator[str]:
    """Copy a database and drop it afterwards; the superuser's connection string."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        new = Identifier(name)
        admin.execute(
            SQL("create database {} template {} strategy file_copy").format(
                new, Identifier(template)
            )
        )
        yield make_conninfo(server, dbname=name)
        admin.execute(SQL("drop database {} with (force)").format(new))


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """A migrated database for one test; the superuser's connection string."""
    with copied(server, template) as url:
        yield url


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    """Superuser connection to the test database."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def undelayed() -> socket.socket:
    """Listen on loopback with TCP_NODELAY, which asyncio sets only for its own sockets."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@pytest.fixture(scope="session")
def arxiv_server() -> Iterator[tuple[StandIn, str]]:
    """Start the stand-in for arXiv on an HTTP server; the stand-in and its URL."""
    app = StandIn(generate(1000))
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    listener = undelayed()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield app, f"http://127.0.0.1:{listener.getsockname()[1]}/api/query"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def arxiv(arxiv_server: tuple[StandIn, str]) -> StandIn:
    """The stand-in for arXiv, reset."""
    app, _ = arxiv_server
    app.reset()
    return app


@pytest.fixture
def settings(
    database: str, arxiv_server: tuple[StandIn, str], tmp_path: Path
) -> Callable[..., Settings]:
    """Factory of settings for the test's database and stand-in; keywords override them."""

    def make(**changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "database_url": make_conninfo(database, user="arxiv_rw"),
            "database_ro_url": make_conninfo(database, user="arxiv_ro"),
            "api_url": arxiv_server[1],
            "rss_url": arxiv_server[1].removesuffix("/api/query"),
            "interval": 0.0,
            "index_dir": str(tmp_path / "index"),
        }
        return Settings(**(defaults | changes))

    return make


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[None]:
    """Run the lifespan of an application in one task; fixtures may change tasks."""
    started, ending = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        try:
            async with app.lifespan():
                started.set()
                await ending.wait()
        finally:
            started.set()

    life = asyncio.create_task(live())
    await started.wait()
    try:
        yield
    finally:
        ending.set()
        await life


class IndexedTransport(httpx.AsyncBaseTransport):
    """Delays requests for papers until the search index has all of them."""

    def __init__(self, wire: httpx.AsyncBaseTransport, settings: Settings) -> None:
        self._wire = wire
        self._url = (
            settings.results_database_ro_url
            or settings.results_database_url
            or settings.database_ro_url
            or settings.database_url
            or ""
        )
        self._folder = settings.index_path

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait, then send the request."""
        if request.url.path.startswith(("/papers", "/search", "/abs")):
            await papers_are_indexed(self._url, self._folder)
        return await self._wire.handle_async_request(request)


_free_apps: dict[Any, list[Litestar]] = defaultdict(list)
_used_apps: list[tuple[Any, Litestar]] = []


def make_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> Litestar:
    """Return an app as create_app does, or one of an earlier test with another context.

    Litestar takes longer to create an app than most tests take to use it. The test must not
    change the app, and not use it after its end.
    """
    # what create_app depends on, beyond the context
    key = settings.served, settings.api_keys, bool(settings.tokens), settings.serves_pages
    if _free_apps[key]:
        context = create_context(settings, transport)
        app = _free_apps[key].pop()
        app.state.context = context
    else:
        app = create_app(settings, transport)
    _used_apps.append((key, app))
    return app


@pytest.fixture(autouse=True)
def _free_used_apps() -> Iterator[None]:
    """Let the next tests use the apps of this one."""
    yield
    for key, app in _used_apps:
        _free_apps[key].append(app)
    _used_apps.clear()


@pytest.fixture
def gateway(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Factory of services: an async context manager that returns a client.

    Keywords are settings; `transport` replaces the network to arXiv. The client finds all papers
    that have been recorded, as if the search index were updated at once.
    """
    monkeypatch.setattr(indexer, "SYNC_INTERVAL", 0.05)  # tests wait for each synchronization

    @asynccontextmanager
    async def serve(
        transport: httpx.AsyncBaseTransport | None = None, **changes: Any
    ) -> AsyncIterator[Gateway]:
        made = settings(**changes)
        app = make_app(made, transport)
        wire: httpx.AsyncBaseTransport = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
        if made.searches_papers and not made.settle:
            wire = IndexedTransport(wire, made)
        async with (
            running(app),
            httpx.AsyncClient(transport=wire, base_url="http://gateway") as client,
        ):
            yield client

    return serve


@pytest.fixture
async def client(
    gateway: Serve,
    arxiv: StandIn,  # noqa: ARG001 - resets it
) -> AsyncIterator[Gateway]:
    """Client of a service with default settings."""
    async with gateway() as made:
        yield made


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Run the service on an HTTP server in a thread; its URL."""
    listener = undelayed()
    app: Any = add_outer_middleware(make_app(settings))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Answering) -> AsyncIterator[str]:
    """Run a TCP server that handles each connection with `handle`; its URL."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/query"
    finally:
        server.close()


@pytest.fixture(autouse=True)
def _keep_log_levels() -> Iterator[None]:
    """Restore the handlers and the level of the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def age(db: psycopg.Connection) -> Callable[[], None]:
    """Make all records a week older."""
    return lambda: (db.execute("update queries set recorded = recorded - 7 * 86400"), None)[1]
