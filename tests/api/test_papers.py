"""`/papers`: storing papers as arXiv sends them, and finding them."""

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from html import unescape
from time import time
from typing import Any, Self, cast
from uuid import uuid4

import feedparser
import httpx
import psycopg
import pytest
import rispy
from bibtexparser.entrypoint import parse_string as parse_bibtex
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from msgspec import structs
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from demo import feed
from demo.arxiv import StandIn
from demo.papers import generate
from service import arxiv_xml, embedded_postgres, search
from service.app import add_outer_middleware
from service.db import migrations
from service.db import pool as connections_module
from service.db.conninfo import create_libpq_environment
from service.db.pool import DatabasePools
from service.db.reader import RecordReader
from service.db.records import RecordStore
from service.errors import ConfigurationError, Conflict, DatabaseUnavailable, RecordRejected
from service.metadata.categories import CATEGORIES, get_title
from service.models.arxiv import Entry, Link
from service.models.requests import ResultPayload, WriteResultsRequest
from service.settings import Settings
from tests.conftest import Gateway, IndexedTransport, Serve, make_app, running
from tests.support.papers import create_search_record
from tests.support.process import ROOT
from tests.support.proxy import proxied

NOON = 1_795_464_900
VERSIONS = "select version, comment, timestamp from papers order by arxiv_id, version"


def entry(number: int = 1, **changes: Any) -> Entry:
    plain = Entry(
        arxiv_id=f"2611.{number:05}",
        version=1,
        authors=["Émilie du Châtelet", "A. N. Other"],
        affiliations=[[], []],
        title=f"Title {number}",
        journal=None,
        summary="What it is about.",
        comment=None,
        published=datetime(2026, 11, 23, tzinfo=UTC),
        updated=datetime(2026, 11, 23, tzinfo=UTC),
        dois=[],
        primary_category="cs.SE",
        categories=["cs.SE"],
        links=[Link(f"https://arxiv.org/abs/2611.{number:05}v1", "alternate", None, "text/html")],
    )
    return structs.replace(plain, **changes)


class Opened:
    """The record store and the reader of one process."""

    def __init__(self, url: str, **options: Any) -> None:
        self.connections = DatabasePools(url)
        self.store = RecordStore(self.connections)
        self.reader = RecordReader(self.connections, **options)

    async def __aenter__(self) -> Self:
        await self.connections.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.connections.__aexit__(*error)


def row(db: psycopg.Connection, arxiv_id: str = "2611.00001") -> tuple[Any, ...]:
    """Return a row with the transaction that wrote it."""
    [found] = db.execute("select xmin, * from papers where arxiv_id = %s", [arxiv_id]).fetchall()
    return found


# The write


async def test_search_stores_everything_arxiv_sends(client: Gateway, arxiv: StandIn) -> None:
    params: dict[str, str | int] = {"title": "testing", "max_results": 100}
    summary = (await client.get("/arxiv", params=params)).json()
    _, content = arxiv.answer(arxiv.requests[-1].params)
    entries = arxiv_xml.parse_feed(content).entries
    stored = (await client.get("/papers?format=ndjson")).text.splitlines()
    papers = {f"{each['arxiv_id']}v{each['version']}": each for each in map(json.loads, stored)}

    assert summary["num_entries"] == len(entries) == len(papers) > 20
    for entry_sent in entries:
        paper = papers[f"{entry_sent.arxiv_id}v{entry_sent.version}"]
        assert paper["title"] == entry_sent.title
        assert paper["authors"] == entry_sent.authors
        assert paper["group_authors"] == entry_sent.group_authors
        assert (paper["affiliations"] or [[]] * len(entry_sent.authors)) == entry_sent.affiliations
        assert paper["abstract"] == entry_sent.summary
        assert paper["journal"] == entry_sent.journal
        assert paper["comment"] == entry_sent.comment
        assert entry_sent.published
        assert entry_sent.updated
        assert paper["published"] == entry_sent.published.strftime("%Y-%m-%dT%H:%M:%S")
        assert paper["updated"] == entry_sent.updated.strftime("%Y-%m-%dT%H:%M:%S")
        assert paper["dois"] == entry_sent.dois
        assert paper["primary_category"] == entry_sent.primary_category
        assert paper["categories"] == entry_sent.categories
        assert paper["links"] == [
            {name: value for name, value in structs.asdict(link).items() if value is not None}
            for link in entry_sent.links
        ]
        assert paper["timestamp"] == summary["timestamp"]
        # only the stand-in's words for it; others are in test_withdrawal
        assert paper["withdrawn"] == ("withdrawn" in (entry_sent.comment or "").lower())


