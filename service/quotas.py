"""Request quotas: fixed windows that begin with an API client's first request."""

from collections import OrderedDict, defaultdict
from math import ceil
from time import monotonic

from msgspec import Struct

from .api_keys import Rate

MAX_WINDOWS = 10_000
"""Windows of addresses and networks. The keys that the operator creates limit those of keys."""


class Quota(Struct):
    """The use of an API client's quota in the current window."""

    client: str
    rate: Rate
    ends_at: float
    used: int = 0

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the header fields of draft-ietf-httpapi-ratelimit-headers."""
        return [
            (b"ratelimit-policy", b'"default";q=%d;w=%d' % (self.rate.quota, self.rate.seconds)),
            (b"ratelimit", b'"default";r=%d;t=%d' % (self.left, self.seconds_left)),
        ]

    @property
    def left(self) -> int:
        """Requests that are left in the window."""
        return max(self.rate.quota - self.used, 0)

    @property
    def seconds_left(self) -> int:
        """Seconds until the window ends."""
        return max(ceil(self.ends_at - monotonic()), 1)


_Windows = OrderedDict[tuple[str, Rate], Quota]


class QuotaCounter:
    """Counts the requests to this process; other processes count their own.

    Windows that have ended are dropped. With `max_windows`, a window is dropped before its end if
    there are more of the same length; it is the one that ends first.
    """

    def __init__(self, max_windows: int | None = None) -> None:
        self._max_windows = max_windows
        # windows of the same length end in the order in which they began
        self._windows: defaultdict[int, _Windows] = defaultdict(OrderedDict)

    def count(self, *limits: tuple[str, Rate]) -> tuple[Quota, bool]:
        """Count a request if it is within all limits, each the name of a client and its rate.

        Return the quota with the fewest requests left, and whether the request is within it. After
        a limit that is used up, no further window begins: put the widest limit first.
        """
        quotas = []
        for client, rate in limits:
            quota = self._get_quota(client, rate)
            if not quota.left:
                return quota, False
            quotas.append(quota)
        for quota in quotas:
            quota.used += 1
        return min(quotas, key=lambda quota: quota.left), True

    def _get_quota(self, client: str, rate: Rate) -> Quota:
        now, windows = monotonic(), self._windows[rate.seconds]
        while windows and next(iter(windows.values())).ends_at <= now:
            windows.popitem(last=False)
        if quota := windows.get((client, rate)):
            return quota
        if len(windows) == self._max_windows:
            windows.popitem(last=False)
        quota = windows[client, rate] = Quota(client, rate, now + rate.seconds)
        return quota
