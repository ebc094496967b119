"""Headers about caching, of requests and of responses."""

from ..problems import AnyRequest
from ..search import SearchReply


def bypasses_cache(request: AnyRequest) -> bool:
    """Return whether the request has `Cache-Control: no-cache` (RFC 9111, section 5.2.1.4)."""
    directives = request.headers.get("cache-control", "").split(",")
    return "no-cache" in {directive.strip().lower() for directive in directives}


def create_cache_headers(reply: SearchReply) -> dict[str, str]:
    """Return the headers of the response to a search: its source, its age and its lifetime."""
    return {
        "cache-status": f"arxiv-gateway; {reply.cache_status}",
        "cache-control": f"max-age={reply.max_age}",
        "age": f"{reply.age}",
    }
