"""`/new`: the announcements of a day as a page."""

from collections.abc import Callable
from datetime import date
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from service.settings import Settings
from tests.conftest import Gateway, Serve, served
from tests.support.pages import parse, read_links, read_texts, select
from tests.support.papers import create_paper, store_papers

MONDAY, TUESDAY = date(2026, 4, 27), date(2026, 4, 28)
HOSTILE = '</option><script>alert(1)</script>"\u202e'


@pytest.fixture
async def announced(settings: Callable[..., Settings], db: psycopg.Connection) -> None:
    """Two days: 60 new papers on Monday; new, cross-listed and replaced ones on Tuesday."""
    made = settings()
    assert made.database_url
    papers = [
        create_paper(number, f"Paper {number} on $x^{number}$", "We study <b>it</b>")
        for number in range(1, 70)
    ]
    await store_papers(made.database_url, *papers)
    for number in range(1, 61):
        announce(db, MONDAY, number, "new", "cs.SE")
    for number, kind, category in (
        (61, "new", "cs.LG"),
        (62, "new", "math.CO"),
        (63, "cross", "math.CO"),
        (64, "replace", "cs.SE"),
        (65, "replace-cross", "math.CO"),
    ):
        announce(db, TUESDAY, number, kind, category)


def announce(db: psycopg.Connection, day: date, number: int, kind: str, category: str) -> None:
    crossed = ["cs.LG"] if "cross" in kind else []
    db.execute(
        "insert into announcements (date, arxiv_id, version, type, primary_category,"
        " cross_categories) values (%s, %s, 1, %s, %s, %s)",
        [day, f"2611.{number:05}", kind, category, crossed],
    )


@pytest.mark.usefixtures("announced")
async def test_latest_day_is_shown_in_sections(client: Gateway) -> None:
    page = parse(await client.get("/new"))
    assert read_texts(page, "*[self::h1 or @class='new-day']") == [
        "New papers",
        "Tuesday, 28 April 2026",
    ]
    assert read_texts(page, "section/h2") == [
        "New submissions (2)",
        "Cross-lists (1)",
        "Replacements (2)",
    ]
    assert [article.get("data-paper") for article in select(page, "article")] == [
        f"2611.{number:05}v1" for number in range(61, 66)
    ]
    assert select(page, "article//math")
    assert read_texts(page, "nav[@aria-label='Sections']//li") == [
        "All 5",
        "New submissions 2",
        "Cross-lists 1",
        "Replacements 2",
    ]


@pytest.mark.usefixtures("announced")
async def test_section_link_leads_to_its_papers(client: Gateway) -> None:
    links = read_links(parse(await client.get("/new", params={"category": "cs.LG"})))
    page = parse(await client.get(links["Replacements"]))
    assert read_texts(page, "section/h2") == ["Replacements (1)"]
    assert read_texts(page, "nav[@aria-label='Sections']//a[@aria-current]") == ["Replacements"]
    assert page.xpath("//input[@name='category']/@value") == ["cs.LG", ""]


@pytest.mark.usefixtures("announced")
async def test_other_days_keep_the_category(client: Gateway) -> None:
    links = read_links(parse(await client.get("/new", params={"category": "cs.SE"})))
    assert "Next day" not in " ".join(links)
    page = parse(await client.get(links["Previous day, Monday, 27 April 2026"]))
    assert read_texts(page, "*.new-day") == ["Monday, 27 April 2026"]
    assert page.xpath("//input[@name='category']/@value") == ["cs.SE", ""]
    assert "Next day, Tuesday, 28 April 2026" in read_links(page)


@pytest.mark.usefixtures("announced")
async def test_long_day_is_divided_into_pages(client: Gateway) -> None:
    first = parse(await client.get("/new", params={"date": "2026-04-27"}))
    second = parse(await client.get(read_links(first)["Next page"]))
    numbers = [article.get("data-paper") for article in select(first, "article")]
    numbers += [article.get("data-paper") for article in select(second, "article")]
    assert numbers == [f"2611.{number:05}v1" for number in range(1, 61)]
    assert read_texts(second, "section/h2") == ["New submissions (60), continued"]
    back = parse(await client.get(read_links(second)["Previous page"]))
    assert len(select(back, "article")) == 50