@pytest.mark.parametrize("entries", [0, 1, 2000])
async def test_papers_are_written_in_the_same_round_trip(
    database: str, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    monkeypatch.setattr(connections_module, "POOL_SIZE", 1)
    async with proxied(database) as (proxy, url), Opened(url) as opened:
        await opened.store.insert(create_search_record(entry(1)))
        proxy.reset()
        await opened.store.insert(create_search_record(*map(entry, range(entries))))
        trips = proxy.trips, proxy.answers
        proxy.reset()
        assert len(await opened.reader.fetch_versions("2611.00001")) == 1

        assert trips == (proxy.trips, proxy.answers) == (1, 1)


async def test_rejected_paper_rolls_back_the_search(database: str, db: psycopg.Connection) -> None:
    async with Opened(database) as opened:
        with pytest.raises(RecordRejected):
            await opened.store.insert(create_search_record(entry(1), entry(2, comment="NUL \0")))
    for table in "queries", "results", "papers":
        assert db.execute(f"select count(*) from {table}").fetchone() == (0,)


async def test_paper_sent_twice_is_stored_once(database: str, db: psycopg.Connection) -> None:
    async with Opened(database) as opened:
        twice = entry(1), entry(2), entry(1), entry(1, version=2)
        await opened.store.insert(create_search_record(*twice))
    assert db.execute("select count(*) from results").fetchone() == (4,)
    assert db.execute("select arxiv_id, version from papers order by 1, 2").fetchall() == [
        ("2611.00001", 1),
        ("2611.00001", 2),
        ("2611.00002", 1),
    ]


async def test_entry_without_an_id_is_a_result_only(
    database: str, db: psycopg.Connection, client: Gateway
) -> None:
    async with Opened(database) as opened:
        await opened.store.insert(
            create_search_record(entry(1, arxiv_id=None, version=None), entry(2, version=None))
        )
    assert db.execute("select count(*) from results").fetchone() == (2,)
    assert db.execute("select arxiv_id, version from papers").fetchall() == [("2611.00002", 0)]
    paper = (await client.get("/papers/2611.00002")).json()
    assert (paper["version"], paper["versions"]) == (None, [])


async def test_only_later_responses_update_a_paper(database: str, db: psycopg.Connection) -> None:
    changed = {"comment": "To appear", "journal": "Ann. Phys. 1", "dois": ["10.1000/1"]}
    async with Opened(database) as opened:
        await opened.store.insert(create_search_record(entry(1), entry(2)))
        first, other = row(db), row(db, "2611.00002")

        await opened.store.insert(create_search_record(entry(1), timestamp=NOON + 10))
        assert row(db) == first

        await opened.store.insert(
            create_search_record(entry(1, **changed), entry(2), timestamp=NOON + 20)
        )
        second = row(db)
        assert second != first
        assert row(db, "2611.00002") == other
        [paper] = await opened.reader.fetch_versions("2611.00001")
        assert (paper.comment, paper.journal, paper.dois) == tuple(changed.values())
        assert paper.timestamp == NOON + 20

        await opened.store.insert(
            create_search_record(entry(1, comment="Older"), timestamp=NOON + 15)
        )
        assert row(db) == second


CHANGES: list[dict[str, Any]] = [
    {"title": "Other"},
    {"authors": ["A. N. Other"], "affiliations": [[]]},
    {"affiliations": [["Here"], []]},
    {"summary": ""},
    {"journal": "J"},
    {"comment": "C"},
    {"published": None},
    {"updated": datetime(2026, 11, 24, tzinfo=UTC)},
    {"dois": ["10.1000/1"]},
    {"primary_category": None},
    {"categories": ["cs.SE", "cs.LG"]},
    {"links": []},
    {"group_authors": ["A. N. Other"]},
]


async def test_every_changed_column_is_updated(database: str, db: psycopg.Connection) -> None:
    everything = "select xmin from papers order by arxiv_id"
    changed = [entry(number, **change) for number, change in enumerate(CHANGES)]
    async with Opened(database) as opened:
        await opened.store.insert(create_search_record(*map(entry, range(len(CHANGES)))))
        before = db.execute(everything).fetchall()
        await opened.store.insert(create_search_record(*changed))
        after = db.execute(everything).fetchall()
        await opened.store.insert(create_search_record(*changed, timestamp=NOON + 1))

        assert all(old != new for old, new in zip(before, after, strict=True))
        assert db.execute(everything).fetchall() == after


async def test_concurrent_writes_of_the_same_papers_do_not_deadlock(
    database: str, db: psycopg.Connection
) -> None:
    numbers = range(30)

    async def write(store: RecordStore, writer: int) -> None:
        for turn in range(12):
            entries = [entry(number, comment=f"{writer} {turn}") for number in numbers]
            order = entries if (writer + turn) % 2 else entries[::-1]
            await store.insert(create_search_record(*order, timestamp=NOON + turn))

    async with Opened(database) as one, Opened(database) as other:
        both = (one.store, other.store)
        await asyncio.gather(*(write(both[writer % 2], writer) for writer in range(8)))

    assert db.execute("select count(*) from queries").fetchone() == (96,)
    stored = db.execute("select distinct timestamp, split_part(comment, ' ', 2) from papers")
    assert stored.fetchall() == [(NOON + 11, "11")]
    assert db.execute("select count(*) from papers").fetchone() == (len(numbers),)


ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


async def test_any_text_is_stored_unchanged(database: str, client: Gateway) -> None:
    texts: list[tuple[str, str, str, list[str], str]] = []

    @examples(max_examples=60)
    @given(st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3), ANY_TEXT))
    def collect(drawn: tuple[str, str, str, list[str], str]) -> None:
        texts.append(drawn)

    collect()
    async with Opened(database) as opened:
        await opened.store.insert(
            create_search_record(
                *(
                    entry(
                        number,
                        title=title,
                        summary=abstract,
                        comment=comment,
                        journal=comment,
                        authors=authors,
                        affiliations=[[place] for place in authors],
                        links=[Link(link, title=title)],
                    )
                    for number, (title, abstract, comment, authors, link) in enumerate(texts)
                )
            )
        )
    for number, (title, abstract, comment, authors, link) in enumerate(texts):
        paper = (await client.get(f"/papers/2611.{number:05}")).json()
        assert paper["title"] == title
        assert paper["abstract"] == abstract
        assert paper["comment"] == paper["journal"] == comment
        assert paper["authors"] == authors
        assert (paper["affiliations"] or []) == [[place] for place in authors]
        assert paper["links"] == [{"href": link, "title": title}]


