"""`/arxiv`: the request to arXiv, and what is recorded of the response."""

from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from demo.feed import render
from demo.papers import Author, Paper, generate
from tests.conftest import Gateway, Serve


async def test_search_is_recorded_with_its_results(client: Gateway, db: psycopg.Connection) -> None:
    response = await client.get("/arxiv", params={"title": "testing"})

    assert response.status_code == 200
    summary = response.json()
    assert set(summary) == {"query_id", "timestamp", "status", "num_results", "num_entries"}
    assert (summary["status"], summary["num_entries"]) == (200, 10)
    assert summary["num_results"] > 10
    rows = db.execute("select query_id, status, num_results, num_entries, query from queries")
    assert rows.fetchall() == [
        (
            summary["query_id"],
            200,
            summary["num_results"],
            10,
            'search_query=ti:"testing"&id_list=&start=0&max_results=10',
        )
    ]
    numbers = db.execute("select result_number, query_id from results order by id").fetchall()
    assert numbers == [(number, summary["query_id"]) for number in range(10)]


async def test_results_contain_the_data_of_arxiv(client: Gateway, db: psycopg.Connection) -> None:
    await client.get("/arxiv", params={"title": "testing", "max_results": 2000})

    rows = db.execute("select author, title, journal from results order by id").fetchall()
    papers = {
        (
            ", ".join(" ".join(writer.name.split()) for writer in paper.authors),
            " ".join(paper.title.split()),
            paper.journal_ref,
        )
        for paper in generate(1000)
    }
    assert len(rows) > 40
    assert set(rows) <= papers


async def test_each_term_has_its_prefix_and_quotes(client: Gateway, arxiv: StandIn) -> None:
    await client.get(
        "/arxiv", params={"author": "Noether", "title": "a b", "journal": "Phys. Rev."}
    )

    [sent] = arxiv.requests
    assert sent.params["search_query"] == 'au:"Noether" AND ti:"a b" AND jr:"Phys. Rev."'


@pytest.mark.parametrize(
    "typed",
    [
        '" OR all:"',
        'x" ANDNOT ti:"y',
        "a_b",
        "\\",
        'x\\" OR au:y',
        "a\tb\nc",
        "(unbalanced",
        "AND OR",
        "ünï 漢字",
        "50% & more+less = #1;?",
        "[20200101 TO 2021]",
        "cat:cs.*",
    ],
)
async def test_user_input_does_not_change_the_structure_of_the_query(
    client: Gateway, arxiv: StandIn, typed: str
) -> None:
    response = await client.get("/arxiv", params={"title": typed, "author": "Noether"})

    if response.status_code == 400:
        assert arxiv.requests == []
        return
    [sent] = arxiv.requests
    query = sent.params["search_query"]
    assert query.startswith('au:"Noether" AND ti:"')
    assert query.endswith('"')
    assert query.count('"') == 4
    assert "_" not in query
    assert "\\" not in query


async def test_query_is_percent_encoded_with_real_spaces(client: Gateway, arxiv: StandIn) -> None:
    await client.get("/arxiv", params={"author": "A B", "title": "c+d"})

    [sent] = arxiv.requests
    assert sent.params["search_query"] == 'au:"A B" AND ti:"c+d"'
    assert "c%2Bd" in sent.raw_query
    assert set(sent.params) == {"search_query", "id_list", "start", "max_results"}


async def test_user_agent_contains_the_service_and_its_contact(
    gateway: Serve, arxiv: StandIn
) -> None:
    async with gateway(contact="ops@example.org") as client:
        await client.get("/arxiv", params={"title": "testing"})

    [sent] = arxiv.requests
    assert sent.headers["user-agent"].startswith("arxiv-gateway/")
    assert "mailto:ops@example.org" in sent.headers["user-agent"]


async def test_search_without_results_succeeds_and_is_recorded(
    client: Gateway, db: psycopg.Connection
) -> None:
    response = await client.get("/arxiv", params={"title": "xyzzyplugh"})

    assert response.status_code == 200
    assert response.json()["num_results"] == 0
    assert response.json()["num_entries"] == 0
    assert db.execute("select status, num_entries from queries").fetchall() == [(200, 0)]
    assert db.execute("select count(*) from results").fetchall() == [(0,)]


async def test_timestamp_is_the_date_header(gateway: Serve, db: psycopg.Connection) -> None:
    moment = datetime(2026, 11, 23, 20, 15, tzinfo=UTC)

    def respond(_: httpx.Request) -> httpx.Response:
        headers = {"date": format_datetime(moment, usegmt=True)}
        return httpx.Response(200, content=render([]), headers=headers)

    async with gateway(transport=httpx.MockTransport(respond)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.json()["timestamp"] == "2026-11-23T20:15:00"
    assert db.execute("select timestamp from queries").fetchall() == [(moment.timestamp(),)]


@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 99 Foo 99999 99:99:99 GMT"])
async def test_timestamp_without_a_valid_date_header_is_our_clock(
    gateway: Serve, date: str | None
) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        headers = {} if date is None else {"date": date}
        return httpx.Response(200, content=render([]), headers=headers)

    before = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    async with gateway(transport=httpx.MockTransport(respond)) as client:
        response = await client.get("/arxiv", params={"title": "x"})

    assert response.status_code == 200
    after = datetime.now(UTC).replace(tzinfo=None)
    assert before <= datetime.fromisoformat(response.json()["timestamp"]) <= after


async def test_papers_beyond_max_results_are_ignored(gateway: Serve) -> None:
    body = render(generate(20), total=20)
    async with gateway(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    ) as client:
        response = await client.get("/arxiv", params={"title": "x", "max_results": 5})

    assert response.json()["num_entries"] == 5
    assert response.json()["num_results"] == 20


async def test_two_thousand_results_are_recorded(gateway: Serve, db: psycopg.Connection) -> None:
    body = render(generate(2000), total=100_000)
    async with gateway(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    ) as client:
        response = await client.get("/arxiv", params={"title": "x", "max_results": 2000})

    assert response.json()["num_entries"] == 2000
    assert response.json()["num_results"] == 100_000
    assert db.execute("select max(result_number), count(*) from results").fetchall() == [
        (1999, 2000)
    ]


async def test_paper_titled_0_is_recorded(gateway: Serve, db: psycopg.Connection) -> None:
    paper = Paper(
        arxiv_id="2104.12255",
        title="0",
        abstract="0",
        authors=(Author("0"),),
        categories=("math.NT",),
        versions=(datetime(2021, 4, 25, tzinfo=UTC),),
    )
    body = render([paper])
    async with gateway(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    ) as client:
        await client.get("/arxiv", params={"title": "0"})

    assert db.execute("select author, title, journal from results").fetchall() == [("0", "0", None)]


async def test_requests_to_arxiv_keep_the_interval(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway(interval=0.3) as client:
        for title in ("one", "two", "three"):
            await client.get("/arxiv", params={"title": title})

    gaps = [
        later.started - earlier.ended
        for earlier, later in zip(arxiv.requests, arxiv.requests[1:], strict=False)
    ]
    assert len(gaps) == 2
    assert min(gaps) >= 0.29
