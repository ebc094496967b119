"""Authentication by API keys, and quotas."""

from ipaddress import IPv6Address, ip_address, ip_network

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..api_keys import ApiKeyCache, Rate
from ..errors import InvalidApiKey, InvalidProxyApiKey, ServiceError, TooManyRequests
from ..logging import key_name
from ..problems import reject_request
from ..quotas import MAX_WINDOWS, QuotaCounter
from ..settings import ENDPOINTS
from .credentials import find_key
from .scope import get_first_segment, has_absolute_target

EXEMPT = frozenset(
    {"health", "metrics", "schema", "schema-assets", "static", *ENDPOINTS["backend"]}
)
"""First segments of paths without keys: for operators, the description, and the backend endpoints,
which have their own token."""
SITE_FACTOR = 16
"""How many times the quota of an address an IPv6 /48 has, the network of a whole site."""

Limits = list[tuple[str, Rate]]


class ApiKeyMiddleware(ASGIMiddleware):
    """Identify the API client, count its requests and add the RateLimit headers."""

    def __init__(self, keys: ApiKeyCache, anonymous_rate: Rate | None) -> None:
        """Without `anonymous_rate`, every client needs a key."""
        self.keys = keys
        self.anonymous_rate = anonymous_rate
        # apart, so that requests without a key never affect the quotas of keys
        self.key_quotas = QuotaCounter()
        self.address_quotas = QuotaCounter(MAX_WINDOWS)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope.get("method") == HttpMethod.OPTIONS or get_first_segment(scope) in EXEMPT:
            await next_app(scope, receive, send)
            return
        try:
            quotas, limits = await self._identify_client(scope)
        except ServiceError as error:
            await reject_request(error, send)
            return
        quota, is_within = quotas.count(*limits)
        fields = quota.fields()

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        if is_within:
            await next_app(scope, receive, send_with_quota)
        else:
            detail = f"the quota of {quota.rate} for {quota.client} is used up: retry in"
            seconds = quota.seconds_left
            exceeded = TooManyRequests(f"{detail} {seconds} seconds", retry_after=seconds)
            await reject_request(exceeded, send_with_quota)

    async def _identify_client(self, scope: Scope) -> tuple[QuotaCounter, Limits]:
        """Return where to count the request, and its limits. Raises InvalidApiKey."""
        text = find_key(scope)
        if text is not None:
            key = await self.keys.find(text)
            if key is None:
                raise _create_error(
                    scope, "invalid or revoked API key: ask the operator for a new one"
                )
            key_name.set(key.name)
            return self.key_quotas, [(key.name, key.rate)]
        if self.anonymous_rate is None:
            raise _create_error(
                scope,
                "an API key is required: send it as `Authorization: Bearer KEY`, or as the password"
                " of HTTP Basic",
            )
        client = scope.get("client")
        return self.address_quotas, get_limits(client[0] if client else "", self.anonymous_rate)


def _create_error(scope: Scope, detail: str) -> InvalidApiKey:
    if has_absolute_target(scope):  # its client sends credentials for a proxy only
        return InvalidProxyApiKey(f"{detail}; in the URL of the proxy: http://any:KEY@gateway:8000")
    return InvalidApiKey(detail)


def get_limits(address: str, rate: Rate) -> Limits:
    """Return the limits of an address, with the widest network first.

    For IPv6 they are those of the /64, which belongs to one customer, and of the /48, of which a
    customer can have many /64. Proxies can pass on anything as an address; all malformed ones share
    one quota.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return [("malformed addresses", rate)]
    if isinstance(ip, IPv6Address) and not ip.ipv4_mapped:
        site, network = (str(ip_network((int(ip), size), strict=False)) for size in (48, 64))
        return [(site, Rate(rate.quota * SITE_FACTOR, rate.seconds)), (network, rate)]
    return [(str(getattr(ip, "ipv4_mapped", None) or ip), rate)]