# The same through the backend


async def test_entries_of_arxiv_api_can_be_written_back(
    client: Gateway, db: psycopg.Connection
) -> None:
    params: dict[str, str | int] = {"title": "testing", "max_results": 40}
    data = (await client.get("/arxiv-api", params=params)).json()["data"]
    body = {"query_id": 10**6, "timestamp": NOON, "results": data}
    assert (await client.post("/write-results", json=body)).status_code == 201
    statement = "select to_jsonb(papers) - %s::text[] from papers order by 1"
    when = ["timestamp", "first_timestamp", "changed"]
    split = db.execute(statement, [when]).fetchall()

    db.execute("truncate papers")
    await client.get("/arxiv", params=params)

    whole = db.execute(statement, [when]).fetchall()
    assert split == whole
    assert len(whole) == 40


POOR = {"authors": ["A. N. Other"], "title": "Poor", "journal": "J"}
KNOWN = POOR | {"arxiv_id": "2611.00001", "version": 1}


async def test_results_with_basic_fields_create_no_paper(
    client: Gateway, db: psycopg.Connection
) -> None:
    body = {"query_id": 7, "timestamp": NOON, "results": [POOR, POOR | {"authors": "A, B"}]}
    assert (await client.post("/write-results", json=body)).status_code == 201
    assert db.execute("select count(*) from results").fetchone() == (2,)
    assert db.execute("select count(*) from papers").fetchone() == (0,)


async def test_incomplete_data_creates_a_paper_but_updates_none(
    database: str, client: Gateway, db: psycopg.Connection
) -> None:
    async def write(query_id: int, paper: dict[str, Any], timestamp: int = NOON) -> None:
        body = {"query_id": query_id, "timestamp": timestamp, "results": [paper]}
        assert (await client.post("/write-results", json=body)).status_code == 201

    await write(7, KNOWN)
    paper = (await client.get("/papers/2611.00001v1")).json()
    assert (paper["title"], paper["abstract"], paper["authors"]) == ("Poor", None, ["A. N. Other"])

    async with Opened(database) as opened:
        # an older search with complete descriptions replaces incomplete ones
        await opened.store.insert(create_search_record(entry(1), timestamp=NOON - 10))
    full = row(db)
    assert (await client.get("/papers/2611.00001v1")).json()["title"] == "Title 1"

    await write(8, KNOWN, NOON + 10)
    assert row(db) == full


async def test_conflict_leaves_papers_unchanged(database: str, db: psycopg.Connection) -> None:
    def sent(*papers: ResultPayload) -> WriteResultsRequest:
        return WriteResultsRequest(query_id=7, timestamp=NOON, results=list(papers))

    def paper(number: int, title: str = "T") -> ResultPayload:
        name = f"2611.{number:05}"
        return ResultPayload(authors="A", title=title, arxiv_id=name, version=1, summary=title)

    async with Opened(database) as opened:
        await opened.store.write_results(sent(paper(1)))
        first = row(db)
        for other in sent(paper(1, "U")), sent(paper(1), paper(2)), sent(), sent(paper(2)):
            with pytest.raises(Conflict):
                await opened.store.write_results(other)
        await opened.store.write_results(sent(paper(1)))
    assert row(db) == first


async def test_read_only_role_cannot_write_papers(database: str, db: psycopg.Connection) -> None:
    async with Opened(make_conninfo(database, user="arxiv_ro")) as opened:
        assert await opened.reader.fetch_versions("2611.00001") == []
        with pytest.raises(DatabaseUnavailable, match="may not"):
            await opened.store.insert(create_search_record(entry(1)))
        body = WriteResultsRequest(query_id=7, timestamp=NOON, results=[])
        with pytest.raises(DatabaseUnavailable, match="may not"):
            await opened.store.write_results(body)
    assert db.execute("select count(*) from papers").fetchone() == (0,)


@pytest.mark.parametrize(
    "published", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)
async def test_extreme_dates_are_accepted(client: Gateway, published: str) -> None:
    paper = KNOWN | {"summary": "x", "published": published, "updated": published}
    body = {"query_id": 7, "timestamp": NOON, "results": [paper]}
    sent = await client.post("/write-results", json=body)
    assert sent.status_code in {201, 400}, sent.text
    for path in "/papers", "/papers/2611.00001", "/papers?q=poor", "/papers?format=atom":
        assert (await client.get(path)).status_code in {200, 404}


# One paper


