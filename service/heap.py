"""Returns free memory to the system; glibc itself returns only the end of its heap."""

import asyncio
import ctypes
import gc
from contextlib import suppress

M_MMAP_THRESHOLD = -3
"""The parameter of mallopt for the size from which on a block has pages of its own."""
LARGE_BLOCK_BYTES = 2**20


def return_large_blocks() -> None:
    """Have large blocks returned to the system as soon as they are free.

    glibc raises the size from which on it does so to that of the largest block so far, up to
    32 MiB, and keeps smaller ones for each thread that allocated some: tantivy allocates 10 MB for
    each commit, in a new thread.
    """
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def trim_heap_later(seconds: float) -> None:
    """Return free memory to the system in a while, when what used it has been freed."""
    asyncio.get_running_loop().call_later(seconds, _trim_heap)


def _trim_heap() -> None:
    gc.collect()  # the exceptions of cancelled responses refer to their frames, and these to them
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
