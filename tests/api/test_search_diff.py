"""Changes between runs of a search, and the feed of new papers."""

import re
from calendar import timegm
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import feedparser
import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from demo.arxiv import StandIn
from demo.papers import Paper, generate
from service import search_diff
from service.db.reader import RecordReader
from service.formats import Reference
from service.formats.atom import Atom
from service.models.records import ResultRow, Run
from tests.conftest import Gateway, Serve
from tests.support.runs import Runs

ATOM = "{http://www.w3.org/2005/Atom}"
NOW = {"Cache-Control": "no-cache"}
INT8_MAX = 2**63 - 1


@pytest.fixture
def runs(db: psycopg.Connection) -> Runs:
    return Runs(db)


async def fetch_changes(client: Gateway, query_id: int) -> dict[str, Any]:
    """Return the changes of a run as `2611.00001v1` and positions."""
    response = await client.get(f"/queries/{query_id}/changes")
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["query"]["query_id"] == query_id
    return {
        "previous": body["previous"] and body["previous"]["query_id"],
        "came": [f"{each['arxiv_id']}v{each['version']}" for each in body["came"]],
        "went": [f"{each['arxiv_id']}v{each['version']}" for each in body["went"]],
        "moved": [
            (each["arxiv_id"], each["previous_result_number"], each["result_number"])
            for each in body["moved"]
        ],
        "new": [
            (each["arxiv_id"], each["previous_version"], each["version"], each["result_number"])
            for each in body["new_versions"]
        ],
    }


def no_changes(previous: int | None) -> dict[str, Any]:
    return {"previous": previous, "came": [], "went": [], "moved": [], "new": []}


# One search


async def test_search_is_returned_with_its_results(client: Gateway) -> None:
    summary = (await client.get("/arxiv", params={"title": "testing", "max_results": 3})).json()
    response = await client.get(f"/queries/{summary['query_id']}")
    search = response.json()

    assert response.status_code == 200
    listed = await client.get("/results", params={"query_id": summary["query_id"]})
    assert search.pop("results") == listed.json()
    assert search == (await client.get("/queries?format=json&items_per_page=1")).json()[0]
    assert search["query"].startswith("ArXiv Query: search_query=")


async def test_unknown_search_is_not_found(client: Gateway) -> None:
    for query_id in 1, 0, -1, INT8_MAX, INT8_MAX + 1, 10**40:
        for path in "", "/changes", "/feed":
            response = await client.get(f"/queries/{query_id}{path}")
            assert response.status_code == 404
            assert response.headers["content-type"] == "application/problem+json"
    for no_number in "x", "1.5", "1e3", "x/changes", "1/nonsense":
        assert (await client.get(f"/queries/{no_number}")).status_code == 404


# Changes


async def test_changes_list_added_removed_moved_and_updated_papers(
    client: Gateway, runs: Runs
) -> None:
    first = runs.add("2611.00001v1", "2611.00002v1", "2611.00003v2")
    second = runs.add("2611.00004v1", "2611.00001v1", "2611.00003v3")

    assert await fetch_changes(client, first) == no_changes(None)
    assert await fetch_changes(client, second) == {
        "previous": first,
        "came": ["2611.00004v1"],
        "went": ["2611.00002v1"],
        "moved": [("2611.00001", 0, 1)],
        "new": [("2611.00003", 2, 3, 2)],
    }


async def test_run_is_compared_with_its_predecessor(client: Gateway, runs: Runs) -> None:
    runs.add("2611.00001v1")
    second = runs.add("2611.00002v1")
    third = runs.add("2611.00002v1")

    assert (await fetch_changes(client, second))["went"] == ["2611.00001v1"]
    assert await fetch_changes(client, third) == no_changes(second)


