"""Reads blocks of lines from a snapshot: a plain or compressed file, or standard input."""

import hashlib
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from struct import Struct
from typing import NamedTuple

from ..errors import ImportFailed, InvalidParameter

STANDARD_INPUT = "-"
MAX_LINE_BYTES = 4 * 2**20
"""A longer line is not a paper: 3,000 authors with affiliations take 1 MiB."""
MAX_SKIPPED_BYTES = 64 * 2**20
"""A file with a longer line is not a snapshot."""
BLOCK_BYTES = 2 * 2**20
MAX_BLOCK_LINES = 5000
"""A paper has more than 400 bytes, so that this limits only lines that are not papers."""
REMEDY = (
    "use arxiv-metadata-oai-snapshot.json of https://www.kaggle.com/datasets/Cornell-University/arxiv"
    " as it is, or as .gz or .zip"
)

_PIECE_BYTES = 256 * 2**10
_HEAD_BYTES = 2**20
"""The beginning, which identifies a file together with its size."""
_TAIL_BYTES = 64 * 2**10
"""What comes before the place at which an import stopped; it shows whether the file is the same."""
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_BITS, _DEFLATE_BITS = 31, -15
"""How zlib reads a gzip file, and a member of a ZIP archive."""
_LOCAL_HEADER = Struct("<8xH16xHH")
"""Before a member of a ZIP archive: its method, the lengths of its name and of further fields."""
_OTHER_FORMATS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
    b"Rar!": "RAR",
}


class Block(NamedTuple):
    """Whole lines of a snapshot, or the beginning of a line longer than MAX_LINE_BYTES."""

    data: bytes
    num_lines: int
    end: int
    """The position after them; compressed bytes are not counted."""
    bytes_read: int
    """How much of the file has been read."""
    tail_digest: str
    """Of the last bytes before `end`."""
    has_end: bool = True
    """Whether the last line has a line end; false only at the end of a file."""


class SnapshotChanged(ImportFailed):
    """The file is another one than that whose import has stopped."""


