"""What browsers may do with any answer: nothing but show or read it.

Strict-Transport-Security is left to the proxy that has the TLS.
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

POLICY = b"content-security-policy"
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
CLOSED = (POLICY, b"default-src 'none'; frame-ancestors 'none'")
"""An answer is data; a page brings a policy of its own."""


class SecurityHeadersMiddleware:
    """ASGI, around all answers, the errors too."""

    def __init__(self, app: ASGIApp, *, for_all: bool) -> None:
        """Wrap an application; `for_all`: pages of any origin may embed its answers."""
        self.app = app
        policy = b"cross-origin" if for_all else b"same-origin"
        self.headers = [*HEADERS, (b"cross-origin-resource-policy", policy)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self.headers]
                message["headers"] = headers if POLICY in dict(headers) else [*headers, CLOSED]
            await send(message)

        await self.app(scope, receive, send_secured)
