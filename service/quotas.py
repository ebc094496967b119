"""Request quotas: fixed windows that begin with an API client's first request."""

from math import ceil
from time import monotonic

from cachetools import FIFOCache
from msgspec import Struct

from .api_keys import Rate

MAX_CLIENTS = 10_000
"""API clients with a window; beyond that, the oldest window is dropped."""


class Quota(Struct):
    """The use of an API client's quota in the current window."""

    rate: Rate
    ends_at: float
    used: int = 0

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields of draft-ietf-httpapi-ratelimit-headers."""
        left = max(self.rate.quota - self.used, 0)
        return [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self.rate.quota, self.rate.seconds)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (left, self.seconds_left)),
        ]

    @property
    def seconds_left(self) -> int:
        """Seconds until the window ends."""
        return max(ceil(self.ends_at - monotonic()), 1)


class QuotaCounter:
    """Counts the requests to this process; other processes count their own."""

    def __init__(self) -> None:
        self._windows: FIFOCache[str, Quota] = FIFOCache(MAX_CLIENTS)

    def count(self, client: str, rate: Rate) -> tuple[Quota, bool]:
        """Count a request. Return the client's quota, and whether the request is within it."""
        now = monotonic()
        quota = self._windows.get(client)
        if quota is None or quota.ends_at <= now or quota.rate != rate:
            quota = self._windows[client] = Quota(rate, now + rate.seconds)
        if quota.used >= rate.quota:
            return quota, False
        quota.used += 1
        return quota, True
