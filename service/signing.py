"""Signatures of cookies and forms."""

import hmac
from collections.abc import Awaitable, Callable


class SigningKey:
    """The signing key of the installation, which is fetched once and never changes."""

    def __init__(self, fetch: Callable[[], Awaitable[bytes]]) -> None:
        """`fetch` returns the key from the database or a backend. Raises ServiceError."""
        self._fetch = fetch
        self._key: bytes | None = None

    async def sign(self, purpose: bytes, message: bytes) -> bytes:
        """Return the signature of a message, valid for this purpose only. Raises ServiceError."""
        if self._key is None:
            self._key = await self._fetch()
        return hmac.digest(self._key, purpose + b"\0" + message, "sha256")
