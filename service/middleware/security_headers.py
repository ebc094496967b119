"""Headers that restrict what browsers do with responses.

Strict-Transport-Security is left to the proxy that terminates TLS.
"""

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

POLICY = b"content-security-policy"
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
DEFAULT_POLICY = (POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""For responses that are data. Pages set their own policy."""


class SecurityHeadersMiddleware(ASGIMiddleware):
    """Add the security headers to every response."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, *, embeddable: bool) -> None:
        """With `embeddable`, pages of other origins may embed responses."""
        resource_policy = b"cross-origin" if embeddable else b"same-origin"
        self.headers = [*HEADERS, (b"cross-origin-resource-policy", resource_policy)]

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self.headers]
                if POLICY not in dict(headers):
                    headers.append(DEFAULT_POLICY)
                message["headers"] = headers
            await send(message)

        await next_app(scope, receive, send_with_headers)