SHELF = generate(1000)
EARLIER = [paper.at(1) for paper in SHELF[:300] if paper.version > 1]
ON_SHELF = arxiv_xml.parse_feed(feed.render([*SHELF, *EARLIER])).entries
OLD_STYLE = "math/0309136"
HOLES = [
    entry(arxiv_id=OLD_STYLE, version=version, comment=f"v{version}") for version in (1, 10, 2)
]
TEXTS = [
    entry(1, title="Dark matter halos", summary="About galaxies."),
    entry(2, title="Galaxies", summary="Dark matter is in them, and matter that is not dark."),
    entry(3, title="Matter", summary="It is not dark energy.", authors=["Niels Bohr"]),
    entry(4, title="On Schrödinger's equation in AdS/CFT", authors=["Erwin Schrödinger"]),
    entry(
        5, title=r"Testing $\rho < \rho_c$ & the \emph{weak} limit", summary="<b>weak</b> & more"
    ),
    entry(6, title="Non-abelian gauge theory", comment="Withdrawn", journal="Phys. Rev. D 12"),
    entry(7, title="To be or not to be", authors=["X. He", "Wu Li-Hua"], journal="Nature 1"),
    entry(8, title="GPT-4 tests", summary="", categories=["cs.CL", "cs.LG"]),
]


Reading = Callable[[Sequence[Entry]], AbstractAsyncContextManager[Gateway]]


@pytest.fixture(scope="module")
def reading(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reading]:
    """A service on a database with these papers, shared by tests that only read."""
    made: dict[int, str] = {}

    async def library(entries: Sequence[Entry]) -> str:
        if id(entries) not in made:
            name = Identifier(f"library_{len(made)}")
            new = SQL("create database {} template {}").format(name, Identifier(template))
            admin.execute(new)
            made[id(entries)] = make_conninfo(server, dbname=f"library_{len(made)}")
            async with Opened(made[id(entries)]) as opened:
                await opened.store.insert(create_search_record(*entries))
        return made[id(entries)]

    @asynccontextmanager
    async def read(entries: Sequence[Entry]) -> AsyncIterator[Gateway]:
        url = make_conninfo(await library(entries), user="arxiv_ro")
        folder = tmp_path_factory.getbasetemp() / f"index_{id(entries)}"
        settings = Settings(database_url=url, database_ro_url=url, index_dir=str(folder))
        app = make_app(settings)
        wire = httpx.ASGITransport(cast("Any", add_outer_middleware(app)))
        indexed = IndexedTransport(wire, settings)
        async with (
            running(app),
            httpx.AsyncClient(transport=indexed, base_url="http://gateway") as client,
        ):
            yield client

    with psycopg.connect(server, autocommit=True) as admin:
        yield read
        for number in range(len(made)):
            name = Identifier(f"library_{number}")
            admin.execute(SQL("drop database {} with (force)").format(name))


@pytest.fixture
async def known(reading: Reading) -> AsyncIterator[Gateway]:
    """A service with versions 1, 2 and 10 of one paper."""
    async with reading(HOLES) as client:
        yield client


@pytest.fixture
async def texts(reading: Reading) -> AsyncIterator[Gateway]:
    """A service with papers whose words the tests know."""
    async with reading(TEXTS) as client:
        yield client


@pytest.fixture
async def library_client(reading: Reading) -> AsyncIterator[Gateway]:
    """A service with all papers of the simulated arXiv, and earlier versions of some."""
    async with reading(ON_SHELF) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("math/0309136", 10),
        ("math/0309136v1", 1),
        ("math/0309136v10", 10),
        ("math.GT/0309136", 10),
        ("math.GT/0309136v2", 2),
        ("math%2F0309136v2", 2),
        ("math/0309136/", 10),
        ("math//0309136", 10),
        ("arXiv:math/0309136v1", 1),
        ("arxiv:math.GT%2f0309136", 10),
        ("https%3A%2F%2Farxiv.org%2Fabs%2Fmath%2F0309136v2", 2),
    ],
)
async def test_paper_is_found_by_any_form_of_its_id(
    known: Gateway, path: str, version: int
) -> None:
    response = await known.get(f"/papers/{path}")

    assert response.status_code == 200, response.text
    paper = response.json()
    assert (paper["arxiv_id"], paper["version"]) == (OLD_STYLE, version)
    assert paper["comment"] == f"v{version}"
    assert paper["versions"] == [1, 2, 10]


async def test_unknown_paper_is_not_found(known: Gateway) -> None:
    unknown = await known.get("/papers/2611.99999v1")
    version = await known.get("/papers/math/0309136v3")

    assert (unknown.status_code, version.status_code) == (404, 404)
    assert "/arxiv?id_list=2611.99999" in unknown.json()["detail"]
    assert version.json()["detail"].endswith("stored versions are: 10, 2, 1")


@pytest.mark.parametrize(
    "path",
    ["nonsense", "2611", "2611.00001v0", "2611.00001v", "math/1", "a/b/c", "2611.00001%00", "%20"],
)
async def test_invalid_id_is_named(texts: Gateway, path: str) -> None:
    response = await texts.get(f"/papers/{path}")

    assert response.status_code == 400
    assert response.json()["parameter"] == "arxiv_id"


READERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "ndjson": ("ndjson", lambda text: json.loads(text)["title"]),
    "csv": ("csv", lambda text: next(csv.DictReader(io.StringIO(text)))["title"]),
    "bibtex": ("bib", lambda text: parse_bibtex(text).entries[0]["title"]),
    "ris": ("ris", lambda text: rispy.loads(text)[0]["title"]),
    "atom": ("atom", lambda text: feedparser.parse(text).entries[0].title),
}


@pytest.mark.parametrize("name", READERS)
async def test_paper_has_a_file_name_in_every_format(known: Gateway, name: str) -> None:
    extension, read = READERS[name]
    response = await known.get("/papers/math/0309136", params={"format": name})

    assert response.status_code == 200
    assert response.headers["content-disposition"].endswith(
        f"; filename=math-0309136v10.{extension}"
    )
    assert read(response.text).strip("{}") == "Title 1"
    accept = response.headers["content-type"]
    again = await known.get("/papers/math/0309136", headers={"Accept": accept})
    assert again.headers["content-type"] == accept
    assert "Accept" in again.headers["vary"]


async def test_unchanged_paper_responds_with_304(known: Gateway) -> None:
    full = await known.get("/papers/math/0309136")
    head = await known.head("/papers/math/0309136")
    etag = full.headers["etag"]
    same = await known.get("/papers/math/0309136", headers={"If-None-Match": etag})

    assert head.headers["etag"] == etag
    assert head.content == b""
    assert same.status_code == 304
    other = await known.get("/papers/math/0309136v1")
    assert other.headers["etag"] != etag


# Full text


async def found(client: Gateway, **params: Any) -> dict[str, Any]:
    response = await client.get("/papers", params={"items_per_page": 1000} | params)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [each["arxiv_id"].rpartition(".")[2].lstrip("0") for each in body["papers"]]


FINDS = {
    "dark matter": "1 2 3",
    '"dark matter"': "1 2",
    "title:dark": "1",
    "abstract:dark": "2 3",
    "matter -energy": "1 2",
    'matter -"dark matter"': "3",
    "halos OR bohr": "1 3",
    "galax*": "1 2",
    "galaxy": "1 2",
    "author:schrodinger": "4",
    "Schrödinger": "4",
    "schroedinger": "",
    "ads cft": "4",
    "AdS/CFT": "4",
    "ads-cft": "4",
    r"\rho_c": "5",
    r"$\rho": "5",
    "emph": "",
    "nonabelian": "",
    "non-abelian": "6",
    "abelian": "6",
    "note:withdrawn": "6",
    "author:he": "7",
    '"to be or not to be"': "7",
    "li-hua": "7",
    "gpt-4": "8",
    "gpt 4": "8",
    "quark": "",
}


async def test_papers_are_found_by_full_text_query(texts: Gateway) -> None:
    responses = {q: await found(texts, q=q) for q in FINDS}

    assert {q: " ".join(sorted(ids(body))) for q, body in responses.items()} == FINDS
    assert all(body["total"] == len(body["papers"]) for body in responses.values())


NARROWED: list[tuple[dict[str, Any], str]] = [
    ({"author": "Bohr"}, "3"),
    ({"author": "niels bohr"}, "3"),
    ({"author": "bohr niels"}, ""),
    ({"title": "dark"}, "1"),
    ({"title": "to be"}, "7"),
    ({"journal": "phys rev"}, "6"),
    ({"journal": "withdrawn"}, ""),
    ({"category": "cs.LG"}, "8"),
    ({"category": ["cs.LG", "cs.SE"], "author": "he"}, "7"),
    ({"category": "cs.*"}, "1 2 3 4 5 6 7 8"),
    ({"category": "math.*"}, ""),
    ({"since": "2026-11-24"}, ""),
    ({"since": "2026-11-23", "until": "2026-11-23", "q": "dark"}, "1 2 3"),
    ({"q": "dark", "title": "matter", "author": "bohr"}, "3"),
]


async def test_filters_restrict_a_full_text_query(texts: Gateway) -> None:
    for filters, expected in NARROWED:
        assert (filters, sorted(ids(await found(texts, **filters)))) == (filters, expected.split())


async def test_title_matches_rank_above_abstract_matches(texts: Gateway) -> None:
    assert ids(await found(texts, q="galaxies")) == ["2", "1"]
    assert ids(await found(texts, q="dark matter"))[0] == "1"
    assert ids(await found(texts, q="dark", order="oldest")) == ["1", "2", "3"]
    assert ids(await found(texts, q="dark", order="newest")) == ["3", "2", "1"]


