"""Checks HTML and accessibility with the npm packages of `make browser`."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.support.process import ROOT

PACKAGES = ROOT / ".venv-clients" / "pages-npm" / "node_modules"
CONFIGURATION = ROOT / "tests" / "browser" / "htmlvalidate.json"
AXE_TAGS = "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"


def find_package(*parts: str) -> Path:
    """The file of an npm package; skips if it is not installed."""
    path = PACKAGES.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path.relative_to(ROOT)} is missing: run make browser")
    return path


def list_violations(page: Page) -> list[str]:
    """What axe-core finds wrong in a page, also in what is folded."""
    script = find_package("axe-core", "axe.min.js").read_text()
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.evaluate(f"{script};0")
    options = {"runOnly": list(AXE_TAGS), "resultTypes": ["violations"]}
    results = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['target']} {node['html'][:200]} {node['failureSummary']}"
        for violation in results["violations"]
        for node in violation["nodes"]
    ]


def list_html_errors(folder: Path) -> list[str]:
    """What html-validate finds wrong in the HTML files of a folder."""
    program = find_package("html-validate", "bin", "html-validate.mjs")
    command: list[str | Path] = [
        "node",
        program,
        "--config",
        CONFIGURATION,
        "--formatter",
        "json",
        folder,
    ]
    if not shutil.which("node"):
        pytest.skip("node is missing")
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    files: list[dict[str, Any]] = json.loads(output)
    return [
        f"{Path(file['filePath']).name}:{message['line']}: {message['message']}"
        for file in files
        for message in file["messages"]
    ]