async def test_lagging_replica_finds_the_previous_run(
    client: Gateway, runs: Runs, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = runs.add("2611.00001v1"), runs.add("2611.00002v1")
    known = RecordReader.fetch_run

    async def query(reader: RecordReader, query_id: int, **options: bool) -> Run | None:
        found = await known(reader, query_id, **options)
        db.execute("update queries set query_id = 99 where query_id = %s", (query_id,))
        return found

    monkeypatch.setattr(RecordReader, "fetch_run", query)

    assert (await fetch_changes(client, second))["previous"] == first


async def test_failed_runs_are_not_compared(client: Gateway, runs: Runs) -> None:
    first = runs.add("2611.00001v1")
    for outcome in "suspect", "refused", "busy", "unreachable", "broken":
        failed = runs.add(outcome=outcome)
        refused = await client.get(f"/queries/{failed}/changes")
        assert refused.status_code == 409
        assert outcome in refused.json()["detail"]

    assert await fetch_changes(client, runs.add("2611.00001v1")) == no_changes(first)


async def test_runs_of_other_searches_are_not_compared(client: Gateway, runs: Runs) -> None:
    first = runs.add("2611.00001v1")
    runs.add("2611.00002v1", key=uuid4())
    runs.add("2611.00003v1", key=None)

    assert await fetch_changes(client, runs.add("2611.00001v1")) == no_changes(first)


async def test_runs_without_a_search_key_are_matched_by_query_text(
    client: Gateway, runs: Runs
) -> None:
    first = runs.add("2611.00001v1", key=None, query="search_query=au:Bohr")
    runs.add("2611.00002v1", key=None, query="search_query=au:bohr")
    runs.add("2611.00003v1", query="search_query=au:Bohr")
    last = runs.add("2611.00001v2", key=None, query="search_query=au:Bohr")

    assert (await fetch_changes(client, last))["previous"] == first
    assert (await fetch_changes(client, last))["new"] == [("2611.00001", 1, 2, 0)]


async def test_searches_recorded_through_the_backend_can_be_compared(client: Gateway) -> None:
    for query_id, titles in (7, ["A", "B"]), (INT8_MAX, ["B", "C"]):
        head = {"query_id": query_id, "timestamp": 1_700_000_000}
        query = {"status": 200, "num_results": 2, "num_entries": 2, "query": "x"}
        results = [{"authors": ["A. N. Other"], "title": title} for title in titles]
        assert (await client.post("/write-queries", json=head | query)).status_code == 201
        sent = await client.post("/write-results", json=head | {"results": results})
        assert sent.status_code == 201

    body = (await client.get(f"/queries/{INT8_MAX}/changes")).json()

    assert body["previous"]["query_id"] == 7
    assert [each["title"] for each in body["came"]] == ["C"]
    assert [each["title"] for each in body["went"]] == ["A"]
    assert body["moved"] == [
        {"arxiv_id": None, "title": "B", "result_number": 0, "previous_result_number": 1}
    ]
    assert body["new_versions"] == []


async def test_several_versions_of_a_paper_in_one_run_are_not_a_change(
    client: Gateway, runs: Runs
) -> None:
    first = runs.add("2611.00001v1", "2611.00001v2")
    second = runs.add("2611.00001v1", "2611.00001v2")
    third = runs.add("2611.00001v2", "2611.00001v3")

    assert await fetch_changes(client, second) == no_changes(first)
    assert (await fetch_changes(client, third))["new"] == [("2611.00001", 2, 3, 1)]


PLACES = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", None]), st.integers(1, 3), st.sampled_from("xy")),
    max_size=6,
)


def results(places: Sequence[tuple[str | None, int, str]]) -> list[ResultRow]:
    return [
        ResultRow("Author", title, None, 1, 1, number, name, version if name else None)
        for number, (name, version, title) in enumerate(places)
    ]


@given(PLACES, PLACES)
def test_changes_transform_one_run_into_the_other(now: Any, before: Any) -> None:
    new, old = results(now), results(before)

    def names(run: Sequence[ResultRow]) -> set[str]:
        return {each.arxiv_id or f"{each.author}: {each.title}" for each in run}

    assert names(search_diff.find_added(new, old)) == names(new) - names(old)
    assert names(search_diff.find_added(old, new)) == names(old) - names(new)
    for move in search_diff.find_moved(new, old):
        assert move.result_number != move.previous_result_number
        assert old[move.previous_result_number].arxiv_id == move.arxiv_id
    for change in search_diff.find_new_versions(new, old):
        versions = {each.version for each in old if each.arxiv_id == change.arxiv_id}
        assert change.version not in versions
        assert change.previous_version in versions
    assert not search_diff.find_moved(new, new)
    assert not search_diff.find_new_versions(new, new)


# Through arXiv


