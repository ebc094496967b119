"""Keys of those who use the API: how they look, how often each may ask, which of them count."""

import asyncio
import re
import secrets
from hashlib import sha256
from itertools import islice
from time import monotonic
from typing import Protocol, Self

from msgspec import Struct

from .errors import DatabaseUnavailable, ServiceError

PREFIX = "ag_"
"""What every key begins with, so that a search for leaked secrets finds it."""
VISIBLE_CHARS = 8
"""How many characters of a key are kept in the clear, to tell keys apart."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
FRESH_SECONDS = 5.0
"""Seconds for which is believed what the database said of a key: a revoked one ends within them."""
STALE_SECONDS = 60.0
"""Seconds for which it is believed where the database cannot be asked again."""
LOOKUP_TIMEOUT = 3.0
"""Seconds that a request waits for word of its key."""
MAX_LOOKUP_KEYS = 1000
"""Keys in one question."""
MAX_CACHED_KEYS = 10_000
"""Keys that are remembered, wrong ones too."""

_LOOKS = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


class Rate(Struct, frozen=True):
    """So many requests in so many seconds."""

    quota: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `60/minute`. Raises ValueError."""
        if not (found := _RATE.fullmatch(text)):
            raise ValueError(
                f"{text!r} is no rate: give one like 60/minute, or per second, hour, day"
            )
        return cls(int(found[1]), _SECONDS[found[2]])

    def __str__(self) -> str:
        """As it is read."""
        units = (unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        unit = next(units, f"{self.seconds} seconds")
        return f"{self.quota}/{unit}"


class ApiKey(Struct, frozen=True):
    """Whose key it is, and what it allows."""

    name: str
    rate: Rate


def generate_key() -> str:
    """A key that nobody has: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> bytes:
    """What is stored of a key. Nobody can guess one, so one round of SHA-256 hides it."""
    return sha256(key.encode()).digest()


class ApiKeyLookup(Protocol):
    """Who knows the keys: the database, or a backend that has one."""

    async def find(self, digests: list[bytes]) -> dict[bytes, ApiKey]:
        """The keys that count, of those with these digests. Raises ServiceError."""


class _Known(Struct):
    key: ApiKey | None
    since: float


class ApiKeyCache:
    """What the finder said lately. Whoever asks while it is asked goes with its next question.

    So one question at a time is under way, however many wrong keys strangers make up.
    """

    def __init__(self, finder: ApiKeyLookup) -> None:
        """Ask this one."""
        self._finder = finder
        self._known: dict[bytes, _Known] = {}
        self._wanted: dict[bytes, asyncio.Future[ApiKey | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, text: str) -> ApiKey | None:
        """The key that this is. Raises StoreUnavailable where nobody can say."""
        if not _LOOKS.fullmatch(text):
            return None
        wanted = hash_key(text)
        known = self._known.get(wanted)
        if known and monotonic() - known.since < FRESH_SECONDS:
            return known.key
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                return await asyncio.shield(self._told(wanted))
        except (ServiceError, TimeoutError) as error:
            if known and monotonic() - known.since < STALE_SECONDS:
                return known.key
            raise DatabaseUnavailable("the API key cannot be checked now") from error

    def _told(self, wanted: bytes) -> asyncio.Future[ApiKey | None]:
        """Done once the finder has been asked for this one."""
        future = self._wanted.get(wanted)
        if future is None:
            future = self._wanted[wanted] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_heard)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return future

    async def _ask(self) -> None:
        while self._wanted:
            futures = dict(islice(self._wanted.items(), MAX_LOOKUP_KEYS))
            for each in futures:
                del self._wanted[each]
            since = monotonic()
            try:
                found = await self._finder.find(list(futures))
            except ServiceError as error:
                for future in futures.values():
                    future.set_exception(error)
                continue
            for each, future in futures.items():
                self._known.pop(each, None)
                self._known[each] = _Known(found.get(each), since)
                future.set_result(found.get(each))
            while len(self._known) > MAX_CACHED_KEYS:
                del self._known[next(iter(self._known))]


def _heard(future: asyncio.Future[ApiKey | None]) -> None:
    """Whoever waits gets the error; when nobody does, asyncio must not complain of that."""
    if not future.cancelled():
        future.exception()
