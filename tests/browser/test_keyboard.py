"""The pages without a pointer."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.support.site import DAYS


def test_first_stop_is_the_link_that_skips_the_navigation(visit: Visit) -> None:
    page = visit("/search?q=testing")
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("path", ["/", "/search?q=testing", "/new", "/status", "/abs/math/0406001"])
def test_tab_visits_everything_in_the_order_of_the_page(visit: Visit, path: str) -> None:
    page = visit(path)
    places = page.evaluate("""() => {
        const all = [...document.querySelectorAll("*")];
        window.findPlace = () => all.indexOf(document.activeElement);
        const reachable = "a[href]:not([tabindex='-1']), button, select, summary, [tabindex='0'],"
            + " input:not([type=hidden], [type=radio]:not(:checked))";
        return all.flatMap((each, place) =>
            each.matches(reachable) && each.checkVisibility() ? [place] : []);
    }""")[:40]
    visited = []
    for _ in places:
        page.keyboard.press("Tab")
        visited.append(page.evaluate("findPlace()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
    assert visited == places


def test_slash_moves_to_the_search_box_unless_text_is_typed(visit: Visit) -> None:
    for path in ("/", "/search?q=testing"):
        page = visit(path)
        page.keyboard.press("/")
        box = page.get_by_role("searchbox")
        expect(box).to_be_focused()
        page.keyboard.type("a/b")
        expect(box).to_have_value("a/b")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=a%2Fb*")


def test_keys_move_between_new_papers_and_open_one(visit: Visit) -> None:
    page = visit("/new")
    titles = page.locator("article h3 a")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(titles.nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(titles.nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(titles.nth(0)).to_be_focused()
    page.keyboard.press("o")
    page.wait_for_url("**/abs/*")
    page.go_back(wait_until="commit")  # the document of before has no other event
    expect(page.locator("article").nth(0)).to_contain_text("✓ Read")
    expect(page.locator("article").nth(1)).not_to_contain_text("✓ Read")


def test_keys_can_be_switched_off_on_every_page(visit: Visit) -> None:
    page = visit("/status")
    expect(page.get_by_label("Keyboard shortcuts")).to_be_checked()
    page.goto("/new")
    page.get_by_label("Keyboard shortcuts").uncheck()
    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.locator("article h3 a").first).not_to_be_focused()
    page.reload()
    expect(page.get_by_label("Keyboard shortcuts")).not_to_be_checked()


def choose_category(page: Page, text: str) -> None:
    page.get_by_label("Category or archive").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**category={text}&*")


def expect_new_papers_of(page: Page, category: str) -> None:
    page.goto("/new")
    page.wait_for_url(f"**category={category}")
    expect(page.get_by_label("Category or archive")).to_have_value(category)


def test_chosen_category_is_remembered(visit: Visit) -> None:
    page = visit("/new")
    choose_category(page, "math")
    expect_new_papers_of(page, "math")
    choose_category(page, "nonsense")
    expect(page.locator("#error")).to_be_visible()
    expect_new_papers_of(page, "math")


def test_remembered_category_is_added_to_links_to_a_day(visit: Visit) -> None:
    page = visit("/new")
    choose_category(page, "cs.LG")
    page.goto("/")
    page.locator(".numbers a").click()
    page.wait_for_url(f"**/new?date={DAYS[0]}&category=cs.LG")
    expect(page.get_by_label("Category or archive")).to_have_value("cs.LG")


def test_all_categories_can_be_chosen_again(visit: Visit) -> None:
    page = visit("/new")
    choose_category(page, "math")
    choose_category(page, "")
    page.goto(f"/new?date={DAYS[1]}")
    page.goto("/new")
    expect(page.get_by_label("Category or archive")).to_have_value("")
    page.get_by_role("link", name="Previous day").click()
    page.wait_for_url(f"**/new?date={DAYS[1]}")
    expect(page.get_by_label("Category or archive")).to_have_value("")


def test_link_with_a_category_does_not_change_what_is_remembered(visit: Visit) -> None:
    page = visit("/new")
    choose_category(page, "math")
    page.goto("/new?category=cs.LG")
    expect(page.get_by_label("Category or archive")).to_have_value("cs.LG")
    expect_new_papers_of(page, "math")


def test_all_papers_are_marked_as_read(visit: Visit) -> None:
    page = visit("/new")
    page.get_by_role("button", name="Mark all on this page as read").press("Enter")
    marks = page.locator(".read-mark")
    assert marks.count() == page.locator("article").count() > 0
    page.get_by_role("button", name="Mark as unread").first.press("Enter")
    page.reload()
    assert marks.count() == page.locator("article").count() - 1
