"""`/search`: the papers that match as a page, with facets, a histogram and links."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import psycopg
import pytest
from lxml.html import HtmlElement

from service.formats import FORMATS
from service.models.responses import FacetCount
from service.pages.search import _link_categories
from service.search_index.state import BuildProgress, IndexLock, write_progress
from service.settings import Settings
from tests.conftest import Gateway, Serve, running
from tests.conftest import make_app as create_gateway
from tests.support.pages import BROWSER, parse, read_texts, select
from tests.support.papers import create_paper, store_papers

HOSTILE = '<img src=x onerror="alert(1)"></h3><script>alert(1)</script>\u202etxt.exe {{ 7 * 7 }}'
Make = Callable[..., Settings]


def at(year: int) -> datetime:
    return datetime(year, 6, 1, tzinfo=UTC)


@pytest.fixture
async def _papers(settings: Make) -> None:
    """Store papers of three years in three categories."""
    url = settings().database_url
    assert url
    await store_papers(
        url,
        create_paper(1, "Flaky tests", "They fail at random.", published=at(2019)),
        create_paper(2, "Flaky builds", categories=["cs.SE", "cs.LG"], published=at(2021)),
        create_paper(
            3,
            "Random graphs of order $n^2$",
            "We study $x < y$ & flaky edges.",
            authors=["Emmy Noether", "José Klein"],
            primary_category="math.CO",
            categories=["math.CO"],
            published=at(2021),
            updated=at(2022),
            version=2,
            comment="This paper has been withdrawn by the authors: an error in Lemma 2",
            journal="J. Flaky Res. 1",
        ),
    )


@pytest.fixture
async def _hostile_paper(settings: Make) -> None:
    url = settings().database_url
    assert url
    paper = create_paper(
        9,
        f"flaky {HOSTILE}",
        HOSTILE + "flaky " * 15_000,
        authors=[HOSTILE, *(f"Author {number}" for number in range(300))],
        comment=HOSTILE,
        journal=HOSTILE,
    )
    await store_papers(url, paper)


async def fetch(client: Gateway, params: Any = None, status: int = 200) -> HtmlElement:
    response = await client.get("/search", params=params, headers=BROWSER)
    assert response.status_code == status, response.text
    return parse(response)


def find_link(page: HtmlElement, text: str) -> str:
    """Return where the links with this text lead to."""
    links = page.xpath("//main//a[contains(normalize-space(.), $text)]/@href", text=text)
    [link] = dict.fromkeys(links)
    return str(link)


def read_query(link: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(link).query)


def list_titles(page: HtmlElement) -> list[str]:
    return read_texts(page, "article//h3//a")


@pytest.mark.usefixtures("_papers")
async def test_page_shows_the_papers_of_the_json_response(client: Gateway) -> None:
    for params in ({"q": "flaky"}, {"category": "math"}, {"q": "random", "order": "oldest"}, {}):
        page = await fetch(client, params)
        found = (await client.get("/papers", params=params)).json()
        ids = [paper.get("data-paper") for paper in select(page, "article")]
        assert ids == [f"{each['arxiv_id']}v{each['version']}" for each in found["papers"]]
        assert read_texts(page, "*[@id='results']") == [
            f"{found['total']} paper{'s' * (found['total'] > 1)}"
        ]


@pytest.mark.usefixtures("_papers")
async def test_paper_has_its_metadata_and_links(client: Gateway) -> None:
    page = await fetch(client, {"q": "noether flaky"})
    [paper] = select(page, "article")
    assert len(select(paper, "h3//math")) == 1
    assert read_texts(paper, "h3//strong") == ["Withdrawn"]
    assert read_texts(paper, "mark") == ["Noether", "Flaky", "flaky"]
    assert len(select(paper, "details//math")) == 1
    assert read_texts(paper, "summary") == ["Abstract (has matches)"]
    assert read_texts(paper, "*.paper-authors//a") == ["Emmy Noether", "José Klein"]
    assert read_texts(paper, "*.paper-category") == ["math.CO Combinatorics"]
    assert read_texts(paper, "time") == ["2021-06-01", "2022-06-01"]
    assert "v2" in read_texts(paper, "*.paper-facts")[0]
    assert find_link(paper, "Random graphs") == "/abs/2611.00003v2"
    assert find_link(paper, "arXiv:2611") == "https://arxiv.org/abs/2611.00003v2"
    assert find_link(paper, "PDF") == "https://arxiv.org/pdf/2611.00003v2"
    citation = await client.get(find_link(paper, "BibTeX"))
    assert "Noether" in citation.text
    assert citation.headers["content-type"].startswith("application/x-bibtex")
    others = await client.get(find_link(paper, "José Klein"), headers=BROWSER)
    assert list_titles(parse(others)) == list_titles(page)


@pytest.mark.usefixtures("_papers")
async def test_facet_adds_a_category_and_removes_it(client: Gateway) -> None:
    page = await fetch(client, {"q": "flaky"})
    categories = read_texts(page, "nav[@aria-label='Categories']//li")
    assert categories == [
        "cs.SE Software Engineering 2",
        "cs.LG Machine Learning 1",
        "math.CO Combinatorics 1",
    ]
    page = parse(await client.get(find_link(page, "cs.LG"), headers=BROWSER))
    assert list_titles(page) == ["Flaky builds"]
    assert read_texts(page, "nav[@aria-label='Categories']//*[@aria-current]") == [
        "cs.LG \N{MULTIPLICATION SIGN}(remove)"
    ]
    again = parse(await client.get(find_link(page, "cs.LG"), headers=BROWSER))
    assert len(list_titles(again)) == 3


@pytest.mark.usefixtures("_papers")
async def test_number_of_a_category_is_that_of_its_link(client: Gateway) -> None:
    others = ["cs.SE Software Engineering", "cs.LG Machine Learning"]
    for category, expected in (
        ("cs.SE", ["cs.SE (remove) Software Engineering 2", *others[1:]]),
        ("cs.*", ["cs.* (remove)", *others]),
    ):
        page = await fetch(client, {"q": "flaky", "category": category})
        links = read_texts(page, "nav[@aria-label='Categories']//li")
        assert [text.replace("\N{MULTIPLICATION SIGN}", "") for text in links] == expected


@pytest.mark.usefixtures("_papers")
async def test_histogram_narrows_to_a_year_and_back(client: Gateway) -> None:
    page = await fetch(client, {"q": "flaky", "order": "newest"})
    assert read_texts(page, "*.histogram//tbody//tr") == ["20191", "20212"]
    bars = select(page, "svg//a")
    assert read_texts(page, "svg//a/title") == ["2019: 1", "2021: 2"]
    [drawing] = select(page, "path.histogram-bars")
    assert drawing.get("d") == "M1,100v-50.0h8v50.0M21,100v-100.0h8v100.0"
    assert read_texts(page, "p.histogram-years/span") == ["2019", "2021"]
    link = bars[0].get("href")
    assert link == find_link(page, "2019")
    assert read_query(link)["order"] == ["newest"]
    page = parse(await client.get(link, headers=BROWSER))
    assert list_titles(page) == ["Flaky tests"]
    assert "Submitted 2019-01-01 to 2019-12-31" in page.text_content()
    page = parse(await client.get(find_link(page, "All years"), headers=BROWSER))
    assert len(list_titles(page)) == 3


@pytest.mark.usefixtures("_papers")
async def test_each_filter_in_use_can_be_removed(client: Gateway) -> None:
    filters = {
        "q": "flaky",
        "author": "other",
        "title": "flaky",
        "category": ["cs.SE", "cs.LG"],
        "since": "2018",
        "until": "2030",
        "versions": "all",
    }
    page = await fetch(client, filters)
    links = [a.get("href") for a in select(page, "*[@aria-label='Filters in use']//a")]
    assert len(links) == 7
    for link in links:
        left = read_query(link)
        assert sum(map(len, left.values())) == 7
        assert left["q"] == ["flaky"]
        assert select(parse(await client.get(link, headers=BROWSER)), "*[@id='results']")


@pytest.mark.usefixtures("_papers")
async def test_pages_are_linked_in_both_directions(client: Gateway) -> None:
    params = {"items_per_page": "1", "order": "newest", "title": "flaky"}
    page = await fetch(client, params)
    [first] = list_titles(page)
    following = select(page, "head//link[@rel='next']")[0].get("href")
    assert following == find_link(page, "Next page")
    page = parse(await client.get(following, headers=BROWSER))
    assert list_titles(page) not in ([], [first])
    assert not select(page, "head//link[@rel='next']")
    page = parse(await client.get(find_link(page, "Previous page"), headers=BROWSER))
    assert list_titles(page) == [first]


@pytest.mark.usefixtures("_papers")
async def test_list_can_be_exported_in_every_format_and_subscribed_to(client: Gateway) -> None:
    page = await fetch(client, {"q": "flaky", "category": "cs.SE", "items_per_page": "1"})
    links = [a.get("href") for a in select(page, "nav[@aria-label='Export']//a")][:-1]
    for name, each in FORMATS.items():
        [link] = [link for link in links if read_query(link)["format"] == [name]]
        response = await client.get(link)
        assert response.status_code == 200
        assert response.headers["content-type"] == each.media_type
        assert response.text.count("2611.0000") >= 2
    feed = select(page, "link[@rel='alternate'][@type='application/atom+xml']")[0].get("href")
    response = await client.get(feed)
    assert response.headers["content-type"] == FORMATS["atom"].media_type
    assert response.text.count("<entry>") == 2


async def test_canonical_link_has_only_what_selects_the_page(gateway: Serve) -> None:
    async with gateway(public_url="https://papers.example/") as client:
        page = await fetch(client, {"q": "a b", "author": "", "utm_source": "x", "order": "newest"})
        link = select(page, "link[@rel='canonical']")[0].get("href")
        assert link == "https://papers.example/search?q=a+b&order=newest"


INVALID = [
    ({"q": "flaky ("}, "q"),
    ({"q": "x" * 2001}, "q"),
    ({"q": "-flaky"}, "q"),
    ({"q": "author:"}, "q"),
    ({"q": "a\0b"}, "q"),
    ({"author": "..."}, "author"),
    ({"title": "y" * 501}, "title"),
    ({"journal": "!"}, "journal"),
    ({"category": "cs.XX"}, "category"),
    ({"category": ["cs.SE"] * 21}, "category"),
    ({"since": "yesterday"}, "since"),
    ({"since": "2" * 65}, "since"),
    ({"since": "2022", "until": "2021"}, "until"),
    ({"order": "best"}, None),
    ({"order": "relevance"}, None),
    ({"versions": "none"}, None),
    ({"items_per_page": "0"}, None),
    ({"items_per_page": "+1"}, None),
    ({"items_per_page": "1001"}, None),
    ({"after": "x"}, None),
    ([("q", "a"), ("q", "b")], "q"),
]


async def test_error_is_at_the_category_that_is_invalid(client: Gateway) -> None:
    params = [("category", "cs.SE"), ("category", "xx.yy")]
    page = await fetch(client, params, status=400)
    assert [each.get("value") for each in select(page, "*[@aria-invalid]")] == ["xx.yy"]


@pytest.mark.parametrize(("params", "field"), INVALID)
async def test_invalid_value_is_shown_with_the_message_of_the_api(
    client: Gateway, params: Any, field: str | None
) -> None:
    params = params if isinstance(params, list) else params | {"journal": "kept"} | params
    problem = (await client.get("/papers", params=params)).json()
    assert problem["status"] == 400
    page = await fetch(client, params, status=400)
    assert problem["detail"] in select(page, "*[@id='error']")[0].text_content()
    marked = select(page, "*[@aria-invalid]")
    assert [each.get("name") for each in marked] == ([field] if field else [])
    assert all(each.get("aria-describedby") == "error" for each in marked)
    form = select(page, "form.search")[0]
    fields: dict[str, list[str]] = {}
    for name, value in form.form_values():
        fields.setdefault(name, []).append(value)
    for name, value in params.items() if isinstance(params, dict) else []:
        if name not in {"order", "versions", "items_per_page", "after"}:
            expected = value if isinstance(value, list) else [value.replace("\0", "\ufffd")]
            assert [text for text in fields[name] if text] == expected
    assert not select(page, "article")


async def test_query_string_that_is_not_utf8_is_shown_as_an_error(client: Gateway) -> None:
    for query in ("q=%ff", "q=a&title=%C3%28"):
        response = await client.get(f"/search?{query}", headers=BROWSER)
        assert response.status_code == 400
        error = select(parse(response), "*[@id='error']")[0].text_content()
        assert "query string: is not percent-encoded UTF-8" in error


@pytest.mark.usefixtures("_papers")
async def test_empty_fields_of_the_form_do_not_matter(client: Gateway) -> None:
    page = await fetch(client, {"q": "builds"})
    form = select(page, "form.search")[0]
    submitted = [(name, value or "") for name, value in form.form_values()]
    assert len(submitted) > 5
    again = await fetch(client, submitted)
    assert list_titles(again) == ["Flaky builds"]


@pytest.mark.usefixtures("_papers")
async def test_misspelled_word_is_corrected(client: Gateway) -> None:
    page = await fetch(client, {"q": "flakky", "category": "cs.SE"})
    assert read_texts(page, "*[@id='results']") == ["No papers"]
    link = find_link(page, "flaky")
    assert read_query(link) == {"q": ["flaky"], "category": ["cs.SE"]}
    page = await fetch(client, {"q": "zzz and cs.AI"})
    assert "use category=cs.AI" in " ".join(read_texts(page, "*.warning"))


async def test_search_without_results_leads_to_arxiv(client: Gateway) -> None:
    page = await fetch(client, {"q": "zzz"})
    start = parse(await client.get(find_link(page, "search arXiv"), headers=BROWSER))
    fields = dict(select(start, "form.search")[0].form_values())
    assert (fields["q"], fields["mode"]) == ("zzz", "arxiv")


@pytest.mark.usefixtures("_hostile_paper")
async def test_hostile_texts_are_shown_as_text(client: Gateway) -> None:
    response = await client.get("/search", params={"q": "flaky"}, headers=BROWSER)
    page = parse(response)
    assert len(select(page, "script")) == 1
    assert not page.xpath("//img | //iframe | //*[@onerror]")
    assert HOSTILE in select(page, "h3//a")[0].text_content()
    assert HOSTILE in select(page, "*.paper-authors")[0].text_content()
    assert read_texts(page, "details.paper-authors//summary") == ["291 more authors"]
    assert find_link(page, "all 301 authors") == "/abs/2611.00009v1"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("text", [HOSTILE, '"', "</title>", "\u202e\u2066x", "$\\frac{$", "x'y"])
async def test_hostile_query_is_shown_as_text(client: Gateway, text: str) -> None:
    response = await client.get(f"/search?q={quote(text)}&title={quote(text)}", headers=BROWSER)
    assert response.status_code in {200, 400}
    page = parse(response)
    assert select(page, "input[@name='q']")[0].get("value") == text
    assert select(page, "input[@name='title']")[0].get("value") == text
    assert len(select(page, "script")) == 1


async def test_long_query_is_rejected_and_kept(client: Gateway) -> None:
    page = await fetch(client, {"q": "x" * 50_000}, status=400)
    assert select(page, "input[@name='q']")[0].get("value") == "x" * 50_000


async def test_index_that_is_built_is_explained(settings: Make) -> None:
    made = settings()
    lock = IndexLock(made.index_path)  # as if another process was building it
    assert lock.acquire()
    write_progress(made.index_path, BuildProgress(1200, 4000))
    app = create_gateway(made)
    transport = httpx.ASGITransport(cast("Any", app))
    async with (
        running(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        page = await fetch(client, {"q": "flaky", "title": "x"}, status=503)
        error = select(page, "*[@id='error']")[0].text_content()
        assert "1,200 of about 4,000 papers are done" in error
        assert "Try again in 10 seconds" in page.text_content()
        assert select(page, "input[@name='title']")[0].get("value") == "x"
        assert not select(await fetch(client), "*[@aria-label='Categories']")
    lock.release()


@pytest.mark.parametrize("path", ["/search", "/new", "/searches"])
async def test_pages_are_limited_to_100_items(client: Gateway, path: str) -> None:
    assert (await client.get(f"{path}?items_per_page=100")).status_code == 200
    response = await client.get(f"{path}?items_per_page=101")
    assert response.status_code == 400
    assert "at most 100" in response.text


def test_category_replaces_the_chosen_ones() -> None:
    facets = [FacetCount("cs.AI", 3, "Artificial Intelligence")]
    [choice] = _link_categories({"category": ["cs.LG"]}, facets)
    assert choice.url == "/search?category=cs.AI"


@pytest.mark.usefixtures("_papers")
async def test_rendered_paper_is_replaced_when_the_paper_changes(
    client: Gateway, db: psycopg.Connection
) -> None:
    before = await fetch(client, {"order": "newest"})
    db.execute("update papers set title = 'Changed' where arxiv_id = '2611.00003'")
    after = await fetch(client, {"order": "newest"})
    assert "Changed" in list_titles(after)
    assert len(list_titles(after)) == len(list_titles(before))
