"""The files in ARXIV_INDEX_DIR.

| file | contents |
|---|---|
| `state.json` | which subdirectory has the index, and up to where it agrees with PostgreSQL |
| `progress.json` | how many papers a build has indexed; only while one is running |
| `failure.json` | why the index could not be updated; only until it could be |
| `delayed.json` | papers that become visible after the read delay, and when they were recorded |
| `lock` | locked by the process that updates the index; modified whenever it has |
| `rebuild` | exists if a build was requested |
| a subdirectory | the files of tantivy |

Each file is replaced as a whole, so that other processes never read a part of it.
"""

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from ..models.records import INT8_MAX
from ..models.responses import IndexStatus
from .schema import FORMAT

STATE, PROGRESS, FAILURE, DELAYED = "state.json", "progress.json", "failure.json", "delayed.json"
LOCK, REBUILD = "lock", "rebuild"
DIRECTORY_PREFIX = "papers-"
"""Of the subdirectories; others are left alone, such as the data of PostgreSQL."""
T = TypeVar("T")

MIN_FREE_BYTES = 100_000
"""With less, the disk is full."""

_unwritten_failures: dict[Path, str] = {}
"""Reasons that this process could not write to the file: the disk is full, or read-only."""


class IndexState(Struct, frozen=True, kw_only=True):
    """The index that searches use. Without `state.json` there is none."""

    format: int
    """FORMAT when the index was built."""
    database: str
    """Identifies the table in PostgreSQL."""
    timeline: int
    """That of PostgreSQL."""
    position: int
    """The index has what was written by transactions before this one."""
    directory: str
    """The subdirectory with tantivy's files."""
    papers: int
    """Number of documents: versions of papers."""


class BuildProgress(Struct, frozen=True):
    """How far a build has come."""

    indexed: int
    total: int
    """An estimate."""


class _Failure(Struct, frozen=True):
    reason: str


def read_state(folder: Path) -> IndexState | None:
    """The state of an index that this release can read, or None."""
    state = _read(folder / STATE, IndexState)
    return state if state is not None and state.format == FORMAT else None


def read_generation(folder: Path) -> int:
    """A number that differs after each change of the state; 0 if there is none."""
    try:
        status = (folder / STATE).stat()
    except OSError:
        return 0
    # the clock of a file system ticks every few milliseconds; the file is another one each time
    return (status.st_mtime_ns + status.st_ino) & INT8_MAX


def write_state(folder: Path, state: IndexState) -> None:
    """Replace the state. It is on disk when this returns. Raises OSError."""
    _write(folder / STATE, state)


def discard_state(folder: Path, directory: str | None = None) -> None:
    """Declare the index unusable: it is built again. Other indexes than `directory` stay.

    Without permission, nothing changes.
    """
    state = read_state(folder)
    if directory is None or (state is not None and state.directory == directory):
        with suppress(OSError):
            (folder / STATE).unlink(missing_ok=True)


def read_progress(folder: Path) -> BuildProgress | None:
    """The progress of a build, or None if none is running."""
    return _read(folder / PROGRESS, BuildProgress)


def write_progress(folder: Path, progress: BuildProgress | None) -> None:
    """Replace the progress, or remove it. Raises OSError."""
    _write_or_remove(folder / PROGRESS, progress)


def write_failure(folder: Path, reason: str | None) -> None:
    """Replace the reason why the index is not updated, or remove it.

    If that fails, at least this process knows the reason.
    """
    _unwritten_failures.pop(folder, None)
    try:
        _write_or_remove(folder / FAILURE, _Failure(reason) if reason else None)
    except OSError:
        if reason:
            _unwritten_failures[folder] = reason


def read_failure(folder: Path) -> str | None:
    """The reason why the index is not updated, or None if it is."""
    failure = _read(folder / FAILURE, _Failure)
    return failure.reason if failure else _unwritten_failures.get(folder)


