"""How often each caller has asked: windows of time that begin with a first request."""

from math import ceil
from time import monotonic

from msgspec import Struct

from .api_keys import Rate

MAX_CALLERS = 10_000
"""Callers whose windows are remembered; the one that came first is forgotten for another."""


class Quota(Struct):
    """What a caller may still do, and until when that counts."""

    rate: Rate
    ends: float
    used: int = 0

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields of draft-ietf-httpapi-ratelimit-headers."""
        left = max(self.rate.quota - self.used, 0)
        return [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self.rate.quota, self.rate.seconds)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (left, self.rest)),
        ]

    @property
    def rest(self) -> int:
        """Seconds until the next window may begin."""
        return max(ceil(self.ends - monotonic()), 1)


class QuotaCounter:
    """The windows of this process: an instance beside it counts for itself."""

    def __init__(self) -> None:
        """Begin without any."""
        self._windows: dict[str, Quota] = {}

    def count(self, caller: str, rate: Rate) -> tuple[Quota, bool]:
        """The caller's window with this request in it, and whether there was room for it."""
        now = monotonic()
        window = self._windows.get(caller)
        if window is None or window.ends <= now or window.rate != rate:
            self._windows.pop(caller, None)
            window = self._windows[caller] = Quota(rate, now + rate.seconds)
            if len(self._windows) > MAX_CALLERS:
                del self._windows[next(iter(self._windows))]
        if window.used >= rate.quota:
            return window, False
        window.used += 1
        return window, True
