"""Runs real clients of the arXiv API, set up as docs/clients.md describes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest
from psycopg.conninfo import make_conninfo

from tests.support.process import ROOT, service

ENVIRONMENTS = ROOT / ".venv-clients"
PROGRAMS = ROOT / "tests" / "clients" / "programs"
DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
DOCUMENTED_URL = "http://127.0.0.1:8000"

Searches = dict[str, dict[str, Any]]
Fetch = Callable[[str, Searches], dict[str, Any]]
"""Searches with a client at a base URL; the outcome of each search, by name."""


@contextmanager
def serve_gateway(database: str, arxiv_url: str, **settings: str) -> Iterator[str]:
    """Run the service as a process, in front of a stand-in for arXiv; its URL."""
    environment = {
        "ARXIV_DATABASE_URL": make_conninfo(database, user="arxiv_rw"),
        "ARXIV_DATABASE_RO_URL": make_conninfo(database, user="arxiv_ro"),
        "ARXIV_API_URL": f"{arxiv_url}/api/query",
        "ARXIV_INTERVAL": "0",
    }
    with service(environment | settings) as running:
        yield running.url()


def read_lines(section: str, url: str) -> str:
    """The first code block of a section of docs/clients.md, for a gateway at this URL."""
    _, _, text = DOCUMENT.partition(f"\n## {section}\n")
    block = re.search(r"```\w+\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    assert block, section
    return block[1].replace(DOCUMENTED_URL, url)


def find_python(environment: str) -> Path:
    """The interpreter of an environment of `make clients`; skips if it is not installed."""
    path = ENVIRONMENTS / environment / "bin" / "python"
    if not path.exists():
        pytest.skip(f"the environment {environment} is missing: run make clients")
    return path


def run_command(command: list[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a client in an empty home directory."""
    with TemporaryDirectory() as home:
        return subprocess.run(
            command,
            env={"PATH": os.environ["PATH"], "HOME": home, "PYTHONUTF8": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def run_program(url: str, command: list[str | Path], **environment: str) -> dict[str, Any]:
    """Run a program that prints its outcomes in the last line.

    The URL and, in feeds that report errors, the time of the response are removed.
    """
    done = run_command(command, **environment)
    assert done.returncode == 0, done.stderr
    text = re.sub("<updated>.*?</updated>", "", strip_url(done.stdout, url))
    outcomes: dict[str, Any] = json.loads(text.splitlines()[-1])
    return outcomes


def strip_url(text: str, url: str) -> str:
    """Replace the address of the server, alone or escaped, by a fixed one."""
    return text.replace(urlsplit(url).netloc, "server")


def use_python(environment: str, program: str, section: str = "arxiv.py") -> Fetch:
    """A client that is a Python library, after the lines of a section of docs/clients.md."""

    def fetch(url: str, searches: Searches) -> dict[str, Any]:
        code = read_lines(section, url) + (PROGRAMS / program).read_text()
        return run_program(
            url, [find_python(environment), "-Wignore", "-c", code, json.dumps(searches)]
        )

    return fetch


def use_proxy(program: str, *command: str, **environment: str) -> Fetch:
    """A client that requests plain HTTP, with the proxy of docs/clients.md."""

    def fetch(url: str, searches: Searches) -> dict[str, Any]:
        script = read_lines("Clients that use plain HTTP", url) + 'exec "$@"'
        arguments: list[str | Path] = [*command, PROGRAMS / program, json.dumps(searches)]
        return run_program(url, ["sh", "-c", script, "sh", *arguments], **environment)

    return fetch


def use_arxiv_api(url: str, searches: Searches) -> dict[str, Any]:
    """The package arxiv-api for Node.js."""
    modules = ENVIRONMENTS / "npm" / "node_modules"
    if not modules.exists():
        pytest.skip("the package arxiv-api for Node.js is missing: run make clients, with npm")
    return use_proxy("arxiv_api.js", "node", NODE_PATH=str(modules))(url, searches)


def use_arxiv_for_r(url: str, searches: Searches) -> dict[str, Any]:
    """The package aRxiv for R, which `make clients` cannot install."""
    libraries = {"R_LIBS": os.environ.get("R_LIBS", ""), "TZ": "UTC"}
    check: list[str | Path] = ["Rscript", "-e", "library(aRxiv); library(jsonlite)"]
    if not shutil.which("Rscript") or run_command(check, **libraries).returncode:
        pytest.skip("R with the packages aRxiv and jsonlite is missing")
    return use_proxy("arxiv.R", "Rscript", **libraries)(url, searches)


def use_mcp_server(url: str, searches: Searches) -> dict[str, Any]:
    """The MCP server of cyanheads, which `make clients` cannot install."""
    if not shutil.which("arxiv-mcp-server"):
        pytest.skip("the command arxiv-mcp-server of cyanheads/arxiv-mcp-server is missing")
    script = read_lines("arxiv-mcp-server", url) + 'exec "$@"'
    program: list[str | Path] = [sys.executable, PROGRAMS / "mcp_server.py", json.dumps(searches)]
    settings = {"MCP_TRANSPORT_TYPE": "stdio", "ARXIV_REQUEST_DELAY_MS": "0"}
    return run_program(url, ["sh", "-c", script, "sh", *program], **settings)


def use_papis(url: str, searches: Searches) -> dict[str, Any]:
    """The command line of papis."""
    return {name: _run_papis(url, **options) for name, options in searches.items()}


def _run_papis(url: str, explore: list[str] | None = None, add: str = "") -> dict[str, Any]:
    papis = find_python("arxiv-4").parent / "papis"
    with TemporaryDirectory() as directory:
        configuration = Path(directory, "papis")
        configuration.mkdir()
        (configuration / "config.py").write_text(read_lines("papis", url))
        file = Path(directory, "papers.json")
        export = ["export", "--format", "json", "--out", str(file)]

        def run(*arguments: str) -> None:
            done = run_command([papis, "--lib", directory, *arguments], XDG_CONFIG_HOME=directory)
            assert done.returncode == 0, done.stderr

        if explore:
            run("explore", "arxiv", *explore, *export)
        else:
            run("add", "--batch", "--no-download-files", "--from", "arxiv", add)
            run(*export, "--all")
        papers = json.loads(file.read_text()) if file.exists() else []
    return {"papers": [_strip_local_values(paper) for paper in papers]}


def _strip_local_values(paper: dict[str, Any]) -> dict[str, Any]:
    """The paper without the folder, the identifier and the time that papis gives it."""
    local = {"_papis_local_folder", "papis_id", "time-added"}
    return {name: value for name, value in paper.items() if name not in local}


def use_pubs(url: str, searches: Searches) -> dict[str, Any]:
    """The command line of pubs."""
    with TemporaryDirectory() as home:
        pubs: list[str | Path] = [find_python("pubs"), "-Wignore", "-c", read_lines("pubs", url)]
        assert run_command([*pubs, "init"], HOME=home).returncode == 0
        return {name: _add(pubs, home, **options) for name, options in searches.items()}


def _add(pubs: list[str | Path], home: str, arxiv_id: str) -> dict[str, Any]:
    key = arxiv_id.replace("/", "-")
    added = run_command([*pubs, "add", "--arxiv", arxiv_id, "--citekey", key], HOME=home)
    if added.returncode:
        return {"papers": [], "error": added.stderr}
    exported = run_command([*pubs, "export", key], HOME=home).stdout
    return {"papers": [re.sub(r" urldate = {.*?}", "", exported)]}  # the time of the request
