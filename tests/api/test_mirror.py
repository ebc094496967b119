"""Searches are answered from the mirror where that is as good as asking arXiv, or instead of it."""

from collections.abc import Callable
from time import time
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from psycopg.sql import SQL

from demo.arxiv import StandIn
from service.arxiv_xml import parse_feed
from service.settings import Settings
from tests.conftest import Gateway, Serve
from tests.support.indexing import papers_are_indexed
from tests.support.mirror import DAY, fill_mirror

MakeSettings = Callable[..., Settings]


@pytest.fixture
async def mirrored(database: str, arxiv: StandIn) -> StandIn:
    """The stand-in for arXiv, all of whose papers are in the mirror and were synced just now."""
    await fill_mirror(database, arxiv.papers)
    return arxiv


async def search(client: Gateway, **params: Any) -> httpx.Response:
    response = await client.get("/arxiv", params={"include": "results"} | params)
    assert response.status_code == 200, response.text
    return response


def list_ids(response: httpx.Response) -> list[str]:
    return [f"{row['arxiv_id']}v{row['version']}" for row in response.json()["results"]]


async def test_identifiers_are_looked_up_in_a_current_mirror(
    client: Gateway, mirrored: StandIn
) -> None:
    papers = mirrored.papers[3:6]
    ids = ",".join(paper.arxiv_id for paper in papers)
    response = await search(client, id_list=ids)
    assert response.headers["cache-status"].startswith("arxiv-gateway; hit; ttl=")
    assert response.headers["cache-status"].endswith("; detail=mirror")
    assert {*list_ids(response)} == {f"{paper.arxiv_id}v{paper.version}" for paper in papers}
    assert mirrored.requests == []
    again = await search(client, id_list=ids)
    assert again.headers["cache-status"].endswith("; detail=mirror")
    assert again.json()["query_id"] == response.json()["query_id"]


async def test_an_answer_of_the_mirror_is_recorded_like_any_search(
    client: Gateway, mirrored: StandIn
) -> None:
    response = await search(client, id_list=mirrored.papers[0].arxiv_id)
    query_id = response.json()["query_id"]
    recorded = (await client.get(f"/queries/{query_id}")).json()
    assert recorded["status"] == 200
    assert recorded["outcome"] == "ok"
    assert recorded["num_results"] == len(recorded["results"]) == 1
    assert mirrored.papers[0].arxiv_id in recorded["query"]


async def test_recording_an_answer_of_the_mirror_leaves_its_papers_unchanged(
    client: Gateway, mirrored: StandIn, db: psycopg.Connection
) -> None:
    statement = "select xmin, source, timestamp from papers order by arxiv_id"
    before = db.execute(statement).fetchall()
    await search(client, id_list=mirrored.papers[0].arxiv_id)
    assert db.execute(statement).fetchall() == before


@pytest.mark.parametrize(
    ("sort_by", "sort_order"),
    [
        (sort_by, sort_order)
        for sort_by in ("relevance", "submittedDate", "lastUpdatedDate")
        for sort_order in ("ascending", "descending")
    ],
)
async def test_looked_up_papers_have_the_order_of_arxiv(
    client: Gateway, mirrored: StandIn, sort_by: str, sort_order: str
) -> None:
    ids = ",".join(paper.arxiv_id for paper in mirrored.papers[5:400:40])
    params = {
        "id_list": ids,
        "sort_by": sort_by,
        "sort_order": sort_order,
        "start": 2,
        "max_results": 5,
    }
    local = await search(client, **params)
    arxiv = await search(client, **params, source="arxiv")
    assert len(mirrored.requests) == 1
    assert list_ids(local) == list_ids(arxiv)
    assert local.json()["num_results"] == arxiv.json()["num_results"]


