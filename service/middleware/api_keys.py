"""Who may ask, and how often: API keys, where ARXIV_API_KEYS wants them."""

from ipaddress import IPv6Address, ip_address, ip_network

from litestar.enums import HttpMethod, ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from ..api_keys import ApiKeyCache, Rate
from ..errors import InvalidApiKey, ServiceError, TooManyRequests
from ..logging import caller
from ..problems import refuse
from ..quotas import QuotaCounter
from ..settings import ENDPOINTS
from .paths import first_segment
from .scope import header

OPEN = frozenset({"health", "metrics", "schema", "schema-assets", *ENDPOINTS["backend"]})
"""First segments of paths without keys: of operators, of the backend's token, the description."""
SEND = "send the header Authorization: Bearer and an API key"


class ApiKeyMiddleware:
    """ASGI, around what consumers ask; the rate of each is counted, and told in every answer."""

    def __init__(self, app: ASGIApp, keys: ApiKeyCache, anonymous: Rate | None) -> None:
        """Let these keys in, and who sends none at the anonymous rate, if there is one."""
        self.app = app
        self.keys = keys
        self.anonymous = anonymous
        self.rates = QuotaCounter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if (
            scope["type"] != ScopeType.HTTP
            or scope["method"] == HttpMethod.OPTIONS
            or first_segment(scope) in OPEN
        ):
            await self.app(scope, receive, send)
            return
        try:
            name, rate = await self._caller(scope)
        except ServiceError as error:
            await refuse(error, send)
            return
        window, has_room = self.rates.count(name, rate)
        fields = window.fields()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *fields]
            await send(message)

        if has_room:
            await self.app(scope, receive, send_counted)
        else:
            detail = f"{rate} are allowed: wait {window.seconds_left} seconds"
            await refuse(TooManyRequests(detail, retry_after=window.seconds_left), send_counted)

    async def _caller(self, scope: HTTPScope) -> tuple[str, Rate]:
        """Whose request it is, and how many of them there may be. Raises KeyRefused."""
        given = header(scope, b"authorization") or b""
        scheme, _, text = given.decode("latin-1").partition(" ")
        if scheme.lower() == "bearer":
            key = await self.keys.find(text.strip())
            if key is None:
                raise InvalidApiKey(f"this key does not count: {SEND} that is not revoked")
            caller.set(key.name)
            return key.name, key.rate
        if self.anonymous is None:
            raise InvalidApiKey(SEND)
        return _neighbourhood(scope), self.anonymous


def _neighbourhood(scope: HTTPScope) -> str:
    """An address, of IPv6 the network: a customer has all of it. No key has a space in its name.

    A proxy may pass on anything as one; all that is none counts as one caller.
    """
    client = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return "from nowhere"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return f"from {address.ipv4_mapped}"
        return f"from {ip_network((int(address), 64), strict=False)}"
    return f"from {address}"
