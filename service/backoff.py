"""Pauses between retries."""

import random


class Backoff:
    """Exponential pauses with jitter: each is about twice as long as the last, up to a limit."""

    def __init__(self, first: float, longest: float) -> None:
        self._pause = first
        self._longest = longest

    def next(self) -> float:
        """The next pause, in seconds."""
        pause, self._pause = self._pause, min(2 * self._pause, self._longest)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 - not cryptographic
