"""The script `wait-for` in dash, busybox and bash."""

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.measure import retry

SCRIPT = Path(__file__).parents[2] / "wait-for"
SHELLS = (["dash"], ["busybox", "sh"], ["bash", "--posix"])
TOOLS = ("perl", "python3", "bash", "nc")

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    name, *arguments = request.param
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return [path, *arguments]


@pytest.fixture
def wait_for(shell: list[str]) -> Run:
    return _runner(shell)


@pytest.fixture
def start(shell: list[str]) -> Iterator[Start]:
    """Start the script in the background and kill it after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [*shell, str(SCRIPT), *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _runner(shell: list[str], path: Path | None = None) -> Run:
    env = None if path is None else {"PATH": str(path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*shell, str(SCRIPT), *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=60, env=env
        )

    return run


@contextmanager
def open_port(host: str = "127.0.0.1") -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        yield server.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[tuple[int, Callable[[], None]]]:
    """Return a port that refuses connections, and a function that opens it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1], server.listen


@contextmanager
def silent_port() -> Iterator[int]:
    """Return a port that neither accepts nor refuses connections, because its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting: list[socket.socket] = []
        try:
            for _ in range(10):
                client = socket.socket()
                waiting.append(client)
                client.settimeout(0.2)
                client.connect(server.getsockname())
        except TimeoutError:
            yield server.getsockname()[1]
        else:
            pytest.skip("this system accepts connections beyond the backlog")
        finally:
            for client in waiting:
                client.close()


def test_script_is_executable() -> None:
    with open_port() as port:
        finished = subprocess.run([SCRIPT, f"127.0.0.1:{port}"], check=False)

    assert finished.returncode == 0


def test_open_port_returns_immediately(wait_for: Run) -> None:
    before = time.monotonic()
    with open_port() as port:
        finished = wait_for(f"127.0.0.1:{port}")

    assert finished.returncode == 0
    assert finished.stderr == f"wait-for: 127.0.0.1:{port} accepts connections\n"
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("limit", ["0", "10"])
def test_port_can_open_later(start: Start, limit: str) -> None:
    with closed_port() as (port, open_it):
        waiting = start(f"127.0.0.1:{port}", "-t", limit)
        time.sleep(0.5)
        assert waiting.poll() is None

        open_it()

        assert waiting.wait(timeout=60) == 0


def test_closed_port_times_out_with_status_1(wait_for: Run) -> None:
    before = time.monotonic()
    with closed_port() as (port, _):
        finished = wait_for(f"127.0.0.1:{port}", "-t", "1")

    assert finished.returncode == 1
    assert finished.stderr == f"wait-for: 127.0.0.1:{port} did not accept a connection within 1 s\n"
    assert 1 <= time.monotonic() - before < 15


def test_silent_port_times_out_with_status_1(wait_for: Run) -> None:
    before = time.monotonic()
    with silent_port() as port:
        finished = wait_for(f"127.0.0.1:{port}", "-t", "1")

    assert finished.returncode == 1
    assert finished.stderr == f"wait-for: 127.0.0.1:{port} did not accept a connection within 1 s\n"
    assert 1 <= time.monotonic() - before < 15


def test_every_port_must_accept(wait_for: Run) -> None:
    with open_port() as one, open_port() as other, closed_port() as (third, _):
        both = wait_for(f"127.0.0.1:{one}", f"localhost:{other}")
        one_closed = wait_for(f"127.0.0.1:{one}", f"127.0.0.1:{third}", "-t", "1")

    assert both.returncode == 0
    assert one_closed.returncode == 1


def test_ipv6_address_in_brackets_is_accepted(wait_for: Run) -> None:
    try:
        with open_port("::1") as port:
            finished = wait_for(f"[::1]:{port}", "-t", "2")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")

    assert finished.returncode == 0


def test_command_gets_its_arguments_unchanged(wait_for: Run) -> None:
    arguments = ["", "two words", "*", "-t", "--", "'\"\\$HOME"]
    show = "import sys; print(sys.argv[1:])"
    with open_port() as port:
        finished = wait_for(f"127.0.0.1:{port}", "--", sys.executable, "-c", show, *arguments)

    assert finished.stdout == f"{arguments}\n"


def test_script_is_replaced_by_command(start: Start) -> None:
    with open_port() as port:
        process = start("-q", f"127.0.0.1:{port}", "--", "sh", "-c", "echo $$; exit 7")
        output, errors = process.communicate(timeout=60)

    assert output == f"{process.pid}\n"
    assert errors == ""
    assert process.returncode == 7


def test_command_runs_after_timeout_unless_strict(start: Start) -> None:
    with closed_port() as (port, _):
        lenient = start(f"127.0.0.1:{port}", "-t", "1", "--", "echo", "started")
        strict = start(f"127.0.0.1:{port}", "-t", "1", "-s", "--", "echo", "started")
        outputs = [process.communicate(timeout=60)[0] for process in (lenient, strict)]

    assert (lenient.returncode, strict.returncode) == (0, 1)
    assert outputs == ["started\n", ""]


def test_successful_strict_wait_runs_command(wait_for: Run) -> None:
    with open_port() as port:
        finished = wait_for("-s", f"127.0.0.1:{port}", "--", "echo", "started")

    assert finished.stdout == "started\n"


def test_quiet_wait_prints_nothing(wait_for: Run) -> None:
    with open_port() as one, closed_port() as (other, _):
        finished = wait_for("-q", f"127.0.0.1:{one}", f"127.0.0.1:{other}", "-t", "1")

    assert (finished.returncode, finished.stdout, finished.stderr) == (1, "", "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-s"],
        ["db"],
        ["db:"],
        [":5432"],
        ["db:0"],
        ["db:65536"],
        ["db:postgresql"],
        ["db one:5432"],
        ["::1:5432"],
        ["[::1]"],
        ["[]:5432"],
        ["[-x]:5432"],
        ["http://db:5432"],
        ["db:5432", "-t"],
        ["db:5432", "-t", "soon"],
        ["db:5432", "-t", "-1"],
        ["db:5432", "-t", "1.5"],
        ["db:5432", "-t", ""],
        ["db:5432", "--"],
        ["db:5432", "-x"],
        ["db:5432", "echo"],
    ],
    ids=" ".join,
)
def test_invalid_arguments_print_usage_with_status_2(wait_for: Run, arguments: list[str]) -> None:
    finished = wait_for("-q", *arguments)

    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("wait-for: ")
    assert "usage: wait-for HOST:PORT" in finished.stderr


def test_help_prints_usage(wait_for: Run) -> None:
    finished = wait_for("-h")

    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("usage: wait-for HOST:PORT")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_wait_immediately(start: Start, sent: signal.Signals, status: int) -> None:
    def check() -> None:
        with closed_port() as (port, _):
            waiting = start(f"127.0.0.1:{port}", "-t", "0", "--", "echo", "started")
            time.sleep(0.5)
            waiting.send_signal(sent)
            output, _ = waiting.communicate(timeout=0.5)
        assert (waiting.returncode, output) == (status, "")

    # shells cannot catch signals ignored at their start, such as SIGINT in background jobs
    before = signal.signal(sent, signal.SIG_DFL)
    try:
        retry(check)
    finally:
        signal.signal(sent, before)


def test_signal_ends_hanging_attempt(start: Start) -> None:
    def check() -> None:
        with silent_port() as port:
            waiting = start(f"127.0.0.1:{port}", "-t", "0")
            time.sleep(0.5)
            waiting.terminate()
            waiting.communicate(timeout=0.5)
        assert waiting.returncode == 143

    retry(check)


def test_attempts_are_one_second_apart(shell: list[str], tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    (tmp_path / "perl").write_text(f"#!/bin/sh\necho >>{shlex.quote(str(attempts))}\nexit 1\n")
    (tmp_path / "perl").chmod(0o755)
    _link(tmp_path, "sleep")

    finished = _runner(shell, tmp_path)("db:5432", "-t", "2")

    assert finished.returncode == 1
    assert 1 <= len(attempts.read_text().splitlines()) <= 4


@pytest.mark.parametrize("tool", TOOLS)
def test_each_of_four_tools_can_connect(tool: str, tmp_path: Path) -> None:
    _link(tmp_path, "sleep", "timeout", tool)
    run = _runner(["/bin/sh"], tmp_path)

    with (
        open_port() as one,
        closed_port() as (other, _),
        silent_port() as third,
        ThreadPoolExecutor() as meanwhile,
    ):
        assert run(f"localhost:{one}", "-t", "5").returncode == 0
        closed = meanwhile.submit(run, f"localhost:{other}", "-t", "1")
        before = time.monotonic()
        unanswered = run(f"127.0.0.1:{third}", "-t", "1")
        assert time.monotonic() - before < 15
        assert closed.result().returncode == 1

    assert unanswered.returncode == 1
    assert unanswered.stderr.count("\n") == 1


def test_missing_tools_are_reported(shell: list[str], tmp_path: Path) -> None:
    _link(tmp_path, "cat")

    finished = _runner(shell, tmp_path)("db:5432")

    assert finished.returncode == 2
    assert "none of perl, python3, bash and nc" in finished.stderr


def _link(folder: Path, *names: str) -> None:
    """Create a PATH with only these programs."""
    for name in names:
        # the python3 in PATH may be a wrapper that needs other programs
        path = sys.executable if name == "python3" else shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed")
        (folder / name).symlink_to(Path(path).resolve())
