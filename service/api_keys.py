"""API keys: their format, their rate, and a cache of valid and invalid ones."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from itertools import islice
from time import monotonic
from typing import Self

from cachetools import LRUCache
from msgspec import Struct

from .errors import DatabaseUnavailable, ServiceError
from .http_headers import deadline

PREFIX = "ag_"
"""Lets scanners for leaked secrets find keys."""
VISIBLE_CHARS = 8
"""Characters of a key that are stored in plain text, to identify it in lists."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FRESH_SECONDS = 5.0
"""How long a lookup is valid; a revoked key is rejected after this time."""
STALE_SECONDS = 60.0
"""How long a lookup is used while the database is unavailable."""
LOOKUP_TIMEOUT = 3.0
"""Seconds that a request waits for a lookup."""
MAX_LOOKUP_KEYS = 1000
MAX_CACHED_KEYS = 10_000
"""Including invalid ones."""

KEY_PATTERN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_RATE_PATTERN = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class Rate(Struct, frozen=True):
    """A number of requests per number of seconds."""

    quota: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `60/minute`. Raises ValueError."""
        if not (match := _RATE_PATTERN.fullmatch(text)):
            raise ValueError(
                f"{text!r} is not a valid rate; write a number and a unit (second, minute, hour or"
                " day), such as 60/minute"
            )
        return cls(int(match[1]), _UNIT_SECONDS[match[2]])

    def __str__(self) -> str:
        """Return the text that `parse` accepts."""
        units = {seconds: unit for unit, seconds in _UNIT_SECONDS.items()}
        return f"{self.quota}/{units.get(self.seconds, f'{self.seconds} seconds')}"


class ApiKey(Struct, frozen=True):
    """The name and rate of a valid key."""

    name: str
    rate: Rate


def generate_key() -> str:
    """Return a new key with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """Return the stored digest. Keys are random, so SHA-256 without salt or rounds is enough."""
    return sha256(key.encode()).digest()


Lookup = Callable[[list[bytes]], Awaitable[dict[bytes, ApiKey]]]
"""Finds the valid keys by digest, in the database or through a backend. Raises ServiceError."""


class _CachedKey(Struct):
    key: ApiKey | None
    since: float


class ApiKeyCache:
    """Caches lookups. One at a time is in progress, which bounds the load of random keys."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._known: LRUCache[bytes, _CachedKey] = LRUCache(MAX_CACHED_KEYS)
        self._pending: dict[bytes, asyncio.Future[ApiKey | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, text: str) -> ApiKey | None:
        """Return the key, or None if it is not valid. Raises DatabaseUnavailable."""
        return await self.find_digest(hash_key(text)) if KEY_PATTERN.fullmatch(text) else None

    async def find_digest(self, digest: bytes) -> ApiKey | None:
        """Return the key with this digest, or None. Raises DatabaseUnavailable."""
        cached = self._known.get(digest)
        if cached and monotonic() - cached.since < FRESH_SECONDS:
            return cached.key
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                return await asyncio.shield(self._request_lookup(digest))
        except (ServiceError, TimeoutError) as error:
            if cached and monotonic() - cached.since < STALE_SECONDS:
                return cached.key
            raise DatabaseUnavailable("the API key cannot be checked now; try again") from error

    def _request_lookup(self, digest: bytes) -> asyncio.Future[ApiKey | None]:
        future = self._pending.get(digest)
        if future is None:
            future = self._pending[digest] = asyncio.get_running_loop().create_future()
            # keeps asyncio from logging an exception that no caller waits for any more
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run_lookups())
        return future

    async def _run_lookups(self) -> None:
        deadline.set(None)  # clients with other deadlines wait for this task too
        while self._pending:
            digests = list(islice(self._pending, MAX_LOOKUP_KEYS))
            futures = {digest: self._pending.pop(digest) for digest in digests}
            since = monotonic()
            try:
                keys = await self._lookup(digests)
            except ServiceError as error:
                for future in futures.values():
                    future.set_exception(error)
                continue
            for digest, future in futures.items():
                self._known[digest] = _CachedKey(keys.get(digest), since)
                future.set_result(keys.get(digest))