class Shelf:
    """A simulated arXiv whose papers a test can replace."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        self.papers = papers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        status, content = StandIn(self.papers).answer(dict(request.url.params))
        return httpx.Response(status, content=content)


async def test_new_response_of_arxiv_is_compared(gateway: Serve) -> None:
    papers = [paper for paper in generate(100) if paper.version > 1][:4]
    shelf = Shelf([papers[0].at(1), *papers[1:3]])
    params = {"query": "ti:a* OR ti:t* OR ti:o* OR all:the", "sort_by": "submittedDate"}
    async with gateway(httpx.MockTransport(shelf)) as client:
        first = (await client.get("/arxiv", params=params)).json()
        same = (await client.get("/arxiv", params=params, headers=NOW)).json()
        shelf.papers = [papers[0], *papers[2:]]
        last = (await client.get("/arxiv", params=params, headers=NOW)).json()

        assert [each["num_entries"] for each in (first, same, last)] == [3, 3, 3]
        assert await fetch_changes(client, same["query_id"]) == no_changes(first["query_id"])
        assert await fetch_changes(client, last["query_id"]) == {
            "previous": same["query_id"],
            "came": [f"{papers[3].arxiv_id}v{papers[3].version}"],
            "went": [f"{papers[1].arxiv_id}v{papers[1].version}"],
            "moved": [(papers[2].arxiv_id, 0, 1)],
            "new": [(papers[0].arxiv_id, 1, papers[0].version, 2)],
        }
        feed = await read(client, last["query_id"])
    found = [papers[0].at(1), *papers]
    assert set(names(feed)) == {f"{paper.arxiv_id}v{paper.version}" for paper in found}


# The feed


async def test_other_requests_run_between_the_papers_of_a_feed(
    client: Gateway, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paper with 3,000 authors takes 20 ms, and a feed contains up to 100 papers."""
    batches: list[int] = []
    serialize = Atom.serialize

    def record(atom: Atom, references: Sequence[Reference]) -> bytes:
        batches.append(len(references))
        return serialize(atom, references)

    monkeypatch.setattr(Atom, "serialize", record)
    query_id = Runs(db).add("2611.00001v1", "2611.00002v1", "2611.00003v1")
    await read(client, query_id)
    assert batches == [1, 1, 1]


async def read(client: Gateway, query_id: int) -> Any:
    """Parse the feed as a feed reader does, and check it against RFC 4287."""
    response = await client.get(f"/queries/{query_id}/feed")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/atom+xml; charset=utf-8"
    check(response.content)
    parsed = feedparser.parse(response.content)
    assert not parsed.bozo
    assert parsed.version == "atom10"
    return parsed


def check(content: bytes) -> None:
    """Check the requirements of RFC 4287, 4.1.1 and 4.1.2."""
    feed = etree.fromstring(content)
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    for element in feed, *entries:
        for name in "id", "title", "updated":
            [once] = element.findall(f"{ATOM}{name}")
            assert once.text
        assert len(element.findall(f"{ATOM}published")) <= 1
        for moment in "updated", "published":
            for date in element.findall(f"{ATOM}{moment}"):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", date.text or "")
        for author in element.findall(f"{ATOM}author"):
            assert author.findtext(f"{ATOM}name")
        assert re.match(r"[a-z]+:\S+$", element.findtext(f"{ATOM}id") or "")
    assert feed.find(f"{ATOM}author") is not None  # of the entries that have none
    assert feed.find(f"{ATOM}link[@rel='self']") is not None
    for entry in entries:
        assert entry.find(f"{ATOM}link[@rel='alternate']") is not None
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(ids) == len(set(ids))
    dates = [entry.findtext(f"{ATOM}updated") or "" for entry in entries]
    assert dates == sorted(dates, reverse=True)
    assert feed.findtext(f"{ATOM}updated") == max(dates, default=feed.findtext(f"{ATOM}updated"))


def names(feed: Any) -> list[str]:
    return [each.id.removeprefix("http://arxiv.org/abs/") for each in feed.entries]


def dates(feed: Any) -> dict[str, str]:
    return {each.id: each.updated for each in feed.entries}


