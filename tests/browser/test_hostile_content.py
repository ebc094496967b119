"""Hostile titles, abstracts and queries are text."""

from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NARROW, WIDE, Visit
from tests.support.site import HOSTILE_ID, HOSTILE_RUN, HOSTILE_TITLE, LONG_ID

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>'\"><svg onload=alert(1)>"
BIDIRECTIONAL = "\u202egnp.exe\u2066 \u202d"
QUERIES = {
    "markup": MARKUP,
    "template": "{{ 7 * 7 }} {% raw %} ${7*7}",
    "bidirectional": BIDIRECTIONAL,
    "broken TeX": r"$\frac{ $\href{javascript:alert(1)}{x}$ \def\x{\x\x}\x",
    "long": "x" * 6000,
    "control characters": "a\x00b\x1b[31m\r\nSet-Cookie: a=b",
    "URL": "javascript:alert(1)",
}
views = pytest.mark.parametrize("has_script", [True, False], ids=["script", "no script"])


def count_active_content(page: Page) -> int:
    """How many elements a page has that no template writes."""
    return page.locator(
        "main script:not([type='application/ld+json']), main img, main style, main iframe,"
        " [onload], [onerror], [style], a[href^='javascript:'], body > svg[onload]"
    ).count()


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
@pytest.mark.parametrize("path", ["/search?q=", "/?q=", "/search?author=", "/searches?text="])
def test_query_is_shown_as_text(visit: Visit, path: str, query: str) -> None:
    page = visit(path + quote(query))
    name = path.rpartition("?")[2].strip("=")
    if "\x00" not in query:
        shown = page.locator(f"[name={name}]").first.input_value()
        assert shown == query.replace("\r\n", "")
    assert count_active_content(page) == 0


@pytest.mark.parametrize("path", ["/nowhere/", "/abs/", "/searches/"])
def test_path_is_shown_as_text(visit: Visit, path: str) -> None:
    page = visit(path + quote(MARKUP, safe=""))
    expect(page.locator("h1")).to_be_visible()
    assert count_active_content(page) == 0


@views
def test_texts_of_a_paper_are_shown_as_text(visit: Visit, *, has_script: bool) -> None:
    for path in ("/search?q=hostile", f"/abs/{HOSTILE_ID}"):
        page = visit(path, java_script_enabled=has_script)
        expect(page.get_by_role("heading", name=HOSTILE_TITLE[:40]).first).to_be_visible()
        assert count_active_content(page) == 0
        for text in ("{{7*7}}", r"\href{javascript:alert(4)}", r"\undefinedmacro{x}"):
            assert text in page.content()


def list_reversed_texts(page: Page) -> tuple[int, list[str]]:
    """How many texts of a page have such characters, and which of the others are reversed."""
    number, texts = page.evaluate("""() => {
        for (const each of document.querySelectorAll("details")) each.open = true;
        const stored = "bdi, [dir=auto], .paper-authors a, .paper-note, .paper-abstract p, td, dd";
        const hostile = new Set(), reversed = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let node = walker.nextNode(); node; node = walker.nextNode()) {
            const place = node.data.search(/[A-Za-z0-9]{2}/);
            const owner = node.parentElement.closest(stored);
            if (/[\u202a-\u202e\u2066-\u2069]/.test(owner?.textContent)) hostile.add(owner);
            else if (place >= 0) {
                const [first, second] = [place, place + 1].map(offset => {
                    const range = document.createRange();
                    range.setStart(node, offset);
                    range.setEnd(node, offset + 1);
                    return range.getBoundingClientRect();
                });
                if (first.top === second.top && first.x > second.x) reversed.push(node.data);
            }
        }
        return [hostile.size, reversed];
    }""")
    return number, texts


@pytest.mark.parametrize(
    "path",
    [
        "/search?q=hostile",
        f"/search?q=hostile&title={quote(BIDIRECTIONAL)}",
        f"/abs/{HOSTILE_ID}",
        "/new",
        "/searches?order=oldest",
        f"/searches/{HOSTILE_RUN}",
    ],
)
def test_bidirectional_characters_do_not_reverse_the_page(visit: Visit, path: str) -> None:
    number, texts = list_reversed_texts(visit(path))
    assert number > 0
    assert texts == []


def test_numbers_after_hostile_titles_are_in_their_order(visit: Visit) -> None:
    page = visit(f"/searches/{HOSTILE_RUN}")
    changes = page.get_by_role("region", name="Changes since the previous run")
    expect(changes.locator("summary")).to_have_text(
        ["Added: 1", "Removed: 1", "New versions: 1", "Moved: 1"]
    )
    expect(changes.get_by_role("listitem").nth(2)).to_contain_text(", version 1 → 2")


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_long_texts_stay_in_the_page(visit: Visit, width: int) -> None:
    page = visit(f"/abs/{LONG_ID}", width)
    size = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert size[0] <= size[1]
    assert "$x^{" in page.locator(".abs-text").inner_text()


def test_search_at_arxiv_shows_a_hostile_query_as_text(visit: Visit) -> None:
    page = visit(f"/?{urlencode({'mode': 'arxiv', 'q': f'all:xyzzyx AND ti:{MARKUP}'})}")
    page.get_by_role("button", name="Search").click()
    page.wait_for_function("location.pathname != '/' || document.querySelector('#error')")
    assert count_active_content(page) == 0


@views
@pytest.mark.parametrize("mode", ["local", "arxiv"])
def test_long_text_is_shown_again_with_the_error(
    visit: Visit, mode: str, *, has_script: bool
) -> None:
    page = visit(f"/?mode={mode}", java_script_enabled=has_script)
    text = f"{MARKUP}{'Ω' * 100_000}"
    page.get_by_role("searchbox").fill(text)
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#error")).to_contain_text("longer than")
    assert page.get_by_role("searchbox").input_value() == text
    assert count_active_content(page) == 0
