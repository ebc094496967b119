"""Pauses between attempts: exponential backoff with jitter."""

import random


class Backoff:
    """Doubles the pause after each attempt, up to a maximum."""

    def __init__(self, initial: float = 0.5, maximum: float = 5.0) -> None:
        self._initial = initial
        self._maximum = maximum
        self._next = initial

    def next_pause(self) -> float:
        """Return the seconds to wait before the next attempt.

        Random jitter of up to half the pause keeps many processes from retrying at once.
        """
        pause = self._next
        self._next = min(2 * pause, self._maximum)
        return pause * random.uniform(0.5, 1)  # noqa: S311 - not a secret

    def reset(self) -> None:
        """Start again with the initial pause."""
        self._next = self._initial
