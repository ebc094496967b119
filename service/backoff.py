"""Pauses between attempts."""

import random


class Backoff:
    """Exponential pauses with jitter: each is about twice as long as the last, up to a limit."""

    def __init__(self, initial: float = 0.5, maximum: float = 5.0) -> None:
        self._initial = self._next = initial
        self._maximum = maximum

    def next_pause(self) -> float:
        """Return the seconds to wait before the next attempt; they vary by half around a mean."""
        pause, self._next = self._next, min(2 * self._next, self._maximum)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 - not cryptographic

    def reset(self) -> None:
        """Start again with the initial pause."""
        self._next = self._initial
