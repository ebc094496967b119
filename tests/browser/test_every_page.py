"""What is true of every page: it is accessible, valid, narrow enough, and uses no other host."""

from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, Response

from demo.arxiv import StandIn
from tests.browser.conftest import NARROW, WIDE, Scheme, Visit
from tests.support.html import list_html_errors, list_violations
from tests.support.pages import BROWSER
from tests.support.site import DAYS, FAILED_RUN, HOSTILE_ID, HOSTILE_RUN, HOSTILE_TITLE, LONG_ID

PATHS = {
    "home": "/",
    "home for arXiv": "/?mode=arxiv&q=x",
    "all papers": "/search",
    "search": "/search?q=testing",
    "narrowed search": "/search?q=testing&category=math&since=2010&until=2020&order=oldest",
    "short list": "/search?q=testing&items_per_page=5",
    "no papers": "/search?q=xyzzyx",
    "misspelled query": "/search?q=testign",
    "invalid query": "/search?q=(",
    "invalid date": "/search?q=testing&since=2026-02-30",
    "hostile papers": "/search?q=hostile",
    "hostile query": f"/search?{urlencode({'q': HOSTILE_TITLE, 'author': HOSTILE_TITLE})}",
    "paper": "/abs/math/0406001",
    "hostile paper": f"/abs/{HOSTILE_ID}",
    "long paper": f"/abs/{LONG_ID}",
    "missing paper": "/abs/2601.99999",
    "malformed id": "/abs/nonsense",
    "new": "/new",
    "new of a category": f"/new?date={DAYS[1]}&category=cs.LG",
    "day without announcements": "/new?date=2020-01-01",
    "invalid day": "/new?date=x",
    "searches": "/searches",
    "invalid status": "/searches?status=x",
    "recorded search": "/searches/1",
    "repeated search": "/searches/3",
    "failed search": f"/searches/{FAILED_RUN}",
    "hostile search": f"/searches/{HOSTILE_RUN}",
    "missing search": "/searches/999999",
    "status": "/status",
    "missing page": "/nowhere",
}
PATHS_WITH_SESSION = {"/": 200, "/search": 200, "/searches": 200, "/status": 200, "/nowhere": 404}
LOOKS: list[tuple[int, Scheme]] = [(WIDE, "light"), (NARROW, "dark")]
every_page = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def list_wide_elements(page: Page) -> list[str]:
    """The elements that make a page wider than its window."""
    elements: list[str] = page.evaluate("""() => {
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        return [...document.body.querySelectorAll("*")]
            .filter(each => each.getBoundingClientRect().right > width + 1)
            .map(each => each.outerHTML.slice(0, 100));
    }""")
    return elements


def check_page(page: Page) -> None:
    assert list_violations(page) == [], page.viewport_size
    # with what was folded
    assert list_wide_elements(page) == [], page.viewport_size


@every_page
def test_page_is_accessible_in_both_schemes_and_fits(visit: Visit, path: str) -> None:
    for width, scheme in LOOKS:
        check_page(visit(path, width, color_scheme=scheme))


def test_html_is_valid(site: str, tmp_path: Path) -> None:
    for name, path in PATHS.items():
        response = httpx.get(site + path, headers=BROWSER, timeout=60)
        assert response.headers["content-type"].startswith("text/html"), path
        (tmp_path / f"{name}.html").write_text(response.text)
    assert list_html_errors(tmp_path) == []


class States:
    """Checks pages that need more than their address. Saves their HTML as it was sent."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder

    def open(self, path: str, status: int = 200) -> None:
        self._check(self._page.goto(path), status)

    def submit(self, button: str, status: int) -> None:
        with self._page.expect_navigation() as navigation:
            self._page.get_by_role("button", name=button).click()
        self._check(navigation.value, status)

    def _check(self, response: Response | None, status: int) -> None:
        assert response
        assert response.status == status
        number = len([*self._folder.iterdir()])
        (self._folder / f"{number}.html").write_text(response.text())
        check_page(self._page)

    def check_html(self) -> None:
        """Check all of it at once, because each start of the program takes a second."""
        assert list_html_errors(self._folder) == []


in_both_looks = pytest.mark.parametrize(("width", "scheme"), LOOKS)


@in_both_looks
def test_pages_of_a_service_with_keys_are_accessible_and_valid(
    visit_site: Visit, private_site: tuple[str, str], tmp_path: Path, width: int, scheme: Scheme
) -> None:
    url, key = private_site
    page = visit_site(url, "/sign-in", width, color_scheme=scheme)
    states = States(page, tmp_path)
    states.open("/queries", 401)
    states.open("/sign-in?next=/searches")
    page.get_by_label("API key").fill("wrong")
    states.submit("Sign in", 400)
    page.get_by_label("API key").fill(key)
    states.submit("Sign in", 200)
    for path, status in PATHS_WITH_SESSION.items():
        states.open(path, status)
    states.check_html()


@in_both_looks
def test_pages_after_rejected_forms_are_accessible_and_valid(
    visit: Visit,
    arxiv_server: tuple[StandIn, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    scheme: Scheme,
) -> None:
    page = visit("/?mode=arxiv&q=(", width, color_scheme=scheme)
    states = States(page, tmp_path)
    states.submit("Search", 400)
    page.goto("/?mode=arxiv&q=testing")
    page.context.clear_cookies()
    states.submit("Search", 403)
    page.goto("/abs/2601.99999")
    page.context.clear_cookies()
    states.submit("Retrieve it from arXiv", 403)
    monkeypatch.setattr(arxiv_server[0], "redirect_url", "https://example.org/")
    page.goto("/abs/2601.99999")
    states.submit("Retrieve it from arXiv", 502)
    page.goto("/searches/3")
    states.submit("Run again", 502)
    states.check_html()