async def test_highlights_are_escaped_html_of_the_original_text(texts: Gateway) -> None:
    [weak] = (await found(texts, q="weak"))["papers"]
    assert weak["highlights"] == {
        "title": r"Testing $\rho &lt; \rho_c$ &amp; the \emph{<mark>weak</mark>} limit",
        "abstract": "&lt;b&gt;<mark>weak</mark>&lt;/b&gt; &amp; more",
    }
    [paper] = (await found(texts, q="author:schrodinger title:ads"))["papers"]
    assert paper["highlights"] == {
        "title": "On Schrödinger&#x27;s equation in <mark>AdS</mark>/CFT",
        "authors": "Erwin <mark>Schrödinger</mark>",
    }
    for each in (await found(texts, q="test* OR dark* OR matt* OR schr*"))["papers"]:
        for name, html in each["highlights"].items():
            plain = unescape(re.sub("</?mark>", "", html))
            assert plain == (", ".join(each[name]) if name == "authors" else each[name])


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"q": "journal:x"}, "q", "is not a field"),
    ({"q": '"dark'}, "q", "not closed"),
    ({"q": "-dark"}, "q", "to exclude"),
    ({"q": "NOT dark -matter"}, "q", "to exclude"),
    ({"q": "..."}, "q", "a word"),
    ({"q": "(a"}, "q", "not closed"),
    ({"order": "relevance"}, "order", "q"),
    ({"order": "best"}, "order", ""),
    ({"category": "nonsense!"}, "category", "is not a category"),
    ({"since": "yesterday"}, "since", "ISO 8601"),
    ({"since": "2026-02-01", "until": "2026-01-01"}, "until", ""),
    ({"versions": "some"}, "versions", ""),
    ({"author": "-"}, "author", "no word"),
    ({"journal": "..."}, "journal", "no word"),
    ({"fields": "title,nonsense"}, "fields", "nonsense"),
    ({"fields": "title", "format": "ris"}, "fields", "ris"),
    ({"format": "xml"}, "format", "json"),
    ({"after": "x"}, "after", "cursor"),
    ({"page": -1}, "page", ""),
    ({"q": "x" * 2001}, "q", ""),
    ({"q": "NUL \0"}, "q", "NUL"),
    ({"nonsense": "x"}, "nonsense", "no such parameter"),
]


async def test_invalid_parameter_is_named(texts: Gateway) -> None:
    for params, name, words in BAD:
        response = await texts.get("/papers", params=params)

        assert response.status_code == 400, (params, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert name in f"{response.json().get('parameter')}", params
        assert words in response.json()["detail"]


async def test_query_without_matches_returns_an_empty_list(client: Gateway) -> None:
    facets: dict[str, list[Any]] = {"category": [], "year": []}
    empty = {"papers": [], "total": 0, "total_is_exact": True, "facets": facets}
    for params in {}, {"q": "quark"}, {"category": "cs.SE"}:
        assert await found(client, **params) == empty
    for name in READERS:
        response = await client.get("/papers", params={"q": "quark", "format": name})
        assert response.status_code == 200


# Over all the stand-in's papers, counted by hand


def matching(entries: Sequence[Entry], **criteria: Any) -> list[Entry]:
    """Return the latest versions with these words in the title and of these years."""
    latest: dict[str, Entry] = {}
    for each in entries:
        name = each.arxiv_id or ""
        if name not in latest or (latest[name].version or 0) < (each.version or 0):
            latest[name] = each
    first, last = criteria.get("years", (0, 9999))
    return [
        each
        for each in latest.values()
        if re.search(criteria.get("word", ""), f"{each.title} {each.summary}", re.IGNORECASE)
        and each.published
        and first <= each.published.year <= last
        and set(each.categories) & criteria.get("categories", set(each.categories))
    ]


@pytest.mark.parametrize(
    ("params", "criteria"),
    [
        ({}, {}),
        ({"q": "title:graphene OR abstract:graphene"}, {"word": r"\bgraphene\b"}),
        ({"since": "2001-01-01", "until": "2005-12-31"}, {"years": (2001, 2005)}),
        ({"category": ["math.NT", "cs.SE"]}, {"categories": {"math.NT", "cs.SE"}}),
        (
            {"q": "graphene", "category": "quant-ph", "since": "2010-01-01"},
            {"word": r"\bgraphene\b", "categories": {"quant-ph"}, "years": (2010, 9999)},
        ),
    ],
)
async def test_totals_and_facets_are_correct(
    library_client: Gateway, params: dict[str, Any], criteria: dict[str, Any]
) -> None:
    expected = matching(ON_SHELF, **criteria)
    body = await found(library_client, **params)

    assert body["total"] == len(body["papers"]) == len(expected)
    assert {each["arxiv_id"] for each in body["papers"]} == {each.arxiv_id for each in expected}
    years = Counter(str(each.published.year) for each in expected if each.published)
    facets = body["facets"]
    assert facets["year"] == [
        {"value": year, "count": count} for year, count in sorted(years.items(), reverse=True)
    ]
    counted = Counter(
        name for each in expected for name in {CATEGORIES[name] for name in each.categories}
    )
    assert facets["category"] == [
        {"value": name, "count": count, "name": get_title(name)}
        for name, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:50]
    ]


async def test_all_versions_are_listed_on_request(library_client: Gateway) -> None:
    body = await library_client.get("/papers?versions=all&format=ndjson")
    every = [json.loads(line) for line in body.text.splitlines()]

    assert len(every) == len(ON_SHELF) > 1000
    assert len({(each["arxiv_id"], each["version"]) for each in every}) == len(ON_SHELF)
    assert (await found(library_client))["total"] == 1000


