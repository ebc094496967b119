"""Validate the Host header (protects against DNS rebinding)."""

import re
from functools import lru_cache
from ipaddress import IPv6Address

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from ..errors import InvalidHost
from ..problems import reject_request
from ..settings import ENDPOINTS
from .scope import get_first_segment, get_header

EXEMPT = frozenset({"health", "metrics"})
"""First segments of paths that are requested by address: probes and Prometheus use no host name."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_-][a-z0-9._-]*?)\.?)(?::[0-9]{0,5})?")


class AllowedHostsMiddleware(ASGIMiddleware):
    """Reject requests for other hosts, and malformed Host headers."""

    def __init__(self, hosts: frozenset[str], *, exempt_backend: bool) -> None:
        """Allow these hosts, or any if there are none; `*.example.org` allows all subdomains.

        With `exempt_backend`, the backend endpoints can be called by any name. They then require
        a token, which no web page has.
        """
        self.exempt = EXEMPT.union(ENDPOINTS["backend"] if exempt_backend else ())
        self.any_host = not hosts
        self.names = {host for host in hosts if not host.startswith("*")}
        self.suffixes = tuple(host[1:] for host in hosts if host.startswith("*"))

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if problem := self._check(scope):
            await reject_request(InvalidHost(problem), send)
        else:
            await next_app(scope, receive, send)

    def _check(self, scope: Scope) -> str | None:
        value = get_header(scope, b"host")
        if value is None and scope["http_version"] != "1.0":
            return "the request has no Host header: send one host name"
        host = "" if value is None else parse_host(value.decode("latin-1"))
        if host is None:  # links in responses contain it
            return "the request has a malformed Host header, or more than one: send one host name"
        if self.any_host or get_first_segment(scope) in self.exempt:
            return None
        if host and (host in self.names or host.endswith(self.suffixes)):
            return None
        return "the Host header is not in ARXIV_ALLOWED_HOSTS: use an allowed name, or add this one"


@lru_cache(maxsize=64)
def parse_host(text: str) -> str | None:
    """Return the host of a Host header as the settings write it, or None if it is malformed."""
    if not (match := _HOST.fullmatch(text.lower())):
        return None
    try:
        return str(IPv6Address(match[1])) if match[1] else match[2]
    except ValueError:
        return None
