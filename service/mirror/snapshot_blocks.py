"""Parses blocks of lines of a snapshot in worker processes."""

import os
import signal
import struct
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread

import msgspec

from ..db.binary_rows import format_details, format_paper
from ..models.mirror import PaperRows, ParsedBlock
from .snapshot import parse_line
from .snapshot_file import MAX_LINE_BYTES
from .text_form import InvalidRecord

NOTE = b"# line "
"""Begins lines of a file of rejected lines that are not rejected lines themselves."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_encode = msgspec.msgpack.Encoder().encode
_DECODER = msgspec.msgpack.Decoder(ParsedBlock)


def create_workers(number: int) -> ProcessPoolExecutor:
    """Create processes that parse blocks. They end with this process, also if it is killed."""
    context = get_context("spawn")
    return ProcessPoolExecutor(number, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    # Ctrl-C reaches all processes of the terminal; the main one ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)


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
