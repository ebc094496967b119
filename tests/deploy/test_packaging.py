"""The wheel: its contents and metadata, and an installation in a clean environment."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from zipfile import ZipFile

import httpx
import pytest

from demo.arxiv import StandIn
from service import __version__
from tests.support.process import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = ("service", "migrations", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that other users can pass through, as the embedded PostgreSQL needs."""
    directory = tmp_path_factory.mktemp("packaging")
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="module")
def dist(directory: Path) -> Path:
    """A directory with the wheel and the source distribution, built from a copy of the checkout."""
    checkout = directory / "a checkout"
    checkout.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, checkout / name)
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={directory}/dist"]
    subprocess.run([*command, str(checkout)], stdout=subprocess.DEVNULL, check=True)
    return directory / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"arxiv_gateway-{__version__}-py3-none-any.whl"


def run_with_index(command: list[str | Path], **environment: str) -> str:
    """Run a command that downloads packages. The test is skipped if no index is available."""
    finished = subprocess.run(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode and UNAVAILABLE.search(finished.stdout):
        pytest.skip(f"no package index is available: {finished.stdout.splitlines()[-1]}")
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


UNAVAILABLE = re.compile(
    r"No matching distribution found for pip\b|Failed to establish a new"
    r" connection|Temporary failure in name resolution|dns error|Connection refused|timed out"
    r"|client error \(Connect\)|Network is unreachable"
)


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def test_wheel_has_one_top_level_package_with_all_files(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    assert {name.split("/")[0] for name in names} == {
        "arxiv_gateway",
        f"arxiv_gateway-{__version__}.dist-info",
    }
    files = {
        f"arxiv_gateway/{path.relative_to(ROOT / 'service')}"
        for suffix in ("py", "sql", "toml", "typed", "html", "css", "js", "svg")
        for path in (ROOT / "service").rglob(f"*.{suffix}")
    }
    migrations = {
        f"arxiv_gateway/migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")
    }
    assert {name for name in names if name.startswith("arxiv_gateway/")} == files | migrations


def test_source_distribution_builds_from_the_same_files(dist: Path) -> None:
    with tarfile.open(dist / f"arxiv_gateway-{__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    migrations = {f"migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql")}
    assert {"pyproject.toml", "LICENSE", "README.md", "service/app.py"} | migrations <= names


def test_metadata_is_complete(metadata: Message) -> None:
    assert metadata["Name"] == "arxiv-gateway"
    assert metadata["Version"] == __version__
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"] == "arxiv-gateway contributors"
    assert metadata["Keywords"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert len(metadata.get_all("Classifier", [])) > 5
    assert metadata.get_all("Project-URL") is None
    assert set(metadata.get_all("Provides-Extra", [])) == {"embedded", "queue", "opentelemetry"}


def test_uvicorn_is_bounded_to_its_minor_version(metadata: Message) -> None:
    """http_limits and server use parts of uvicorn that it does not document."""
    requirements = metadata.get_all("Requires-Dist", [])
    [requirement] = [each for each in requirements if each.startswith("uvicorn")]

    assert re.fullmatch(r"uvicorn<0\.\d+,>=0\.\d+", requirement)
    lower, upper = sorted(int(minor) for minor in re.findall(r"0\.(\d+)", requirement))
    assert upper == lower + 1


def test_lock_files_name_no_index() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        for line in path.read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==\S+( ; .*)? \\|    --hash=sha256:\w{64}( \\)?", line)


# Installation


@pytest.fixture
def environment(directory: Path, arxiv_server: tuple[StandIn, str]) -> dict[str, str]:
    """A clean environment, which inherits only variables that select a package index."""
    inherited = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name in inherited or name.startswith(("PIP_", "UV_"))
        },
        "HOME": str(directory / "home"),
        "PIPX_HOME": str(directory / "pipx"),
        "PIPX_BIN_DIR": str(directory / "bin"),
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
        "ARXIV_DATA_DIR": str(directory / "data"),
    }


@pytest.fixture
def installed(wheel: Path, environment: dict[str, str]) -> Path:
    """The command, installed with pipx."""
    if find_spec("ensurepip") is None:
        pytest.skip("pipx needs ensurepip (Debian: python3-venv)")
    run_with_index([sys.executable, "-m", "pipx", "install", f"{wheel}[embedded]"], **environment)
    return Path(environment["PIPX_BIN_DIR"]) / "arxiv-gateway"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def serve(environment: dict[str, str], directory: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after the test."""
    del environment, directory
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
        process.communicate(timeout=60)


def wait_for(url: str, process: subprocess.Popen[str]) -> None:
    end = monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/health/ready").raise_for_status()
        except httpx.HTTPError:
            assert process.poll() is None, process.communicate()[0]
            assert monotonic() < end
            sleep(0.1)
        else:
            return


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_installed_command_serves_and_searches(
    installed: Path,
    environment: dict[str, str],
    serve: list[subprocess.Popen[str]],
    tmp_path: Path,
    workers: str,
) -> None:
    port = str(free_port())
    process = subprocess.Popen(
        [installed, "serve"],
        cwd=tmp_path,
        env=environment | {"ARXIV_PORT": port, "ARXIV_WORKERS": workers},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    serve.append(process)
    url = f"http://127.0.0.1:{port}"
    wait_for(url, process)
    answered = httpx.get(f"{url}/arxiv", params={"title": "testing"}, timeout=60).json()
    printed = subprocess.run(
        [installed, "search", "--title", "testing"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    process.terminate()
    output, _ = process.communicate(timeout=60)

    assert answered["num_entries"] == 10
    assert f"query {answered['query_id']}" in printed.stdout
    assert process.returncode == 0, output
    assert "NOTICE arxiv_gateway.server" in output


def test_installed_command_has_its_name_and_version(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    def output(*arguments: str, **variables: str) -> str:
        finished = subprocess.run(
            [installed, *arguments],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return finished.stdout

    assert output("--version") == f"{__version__}\n"
    assert "Usage: arxiv-gateway" in output("--help")
    completion = {"COMP_WORDS": "arxiv-gateway ha", "COMP_CWORD": "1"}
    assert output(**completion, _ARXIV_GATEWAY_COMPLETE="bash_complete") == "plain,harvest\n"


@pytest.mark.usefixtures("arxiv")
def test_wheel_runs_with_uvx(
    wheel: Path, environment: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    if find_spec("uv") is None:
        pytest.skip("uv is not installed")
    environment |= {
        "UV_CACHE_DIR": str(directory / "uv-cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "ARXIV_DATA_DIR": str(tmp_path / "data"),
    }
    tmp_path.chmod(0o755)
    command = [sys.executable, "-m", "uv", "tool", "run", "--python", sys.executable]
    output = run_with_index(
        [*command, "--from", f"{wheel}[embedded]", "arxiv-gateway", "search", "--title", "testing"],
        **environment,
    )

    assert "10 of " in output
