"""Which names the service answers to: a page led here by its own DNS reads nothing."""

import re
from functools import lru_cache
from ipaddress import IPv6Address

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from ..errors import InvalidHost
from ..problems import refuse
from ..settings import ENDPOINTS
from .paths import first_segment

OPEN = frozenset({"health", "metrics"})
"""First segments of paths that are asked for by address: probes and Prometheus know no name."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_-][a-z0-9._-]*?)\.?)(?::[0-9]{0,5})?")


class AllowedHostsMiddleware:
    """ASGI: refuses what is meant for somebody else."""

    def __init__(self, app: ASGIApp, allowed: frozenset[str], *, guarded: bool) -> None:
        """Answer to these names, or to any; `*.example.org` stands for all below it.

        `guarded`: whether the backend's paths ask for a token. Then frontends may call them by
        whatever name they know; no page has the token.
        """
        self.app = app
        self.open = OPEN.union(ENDPOINTS["backend"] if guarded else ())
        self.allowed = allowed
        self.names = {name for name in allowed if not name.startswith("*")}
        self.endings = tuple(name[1:] for name in allowed if name.startswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP and (fault := self._fault(scope)):
            await refuse(InvalidHost(fault), send)
        else:
            await self.app(scope, receive, send)

    def _fault(self, scope: HTTPScope) -> str:
        """Why the request is not for us; else nothing."""
        given = [value for name, value in scope["headers"] if name == b"host"]
        name = host_of(given[0].decode("latin-1")) if given else ""
        if name is None or len(given) > 1:  # links in answers could not be made of it
            return "there is more than one Host header, or it names no host"
        if not self.allowed or first_segment(scope) in self.open:
            return ""
        if name and (name in self.names or name.endswith(self.endings)):
            return ""
        return "the Host header names none of ARXIV_ALLOWED_HOSTS"


@lru_cache(maxsize=64)
def host_of(text: str) -> str | None:
    """The host in a Host header, as settings have it; None where it is none."""
    if not (found := _HOST.fullmatch(text.lower())):
        return None
    try:
        return str(IPv6Address(found[1])) if found[1] else found[2]
    except ValueError:
        return None
