"""Headers that restrict what browsers do with responses.

Strict-Transport-Security is left to the proxy that terminates TLS.
"""

from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..http_headers import DEFAULT_POLICY, SECURITY_HEADERS


class SecurityHeadersMiddleware(ASGIMiddleware):
    """Add the security headers to every response."""

    def __init__(self, *, embeddable: bool) -> None:
        """With `embeddable`, pages of other origins may embed responses."""
        policy = b"cross-origin" if embeddable else b"same-origin"
        self.headers = [*SECURITY_HEADERS, (b"cross-origin-resource-policy", policy)]

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = dict(message["headers"])
                policy = [] if DEFAULT_POLICY[0] in own else [DEFAULT_POLICY]
                message["headers"] = [*message["headers"], *self.headers, *policy]
            await send(message)

        await next_app(scope, receive, send_with_headers)
