"""Returns free memory to the system; glibc itself returns only the end of its heap."""

import asyncio
import ctypes
import gc
from contextlib import suppress


def trim_heap_later(seconds: float) -> None:
    """Return free memory to the system in a while, when what used it has been freed."""
    asyncio.get_running_loop().call_later(seconds, _trim_heap)


def _trim_heap() -> None:
    gc.collect()  # the exceptions of cancelled responses refer to their frames, and these to them
    return_free_memory()


def return_free_memory() -> None:
    """Return free memory to the system, of all threads."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
