"""HTTP headers that more than one module sends."""

from contextvars import ContextVar

SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
"""Restrict what browsers do with any response."""
DEFAULT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""For responses that are data. Pages set their own policy."""

REQUEST_TIMEOUT = "request-timeout"
"""How many seconds the client waits for the response."""
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the client stops waiting, by the clock of the event loop; None without Request-Timeout.
A frontend passes the remaining time on to its backend."""
