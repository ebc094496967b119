"""Headers about caching, of requests and of responses."""

import re

from ..models.arxiv import Remarks
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


def create_warning_header(remarks: Remarks | None) -> dict[str, str]:
    """Return what is peculiar about the response in a header: the feed has no place for it.

    RFC 9111 declares it obsolete without a replacement (RFC 7234, 5.5 defines it).
    """
    warnings = (remarks or {}).get("warnings", [])
    # visible ASCII without quotes and backslashes
    texts = (re.sub(r"[^ !#-\[\]-~]", "?", warning) for warning in warnings)
    value = ", ".join(f'199 arxiv-gateway "{text}"' for text in texts)
    return {"warning": value} if value else {}
