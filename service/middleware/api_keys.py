"""Authentication by API keys, and quotas."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

from litestar.enums import HttpMethod
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..api_keys import ApiKeyCache, Rate
from ..errors import InvalidApiKey, InvalidProxyApiKey, ServiceError, TooManyRequests
from ..logging import key_name
from ..problems import reject_request
from ..quotas import MAX_WINDOWS, QuotaCounter
from ..sessions import Session, SessionCookies, get_session, set_session
from ..settings import ENDPOINTS, SEARCH_SEGMENTS
from ..sign_in_redirect import SIGN_IN, redirect_to_sign_in
from .credentials import find_key
from .scope import get_first_segment, get_header, has_absolute_target

EXEMPT = frozenset(
    {"health", "metrics", "schema", "schema-assets", "static", *ENDPOINTS["backend"]}
)
"""First segments of paths without keys: for operators, the description, and the backend endpoints,
which have their own token."""
SIGN_IN_RATE = Rate(20, 60)
"""Of an address: a person needs one attempt, and each costs a lookup."""
SITE_FACTOR = 16
"""How many times the quota of an address an IPv6 /48 has, the network of a whole site."""

INVALID_KEY = "invalid or revoked API key: ask the operator for a new one"

Limits = list[tuple[str, Rate]]


class ApiKeyMiddleware(ASGIMiddleware):
    """Identify the API client, count its requests and add the RateLimit headers."""

    def __init__(
        self,
        keys: ApiKeyCache,
        anonymous_rate: Rate | None,
        sessions: SessionCookies | None = None,
        page_segments: frozenset[str] = frozenset(),
    ) -> None:
        """Without `anonymous_rate`, every client needs a key.

        With `sessions`, pages are served, whose paths begin with `page_segments`.
        """
        self.keys = keys
        self.sessions = sessions
        self.page_segments = page_segments if sessions else frozenset()
        self._sign_in = {SIGN_IN} & self.page_segments
        self.anonymous_rate = anonymous_rate
        # apart, so that requests without a key never affect the quotas of keys
        self.key_quotas = QuotaCounter()
        self.address_quotas = QuotaCounter(MAX_WINDOWS)
        self.sign_in_quotas = QuotaCounter(MAX_WINDOWS)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if self._is_exempt(scope):
            await next_app(scope, receive, send)
            return
        try:
            quotas, limits = await self._identify_client(scope)
        except ServiceError as error:
            if isinstance(error, InvalidApiKey) and self._needs_sign_in(scope):
                await redirect_to_sign_in(scope, receive, send)
            else:
                await reject_request(error, send)
            return
        is_private = get_session(scope) is not None
        quota, is_within = quotas.count(*limits)
        fields = quota.fields()

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = _make_private(message["headers"]) if is_private else message["headers"]
                message["headers"] = [*headers, *fields]
            await send(message)

        if is_within:
            await next_app(scope, receive, send_with_quota)
        else:
            detail = f"the quota of {quota.rate} for {quota.client} is used up: retry in"
            seconds = quota.seconds_left
            exceeded = TooManyRequests(f"{detail} {seconds} seconds", retry_after=seconds)
            await reject_request(exceeded, send_with_quota)

    def _is_exempt(self, scope: Scope) -> bool:
        segment = get_first_segment(scope["path"])
        if scope.get("method") == HttpMethod.OPTIONS or segment in EXEMPT:
            return True
        return segment in self._sign_in and scope.get("method") != HttpMethod.POST

    def _needs_sign_in(self, scope: Scope) -> bool:
        """Return whether a browser asks for a page, rather than a program with a wrong key."""
        is_page = get_first_segment(scope["path"]) in self.page_segments
        return is_page and find_key(scope) is None and not has_absolute_target(scope)

    async def _identify_client(self, scope: Scope) -> tuple[QuotaCounter, Limits]:
        """Return where to count the request, and its limits. Raises InvalidApiKey."""
        text = find_key(scope)
        if text is not None:
            key = await self.keys.find(text)
            if key is None:
                raise _create_error(scope, INVALID_KEY)
            key_name.set(key.name)
            return self.key_quotas, [(key.name, key.rate)]
        if get_first_segment(scope["path"]) in self._sign_in:
            return self.sign_in_quotas, get_limits(_get_address(scope), SIGN_IN_RATE)
        if session := await self._find_session(scope):
            set_session(scope, session)
            key_name.set(session.key.name)
            return self.key_quotas, [(session.key.name, session.key.rate)]
        if self.anonymous_rate is None:
            raise _create_error(
                scope,
                "an API key is required: send it as `Authorization: Bearer KEY`, or as the password"
                " of HTTP Basic",
            )
        return self.address_quotas, get_limits(_get_address(scope), self.anonymous_rate)

    async def _find_session(self, scope: Scope) -> Session | None:
        """Return the session of a request that a page of another site cannot misuse.

        Such a page cannot read responses. It can send forms, so only pages accept a session by
        POST: they check a token. It can link to searches of arXiv, so the browser must state that
        the link is not from there.
        """
        if self.sessions is None or (
            get_first_segment(scope["path"]) in SEARCH_SEGMENTS
            and get_header(scope, b"sec-fetch-site") not in {b"same-origin", b"none"}
        ):
            return None
        is_safe = scope.get("method") in {HttpMethod.GET, HttpMethod.HEAD}
        if is_safe or get_first_segment(scope["path"]) in self.page_segments:
            return await self.sessions.find(scope)
        return None


def _get_address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _make_private(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Keep shared caches from storing a response: they know this of Authorization only."""
    fields = [*headers]
    controls = [value for name, value in fields if name == b"cache-control"] or [b"no-cache"]
    directives = [each.strip() for each in b",".join(controls).split(b",")]
    kept = [each for each in directives if each not in {b"private", b"public"}]
    control = b", ".join([b"private", *kept])
    others = [(name, value) for name, value in fields if name != b"cache-control"]
    return [*others, (b"cache-control", control)]


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
