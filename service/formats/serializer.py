"""What all formats have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

Row_contra = TypeVar("Row_contra", contravariant=True)


class Serializer(ABC, Generic[Row_contra]):
    """Writes one file: `begin()`, then `serialize()` for each batch of rows, then `end()`."""

    def begin(self) -> bytes:
        """Return the part before the first row."""
        return b""

    @abstractmethod
    def serialize(self, rows: Sequence[Row_contra]) -> bytes:
        """Return the next rows."""

    def end(self) -> bytes:
        """Return the part after the last row."""
        return b""