@pytest.mark.parametrize(
    "params",
    [
        {"q": "the OR of"},
        {"q": "the OR of", "order": "newest", "versions": "all"},
        {"q": "testing", "order": "oldest"},
        {"category": "cs.*"},
        {"order": "oldest", "versions": "all"},
        {"q": "the", "versions": "all"},
    ],
)
async def test_cursors_lead_through_all_pages_of_papers(
    library_client: Gateway, params: dict[str, Any]
) -> None:
    whole = await library_client.get("/papers", params=params | {"format": "ndjson"})
    everything = [name(json.loads(line)) for line in whole.text.splitlines()]
    size = max(3, len(everything) // 9)
    pages: list[list[str]] = []
    response = await library_client.get("/papers", params=params | {"items_per_page": size})
    total = response.json()["total"]
    while True:
        pages.append([name(paper) for paper in response.json()["papers"]])
        if "next" not in response.links:
            break
        response = await library_client.get(response.links["next"]["url"])
        assert response.json().keys() == {"papers"}

    walked = [each for page in pages for each in page]
    if "q" in params and "order" not in params:  # pages have the best first, files the newest
        walked.sort()
        everything.sort()
    assert walked == everything
    assert len(set(everything)) == total == len(everything)
    assert {len(page) for page in pages[:-1]} == {size}
    by_number = await library_client.get(
        "/papers", params=params | {"items_per_page": size, "page": 3}
    )
    assert [name(paper) for paper in by_number.json()["papers"]] == pages[3]
    if "prev" in response.links:
        back = await library_client.get(response.links["prev"]["url"])
        assert [name(paper) for paper in back.json()["papers"]] == pages[-2]
    else:
        assert "order" not in params


def name(paper: dict[str, Any]) -> str:
    return f"{paper['arxiv_id']}v{paper['version']}"


async def test_all_matches_are_ranked(library_client: Gateway) -> None:
    newest = (await found(library_client, q="the", order="newest"))["papers"]
    response = await library_client.get("/papers", params={"q": "the", "items_per_page": 70})
    pages = [response.json()["papers"]]
    while "next" in response.links:
        response = await library_client.get(response.links["next"]["url"])
        pages.append(response.json()["papers"])

    assert sorted(name(each) for page in pages for each in page) == sorted(map(name, newest))
    assert len(newest) > 100


async def test_ranking_is_the_same_in_every_format(library_client: Gateway) -> None:
    best = await found(library_client, q="graphene OR testing", items_per_page=1000)
    order = [name(each) for each in best["papers"]]

    async def text(form: str) -> str:
        params: dict[str, str | int] = {"q": "graphene OR testing", "format": form}
        params["items_per_page"] = 1000
        return (await library_client.get("/papers", params=params)).text

    rows = list(csv.DictReader(io.StringIO(await text("csv"))))
    assert [name(each) for each in rows] == order
    entries = feedparser.parse(await text("atom")).entries
    assert [each.id.removeprefix("http://arxiv.org/abs/") for each in entries] == order
    assert len(rispy.loads(await text("ris"))) == len(order)
    assert len(parse_bibtex(await text("bibtex")).entries) == len(order) > 20


async def test_read_delay_applies_to_papers(gateway: Serve, database: str) -> None:
    async with Opened(database) as opened:
        await opened.store.insert(
            create_search_record(entry(1, title="Old testing"), timestamp=int(time()) - 3600)
        )
        await opened.store.insert(
            create_search_record(entry(2, title="New testing"), timestamp=int(time()))
        )
    async with gateway(settle=600) as client:
        async with asyncio.timeout(60):
            while "total" not in await found(client):  # noqa: ASYNC110 - until it is indexed
                await asyncio.sleep(0.05)
        for params in {}, {"q": "testing"}, {"order": "oldest"}:
            body = await found(client, **params)
            assert ids(body) == ["1"]
            assert body["total"] == 1


# The migrations that make all this


@pytest.fixture
def earlier(server: str) -> Iterator[str]:
    """Connection string of a database before the migration that adds papers."""
    name = Identifier(f"earlier_{uuid4().hex}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(name))
        url = make_conninfo(server, dbname=name.as_string().strip('"'))
        for path in migrations.list_files():
            if path.stem < "0009":
                psql(url, "-f", str(path))
        yield url
        admin.execute(SQL("drop database {} with (force)").format(name))


def psql(url: str, *arguments: str) -> None:
    subprocess.run(
        [
            str(embedded_postgres.find_program("psql")),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            *arguments,
        ],
        env=os.environ | create_libpq_environment(url),
        capture_output=True,
        check=True,
    )


def fill(conn: psycopg.Connection, count: int) -> None:
    conn.execute(
        "insert into queries (query_id, timestamp, status, num_results, num_entries, query)"
        f" select n, n, 200, 1, 1, 'x' from generate_series(1, {count}) n"
    )
    conn.execute(
        "insert into results (query_id, timestamp, result_number, author, title, arxiv_id, version)"
        " select n, n, 0, 'A. N. Other, B', 'Title ' || n, '2611.' || n % 1000, 1 + n % 2"
        f" from generate_series(1, {count}) n"
    )


def indexes(conn: psycopg.Connection) -> dict[str, bool]:
    """Return the indexes of migration 0010 and whether they are valid."""
    names = ["results_timestamp", "results_words", "results_paper", "queries_unkeyed"]
    found = conn.execute(
        "select relname, indisvalid from pg_index join pg_class on oid = indexrelid"
        " where relname = any(%s)",
        [names],
    )
    return dict(found.fetchall())


VALID = dict.fromkeys(
    ["results_timestamp", "results_words", "results_paper", "queries_unkeyed"], True
)


async def test_migration_creates_papers_from_results(gateway: Serve, earlier: str) -> None:
    rows = [
        (1, 1000, 0, "A. N. Other, B. Bär", "Old", "J", "2611.00001", 1),
        (2, 2000, 0, "A. N. Other", "New", None, "2611.00001", 1),
        (2, 2000, 1, "A. N. Other", "Second", None, "2611.00001", 2),
        (2, 2000, 2, "", "Nobody's", None, "math/0309136", None),
        (2, 2000, 3, "Nobody knows", "Without an id", None, None, None),
    ]
    with psycopg.connect(earlier, autocommit=True) as conn:
        conn.cursor().executemany(
            "insert into results (query_id, timestamp, result_number, author, title, journal,"
            " arxiv_id, version) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            rows,
        )
        assert migrations.apply(earlier)[:2] == ["0009_papers", "0010_reading"]
        stored = conn.execute(
            "select arxiv_id, version, timestamp, title, authors, abstract"
            " from papers order by 1, 2"
        ).fetchall()
        assert indexes(conn) == VALID
    assert stored == [
        ("2611.00001", 1, 2000, "New", ["A. N. Other"], None),
        ("2611.00001", 2, 2000, "Second", ["A. N. Other"], None),
        ("math/0309136", 0, 2000, "Nobody's", [], None),
    ]
    assert migrations.apply(earlier) == []
    url = make_conninfo(earlier, user="arxiv_rw")
    async with gateway(database_url=url, database_ro_url=url) as client:
        assert (await found(client, q="second author:other"))["total"] == 1
        assert (await client.get("/papers/math.GT/0309136")).json()["version"] is None


async def test_indexes_are_created_while_searches_are_recorded(earlier: str) -> None:
    with psycopg.connect(earlier) as slow, psycopg.connect(earlier, autocommit=True) as conn:
        fill(conn, 10_000)
        for name in (
            "0009_papers",
            "0014_group_authors",
            "0016_api_query",
            "0019_mirror",
        ):  # the tables that this version writes
            psql(earlier, "-f", str(migrations.FOLDER / f"{name}.sql"))
        conn.execute("select setval('arxiv_sequence', 10000)")
        written, done = 0, asyncio.Event()

        async def write(store: RecordStore, writer: int) -> None:
            nonlocal written
            while not done.is_set():
                await store.insert(
                    create_search_record(*(entry(writer * 50 + number) for number in range(20)))
                )
                written += 1

        # An index waits for a transaction like this one. Later writes must not wait behind the two.
        slow.execute("insert into results values (default, 1, 1, 99, 'A', 'T')")
        async with Opened(make_conninfo(earlier, user="arxiv_rw")) as opened:
            migrators = [
                asyncio.create_task(asyncio.to_thread(migrations.apply, earlier)) for _ in range(3)
            ]
            for _ in range(1000):
                if indexes(conn):
                    break
                await asyncio.sleep(0.01)
            writers = [asyncio.create_task(write(opened.store, writer)) for writer in range(4)]
            async with asyncio.timeout(60):
                while written <= 20:  # noqa: ASYNC110 - no event tells it
                    await asyncio.sleep(0.01)
            assert not any(migrator.done() for migrator in migrators)
            slow.commit()
            applied = await asyncio.gather(*migrators)
            done.set()
            await asyncio.gather(*writers)

        assert [name for each in applied for name in each].count("0010_reading") == 1
        assert indexes(conn) == VALID
        stored = conn.execute("select count(*) from results where query_id > 10000")
        assert stored.fetchone() == (20 * written,)


def test_index_of_an_interrupted_migration_is_rebuilt(
    earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(earlier) as other, psycopg.connect(earlier, autocommit=True) as conn:
        fill(conn, 10)
        psql(earlier, "-f", str(migrations.FOLDER / "0009_papers.sql"))
        other.execute("insert into results values (default, 99, 99, 0, 'A', 'T')")
        with monkeypatch.context() as cut:
            cut.setenv("PGOPTIONS", "-c statement_timeout=1500ms")
            with pytest.raises(ConfigurationError, match="statement timeout"):
                migrations.apply(earlier)
        assert indexes(conn) == {"results_timestamp": False}
        other.rollback()

        assert migrations.apply(earlier)[0] == "0010_reading"
        assert indexes(conn) == VALID


async def test_running_service_survives_the_migrations(
    gateway: Serve, earlier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SAVE_RETRY_SECONDS", 0.1)
    url = make_conninfo(earlier, user="arxiv_rw")
    async with gateway(database_url=url, database_ro_url=url) as client:
        early = await client.get("/arxiv", params={"title": "testing"})
        assert early.status_code == 503
        assert (await client.get("/health/ready")).status_code == 503
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "service", "migrate"],
            cwd=ROOT,
            env=os.environ | {"ARXIV_DATABASE_URL": earlier},
            check=True,
            capture_output=True,
        )
        assert (await client.get("/arxiv", params={"title": "testing"})).status_code == 200
        assert (await found(client))["total"] == 10
        assert (await client.get("/health/ready")).status_code == 200
