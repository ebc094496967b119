"""What requests say in their query strings, so that the same words need not be read again."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 1024
LONGEST = 500
"""Bytes of one that is remembered."""


class Words(Generic[T]):
    """The latest of them, with what they say; other parts of a request may belong to the words."""

    def __init__(self) -> None:
        """Begin without any."""
        self._said: OrderedDict[bytes, T] = OrderedDict()

    def get(self, words: bytes) -> T | None:
        """What they say, if that is known."""
        said = self._said.get(words)
        if said is not None:
            self._said.move_to_end(words)
        return said

    def keep(self, words: bytes, said: T) -> None:
        """Remember what they say; long ones are seldom the same."""
        if len(words) <= LONGEST:
            self._said[words] = said
            if len(self._said) > MOST:
                self._said.popitem(last=False)
