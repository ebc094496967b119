"""The host for which a request is meant: that of its target, or else of its Host header.

Clients send a whole URL as the target if this service is configured as their proxy. The service
answers such a request itself or rejects it; it never contacts the host or looks up its name.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address

from .errors import LimitExceeded

MAX_PORT = 65_535
ABSOLUTE_TARGET = "absolute_target"
"""Key in the ASGI `state` of requests whose target was absolute, and is answered here."""
NOT_A_PROXY = (
    "this service is not a proxy, except for http://export.arxiv.org/api/query: remove the proxy"
    " setting and use the service itself as the base URL, such as http://gateway:8000/api/query"
)

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_-][a-z0-9._-]*?)\.?)(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_ARXIV_HOST = rb"(?:export\.|www\.)?arxiv\.org\.?"
_ARXIV_API = re.compile(
    rb"(?i:http://%b(?::80)?|https://%b(?::443)?)/api/query(?:\?[^#]*)?"
    % (_ARXIV_HOST, _ARXIV_HOST)
)
_NEITHER_PATH_NOR_ASTERISK = re.compile(rb"[!#$%&'*+.^_`|~A-Za-z0-9-]+ +[^/* ]")


def resolve_target(target: bytes, own_hosts: frozenset[str]) -> tuple[bytes, bytes] | None:
    """Return the host with its port, and the path with the query, of an absolute target.

    None for other targets (RFC 9112, 3.2). Raises LimitExceeded unless the host is one of this
    service, or the target is arXiv's API, which this service has under the same path.
    """
    if target.startswith((b"/", b"*")):
        return None
    if match := _ABSOLUTE.fullmatch(target):
        authority, path = match.groups()
        host = parse_host(authority.decode("latin-1"))
        if (host and is_listed(host, own_hosts)) or _ARXIV_API.fullmatch(target):
            return authority, path if path.startswith(b"/") else b"/" + path
    raise LimitExceeded(403, NOT_A_PROXY)


def begins_for_proxy(data: bytes) -> bool:
    """Check whether a request, which can be malformed, begins with a target for a proxy."""
    return bool(_NEITHER_PATH_NOR_ASTERISK.match(data))


def is_listed(host: str, hosts: frozenset[str]) -> bool:
    """Check whether a host is in the list; `*.example.org` includes all subdomains."""
    return host in hosts or any(
        host.endswith(pattern[1:]) for pattern in hosts if pattern.startswith("*")
    )


@lru_cache(maxsize=64)
def parse_host(text: str) -> str | None:
    """Return the host of a Host header as the settings write it, or None if it is malformed."""
    match = _HOST.fullmatch(text.lower())
    if match is None or int(match[3] or 0) > MAX_PORT:
        return None
    try:
        return str(IPv6Address(match[1])) if match[1] else match[2]
    except ValueError:
        return None
