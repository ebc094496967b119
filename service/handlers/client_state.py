"""The Cache-Control and Accept headers of a request."""

from .. import formats
from ..problems import AnyRequest


def bypasses_cache(request: AnyRequest) -> bool:
    """Return whether the request has `Cache-Control: no-cache` (RFC 9111, section 5.2.1.4)."""
    directives = _join_lines(request, "cache-control").split(",")
    return "no-cache" in {directive.strip().lower() for directive in directives}


def select_format(
    request: AnyRequest, name: str | None
) -> formats.TableFormat | formats.ReferenceFormat:
    """Return the format by the parameter `format`, else by the Accept header, else JSON.

    Raises InvalidParameter or NotAcceptable.
    """
    return formats.select_format(name, _join_lines(request, "accept"))


def _join_lines(request: AnyRequest, name: str) -> str:
    """Return all lines of a header as one value (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getall(name, []))
