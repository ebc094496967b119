"""Sessions of browsers: a signed cookie that contains the digest of an API key."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from time import time

from litestar.datastructures import Cookie
from litestar.types import Scope
from msgspec import Struct

from .api_keys import ApiKey, ApiKeyCache, hash_key
from .cookies import SESSION_COOKIE, create_cookie, find_cookies
from .settings import Settings
from .signing import SigningKey

LIFETIME = 30 * 86_400
"""Seconds from signing in to the end of a session."""

_VALUE = re.compile("[A-Za-z0-9_-]{96}")
_DIGEST_BYTES = _SIGNATURE_BYTES = 32
_TIME_BYTES = 8
_MAX_COOKIES = 3
"""Cookies that are read: without TLS, other hosts of the same domain can add theirs."""
_STATE = "session"


class Session(Struct, frozen=True):
    """The session of a request."""

    key: ApiKey
    form_token: str
    """The token of all forms in this session."""


class SessionCookies:
    """Creates and validates the cookies of sessions; nothing of a session is stored."""

    def __init__(self, settings: Settings, signing_key: SigningKey, keys: ApiKeyCache) -> None:
        self._settings = settings
        self._signing_key = signing_key
        self._keys = keys

    async def create(self, scope: Scope, key: str) -> Cookie | None:
        """Return the cookie of a new session, or None if the API key is not valid.

        Raises ServiceError if it cannot be checked.
        """
        if await self._keys.find(key) is None:
            return None
        content = hash_key(key) + int(time()).to_bytes(_TIME_BYTES)
        signature = await self._signing_key.sign(b"session", content)
        value = urlsafe_b64encode(content + signature).decode()
        return create_cookie(scope, self._settings, SESSION_COOKIE, value, LIFETIME)

    def create_expired(self, scope: Scope) -> Cookie:
        """Return the cookie that ends the session of a browser."""
        return create_cookie(scope, self._settings, SESSION_COOKIE, "", 0)

    async def find(self, scope: Scope) -> Session | None:
        """Return the session of the first valid cookie of a request.

        Raises ServiceError if it cannot be checked.
        """
        cookies = find_cookies(scope, self._settings, SESSION_COOKIE)
        values = [value for value in cookies if _VALUE.fullmatch(value)]
        for value in values[:_MAX_COOKIES]:
            digest = await self._verify(urlsafe_b64decode(value))
            if digest and (key := await self._keys.find_digest(digest)):
                return Session(key, await create_form_token(self._signing_key, value))
        return None

    async def _verify(self, value: bytes) -> bytes | None:
        """Return the digest in a cookie that is signed and not expired."""
        content, signature = value[:-_SIGNATURE_BYTES], value[-_SIGNATURE_BYTES:]
        if not hmac.compare_digest(await self._signing_key.sign(b"session", content), signature):
            return None
        issued_at = int.from_bytes(content[_DIGEST_BYTES:])
        return content[:_DIGEST_BYTES] if time() - issued_at < LIFETIME else None


async def create_form_token(signing_key: SigningKey, secret: str) -> str:
    """Return the token of forms for a browser that has a cookie with this secret.

    Raises ServiceError.
    """
    signature = await signing_key.sign(b"form", secret.encode())
    return urlsafe_b64encode(signature).decode().rstrip("=")


def set_session(scope: Scope, session: Session) -> None:
    """Store the session of a request in its scope."""
    scope.setdefault("state", {})[_STATE] = session


def get_session(scope: Scope) -> Session | None:
    """Return the session of a request, if it has one."""
    session: Session | None = scope.get("state", {}).get(_STATE)
    return session
