"""The pages in w3m, a browser that displays text."""

import os
import shutil
import subprocess

import pytest

PAGES = {
    "/": ["Search for papers", "[                    ] Search", "Recent searches of arXiv"],
    "/search?q=testing": ["121 papers", "Testing", "Next page"],
    "/search?q=(": ["Error: q:"],
    "/abs/math/0406001": ["arXiv:math/0406001", "Abstract", "BibTeX"],
    "/new": ["Show", "New submissions"],
    "/searches": ["all:testing"],
    "/searches/1": ["all:testing", "Run again"],
    "/status": ["Requests to arXiv", "Database"],
}


def dump(url: str, *options: str) -> str:
    if not shutil.which("w3m"):
        pytest.skip("w3m is missing")
    command = ["w3m", "-dump", "-cols", "80", *options, url]
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize("path", PAGES)
def test_page_can_be_read_in_a_text_browser(site: str, path: str) -> None:
    text = dump(site + path)
    position = 0
    for part in PAGES[path]:
        assert part in text[position:], text
        position = text.index(part, position)
    # controls that need the script are not shown
    assert "Keyboard shortcuts" not in text
    assert "Mark all" not in text
