"""Validate the Host header (protects against DNS rebinding)."""

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from ..errors import InvalidHost
from ..problems import reject_request
from ..request_target import is_listed, parse_host
from ..settings import ENDPOINTS
from .scope import get_first_segment, get_header, has_absolute_target

EXEMPT = frozenset({"health", "metrics"})
"""First segments of paths that are requested by address: probes and Prometheus use no host name."""


class AllowedHostsMiddleware(ASGIMiddleware):
    """Reject requests for other hosts, and malformed Host headers.

    A Host header from an absolute target need not be allowed: no page makes browsers send one.
    """

    def __init__(self, hosts: frozenset[str], *, exempt_backend: bool) -> None:
        """Allow these hosts, or any if there are none; `*.example.org` allows all subdomains.

        With `exempt_backend`, the backend endpoints can be called by any name. They then require
        a token, which no web page has.
        """
        self.exempt = EXEMPT.union(ENDPOINTS["backend"] if exempt_backend else ())
        self.hosts = hosts

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
        if has_absolute_target(scope):  # `http_limits` has validated its host
            return None
        if (
            not self.hosts
            or get_first_segment(scope["path"]) in self.exempt
            or is_listed(host, self.hosts)
        ):
            return None
        return "the Host header is not in ARXIV_ALLOWED_HOSTS: use an allowed name, or add this one"
