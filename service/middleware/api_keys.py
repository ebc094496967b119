"""Authentication by API keys, and quotas."""

from ipaddress import IPv6Address, ip_address, ip_network

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..api_keys import ApiKeyCache, Rate
from ..errors import InvalidApiKey, ServiceError, TooManyRequests
from ..logging import key_name
from ..problems import reject_request
from ..quotas import QuotaCounter
from ..settings import ENDPOINTS
from .scope import get_first_segment, get_header

EXEMPT = frozenset({"health", "metrics", "schema", "schema-assets", *ENDPOINTS["backend"]})
"""First segments of paths without keys: for operators, the description, and the backend endpoints,
which have their own token."""


class ApiKeyMiddleware(ASGIMiddleware):
    """Identify the API client, count its requests and add the RateLimit headers."""

    def __init__(self, keys: ApiKeyCache, anonymous_rate: Rate | None) -> None:
        """Without `anonymous_rate`, every client needs a key."""
        self.keys = keys
        self.anonymous_rate = anonymous_rate
        self.quotas = QuotaCounter()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope.get("method") == HttpMethod.OPTIONS or get_first_segment(scope) in EXEMPT:
            await next_app(scope, receive, send)
            return
        try:
            client, rate = await self._identify_client(scope)
        except ServiceError as error:
            await reject_request(error, send)
            return
        quota, is_within = self.quotas.count(client, rate)
        fields = quota.fields()

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        if is_within:
            await next_app(scope, receive, send_with_quota)
        else:
            detail = f"the quota of {rate} is used up: retry in {quota.seconds_left} seconds"
            exceeded = TooManyRequests(detail, retry_after=quota.seconds_left)
            await reject_request(exceeded, send_with_quota)

    async def _identify_client(self, scope: Scope) -> tuple[str, Rate]:
        """Return the name of the client, for counting, and its quota. Raises InvalidApiKey."""
        header = get_header(scope, b"authorization") or b""
        scheme, _, text = header.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            key = await self.keys.find(text.strip())
            if key is None:
                raise InvalidApiKey("invalid or revoked API key: ask the operator for a new one")
            key_name.set(key.name)
            return key.name, key.rate
        if self.anonymous_rate is None:
            raise InvalidApiKey("an API key is required: send it as `Authorization: Bearer KEY`")
        return _describe_address(scope), self.anonymous_rate


def _describe_address(scope: Scope) -> str:
    """Return the address of the client, for IPv6 the /64 network, which belongs to one customer.

    The names of keys contain no spaces, so the result is not the name of a key. Proxies can pass
    on anything as an address; all malformed addresses share one quota.
    """
    client = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return "from unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return f"from {address.ipv4_mapped}"
        return f"from {ip_network((int(address), 64), strict=False)}"
    return f"from {address}"
