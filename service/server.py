"""What answers HTTP, until a signal ends it."""

import gc
import logging
import math
import socket

import uvicorn
from litestar import Litestar

from . import http_limits
from .app import add_outer_middleware, create_app
from .logging import NOTICE
from .search import SearchService
from .settings import ENDPOINTS, GUARDED, Settings

logger = logging.getLogger("service")

GRACE = 15
"""Seconds that running requests get at the end beyond what arXiv may take."""


def run(settings: Settings) -> None:
    """Listen, and answer."""
    app = create_app(settings)
    is_wanted = any(word in settings.endpoints for word in ("all", GUARDED))
    if is_wanted and not settings.backend_url and not settings.served & {*ENDPOINTS["backend"]}:
        logger.log(NOTICE, "no backend endpoints: ARXIV_BACKEND_TOKEN is not set")
    gc.freeze()  # so that no collection looks through all the modules again
    gc.enable()
    _Server(config(app, settings), app.state.search_service).run()


def config(app: Litestar, settings: Settings) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        add_outer_middleware(app),
        host=settings.host,
        port=settings.port,
        http=http_limits.LimitedHttpProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # a request that comes right behind another would have what that one set
        reset_contextvars=True,
        timeout_graceful_shutdown=math.ceil(settings.timeout) + GRACE,
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, search_service: SearchService) -> None:
        super().__init__(config)
        self.search_service = search_service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where the service listens, once it does."""
        await super().startup(sockets)
        for listener in (part for server in self.servers for part in server.sockets):
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            logger.log(NOTICE, "listening on http://%s:%d", shown, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what only waits; what arXiv is being asked, and what is read, comes to its end."""
        self.search_service.close()
        await super().shutdown(sockets)
