"""`/`: the search box with two modes, the latest searches and the state of the service."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psycopg
import pytest
from lxml.html import HtmlElement

from demo.arxiv import StandIn
from service.app import add_outer_middleware
from service.context import LocalContext
from service.db.reader import RecordReader
from service.errors import ServiceError
from service.models.responses import ArxivState
from service.pages.home import _estimate_wait
from service.settings import Settings
from tests.conftest import Gateway, Serve, make_app, running, served
from tests.support.pages import BROWSER, parse, read_form, read_texts, select

WORDS = 'all:"galaxies" AND all:"dark" AND all:"matter"'
LOWER_OR = '(all:"dark" AND all:"matter") OR all:"axion"'
HOSTILE = '<script>alert(1)</script>"\u202e{{ 7 * 7 }}'


async def send(client: Gateway, **fields: str) -> httpx.Response:
    """Fill in and send the form of the start page."""
    form = read_form(await client.get("/", headers=BROWSER), "/")
    return await client.post("/", data=form | fields, headers=BROWSER)


async def fetch(client: Gateway, path: str = "/") -> HtmlElement:
    response = await client.get(path, headers=BROWSER)
    assert response.status_code == 200
    return parse(response)


async def test_form_searches_the_stored_papers_by_default(client: Gateway, arxiv: StandIn) -> None:
    response = await send(client, q='"dark matter" & more')
    assert response.status_code == 303
    assert response.headers["location"] == "/search?q=%22dark+matter%22+%26+more"
    assert (await send(client, q=" ")).headers["location"] == "/search"
    assert not arxiv.requests


@pytest.mark.parametrize(
    ("q", "sent"),
    [
        ("dark matter", {"search_query": 'all:"dark" AND all:"matter"'}),
        (
            'ti:"dark matter" ANDNOT cat:hep-ph',
            {"search_query": 'ti:"dark matter" ANDNOT cat:hep-ph'},
        ),
        ("2101.00001", {"id_list": "2101.00001"}),
        ("10.1103/PhysRevD.1.2", {"search_query": 'doi:"10.1103/PhysRevD.1.2"'}),
        (
            "dark AND matter OR axion",
            {"search_query": LOWER_OR},
        ),
        ('halo "all: of it"', {"search_query": 'all:"halo" AND all:"all: of it"'}),
        ("galaxies and dark matter", {"search_query": WORDS}),
        (
            'author:"Emmy Noether" -"ideal theory"',
            {"search_query": 'au:"Emmy Noether" ANDNOT all:"ideal theory"'},
        ),
        ("2101.00001v2", {"id_list": "2101.00001v2"}),
        ("https://arxiv.org/abs/hep-th/9901001", {"id_list": "hep-th/9901001"}),
    ],
)
async def test_form_searches_arxiv_and_leads_to_the_recorded_search(
    client: Gateway, db: psycopg.Connection, q: str, sent: dict[str, str]
) -> None:
    response = await send(client, q=q, mode="arxiv")
    assert response.status_code == 303
    row = db.execute("select query_id, query from queries").fetchone()
    assert row
    assert response.headers["location"] == f"/searches/{row[0]}"
    for name, value in sent.items():
        assert f"{name}={value}&" in row[1]
    page = await fetch(client)
    [link] = select(page, "ol.searches//a")
    assert link.get("href") == f"/searches/{row[0]}"
    assert link.text_content() == "".join(sent.values())


@pytest.mark.parametrize(
    ("q", "detail"),
    [
        ("dark (matter", "q: at character 6: the ( is not closed"),
        ("au:noether OR", ": a word is missing at the end"),
        (" ", "q: it does not contain a word to search for"),
        ("x:y", "q: at character 1: x is not a field"),
        ("cat:hep-ph dark", "query: an operator is missing before dark"),
        ("-dark", "q: at character 2: it would match nearly every paper"),
    ],
)
async def test_error_of_a_search_is_shown_at_the_input(
    client: Gateway, arxiv: StandIn, q: str, detail: str
) -> None:
    response = await send(client, q=q, mode="arxiv")
    assert response.status_code == 400
    page = parse(response)
    assert detail in read_texts(page, "*[@id='error']")[0]
    fields = read_form(response, "/")
    assert (fields["q"], fields["mode"]) == (q, "arxiv")
    assert [each.get("name") for each in select(page, "*[@aria-invalid]")] == ["q"]
    assert not arxiv.requests


async def test_search_that_arxiv_does_not_answer_is_explained(gateway: Serve) -> None:
    def throttle(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"retry-after": "600"})

    async with gateway(httpx.MockTransport(throttle)) as client:
        response = await send(client, q="dark", mode="arxiv")
        assert response.status_code == 503
        assert "retry-after" in response.headers
        page = parse(response)
        assert read_texts(page, "*[@id='error']")
        assert "Try again in " in page.text_content()
        assert not select(page, "*[@aria-invalid]")
        assert read_form(response, "/")["q"] == "dark"
        assert select(page, "a[@href='/searches/1']")
        state = read_texts(await fetch(client), "p.service-status")[0]
        assert "arXiv throttles requests until" in state
        assert "arXiv was overloaded" in read_texts(page, "ol.searches")[0]


async def test_search_of_arxiv_needs_the_token_of_the_form(client: Gateway, arxiv: StandIn) -> None:
    response = await client.post("/", data={"q": "dark", "mode": "arxiv"}, headers=BROWSER)
    assert response.status_code == 403
    assert "send it again" in read_texts(parse(response), "*[@id='error']")[0]
    assert not select(parse(response), "*[@aria-invalid]")
    assert not arxiv.requests
    form = read_form(response, "/")
    assert (form["q"], form["mode"]) == ("dark", "arxiv")
    assert (await client.post("/", data=form, headers=BROWSER)).status_code == 303
    assert len(arxiv.requests) == 1


@pytest.mark.parametrize("mode", ["local", "arxiv"])
async def test_text_that_is_too_long_is_shown_again(
    client: Gateway, arxiv: StandIn, mode: str
) -> None:
    q = "Ω\x1b" * 50_000
    response = await send(client, q=q, mode=mode)
    assert response.status_code == 400
    assert "longer than" in read_texts(parse(response), "*[@id='error']")[0]
    fields = read_form(response, "/")
    assert (fields["q"], fields["mode"]) == (q.replace("\x1b", "�"), mode)
    assert not arxiv.requests


async def test_page_counts_the_searches_of_today(client: Gateway, db: psycopg.Connection) -> None:
    for word in ("one", "two", "three"):
        await client.get("/arxiv", params={"any": word})
    db.execute("update queries set timestamp = timestamp - 90000 where query_id = 1")
    page = await fetch(client)
    assert "Searches today3" not in "".join(read_texts(page, "dl.numbers"))
    assert "Searches today2" in "".join(read_texts(page, "dl.numbers"))
    assert "arXiv responds." in read_texts(page, "p.service-status")[0]
    assert len(select(page, "ol.searches//li")) == 3


async def test_page_shows_the_latest_day_of_announcements(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute(
        "insert into announcements (date, arxiv_id, version, type, primary_category,"
        " cross_categories) values ('2026-11-24', '2611.00001', 1, 'new', 'cs.SE', '{}')"
    )
    page = await fetch(client)
    [link] = select(page, "dl.numbers//a")
    assert (link.get("href"), link.text_content()) == ("/new?date=2026-11-24", "1")


async def test_form_can_be_filled_in_by_a_link(client: Gateway) -> None:
    response = await client.get("/", params={"q": HOSTILE, "mode": "arxiv", "x": "y"})
    fields = read_form(response, "/")
    assert (fields["q"], fields["mode"]) == (HOSTILE, "arxiv")
    assert len(select(parse(response), "script")) == 1


async def test_recorded_queries_are_shown_as_text(client: Gateway, db: psycopg.Connection) -> None:
    await client.get("/arxiv", params={"any": "x"})
    db.execute("update queries set query = %s", (f"search_query={HOSTILE}&id_list=&start=0",))
    page = await fetch(client)
    assert read_texts(page, "ol.searches//a") == [HOSTILE]
    assert len(select(page, "script")) == 1


async def test_start_page_is_useful_without_the_database(
    client: Gateway, db: psycopg.Connection
) -> None:
    db.execute("alter table queries rename to queries_away")
    page = await fetch(client)
    assert select(page, "form.search")
    assert "cannot be read" in page.text_content()


async def test_start_page_without_numbers_has_no_heading_for_them(
    client: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ServiceError("unavailable")

    for owner, name in (
        (LocalContext, "fetch_index_status"),
        (RecordReader, "count_runs"),
        (RecordReader, "fetch_announced_day"),
    ):
        monkeypatch.setattr(owner, name, fail)
    page = await fetch(client)
    assert "Numbers" not in read_texts(page, "h2")
    assert not select(page, "dl.numbers")


async def test_frontend_without_a_database_shows_the_same(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.backend.client.HEALTH_SECONDS", -1)
    behind = settings(endpoints="frontend,backend")
    with served(behind) as url:
        app = make_app(settings(database_url=None, database_ro_url=None, backend_url=url))
        assert app.state.context.settings.serves_pages
        transport = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
        async with (
            running(app),
            httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
        ):
            response = await send(client, q="dark matter", mode="arxiv")
            assert response.headers["location"] == "/searches/1"
            page = await fetch(client)
            assert "Searches today1" in "".join(read_texts(page, "dl.numbers"))
            assert "arXiv responds." in read_texts(page, "p.service-status")[0]
            assert len(select(page, "ol.searches//li")) == 1
            assert (await client.get("/search?order=newest", headers=BROWSER)).status_code == 200


async def test_page_does_not_wait_for_what_hangs(
    client: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("service.pages.home.READ_SECONDS", 0.05)
    monkeypatch.setattr("service.db.reader.RecordReader.count_runs", hang)
    assert select(await fetch(client), "form.search")


def test_expected_wait_is_that_of_the_backend() -> None:
    context = SimpleNamespace(settings=Settings(interval=3))
    arxiv = ArxivState(asking=True, waiting=1, interval=10)
    assert _estimate_wait(arxiv, cast("Any", context)) == 2 * (10 + 2) + 2
