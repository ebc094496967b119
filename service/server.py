"""Serving HTTP with uvicorn, in this process or in several worker processes."""

import asyncio
import atexit
import logging
import math
import multiprocessing
import os
import signal
import socket
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import cast

import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from . import http_limits, metrics
from .app import add_outer_middleware, create_app, create_error_pages
from .logging import NOTICE, start_logging
from .search import SearchService
from .settings import ENDPOINTS, GUARDED, Settings

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve HTTP until a signal. Exits with STARTUP_FAILURE if the address is in use."""
    app = create_app(settings)
    has_backend = settings.backend_url or settings.served.intersection(ENDPOINTS["backend"])
    if not has_backend and {"all", GUARDED}.intersection(settings.endpoints):
        logger.log(NOTICE, "backend endpoints are not served: ARXIV_BACKEND_TOKEN is not set")
    listeners = _listen(settings)
    if settings.workers == 1:
        app.on_startup.append(partial(_log_addresses, listeners))
        app.on_startup.append(partial(_stop_at_signals, app.state.context.search_service))
        uvicorn.Server(create_config(app, settings)).run(sockets=listeners)
    else:
        _log_addresses(listeners)
        _run_workers(settings, listeners)


def create_config(app: Litestar | str, settings: Settings) -> uvicorn.Config:
    """Create uvicorn's configuration for an application, or for the import string of a factory."""
    create_page = create_error_pages(settings).create_rejection if settings.serves_pages else None
    return uvicorn.Config(
        add_outer_middleware(app) if isinstance(app, Litestar) else app,
        factory=isinstance(app, str),
        workers=settings.workers,
        host=settings.host,
        port=settings.port,
        # uvicorn calls it as it calls the class
        http=cast(
            "type[http_limits.LimitedHttpProtocol]",
            partial(
                http_limits.LimitedHttpProtocol,
                own_hosts=settings.hosts,
                create_page=create_page,
            ),
        ),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # otherwise a pipelined request inherits the variables of the request before it
        reset_contextvars=True,
        timeout_graceful_shutdown=math.ceil(settings.timeout) + 15,
        timeout_worker_healthcheck=30,  # then a worker that does not respond is replaced
    )


def create_listeners(host: str, port: int) -> list[socket.socket]:
    """Listen on all addresses of a host. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(address, family=family))
            for family, _, _, _, address in dict.fromkeys(infos)
        ]
        stack.pop_all()
    return listeners


def _listen(settings: Settings) -> list[socket.socket]:
    try:
        return create_listeners(settings.host, settings.port)
    except OSError as error:
        # create_server adds the address to the text; getaddrinfo has codes of its own
        is_lookup = isinstance(error, socket.gaierror)
        reason = str(error.strerror) if is_lookup else os.strerror(error.errno or 0)
        host, port = settings.host, settings.port
        logger.error("cannot listen on %s port %d: %s", host, port, reason.lower())  # noqa: TRY400
        sys.exit(STARTUP_FAILURE)


def _log_addresses(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        url_host = f"[{host}]" if ":" in host else host
        logger.log(NOTICE, "listening on http://%s:%d", url_host, port)


def _stop_at_signals(service: SearchService) -> None:
    """Cancel searches that wait for the rate limiter as soon as uvicorn begins to shut down.

    uvicorn sends the lifespan's shutdown event only after the last response, but it installs its
    signal handlers before the lifespan begins, so they can be wrapped here.

    At the end, uvicorn raises the signal again. SIGTERM is passed on as SIGINT, which then ends the
    process with an exception, so that exit handlers run. A repeated SIGINT makes uvicorn drop
    running requests; the supervisor repeats Ctrl-C as SIGTERM, which must not have that effect.
    """
    loop = asyncio.get_running_loop()
    handle_exit = signal.getsignal(signal.SIGINT)
    assert callable(handle_exit)  # noqa: S101 - uvicorn has installed it
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGTERM:
            return
        stopping = True
        loop.call_soon_threadsafe(_cancel_repeatedly, service)
        handle_exit(signal.SIGINT, frame)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _cancel_repeatedly(service: SearchService) -> None:
    # new searches may arrive until uvicorn, after up to 0.1 s, has closed the connections
    service.cancel_pending()
    asyncio.get_running_loop().call_later(0.1, _cancel_repeatedly, service)


class _Supervisor(Multiprocess):
    """Starts the workers, replaces dead ones, and drains all at a signal."""

    # not a documented method: pyproject.toml bounds the version of uvicorn
    def terminate_all(self) -> None:
        for listener in self.sockets:  # otherwise new connections would wait until the end
            listener.close()
        super().terminate_all()


def _run_workers(settings: Settings, listeners: list[socket.socket]) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - the directory in it gets an unpredictable name
    parent = memory if os.access(memory, os.W_OK) else None
    with TemporaryDirectory(prefix="arxiv-gateway-metrics-", dir=parent) as directory:
        os.environ.update(settings.to_env() | {metrics.MULTIPROCESS_DIR: directory})
        config = create_config(f"{__name__}:{create_worker_app.__name__}", settings)
        supervisor = _Supervisor(config, sockets=listeners)
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


def create_worker_app() -> ASGIApp:
    """Create the application of a worker process, from the environment that `run` prepared."""
    settings = Settings.from_env()
    logs = ExitStack()
    logs.enter_context(start_logging(settings.log_level, settings.log_format))
    atexit.register(logs.close)
    app = create_app(settings)
    app.on_startup += [
        partial(_stop_at_signals, app.state.context.search_service),
        _watch_supervisor,
        _update_pool_metrics,
    ]
    return add_outer_middleware(app)


def _watch_supervisor() -> None:
    """Shut the worker down if the supervisor is killed."""
    loop = asyncio.get_running_loop()
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None  # noqa: S101 - a worker has one

    def stop() -> None:
        loop.remove_reader(supervisor.sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(supervisor.sentinel, stop)
    logger.log(NOTICE, "worker %d has started", os.getpid())


def _update_pool_metrics() -> None:
    metrics.POOLS.update()
    asyncio.get_running_loop().call_later(1.0, _update_pool_metrics)
