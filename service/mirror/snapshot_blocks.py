"""Parses blocks of lines of a snapshot, in worker processes.

They are not those of `multiprocessing`, which would import the whole command line each.
"""

import os
import struct
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import local
from typing import BinaryIO

import msgspec

from ..db.binary_rows import format_details, format_paper
from ..errors import ImportFailed
from ..models.mirror import PaperRows, ParsedBlock
from .snapshot import parse_line
from .snapshot_file import MAX_LINE_BYTES
from .text_form import InvalidRecord

NOTE = b"# line "
"""Begins lines of a file of rejected lines that are not rejected lines themselves."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LENGTH = struct.Struct("!q")
"""Precedes each block and each reply in the pipes."""
_encode = msgspec.msgpack.Encoder().encode
_DECODER = msgspec.msgpack.Decoder(ParsedBlock)


class BlockParser:
    """Worker processes, which end with this one, also if it is killed."""

    def __init__(self, number: int) -> None:
        self._threads = ThreadPoolExecutor(number, initializer=self._start_process)
        self._own = local()
        self._processes: list[subprocess.Popen[bytes]] = []

    def submit(self, data: bytes) -> Future[bytes]:
        """Parse a block; `decode_block` decodes the result. Raises ImportFailed in the future."""
        return self._threads.submit(self._parse, data)

    def close(self) -> None:
        """Stop the processes."""
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            with process, suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]

    def _start_process(self) -> None:
        self._own.process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            process_group=0,  # Ctrl-C is for this process only
        )
        self._processes.append(self._own.process)

    def _parse(self, data: bytes) -> bytes:
        process = self._own.process
        try:
            _send(process.stdin, data)
            return _receive(process.stdout)
        except (BrokenPipeError, EOFError) as error:
            raise ImportFailed(
                "a process that parses lines has ended, probably because memory is exhausted: the"
                " same command resumes the import"
            ) from error


def _send(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> bytes:
    """Read what `_send` has written. Raises EOFError if it is incomplete."""
    head = pipe.read(_LENGTH.size)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 1
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def run_worker() -> None:
    """Parse blocks from standard input until it is closed."""
    with suppress(BrokenPipeError, EOFError):
        while True:
            _send(sys.stdout.buffer, parse_block(_receive(sys.stdin.buffer)))


def parse_block(data: bytes) -> bytes:
    """Return the content of a block in encoded form, which `decode_block` decodes."""
    rows, rejected, newest = [], [], 0
    for number, line in enumerate(split_lines(data)):
        if _is_empty(line):
            continue
        if len(line) > MAX_LINE_BYTES:
            rejected.append((number, f"more than {MAX_LINE_BYTES // 2**20} MiB"))
            continue
        try:
            record = parse_line(line)
            paper, details = format_paper(record, record.datestamp), format_details(record)
        except (InvalidRecord, struct.error) as error:
            rejected.append((number, str(error)))
            continue
        rows.append(PaperRows(number, record.arxiv_id, record.version or 0, paper, details))
        newest = max(newest, record.datestamp)
    return _encode(ParsedBlock(rows, rejected, newest))


def decode_block(encoded: bytes) -> ParsedBlock:
    """Return what `parse_block` has found."""
    return _DECODER.decode(encoded)


def split_lines(data: bytes) -> list[bytes]:
    """Return the lines of a block."""
    return data.removeprefix(_BYTE_ORDER_MARK).removesuffix(b"\n").split(b"\n")


def _is_empty(line: bytes) -> bool:
    """Return whether a line is to be ignored."""
    return not line or line.isspace() or line.startswith(NOTE)


if __name__ == "__main__":
    run_worker()