async def test_feed_has_each_version_once_newest_first(client: Gateway, runs: Runs) -> None:
    first = runs.add("2611.00001v1", "2611.00002v1")
    runs.add("2611.00003v1", outcome="suspect")
    runs.add("2611.00004v1", key=uuid4())
    third = runs.add("2611.00002v2", "2611.00001v1", "2611.00005")

    feed = await read(client, third)

    assert names(feed) == ["2611.00005", "2611.00002v2", "2611.00002v1", "2611.00001v1"]
    days = [timegm(each.updated_parsed) - 1_700_000_000 for each in feed.entries]
    assert [day // 86_400 for day in days] == [third, third, first, first]
    # readers sort by it: version 1's date, in 2020, would hide new papers among older entries
    assert all(each.published == each.updated for each in feed.entries)
    assert feed.feed.title == "arXiv: search_query=ti:x"


async def test_every_run_of_a_search_has_the_same_feed(client: Gateway, runs: Runs) -> None:
    failed, *good = runs.add(outcome="busy"), runs.add("2611.00001v1"), runs.add("2611.00002v1")

    feeds = [await read(client, query_id) for query_id in (failed, *good)]

    assert len({feed.feed.id for feed in feeds}) == 1
    assert all(names(feed) == ["2611.00002v1", "2611.00001v1"] for feed in feeds)
    other = await read(client, runs.add("2611.00001v1", key=uuid4()))
    assert other.feed.id != feeds[0].feed.id


async def test_feed_entries_do_not_change(client: Gateway, runs: Runs) -> None:
    dates_before: dict[str, str] = {}
    for number in range(40):
        query_id = runs.add("2611.00001v1", f"2611.1{number // 10:04}v1", f"2612.{number:05}v1")
        dates_now = dates(await read(client, query_id))
        changed = {
            name
            for name, date in dates_now.items()
            if name in dates_before and dates_before[name] != date
        }
        assert changed == set()
        assert f"http://arxiv.org/abs/2612.{number:05}v1" in dates_now
        dates_before |= dates_now


async def test_feed_has_at_most_100_entries(client: Gateway, runs: Runs) -> None:
    runs.add(*(f"2611.{number:05}v1" for number in range(80)))
    last = runs.add(*(f"2612.{number:05}v1" for number in range(80)))

    feed = await read(client, last)

    assert len(feed.entries) == 100
    assert sum(name.startswith("2612.") for name in names(feed)) == 80


async def test_unchanged_feed_responds_with_304(client: Gateway, runs: Runs) -> None:
    query_id = runs.add("2611.00001v1")
    url = f"/queries/{query_id}/feed"
    first = await client.get(url)
    runs.add("2611.00001v1")
    runs.add(outcome="busy")

    same = await client.get(url, headers={"If-None-Match": first.headers["etag"]})
    runs.add("2611.00001v2")
    newer = await client.get(url, headers={"If-None-Match": first.headers["etag"]})

    assert (same.status_code, same.content) == (304, b"")
    assert newer.status_code == 200
    assert (await client.head(url)).headers["etag"] == newer.headers["etag"]


async def test_search_without_results_has_an_empty_feed(client: Gateway, runs: Runs) -> None:
    query_id = runs.add(query='search_query=ti:"<&> łüñ" AND au:O\'Rourke')
    first = await client.get(f"/queries/{query_id}/feed")
    runs.add()
    second = await client.get(f"/queries/{query_id}/feed")

    assert second.content == first.content
    feed = await read(client, query_id)
    assert feed.entries == []
    assert feed.feed.title == 'arXiv: search_query=ti:"<&> łüñ" AND au:O\'Rourke'


async def test_search_without_a_successful_run_has_no_feed(client: Gateway, runs: Runs) -> None:
    response = await client.get(f"/queries/{runs.add(outcome='busy')}/feed")

    assert response.status_code == 409


async def test_feed_contains_titles_and_names_unchanged(client: Gateway) -> None:
    params: dict[str, str | int] = {"title": "testing", "max_results": 60}
    summary = (await client.get("/arxiv", params=params)).json()
    results = (await client.get(f"/queries/{summary['query_id']}")).json()["results"]

    feed = await read(client, summary["query_id"])

    assert summary["num_entries"] > 20
    found = {(each.title, ", ".join(a.name for a in each.authors)) for each in feed.entries}
    assert found == {(each["title"], each["author"]) for each in results}
    assert any("\\" in title for title, _ in found)
    assert any(not author.isascii() for _, author in found)
