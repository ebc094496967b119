"""Responses with unusual metadata, from outside the repository. Tests skip without them.

A search for `caseXYZ` returns `caseXYZ.atom`; a `.http` file sets the status and the headers.
"""

import json
import re
from typing import Any

import httpx
import pytest

from tests.support.captures import TEST_DATA

CASES = TEST_DATA / "cases"
_NAME = re.compile(r"case[a-z]{3,8}", re.IGNORECASE)


def case_transport() -> httpx.MockTransport:
    """An arXiv that returns the case whose name the query contains; skips without the files."""
    if not CASES.is_dir():
        pytest.skip(f"the cases are missing: {CASES}")
    return httpx.MockTransport(_respond)


def read_case(name: str, params: httpx.QueryParams) -> bytes:
    """The feed of a case as a response to a request with these parameters."""
    text = (CASES / f"{name}.atom").read_text(encoding="utf-8")
    asked = "&".join(
        f"{key}={params.get(key, '')}"
        for key in ("search_query", "id_list", "start", "max_results")
    )
    link = f"https://arxiv.org/api/query?{params}"
    values = {"ASKED": asked, "LINK": link, "MAX": params["max_results"], "START": params["start"]}
    for key, value in values.items():
        escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        text = text.replace("{{" + key + "}}", escaped)
    return text.encode()


def _respond(request: httpx.Request) -> httpx.Response:
    name = _NAME.search(request.url.params.get("search_query", ""))
    assert name, request.url
    head: Any = {"status": 200, "headers": {"content-type": "application/atom+xml"}}
    path = CASES / f"{name[0].lower()}.http"
    if path.exists():
        head |= json.loads(path.read_text())
    content = read_case(name[0].lower(), request.url.params)
    return httpx.Response(head["status"], headers=head["headers"], content=content)