class SnapshotFile:
    """An open snapshot."""

    def __init__(self, stream: FileIO, name: str) -> None:
        """Read the beginning. Raises ImportFailed if no snapshot has this format."""
        self.name = "standard input" if name == STANDARD_INPUT else name
        self._stream = stream
        status = os.fstat(stream.fileno())
        self._is_regular = name != STANDARD_INPUT and stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self._is_regular else None
        """Bytes in the file; None if that is unknown."""
        self._head = _read_head(stream)
        self._check_format()
        self.digest = hashlib.sha256(f"{self.size}\n".encode() + self._head).hexdigest()
        """Identifies the file."""
        self._bytes_read = 0
        self._tail = b""

    def _check_format(self) -> None:
        if not self._head:
            raise ImportFailed(f"{self.name} is empty: {REMEDY}")
        for magic, program in _OTHER_FORMATS.items():
            if self._head.startswith(magic):
                raise ImportFailed(f"{self.name} was packed by {program}: unpack it first")
        if self._head.startswith(_ZIP) and not self._is_regular:
            raise ImportFailed(
                f"{self.name} is a ZIP archive, whose directory is at its end: give the path of the"
                " file, or use unzip -p FILE | arxiv-gateway import -"
            )

    def read_blocks(self, position: int, tail_digest: str) -> Iterator[Block]:
        """Yield all lines from the end of an earlier block on.

        Raises SnapshotChanged if it was the block of another file, and ImportFailed if the file is
        truncated or damaged, after all lines before that.
        """
        tail_size = min(position, _TAIL_BYTES)
        pieces = self._open_pieces(position - tail_size)
        lines = self._read_tail(pieces, tail_size, tail_digest)
        try:
            for piece in pieces:
                lines += piece
                while len(lines) >= BLOCK_BYTES and (block := self._take(lines, position, pieces)):
                    position = block.end
                    yield block
        except ImportFailed:
            yield from self._take_rest(lines[: lines.rfind(b"\n") + 1], position)
            raise
        yield from self._take_rest(lines, position)

    def _read_tail(self, pieces: Iterator[bytes], size: int, digest: str) -> bytearray:
        """Read what comes before the first block; return the beginning of the block."""
        self._tail = b""
        if not size:
            return bytearray()
        read = bytearray()
        for piece in pieces:
            read += piece
            if len(read) >= size:
                break
        self._add_to_tail(read[:size])
        if len(read) < size or self._get_tail_digest() != digest:
            raise self._report_change()
        return read[size:]

    def _add_to_tail(self, content: bytes | bytearray) -> None:
        self._tail = (self._tail + content[-_TAIL_BYTES:])[-_TAIL_BYTES:]

    def _get_tail_digest(self) -> str:
        return hashlib.sha256(self._tail).hexdigest()

    def _create_block(
        self, data: bytes, num_lines: int, end: int, *, has_end: bool = True
    ) -> Block:
        digest = self._get_tail_digest()
        return Block(data, num_lines, end, self._get_bytes_read(), digest, has_end)

    def _take_rest(self, lines: bytearray, position: int) -> Iterator[Block]:
        while b"\n" in lines:
            block = self._take_lines(lines, position)
            position = block.end
            yield block
        if lines:
            self._add_to_tail(lines)
            yield self._create_block(bytes(lines), 1, position + len(lines), has_end=False)

    def _take(self, lines: bytearray, position: int, pieces: Iterator[bytes]) -> Block | None:
        """Remove a block from the lines; None if a line is incomplete."""
        if b"\n" in lines:
            return self._take_lines(lines, position)
        if len(lines) <= MAX_LINE_BYTES:
            return None
        beginning = bytes(lines[: MAX_LINE_BYTES + 1])
        end = position + self._skip_line(lines, pieces)
        return self._create_block(beginning, 1, end)

    def _take_lines(self, lines: bytearray, position: int) -> Block:
        size = lines.rfind(b"\n") + 1
        num_lines = lines.count(b"\n")
        if num_lines > MAX_BLOCK_LINES:
            num_lines = MAX_BLOCK_LINES
            rest = lines.split(b"\n", num_lines)[-1]
            size = len(lines) - len(rest)
        data = bytes(lines[:size])
        del lines[:size]
        self._add_to_tail(data)
        return self._create_block(data, num_lines, position + size)

    def _skip_line(self, lines: bytearray, pieces: Iterator[bytes]) -> int:
        """Replace the lines by what follows the next line end; return how much was skipped."""
        skipped = len(lines)
        self._add_to_tail(lines)
        for piece in pieces:
            line_end = piece.find(b"\n") + 1
            self._add_to_tail(piece[:line_end] if line_end else piece)
            if line_end:
                lines[:] = piece[line_end:]
                return skipped + line_end
            skipped += len(piece)
            if skipped > MAX_SKIPPED_BYTES:
                megabytes = MAX_SKIPPED_BYTES // 2**20
                raise ImportFailed(f"{self.name} has a line of over {megabytes} MiB: {REMEDY}")
        lines.clear()
        return skipped

    def _open_pieces(self, position: int) -> Iterator[bytes]:
        """Return the content from a position on, without compression."""
        if self._head.startswith(_ZIP):
            return self._skip(self._read_zip(), position)
        if self._head.startswith(_GZIP):
            return self._skip(self._inflate(self._read(), _GZIP_BITS), position)
        return self._read(position) if self._is_regular else self._skip(self._read(), position)

    def _read(self, position: int = 0) -> Iterator[bytes]:
        """Yield the bytes of the file itself."""
        if self._is_regular:
            self._stream.seek(position)
        else:
            self._bytes_read = len(self._head)
            yield self._head
        try:
            while piece := self._stream.read(_PIECE_BYTES):
                self._bytes_read += len(piece)
                yield piece
        except OSError as error:
            raise ImportFailed(f"cannot read {self.name}: {error.strerror}") from error

    def _get_bytes_read(self) -> int:
        return self._stream.tell() if self._is_regular else self._bytes_read

    def _skip(self, pieces: Iterator[bytes], position: int) -> Iterator[bytes]:
        """Leave out what comes before the position."""
        for piece in pieces:
            if position < len(piece):
                yield piece[position:]
                position = 0
            else:
                position -= len(piece)
        if position:
            raise self._report_change()

    def _inflate(self, pieces: Iterator[bytes], bits: int) -> Iterator[bytes]:
        """Yield what was compressed: all members of a gzip file, or one of a ZIP archive."""
        decoder = last = zlib.decompressobj(bits)
        piece = b""
        try:
            for compressed in pieces:
                piece = compressed
                while piece:
                    if decoder.eof and bits == _DEFLATE_BITS:
                        return
                    if decoder.eof and not (piece := piece.lstrip(b"\0")):
                        break
                    decoder = zlib.decompressobj(bits) if decoder.eof else decoder
                    last = decoder.copy()
                    yield decoder.decompress(piece, _PIECE_BYTES)
                    piece = decoder.unconsumed_tail or decoder.unused_data
            while not decoder.eof and (rest := decoder.decompress(b"", _PIECE_BYTES)):
                yield rest
        except zlib.error as error:
            yield from _inflate_undamaged(last, piece)
            raise self._report_damage(error) from error
        if not decoder.eof:
            raise self._report_truncation()

    def _read_zip(self) -> Iterator[bytes]:
        """Yield the content of the snapshot in an archive."""
        try:
            archive = zipfile.ZipFile(self._stream)
        except zipfile.BadZipFile:
            yield from self._read_truncated_zip()
            return
        try:
            with archive.open(self._choose_member(archive)) as member:
                # unlike `read`, it returns what comes before damaged data
                while piece := member.read1(_PIECE_BYTES):  # type: ignore[attr-defined]
                    yield piece
        except EOFError as error:
            raise self._report_truncation() from error
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise self._report_damage(error) from error

    def _read_truncated_zip(self) -> Iterator[bytes]:
        """Yield what remains of the first member; the directory at the end is missing."""
        self._stream.seek(0)
        method, name_length, more_length = _LOCAL_HEADER.unpack(
            self._head[: _LOCAL_HEADER.size].ljust(_LOCAL_HEADER.size, b"\0")
        )
        if method == zipfile.ZIP_DEFLATED:
            start = _LOCAL_HEADER.size + name_length + more_length
            yield from self._inflate(self._read(start), _DEFLATE_BITS)
        raise self._report_truncation()

    def _choose_member(self, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
        files = [member for member in archive.infolist() if not member.is_dir()]
        snapshots = [file for file in files if file.filename.endswith(".json")]
        for candidates in (files, snapshots):
            if len(candidates) == 1:
                return candidates[0]
        names = ", ".join(file.filename for file in files[:5])
        raise ImportFailed(
            f"{self.name} contains {len(files)} files, {len(snapshots)} of them .json ({names}):"
            " unpack it, and give the path of the snapshot"
        )

    def _report_change(self) -> SnapshotChanged:
        return SnapshotChanged(
            f"{self.name} has changed since its import was stopped: use --restart"
        )

    def _report_truncation(self) -> ImportFailed:
        return ImportFailed(
            f"{self.name} is truncated: all complete lines are stored; download it again and import"
            " it again"
        )

    def _report_damage(self, error: Exception) -> ImportFailed:
        return ImportFailed(
            f"{self.name} is damaged ({error}): all lines before that are stored; download it again"
            " and import it again"
        )


def _inflate_undamaged(decoder: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """Yield what comes before the damage in a piece."""
    with suppress(zlib.error):
        # what precedes an error in the same call is lost
        for position in range(len(piece)):
            yield decoder.decompress(piece[position : position + 1])


def _read_head(stream: FileIO) -> bytes:
    head = b""
    try:
        while len(head) < _HEAD_BYTES and (piece := stream.read(_HEAD_BYTES - len(head))):
            head += piece
    except OSError as error:
        raise ImportFailed(f"cannot read the file: {error.strerror}") from error
    return head


@contextmanager
def open_snapshot(name: str) -> Iterator[SnapshotFile]:
    """Open a file, or standard input for `-`. Raises InvalidParameter and ImportFailed."""
    with _open_stream(name) as stream:
        if stream.isatty():
            raise InvalidParameter("FILE", f"{name} is a terminal: give a file, or use a pipe")
        yield SnapshotFile(stream, name)


def _open_stream(name: str) -> FileIO:
    try:
        return FileIO(0, closefd=False) if name == STANDARD_INPUT else FileIO(name)
    except OSError as error:
        raise InvalidParameter("FILE", f"cannot open {name}: {error.strerror}") from error
