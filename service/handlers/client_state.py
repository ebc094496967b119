"""The Cache-Control header of a request."""

from ..problems import AnyRequest


def bypasses_cache(request: AnyRequest) -> bool:
    """Return whether the request has `Cache-Control: no-cache` (RFC 9111, section 5.2.1.4)."""
    directives = request.headers.get("cache-control", "").split(",")
    return "no-cache" in {directive.strip().lower() for directive in directives}
