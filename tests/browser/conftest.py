"""Fixtures: a service with papers, Chromium, and pages that must not complain."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from demo.arxiv import StandIn
from service.api_keys import generate_key, hash_key
from tests.conftest import copied
from tests.support.clients import serve_gateway
from tests.support.site import run_site

CHROMIUM = Path("/usr/bin/chromium")
"""That of Debian: the browsers that Playwright downloads are not available everywhere."""
TIMEOUT = 60_000
"""Milliseconds. Other programs may use the processors too."""
expect.set_options(timeout=TIMEOUT)
NARROW, WIDE = 360, 1280
Scheme = Literal["light", "dark"]
Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def site(server: str, template: str, arxiv_server: tuple[StandIn, str]) -> Iterator[str]:
    """URL of a service that has papers."""
    with run_site(server, template, arxiv_server[1].removesuffix("/api/query")) as url:
        yield url


@pytest.fixture(scope="session")
def private_site(
    server: str, template: str, arxiv_server: tuple[StandIn, str]
) -> Iterator[tuple[str, str]]:
    """URL of a service that requires API keys, and a key."""
    key = generate_key()
    arxiv_url = arxiv_server[1].removesuffix("/api/query")
    with copied(server, template) as database:
        with psycopg.connect(database) as db:
            db.execute(
                "insert into api_keys (name, digest, beginning, quota, seconds)"
                " values ('team-a', %s, %s, 1000, 60)",
                [hash_key(key), key[:8]],
            )
        with serve_gateway(database, arxiv_url, ARXIV_API_KEYS="required") as url:
            yield url, key


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing")
    with sync_playwright() as playwright:
        # users have this cache, so pages are shown again as they were left
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), ignore_default_args=["--disable-back-forward-cache"]
        )
        yield chromium
        chromium.close()


class Watch:
    """Collects what no page of the service may do."""

    def __init__(self, url: str) -> None:
        self._host = urlsplit(url).netloc
        self.complaints: list[str] = []

    def observe(self, context: BrowserContext) -> None:
        context.on("console", self._check_message)
        context.on("request", self._check_request)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        context.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _check_message(self, message: ConsoleMessage) -> None:
        # the browser reports each page, and each search of arXiv, with an error status
        is_status = "the server responded with a status of" in message.text
        is_page = message.page and _get_path(message.location["url"]) == _get_path(message.page.url)
        if message.type in {"error", "warning"} and not (is_status and is_page):
            self.complaints.append(f"console: {message.text}")

    def _check_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self._host:
            self.complaints.append(f"request to another host: {request.url}")


def _get_path(url: str) -> str:
    return urlsplit(url).path


@pytest.fixture
def visit_site(browser: Browser) -> Iterator[Visit]:
    """Return a function that opens a page of a service at a URL.

    At the end of the test, no page has reported an error or sent a request to another host.
    """
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def visit(url: str, path: str = "/", width: int = WIDE, **options: Any) -> Page:
        viewport = ViewportSize(width=width, height=800)
        context = browser.new_context(base_url=url, viewport=viewport, **options)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        watches.append(Watch(url))
        watches[-1].observe(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for watch in watches for text in watch.complaints] == []


@pytest.fixture
def visit(visit_site: Visit, site: str) -> Visit:
    """Return a function that opens a path of the service."""
    return lambda path="/", width=WIDE, **options: visit_site(site, path, width, **options)