async def test_a_feed_of_the_mirror_equals_that_of_arxiv(
    client: Gateway, mirrored: StandIn
) -> None:
    ids = ",".join(paper.arxiv_id for paper in mirrored.papers[10:30])
    params: dict[str, Any] = {"id_list": ids, "max_results": 50}
    local = await client.get("/api/query", params=params)
    assert local.headers["cache-status"].endswith("; detail=mirror")
    _, sent = mirrored.answer({name: str(value) for name, value in params.items()})
    one, other = parse_feed(local.content, 2000), parse_feed(sent, 2000)
    assert one.entries == other.entries
    assert (one.total, one.start, one.query, one.link) == (
        other.total,
        other.start,
        other.query,
        other.link,
    )


async def test_papers_that_the_mirror_lacks_are_requested(
    client: Gateway, database: str, arxiv: StandIn
) -> None:
    await fill_mirror(database, arxiv.papers[:10])
    ids = f"{arxiv.papers[0].arxiv_id},{arxiv.papers[20].arxiv_id}"
    response = await search(client, id_list=ids)
    assert len(list_ids(response)) == 2
    assert len(arxiv.requests) == 1


async def test_a_paper_without_a_record_of_the_mirror_is_requested(
    client: Gateway, mirrored: StandIn, db: psycopg.Connection
) -> None:
    paper = mirrored.papers[7]
    db.execute("delete from paper_details where arxiv_id = %s", [paper.arxiv_id])
    response = await search(client, id_list=paper.arxiv_id)
    assert "mirror" not in response.headers["cache-status"]
    response = await search(client, id_list=paper.arxiv_id, source="mirror")
    assert len(list_ids(response)) == 1


async def test_a_paper_of_a_feed_only_is_requested(
    client: Gateway, mirrored: StandIn, db: psycopg.Connection
) -> None:
    paper = mirrored.papers[7]
    db.execute(
        "update papers set source = 'rss', published = null where arxiv_id = %s", [paper.arxiv_id]
    )
    response = await search(client, id_list=paper.arxiv_id)
    assert "mirror" not in response.headers["cache-status"]


async def test_invalid_identifiers_of_a_query_find_nothing_in_the_mirror(
    gateway: Serve, mirrored: StandIn, database: str, settings: MakeSettings
) -> None:
    params = {"search_query": "cat:cs* OR cat:math*", "id_list": "xcond-mat/9506001"}
    async with gateway(source="mirror") as client:
        await papers_are_indexed(database, settings().index_path)
        response = await client.get("/api/query", params=params)
    assert parse_feed(response.content, 2000).total == 0
    assert mirrored.requests == []


async def test_earlier_versions_are_requested(client: Gateway, mirrored: StandIn) -> None:
    paper = next(paper for paper in mirrored.papers if paper.version > 1)
    latest = await search(client, id_list=f"{paper.arxiv_id}v{paper.version}")
    assert latest.headers["cache-status"].endswith("; detail=mirror")
    first = await search(client, id_list=f"{paper.arxiv_id}v1")
    assert list_ids(first) == [f"{paper.arxiv_id}v1"]
    assert len(mirrored.requests) == 1


@pytest.mark.parametrize("age", [4, 40])
async def test_a_mirror_that_is_behind_is_not_used(
    client: Gateway, database: str, arxiv: StandIn, age: int
) -> None:
    await fill_mirror(database, arxiv.papers, synced_at=int(time()) - age * DAY)
    response = await search(client, id_list=arxiv.papers[0].arxiv_id)
    assert "mirror" not in response.headers["cache-status"]
    assert len(arxiv.requests) == 1


async def test_the_papers_of_one_set_are_looked_up_if_only_this_set_is_mirrored(
    client: Gateway, database: str, arxiv: StandIn
) -> None:
    await fill_mirror(database, arxiv.papers, set_spec="cs:cs:LG")
    inside = next(paper for paper in arxiv.papers if "cs.LG" in paper.categories)
    outside = next(paper for paper in arxiv.papers if "cs.LG" not in paper.categories)
    response = await search(client, id_list=inside.arxiv_id)
    assert response.headers["cache-status"].endswith("; detail=mirror")
    response = await search(client, id_list=outside.arxiv_id)
    assert "mirror" not in response.headers["cache-status"]


