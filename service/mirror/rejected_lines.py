"""The file of lines that cannot be imported.

Before each line, which is as it was, a line has its number and the reason. So the corrected file
can be imported in turn.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from ..errors import InvalidParameter
from .snapshot_blocks import NOTE
from .snapshot_file import MAX_LINE_BYTES


class RejectedLine(NamedTuple):
    """A line that cannot be imported."""

    number: int
    reason: str
    line: bytes


class RejectedLines:
    """An open file of rejected lines. Its methods raise InvalidParameter if they cannot write."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises InvalidParameter, also if it has other content."""
        self.path = path
        with self._map_errors():
            self._file = path.open("a+b")
            self._file.seek(0)
            self._lock()
        if self._file.read(len(NOTE)) not in {b"", NOTE}:
            self._file.close()
            raise InvalidParameter("--rejected", f"{path} has other content: give another path")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._map_errors(), self._file:
            if self._file.seek(0, os.SEEK_END) == 0:
                self.path.unlink(missing_ok=True)

    def keep_until(self, number: int) -> None:
        """Remove the lines after this one, which will be read again."""
        with self._map_errors():
            self._file.seek(0)
            end = 0
            while (note := self._file.readline(MAX_LINE_BYTES)) and _parse_note(note) <= number:
                while (line := self._file.readline(MAX_LINE_BYTES)) and not line.endswith(b"\n"):
                    pass
                end = self._file.tell()
            self._file.truncate(end)

    def add(self, lines: Iterable[RejectedLine]) -> None:
        """Append lines."""
        with self._map_errors():
            for number, reason, line in lines:
                text = " ".join(reason.split()).encode(errors="backslashreplace")
                self._file.write(b"%b%d: %b\n%b\n" % (NOTE, number, text, line))
            self._file.flush()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            reason = f"another import writes to {self.path}: wait until it ends"
            raise InvalidParameter("--rejected", reason) from error

    @contextmanager
    def _map_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"cannot write {self.path}: {error.strerror}"
            raise InvalidParameter("--rejected", reason) from error


def _parse_note(note: bytes) -> int:
    number = note.removeprefix(NOTE).partition(b":")[0]
    return int(number) if number.isdigit() else 0
