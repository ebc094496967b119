"""What users do with the pages, with and without JavaScript."""

import re
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from bibtexparser.entrypoint import parse_string as parse_bibtex
from playwright.sync_api import Page, expect

from demo.arxiv import StandIn
from tests.browser.conftest import NARROW, WIDE, Visit

VIEWS = (
    pytest.param(
        {"width": WIDE, "color_scheme": "light", "java_script_enabled": True}, id="wide, script"
    ),
    pytest.param(
        {"width": NARROW, "color_scheme": "dark", "java_script_enabled": True}, id="narrow, script"
    ),
    pytest.param(
        {"width": WIDE, "color_scheme": "dark", "java_script_enabled": False}, id="wide, no script"
    ),
    pytest.param(
        {"width": NARROW, "color_scheme": "light", "java_script_enabled": False},
        id="narrow, no script",
    ),
)
in_all_views = pytest.mark.parametrize("view", VIEWS)
View = dict[str, object]


def search(page: Page, text: str, mode: str = "stored papers") -> None:
    page.get_by_label(mode).check()
    page.get_by_role("searchbox").fill(text)
    page.get_by_role("button", name="Search").click()


def count_papers(page: Page) -> int:
    heading = page.locator("#results").inner_text()
    return int(heading.split()[0].replace(",", ""))


@in_all_views
def test_search_is_narrowed_by_the_histogram_and_leads_to_a_paper(visit: Visit, view: View) -> None:
    page = visit("/", **view)
    search(page, "testing")
    page.wait_for_url("**/search?q=testing*")
    total = count_papers(page)
    page.locator(".histogram svg a").last.click()
    page.wait_for_url(re.compile(r"since=\d{4}-01-01&until=\d{4}-12-31"))
    assert 0 < count_papers(page) < total
    year = re.findall(r"since=(\d{4})", page.url)[0]
    dates = page.locator("article time:first-of-type").all_inner_texts()
    assert year in dates[0]
    link = page.locator("article h3 a").first
    title = link.inner_text()
    link.click()
    page.wait_for_url("**/abs/*")
    expect(page.locator("h1")).to_have_text(title)


@in_all_views
def test_table_of_the_histogram_has_the_same_links(visit: Visit, view: View) -> None:
    page = visit("/search?q=testing", **view)
    page.locator(".histogram summary").click()
    row = page.locator(".histogram tbody tr").last
    count = row.locator("td").inner_text()
    row.get_by_role("link").click()
    page.wait_for_url("**since=*")
    assert count_papers(page) == int(count.replace(",", ""))
    page.get_by_role("link", name="All years").click()
    page.wait_for_url("**/search?q=testing")


def test_citation_is_copied(visit: Visit) -> None:
    page = visit("/search?q=testing", permissions=["clipboard-read", "clipboard-write"])
    paper = page.locator("article").first
    paper.get_by_role("button", name="Copy BibTeX").click()
    expect(paper.get_by_role("status")).to_have_text("BibTeX copied")
    check_citation(
        page.evaluate("navigator.clipboard.readText()"), paper.get_attribute("data-paper")
    )


def test_citation_of_the_page_of_a_paper_is_copied(visit: Visit) -> None:
    page = visit("/search?q=testing", permissions=["clipboard-read", "clipboard-write"])
    page.locator("article h3 a").first.click()
    page.wait_for_url("**/abs/*")
    for name, read in (("BibTeX", check_citation), ("RIS", check_ris)):
        page.get_by_role("button", name=f"Copy {name}").first.click()
        expect(page.get_by_text(f"{name} copied")).to_be_visible()
        read(page.evaluate("navigator.clipboard.readText()"), page.url.rpartition("/")[2])


def test_citation_is_a_link_without_script(visit: Visit) -> None:
    page = visit("/search?q=testing", java_script_enabled=False)
    paper = page.locator("article").first
    link = paper.get_by_role("link", name="BibTeX").get_attribute("href")
    assert link
    check_citation(page.request.get(link).text(), paper.get_attribute("data-paper"))


def check_citation(text: str, paper: str | None) -> None:
    [entry] = parse_bibtex(text).entries
    assert paper
    assert paper.partition("v")[0] in entry.fields_dict["eprint"].value
    assert entry.fields_dict["title"].value


def check_ris(text: str, paper: str | None) -> None:
    assert text.startswith("TY  - ")
    assert paper
    assert paper.partition("v")[0] in text


@pytest.fixture
def publish(arxiv_server: tuple[StandIn, str]) -> Callable[[str], None]:
    """Return a function that adds a paper with a title to the stand-in for arXiv."""
    arxiv, _ = arxiv_server

    def add(title: str) -> None:
        arxiv_id = f"2610.{70_000 + len(arxiv.papers)}"
        arxiv.add([replace(arxiv.papers[-1], arxiv_id=arxiv_id, title=title)])

    return add


@in_all_views
def test_search_runs_at_arxiv_and_shows_changes(
    visit: Visit, view: View, publish: Callable[[str], None]
) -> None:
    word = f"word{uuid4().hex}"
    publish(f"First {word}")
    page = visit("/", **view)
    search(page, f"ti:{word}", "arXiv")
    page.wait_for_url("**/searches/*")
    expect(page.locator("ol.results h3 a")).to_have_text([f"First {word}"])
    first = page.url
    publish(f"Second {word}")
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: url != first)
    changes = page.get_by_role("region", name="Changes since the previous run")
    expect(changes.locator("summary").first).to_have_text("Added: 1")
    expect(changes.get_by_role("link", name=f"Second {word}")).to_be_visible()
    page.get_by_role("link", name="Previous run").click()
    page.wait_for_url(first)
    page.goto("/searches")
    expect(page.locator("ol.searches p.query").first).to_contain_text(word)


def test_start_page_can_be_used_again_after_going_back(visit: Visit) -> None:
    page = visit("/")
    search(page, "all:testing", "arXiv")
    page.wait_for_url("**/searches/*")
    page.go_back(wait_until="commit")  # the document of before has no other event
    expect(page.get_by_role("button", name="Search")).to_be_enabled()
    expect(page.locator(".search-progress")).to_have_text("")
    search(page, "cat:math.*", "arXiv")
    page.wait_for_url("**/searches/*")


def test_search_of_arxiv_shows_that_it_waits(visit: Visit) -> None:
    page = visit("/")
    page.evaluate("document.addEventListener('submit', event => event.preventDefault())")
    search(page, "all:testing", "arXiv")
    expect(page.get_by_role("status")).to_contain_text("Waiting for arXiv, about 2 seconds")


@in_all_views
def test_rejected_search_shows_why_and_keeps_the_text(visit: Visit, view: View) -> None:
    page = visit("/", **view)
    search(page, "all:testing AND (", "arXiv")
    expect(page.locator("#error")).to_contain_text("a term is missing after (")
    box = page.get_by_role("searchbox")
    expect(box).to_have_value("all:testing AND (")
    expect(box).to_have_attribute("aria-invalid", "true")
    # the form in the page with the error works like the first one
    search(page, "all:testing", "arXiv")
    page.wait_for_url("**/searches/*")


@in_all_views
def test_sign_in_and_out(visit_site: Visit, private_site: tuple[str, str], view: View) -> None:
    url, key = private_site
    page = visit_site(url, "/searches?order=oldest", **view)
    expect(page).to_have_title(re.compile("Sign in"))
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#key-error")).to_be_visible()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/searches?order=oldest")
    assert key not in page.content()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/searches")
    expect(page).to_have_title(re.compile("Sign in"))
