"""Whether other machines can reach what we listen on, and what must be closed then."""

import socket
from ipaddress import ip_address

from .errors import ConfigurationError
from .settings import ENDPOINTS, Settings


def check(settings: Settings) -> None:
    """Raises NotConfigured where other machines could use the backend endpoints without a token."""
    if settings.tokens or not settings.served & {*ENDPOINTS["backend"]}:
        return
    try:
        closed = is_loopback(settings.host)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"ARXIV_HOST: {settings.host!r} is no host to listen on: give an address without port"
            " and brackets, or a name"
        ) from error
    if not closed:
        raise ConfigurationError(
            f"ARXIV_HOST: other machines can reach {settings.host}, and the backend endpoints are"
            " open: set ARXIV_BACKEND_TOKEN, or leave them out with ARXIV_ENDPOINTS=frontend"
        )


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are of this machine alone, as the listening reads it.

    Raises OSError or UnicodeError for what has none.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = [ip_address(str(address[0])) for *_, address in found]
    # ::ffff:127.0.0.1 is a way to write 127.0.0.1
    return all((getattr(each, "ipv4_mapped", None) or each).is_loopback for each in addresses)