def read_delayed(folder: Path) -> dict[str, int]:
    """The papers that are to be indexed after the read delay, and when they were recorded."""
    return _read(folder / DELAYED, dict[str, int]) or {}


def write_delayed(folder: Path, delayed: dict[str, int]) -> None:
    """Replace the papers that are to be indexed after the read delay. Raises OSError."""
    _write_or_remove(folder / DELAYED, delayed or None)


def read_status(folder: Path) -> IndexStatus:
    """What the files tell about the index."""
    state, progress = read_state(folder), read_progress(folder)
    papers = state.papers if state else None
    if reason := read_failure(folder):
        return IndexStatus(state="failed", papers=papers, reason=reason)
    if progress is not None or state is None:
        indexed, total = (progress.indexed, progress.total) if progress else (0, None)
        return IndexStatus(state="building", papers=papers, indexed=indexed, total=total)
    return IndexStatus(state="ready", papers=papers)


def request_rebuild(folder: Path) -> None:
    """Make the process that updates the index build it again. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / REBUILD).touch()


def is_rebuild_requested(folder: Path) -> bool:
    """Whether a build was requested and is not complete."""
    return (folder / REBUILD).exists()


def remove_other_directories(folder: Path, directory: str | None) -> None:
    """Remove the subdirectories with indexes that are not in use. Raises OSError."""
    for path in folder.glob(f"{DIRECTORY_PREFIX}*"):
        if path.is_dir() and path.name != directory:
            shutil.rmtree(path)


class IndexLock:
    """Held by the one process that updates the index; released when the process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process has the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Try to take the lock; whether this process has it. Raises OSError."""
        if self._descriptor is not None and self._is_current(self._descriptor):
            return True
        self.release()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file is still there: other processes lock a new one if it was deleted."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self._folder / LOCK).stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let another process take the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def mark_synced(self) -> None:
        """Record that the index agrees with PostgreSQL now. Raises OSError."""
        os.utime(self._folder / LOCK)


def read_sync_time(folder: Path) -> float | None:
    """When the index last agreed with PostgreSQL, in Unix seconds."""
    try:
        return (folder / LOCK).stat().st_mtime
    except OSError:
        return None


_REMEDIES = {
    errno.EACCES: "give the user of the service permission to write there, or set ARXIV_INDEX_DIR",
    errno.EROFS: "mount it writable, or set ARXIV_INDEX_DIR to a writable directory",
    errno.ENOSPC: "free space, or set ARXIV_INDEX_DIR to a directory on a larger disk",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EIO: "check the disk",
    errno.ENOMEM: "free memory, or raise the limit on memory",
    errno.ENOTDIR: "remove the file of that name, or set ARXIV_INDEX_DIR",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
}
_SAME_REMEDIES = {
    errno.EPERM: errno.EACCES,
    errno.EDQUOT: errno.ENOSPC,
    errno.ENFILE: errno.EMFILE,
    errno.EEXIST: errno.ENOTDIR,
}


def find_cause(error: BaseException) -> int | None:
    """The error number if the file system is the cause; tantivy has only its text."""
    text = str(error)
    numbers = (*_REMEDIES, *_SAME_REMEDIES)
    return next((number for number in numbers if os.strerror(number) in text), None)


def describe_error(folder: Path, error: BaseException) -> str:
    """Why the index cannot be updated, and what helps."""
    cause = find_cause(error)
    if cause is None and _is_full(folder):  # tantivy's threads end without their error
        cause = errno.ENOSPC
    problem = f"cannot update the search index in {folder}"
    if cause is None:
        return f"{problem}: {error}"
    remedy = _REMEDIES[_SAME_REMEDIES.get(cause, cause)]
    return f"{problem}: {os.strerror(cause)}: {remedy}"


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < MIN_FREE_BYTES
    except OSError:
        return False


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: object) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # otherwise the new name may be lost with the machine
    finally:
        os.close(directory)


def _write_or_remove(path: Path, content: object | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, content)