async def test_no_cache_and_source_arxiv_ask_arxiv(client: Gateway, mirrored: StandIn) -> None:
    params = {"id_list": mirrored.papers[0].arxiv_id}
    await search(client, **params)  # the mirror's answer is cached
    response = await search(client, **params, source="arxiv")
    assert "mirror" not in response.headers["cache-status"]
    response = await client.get("/arxiv", params=params, headers={"cache-control": "no-cache"})
    assert "mirror" not in response.headers["cache-status"]
    assert len(mirrored.requests) == 2


async def test_any_search_can_be_answered_by_the_mirror(
    client: Gateway, mirrored: StandIn, database: str, settings: MakeSettings
) -> None:
    await papers_are_indexed(database, settings().index_path)
    params = {"query": "cat:cs.LG ANDNOT ti:network", "max_results": 50}
    local = await search(client, **params, source="mirror")
    arxiv = await search(client, **params, source="arxiv")
    assert local.headers["cache-status"].endswith("; detail=mirror")
    assert "warnings" not in local.json()
    assert int(local.headers["cache-control"].removeprefix("max-age=")) <= 60
    assert len(mirrored.requests) == 1
    assert local.json()["num_results"] == arxiv.json()["num_results"] > 0
    assert {*list_ids(local)} == {*list_ids(arxiv)} or local.json()["num_results"] > 50


async def test_an_answer_for_the_source_mirror_is_not_used_for_others(
    client: Gateway, mirrored: StandIn, database: str, settings: MakeSettings
) -> None:
    await papers_are_indexed(database, settings().index_path)
    await search(client, title="network", source="mirror")
    response = await search(client, title="network")
    assert "mirror" not in response.headers["cache-status"]
    assert len(mirrored.requests) == 1


async def test_pages_of_the_mirror_go_beyond_those_of_arxiv(
    client: Gateway, mirrored: StandIn, database: str, settings: MakeSettings
) -> None:
    await papers_are_indexed(database, settings().index_path)
    params: dict[str, Any] = {"any": "a", "start": 10_000, "max_results": 10}
    response = await client.get("/arxiv", params=params)
    assert response.status_code == 400
    assert "source=mirror" in response.json()["detail"]
    deep = await search(client, **params, source="mirror")
    assert deep.json()["num_entries"] == 0
    assert mirrored.requests == []


async def test_invalid_queries_are_rejected_by_the_mirror(
    client: Gateway, mirrored: StandIn, gateway: Serve, database: str, settings: MakeSettings
) -> None:
    await papers_are_indexed(database, settings().index_path)
    response = await client.get("/arxiv", params={"query": "ti:(a", "source": "mirror"})
    assert response.status_code == 400
    async with gateway(source="mirror") as other:
        response = await other.get("/api/query", params={"search_query": "au:(a"})
    assert response.status_code == 400
    assert b"api/errors" in response.content
    assert mirrored.requests == []


async def test_unknown_sources_are_rejected(client: Gateway) -> None:
    response = await client.get("/arxiv", params={"title": "x", "source": "cache"})
    assert response.status_code == 400
    assert "source" in response.json()["detail"]


async def test_the_mirror_answers_while_arxiv_throttles(
    gateway: Serve, mirrored: StandIn, database: str, settings: MakeSettings, db: psycopg.Connection
) -> None:
    mirrored.retry_after = 60
    async with gateway(max_wait=1) as client:
        await papers_are_indexed(database, settings().index_path)
        response = await search(client, title="network")
        content = response.json()
        assert response.headers["cache-status"].startswith("arxiv-gateway; fwd=uri-miss")
        assert response.headers["cache-status"].endswith("; detail=mirror")
        assert response.headers["cache-control"] == "max-age=0"
        assert content["num_entries"] > 0
        [warning] = content["warnings"]
        assert warning.startswith("arXiv cannot be asked")
        response = await client.get("/arxiv-api", params={"title": "network"})
        assert response.headers["cache-status"] == "arxiv-gateway; fwd=miss; detail=mirror"
        assert "arXiv cannot be asked" in response.headers["warning"]
        response = await client.get("/arxiv", params={"title": "network", "source": "arxiv"})
        assert response.status_code == 503
        db.execute("update gate set closed_until = '-infinity', refusals = 0")
        mirrored.retry_after = None
        response = await search(client, title="network")
    assert "mirror" not in response.headers["cache-status"]


