"""`/searches`: recorded searches, one with its results and changes, and run again."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.arxiv_query import encode_search
from service.db.reader import RecordReader
from service.models.arxiv import ApiQuery, Search
from service.models.records import Run
from service.recorded_query import parse_recorded_query, restore_search
from service.settings import Settings
from tests.conftest import Gateway, Serve, served
from tests.support.pages import parse, read_form, read_links, read_texts, select
from tests.support.runs import Runs

HOSTILE = '</bdi><script>alert(1)</script>"\u202e'
URL = "https://example.org/api/query"


@pytest.fixture
def runs(db: psycopg.Connection) -> Runs:
    return Runs(db)


async def run_again(client: Gateway, path: str) -> httpx.Response:
    form = read_form(await client.get(path), f"{path}/runs")
    return await client.post(f"{path}/runs", data=form)


# The history


async def test_searches_are_listed_latest_first(client: Gateway, runs: Runs) -> None:
    runs.add("2611.00001v1", query="search_query=ti:first&id_list=&start=0&max_results=10")
    runs.add(outcome="timeout", query="search_query=&id_list=2611.00002&start=20&max_results=10")
    page = parse(await client.get("/searches"))
    assert read_texts(page, "ol.searches//p.query") == ["2611.00002", "ti:first"]
    failed, complete = read_texts(page, "ol.searches//p.note")
    assert "✗ no response in time" in failed
    assert failed.endswith("no papers stored from result 21")
    assert complete.endswith("✓ complete · 1 paper stored, result 1 of 1")
    assert read_links(page)["ti:first"] == "/searches/101"


async def test_history_is_filtered_and_divided_into_pages(client: Gateway, runs: Runs) -> None:
    for number in range(60):
        runs.add(query=f"search_query=ti:{'even' if number % 2 else 'odd'}&id_list=")
    first = parse(await client.get("/searches"))
    second = parse(await client.get(read_links(first)["Next page"]))
    assert len(select(first, "ol.searches/li")) == 50
    assert len(select(second, "ol.searches/li")) == 10
    found = parse(await client.get("/searches", params={"text": "TI:EVEN", "order": "oldest"}))
    assert len(select(found, "ol.searches/li")) == 30
    assert {*read_texts(found, "ol.searches//p.query")} == {"ti:even"}
    none = parse(await client.get("/searches", params={"status": "404"}))
    assert "No search matches." in none.text_content()


async def test_empty_history_leads_to_a_search(client: Gateway) -> None:
    page = parse(await client.get("/searches"))
    assert "No search is recorded yet." in page.text_content()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start_timestamp", HOSTILE),
        ("end_timestamp", "2026-02-30"),
        ("status", "x"),
        ("status", "1000"),
        ("text", "x" * 501),
    ],
)
async def test_error_is_shown_at_the_field_with_its_value(
    client: Gateway, name: str, value: str
) -> None:
    response = await client.get("/searches", params={name: value})
    assert response.status_code == 400
    page = parse(response)
    [invalid] = select(page, "input[@aria-invalid='true']")
    assert (invalid.get("name"), invalid.get("value")) == (name, value)
    assert f"{name}: " in read_texts(page, "*[@id='error']")[0]


# One search


async def test_changes_since_the_previous_run_are_shown(client: Gateway, runs: Runs) -> None:
    first = runs.add("2611.00001v1", "2611.00002v1", "2611.00003v1")
    second = runs.add("2611.00004v1", "2611.00001v2", "2611.00002v1")
    third = runs.add("2611.00004v1", "2611.00001v2", "2611.00002v1")
    page = parse(await client.get(f"/searches/{second}"))
    assert read_texts(page, "details[@open]/summary")[:4] == [
        "Added: 1",
        "Removed: 1",
        "New versions: 1",
        "Moved: 2",
    ]
    assert "On 2611.00001, version 1 → 2" in " ".join(page.text_content().split())
    links = read_links(page)
    assert links["Previous run"] == f"/searches/{first}"
    assert links["Next run"] == f"/searches/{third}"
    same = parse(await client.get(f"/searches/{third}"))
    assert "None: the same papers in the same order." in same.text_content()
    alone = parse(await client.get(f"/searches/{first}"))
    assert not select(alone, "*[@id='changes']")


async def test_results_are_papers_or_what_is_known_of_them(client: Gateway, runs: Runs) -> None:
    query_id = runs.add("2611.00001v1", HOSTILE, query="search_query=x&id_list=&start=10")
    page = parse(await client.get(f"/searches/{query_id}"))
    assert read_texts(page, "article//h3") == ["On 2611.00001", f"On {HOSTILE}"]
    assert read_texts(page, "article//h3//a") == ["On 2611.00001"]
    assert not select(page, "main//script")


async def test_results_are_divided_into_pages(client: Gateway, runs: Runs) -> None:
    query_id = runs.add(*(f"2611.{number:05}v1" for number in range(120)))
    page = parse(await client.get(f"/searches/{query_id}"))
    numbers = []
    while True:
        numbers += page.xpath("//ol[@class='results']/li/@value")
        if "Next page" not in read_links(page):
            break
        page = parse(await client.get(read_links(page)["Next page"]))
    assert numbers == [str(number) for number in range(1, 121)]
    assert (await client.get(f"/searches/{query_id}?page=x")).status_code == 400
    beyond = parse(await client.get(f"/searches/{query_id}?page=9"))
    assert "This page has no results." in beyond.text_content()


async def test_warnings_and_missing_papers_are_shown(
    client: Gateway, runs: Runs, db: psycopg.Connection
) -> None:
    query_id = runs.add(outcome="suspect")
    remarks = '{"warnings": ["<b>too few"], "differences": ["other"], "missing_ids": ["2611.1"]}'
    db.execute("update queries set remarks = %s", [remarks])
    page = parse(await client.get(f"/searches/{query_id}"))
    assert read_texts(page, "p.warning") == ["other", "<b>too few", "arXiv did not return 2611.1."]
    assert "! incomplete" in " ".join(page.text_content().split())


async def test_links_of_a_search_work(client: Gateway, runs: Runs) -> None:
    query_id = runs.add("2611.00001v1")
    page = parse(await client.get(f"/searches/{query_id}"))
    links = read_links(page)
    paths = [links[name] for name in ("json", "csv", "bibtex", "Feed of new papers")]
    [feed] = page.xpath("//link[@rel='alternate']/@href")
    for path in (*paths, feed):
        response = await client.get(path)
        assert response.status_code == 200
        assert "2611.00001" in response.text


@pytest.mark.parametrize("name", ["0", "7", "x", "99999999999999999999"])
async def test_unknown_search_is_404(client: Gateway, name: str) -> None:
    response = await client.get(f"/searches/{name}")
    assert response.status_code == 404
    assert select(parse(response), "h1")


async def test_hostile_texts_are_shown_as_text(
    client: Gateway, runs: Runs, db: psycopg.Connection
) -> None:
    query = f"search_query=all:{HOSTILE} \x1b{'x' * 100_000}&id_list=&start=0&max_results=10"
    query_id = runs.add("2611.00001v1", query=query)
    title = f"{HOSTILE} $\\frac{{$ {'$x$ ' * 25_000}"
    db.execute("update papers set title = %s, authors = %s", [title, [HOSTILE] * 3000])
    for path in ("/searches", f"/searches/{query_id}"):
        response = await client.get(path)
        assert response.status_code == 200
        page = parse(response)
        assert not select(page, "main//script")
        assert HOSTILE in page.text_content()
        assert "\x1b" not in response.text


# Run again


async def test_search_is_run_again_and_compared(client: Gateway, arxiv: StandIn) -> None:
    parameters = {"title": "the", "sort_by": "submittedDate", "submitted_from": "2000"}
    first = (await client.get("/arxiv", params=parameters)).json()["query_id"]
    sent = arxiv.requests[-1].params
    response = await run_again(client, f"/searches/{first}")
    assert response.status_code == 303
    assert arxiv.requests[-1].params == sent
    second = urlsplit(response.headers["location"]).path
    assert second != f"/searches/{first}"
    page = parse(await client.get(second))
    assert read_links(page)["Previous run"] == f"/searches/{first}"
    assert "newest first" in read_texts(page, "dl.search-facts/dd")


async def test_form_without_a_token_runs_nothing(client: Gateway, arxiv: StandIn) -> None:
    query_id = (await client.get("/arxiv?title=the")).json()["query_id"]
    number = len(arxiv.requests)
    response = await client.post(f"/searches/{query_id}/runs", data={"csrf_token": "x"})
    assert response.status_code == 403
    assert len(arxiv.requests) == number


async def test_failed_run_is_explained_on_the_page(client: Gateway, arxiv: StandIn) -> None:
    query_id = (await client.get("/arxiv?title=the")).json()["query_id"]
    arxiv.redirect_url = "https://example.org/"
    response = await run_again(client, f"/searches/{query_id}")
    assert response.status_code >= 400
    page = parse(response)
    assert read_texts(page, "*[@id='error']")
    [record] = [url for text, url in read_links(page).items() if "failed search" in text]
    failed = parse(await client.get(record))
    assert "✗" in read_texts(failed, "span.outcome")[0]


async def test_search_of_an_operator_cannot_be_run_again(client: Gateway, runs: Runs) -> None:
    query_id = runs.add(query="by hand", key=None)
    page = parse(await client.get(f"/searches/{query_id}"))
    assert "cannot be run again" in page.text_content()
    assert not page.xpath("//form[contains(@action, '/runs')]")


def create_run(text: str, key: UUID | None) -> Run:
    return Run(1, 1_795_464_900, 200, 0, 0, text, "ok", key)


@pytest.mark.parametrize(
    "search",
    [
        Search(title="a & b=c", sort_by="lastUpdatedDate", sort_order="ascending"),
        Search(any="&id_list=&start=3", id_list=("2611.00001",), start=20, max_results=7),
        Search(title="x", submitted_from=1_700_000_000),
        ApiQuery(search_query="all:x", raw="1", sort_by="submittedDate"),
        ApiQuery(id_list="2611.00002,2611.00001v2"),
    ],
)
@pytest.mark.parametrize("source", ["arxiv", "mirror", "auto"])
def test_recorded_search_is_restored_with_its_order(search: Search | ApiQuery, source: Any) -> None:
    request = encode_search(search, URL, 10, source)
    parameters = request.parameters
    shown = {name: parameters[name] for name in ("search_query", "id_list")}
    shown |= {name: parameters[name] for name in ("start", "max_results")}
    shown["search_query"] = shown["search_query"].replace("Date:[", 'Date:"').replace("]", '"')
    for values in (parameters, shown):
        text = "&".join(f"{name}={value}" for name, value in values.items())
        key = request.search_key if source == "arxiv" else request.mirror_key
        restored = restore_search(create_run(text, key), URL)
        assert restored is not None
        assert restored.has_same_key
        assert encode_search(restored.query, URL, 10).parameters == parameters
        assert restored.source == source


def test_search_that_arxiv_has_corrected_is_sent_as_recorded() -> None:
    key = encode_search(ApiQuery(search_query="a b"), URL, 10).search_key
    text = "search_query=all:a OR all:b&id_list=&start=0&max_results=10"
    restored = restore_search(create_run(text, key), URL)
    assert restored is not None
    assert not restored.has_same_key
    assert restored.query == ApiQuery(search_query="all:a OR all:b")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "search_query=&id_list=&start=0&max_results=10",
        "search_query=x\0&id_list=",
        f"search_query=x&id_list=&start={'9' * 5000}&max_results=1",
        "search_query=x&id_list=&start=0&max_results=5000",
    ],
)
def test_text_that_is_not_a_search_is_not_restored(text: str) -> None:
    assert parse_recorded_query(text) is None


async def test_frontend_without_a_database_shows_the_same(
    gateway: Serve, settings: Callable[..., Settings], runs: Runs
) -> None:
    first, second = runs.add("2611.00001v1"), runs.add("2611.00002v1")
    remote = {"database_url": None, "database_ro_url": None}
    with served(settings()) as url:
        async with gateway(backend_url=url, **remote) as client:
            page = parse(await client.get(f"/searches/{first}"))
            assert read_links(page)["Next run"] == f"/searches/{second}"
            listed = parse(await client.get("/searches"))
    assert len(select(listed, "ol.searches/li")) == 2


async def test_new_search_is_shown_in_spite_of_the_read_delay(
    gateway: Serve, settings: Callable[..., Settings]
) -> None:
    with served(settings(settle=60, interval=0)) as url:
        remote = {"database_url": None, "database_ro_url": None, "backend_url": url}
        for options in ({}, remote):
            async with gateway(settle=60, **options) as client:
                form = read_form(await client.get("/"), "/")
                response = await client.post("/", data=form | {"q": "star", "mode": "arxiv"})
                assert response.status_code == 303
                assert (await client.get(response.headers["location"])).status_code == 200


async def test_page_of_a_search_waits_until_it_is_recorded(
    client: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_run, delays = RecordReader.fetch_run, iter(range(40))

    async def fetch_late(self: RecordReader, query_id: int, **options: Any) -> Run | None:
        return (
            None if next(delays, None) is not None else await fetch_run(self, query_id, **options)
        )

    monkeypatch.setattr("service.pages.redirects.POLL_SECONDS", 0.001)
    monkeypatch.setattr(RecordReader, "fetch_run", fetch_late)
    form = read_form(await client.get("/"), "/")
    response = await client.post("/", data=form | {"q": "star", "mode": "arxiv"})
    assert (await client.get(response.headers["location"])).status_code == 200
