"""What makes a file of rows, one batch at a time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

Row_contra = TypeVar("Row_contra", contravariant=True)


class Serializer(ABC, Generic[Row_contra]):
    """Makes one file: `begin()` once, `rows()` as often as there are some, `end()` once."""

    def begin(self) -> bytes:
        """What stands before the first row."""
        return b""

    @abstractmethod
    def rows(self, batch: Sequence[Row_contra]) -> bytes:
        """Some rows more, or none."""

    def end(self) -> bytes:
        """What stands after the last row."""
        return b""