async def test_a_mirror_of_some_papers_does_not_answer_in_place_of_arxiv(
    gateway: Serve, arxiv: StandIn, database: str
) -> None:
    await fill_mirror(database, arxiv.papers, set_spec="cs")
    arxiv.retry_after = 60
    async with gateway() as client:
        response = await client.get("/arxiv", params={"title": "network"})
    assert response.status_code == 503


@pytest.mark.parametrize(
    "gap",
    [
        "covered_from = '2026-01-01'",  # sync --from 2026-01-01
        "covered_until = '2005-10-16', synced_at = null",  # the first sync has begun
    ],
)
async def test_a_mirror_with_a_gap_does_not_answer_in_place_of_arxiv(
    gateway: Serve,
    mirrored: StandIn,
    database: str,
    settings: MakeSettings,
    db: psycopg.Connection,
    gap: LiteralString,
) -> None:
    db.execute(SQL("update mirror_syncs set {}").format(SQL(gap)))
    async with gateway() as client:
        await papers_are_indexed(database, settings().index_path)
        response = await search(client, id_list=mirrored.papers[0].arxiv_id)
        assert "mirror" not in response.headers["cache-status"]
        mirrored.retry_after = 60
        response = await client.get("/arxiv", params={"title": "network"})
        assert response.status_code == 503
        await papers_are_indexed(database, settings().index_path)
        response = await search(client, title="network", source="mirror")
    [warning] = response.json()["warnings"]
    assert "does not have all papers" in warning


async def test_arxiv_api_answers_from_the_mirror_too(client: Gateway, mirrored: StandIn) -> None:
    paper = mirrored.papers[0]
    response = await client.get("/arxiv-api", params={"id_list": paper.arxiv_id})
    assert response.headers["cache-status"] == "arxiv-gateway; hit; detail=mirror"
    assert "warning" not in response.headers
    assert response.json()["data"][0]["title"] == paper.title
    assert mirrored.requests == []
    response = await client.get("/arxiv-api", params={"id_list": paper.arxiv_id, "source": "arxiv"})
    assert "cache-status" not in response.headers
    assert response.json()["data"][0]["title"] == paper.title


async def test_the_setting_is_the_default_of_the_parameter(
    gateway: Serve, mirrored: StandIn
) -> None:
    params = {"id_list": mirrored.papers[0].arxiv_id}
    async with gateway(source="arxiv") as client:
        response = await client.get("/api/query", params=params)
        assert "mirror" not in response.headers["cache-status"]
        response = await search(client, **params, source="auto")
        assert "hit" in response.headers["cache-status"]


async def test_a_paper_has_its_details(client: Gateway, mirrored: StandIn) -> None:
    paper = next(paper for paper in mirrored.papers if paper.report_number and paper.version > 1)
    content = (await client.get(f"/papers/{paper.arxiv_id}")).json()
    assert content["report_number"] == paper.report_number
    assert content["submitter"] == paper.authors[0].name
    assert content["license"].startswith("http")
    assert [version["version"] for version in content["version_history"]] == [
        *range(1, paper.version + 1)
    ]
    assert content["version_history"][0]["size_kb"] == 12
    assert content["sources"]["title"] == content["sources"]["version_history"] == "arXivRaw"
    assert content["links"][0]["href"].startswith("https://arxiv.org/abs/")


async def test_a_paper_of_a_search_has_no_details(client: Gateway, arxiv: StandIn) -> None:
    paper = arxiv.papers[0]
    await search(client, id_list=paper.arxiv_id)
    content = (await client.get(f"/papers/{paper.arxiv_id}")).json()
    assert content["license"] is None
    assert content["version_history"] == []
    assert content["sources"]["authors"] == "api"