@pytest.mark.usefixtures("announced")
async def test_feed_and_exports_have_the_same_filters(client: Gateway) -> None:
    page = parse(await client.get("/new", params={"category": "math.CO", "type": "new"}))
    [feed] = page.xpath("//link[@rel='alternate']/@href")
    assert urlsplit(feed).path == "/announcements/feed"
    assert parse_qs(urlsplit(feed).query) == {"category": ["math.CO"], "type": ["new"]}
    assert "2611.00062v1" in (await client.get(feed)).text
    export = await client.get(read_links(page)["csv"])
    assert len(export.text.splitlines()) == 2


async def test_without_announcements_the_page_says_how_to_get_them(client: Gateway) -> None:
    page = parse(await client.get("/new"))
    assert "ARXIV_SYNC=daily" in page.text_content()
    assert not select(page, "article")


@pytest.mark.usefixtures("announced")
@pytest.mark.parametrize(
    ("day", "text"),
    [
        ("2026-04-26", "arXiv announces papers on the evenings from Sunday to Thursday"),
        ("2026-04-29", "Papers may be missing: the feeds of 2026-04-29 have not been read."),
    ],
)
async def test_day_without_papers_says_why(client: Gateway, day: str, text: str) -> None:
    page = parse(await client.get("/new", params={"date": day}))
    assert text in " ".join(page.text_content().split())


@pytest.mark.usefixtures("announced")
async def test_missing_feeds_are_a_warning(client: Gateway, db: psycopg.Connection) -> None:
    db.execute("insert into announcement_feeds (date, feed) values (%s, 'cs')", [TUESDAY])
    page = parse(await client.get("/new"))
    [warning] = read_texts(page, "p.warning")
    assert warning.startswith("Papers may be missing: 1 of 1 feeds of 2026-04-28")


@pytest.mark.parametrize(
    ("name", "value"),
    [("category", HOSTILE), ("category", "cs.XX"), ("date", HOSTILE), ("date", "2026-02-30")],
)
async def test_error_is_shown_at_the_field_with_its_value(
    client: Gateway, name: str, value: str
) -> None:
    api = await client.get("/announcements", params={name: value})
    response = await client.get("/new", params={name: value})
    assert response.status_code == api.status_code == 400
    page = parse(response)
    invalid = select(page, "input[@aria-invalid='true']")[0]
    assert (invalid.get("name"), invalid.get("value")) == (name, value)
    assert read_texts(page, "*[@id='error']") == [
        f"Error: {' '.join(api.json()['detail'].split())}"
    ]
    assert not select(page, "main//script")


@pytest.mark.parametrize("query", ["after=x", "type=x", "items_per_page=0", "date=%FF", "date=%00"])
async def test_other_invalid_parameters_are_rejected(client: Gateway, query: str) -> None:
    response = await client.get(f"/new?{query}")
    assert response.status_code == 400
    assert "Error:" in parse(response).text_content()


@pytest.mark.usefixtures("announced")
async def test_frontend_without_a_database_shows_the_same(
    gateway: Serve, settings: Callable[..., Settings]
) -> None:
    remote = {"database_url": None, "database_ro_url": None}
    with served(settings()) as url:
        async with gateway(backend_url=url, **remote) as client:
            page = parse(await client.get("/new"))
    assert len(select(page, "article")) == 5


@pytest.mark.usefixtures("announced")
async def test_invalid_values_are_marked_and_can_be_replaced(client: Gateway) -> None:
    response = await client.get("/new?category=cs.SE&category=xx.yy")
    assert response.status_code == 400
    page = parse(response)
    [field] = select(page, "*[@aria-invalid]")
    assert field.get("value") == "xx.yy"
    page = parse(await client.get("/new?type=bad&type=new"))
    assert [each.get("value") for each in select(page, "input[@name='type']")] == ["new"]
