"""A real PostgreSQL, a real arXiv stand-in over HTTP, and the service between them."""

import asyncio
import logging
import os
import pwd
import shutil
import socket
import threading
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
from service.app import create_app
from service.db import migrations
from service.settings import Settings

# the same examples in every run: a failure is found where it is made, not by chance elsewhere
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)

Gateway = httpx.AsyncClient
Serve = Callable[..., Any]


def pytest_report_header() -> str:
    """Say which PostgreSQL and which libpq the run is about."""
    version = psycopg.pq.version()
    server = f"PostgreSQL {embedded_postgres.VERSION} (embedded)"
    return f"{server}, libpq {version}, psycopg {psycopg.__version__}"


def pytest_sessionstart() -> None:
    """Let root's first PostgreSQL be alone: workers would race to make the user that runs it."""
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(embedded_postgres.SYSTEM_USER)
        except KeyError:
            with TemporaryDirectory() as folder, embedded_postgres.server(Path(folder)):
                pass


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> None:
    """The developer's own settings and proxies change no result."""
    for name in list(os.environ):
        if name.startswith(("ARXIV_", "PG")) or name.lower().endswith("_proxy"):
            del os.environ[name]


@pytest.fixture(scope="session")
def quick_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for databases: in memory where there is room, as copies are many and short-lived."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder in it gets a name that nobody can foresee
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
    """A PostgreSQL server of this run's own; the superuser's connection string."""
    with embedded_postgres.server(quick_path / "server") as url:
        with psycopg.connect(url, autocommit=True) as admin:
            admin.execute("alter system set fsync = off")  # nothing here outlives the run
            admin.execute("select pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """The name of a database with all migrations, applied as in production."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("create database template")
    migrations.apply(make_conninfo(server, dbname="template"))
    return "template"


@contextmanager
def copied(server: str, template: str) -> Iterator[str]:
    """A copy of a database, dropped afterwards; the superuser's connection string."""
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
    """A migrated database of this test's own; the superuser's connection string."""
    with copied(server, template) as url:
        yield url


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection]:
    """A connection to look into the database with."""
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def undelayed() -> socket.socket:
    """A listener on loopback whose answers wait for nothing: asyncio sees to its own only."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@pytest.fixture(scope="session")
def arxiv_server() -> Iterator[tuple[StandIn, str]]:
    """The stand-in for arXiv behind a real HTTP server, and its URL."""
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
    """The stand-in, with no requests so far."""
    app, _ = arxiv_server
    app.requests.clear()
    app.min_interval, app.delay = 0.0, 0.0
    return app


@pytest.fixture
def settings(database: str, arxiv_server: tuple[StandIn, str]) -> Callable[..., Settings]:
    """Settings for this test's database and stand-in; changes by keyword."""

    def make(**changes: Any) -> Settings:
        defaults: dict[str, Any] = {
            "database_url": make_conninfo(database, user="arxiv_rw"),
            "database_ro_url": make_conninfo(database, user="arxiv_ro"),
            "api_url": arxiv_server[1],
            "interval": 0.0,
        }
        return Settings(**(defaults | changes))

    return make


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[None]:
    """The lifespan of an application in one task, as under a server: fixtures change tasks."""
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


@pytest.fixture
def gateway(settings: Callable[..., Settings]) -> Callable[..., Any]:
    """The service, as an async context that gives a client; settings by keyword.

    A `transport` takes the place of the network to arXiv.
    """

    @asynccontextmanager
    async def serve(
        transport: httpx.AsyncBaseTransport | None = None, **changes: Any
    ) -> AsyncIterator[Gateway]:
        app = create_app(settings(**changes), transport)
        wire = httpx.ASGITransport(cast("Any", app))
        async with (
            running(app),
            httpx.AsyncClient(transport=wire, base_url="http://gateway") as client,
        ):
            yield client

    return serve


@pytest.fixture
async def client(
    gateway: Serve,
    arxiv: StandIn,  # noqa: ARG001 - a clean one
) -> AsyncIterator[Gateway]:
    """A client of the service with the settings of most tests."""
    async with gateway() as made:
        yield made


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The service behind a real HTTP server, in a thread of its own; its URL."""
    listener = undelayed()
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), log_config=None, access_log=False, lifespan="on")
    )
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
async def listening(answer: Answering) -> AsyncIterator[str]:
    """A server on loopback that does with each connection what `answer` says; its URL."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
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
    """What a test does to the root logger ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
