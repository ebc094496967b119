"""What is true of every page: it is accessible, valid, narrow enough, and asks no other host."""

from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NARROW, WIDE, Scheme, Visit
from tests.support.html import list_html_errors, list_violations
from tests.support.pages import BROWSER
from tests.support.site import DAYS, HOSTILE_ID, HOSTILE_TITLE, LONG_ID

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
    "missing search": "/searches/999999",
    "status": "/status",
    "missing page": "/nowhere",
}
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


@every_page
def test_page_is_accessible_in_both_schemes_and_fits(visit: Visit, path: str) -> None:
    for width, scheme in LOOKS:
        page = visit(path, width, color_scheme=scheme)
        assert list_violations(page) == [], f"{width} px, {scheme}"
        # with what was folded
        assert list_wide_elements(page) == [], f"{width} px, {scheme}"


def test_html_is_valid(site: str, tmp_path: Path) -> None:
    for name, path in PATHS.items():
        response = httpx.get(site + path, headers=BROWSER, timeout=60)
        assert response.headers["content-type"].startswith("text/html"), path
        (tmp_path / f"{name}.html").write_text(response.text)
    assert list_html_errors(tmp_path) == []
