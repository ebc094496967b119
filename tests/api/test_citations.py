"""Authors, dates, DOIs and URLs of papers: the same in every format and endpoint."""

import csv
import io
import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

import feedparser
import psycopg
import pytest
import rispy
from msgspec import convert
from pybtex.database import Entry
from pybtex.database.input.bibtex import Parser

from service import embedded_postgres
from service.db import migrations
from service.db.conninfo import create_libpq_environment
from service.models.records import PaperInsert, PaperRow
from tests.conftest import Gateway, Serve
from tests.db.test_migrations import create_database
from tests.support.cases import case_transport

NOON = 1_795_464_900
NAMES = ["BigScience Workshop", "Ada Example", "Bo Sample"]
BASIC: dict[str, Any] = {"authors": ["Ada Example"], "title": "T", "journal": None}
PAPER: dict[str, Any] = BASIC | {
    "arxiv_id": "2101.00001",
    "version": 2,
    "summary": "S",
    "published": "2021-12-31T10:00:00Z",
    "updated": "2022-02-01T10:00:00Z",
}
OLD: dict[str, Any] = PAPER | {"arxiv_id": "hep-th/9901001", "version": 1}


async def write(client: Gateway, *results: dict[str, Any], query_id: int = 7) -> None:
    body = {"query_id": query_id, "timestamp": NOON, "results": results}
    response = await client.post("/write-results", json=body)
    assert response.status_code == 201, response.text


async def read_json(client: Gateway, path: str, **params: Any) -> Any:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def read_csv(client: Gateway, path: str) -> list[dict[str, str]]:
    response = await client.get(path, params={"format": "csv"})
    return list(csv.DictReader(io.StringIO(response.text, newline="")))


async def read_bibtex(client: Gateway, path: str) -> dict[str, Entry]:
    response = await client.get(path, params={"format": "bibtex"})
    return dict(Parser().parse_bytes(response.content).entries.items())


async def read_ris(client: Gateway, path: str) -> dict[str, dict[str, Any]]:
    response = await client.get(path, params={"format": "ris"})
    return {record["id"]: record for record in rispy.loads(response.text, newline="\r\n")}


# Authors


async def test_colon_and_group_are_the_same_in_every_format(
    gateway: Serve, db: psycopg.Connection
) -> None:
    async with gateway(case_transport()) as client:
        await read_json(client, "/arxiv", title="caseAUT", max_results=20)
        paper = await read_json(client, "/papers/2101.02001")
        [result] = [
            row
            for row in await read_json(client, "/results", items_per_page=20)
            if row["arxiv_id"] == "2101.02001"
        ]
        rows = await read_csv(client, "/papers")
        entry = (await read_bibtex(client, "/papers"))["2101.02001v1"]
        record = (await read_ris(client, "/results"))["2101.02001v1"]
        data = (await read_json(client, "/arxiv-api", title="caseAUT", max_results=20))["data"]
        found = await read_json(client, "/results", author="Workshop Ada Example")

    assert paper["authors"] == NAMES
    assert paper["group_authors"] == [NAMES[0]]
    assert result["author"] == ", ".join(NAMES)
    assert [row["authors"] for row in rows if row["arxiv_id"] == "2101.02001"] == ["; ".join(NAMES)]
    assert [str(person) for person in entry.persons["author"]] == [
        *("{BigScience Workshop}", "Example, Ada", "Sample, Bo"),
    ]
    assert record["authors"] == ["BigScience Workshop", "Example, Ada", "Sample, Bo"]
    assert [entry["group_authors"] for entry in data[:3]] == [[NAMES[0]], ["DeepSeek-AI"], []]
    assert data[0]["authors"] == NAMES
    assert len(data[0]["affiliations"]) == len(NAMES)
    assert [row["arxiv_id"] for row in found] == ["2101.02001"]
    everything = "select count(*) from papers where ':' = any(authors) or cardinality(authors) = 0"
    assert db.execute(everything).fetchone() == (0,)


@pytest.mark.parametrize(
    ("spelling", "arxiv_id", "version"),
    [
        ("math.GT/0309199v2", "math/0309199", 2),
        ("HEP-TH/9901001", "hep-th/9901001", None),
        ("2101.00001V3", "2101.00001", 3),
        ("arXiv: 2101.00001", "2101.00001", None),
        ("https://doi.org/10.48550/ARXIV.2101.00001", "2101.00001", None),
    ],
)
async def test_results_of_operators_have_identifiers_in_any_spelling(
    client: Gateway, spelling: str, arxiv_id: str, version: int | None
) -> None:
    await write(client, BASIC | {"arxiv_id": spelling, "version": version})
    paper = await read_json(client, f"/papers/{arxiv_id}")
    [result] = await read_json(client, "/read-results")

    assert (paper["arxiv_id"], paper["version"]) == (arxiv_id, version)
    assert (result["arxiv_id"], result["version"]) == (arxiv_id, version)


async def test_version_in_an_identifier_is_that_of_the_result(client: Gateway) -> None:
    await write(client, BASIC | {"arxiv_id": "2101.00001v2"})

    assert (await read_json(client, "/papers/2101.00001"))["version"] == 2
    for result in ({"arxiv_id": "2101.00001v2", "version": 3}, {"arxiv_id": "2101.1"}):
        body = {"query_id": 8, "timestamp": NOON, "results": [BASIC | result]}
        response = await client.post("/write-results", json=body)
        assert response.status_code == 400
        assert response.json()["detail"].startswith("results[0]: arxiv_id: '2101.")


@pytest.mark.parametrize(
    "authors",
    [
        ["Ada Example Lounge", ":", "Bo Sample", "*"],
        ["Ada Example Lounge:", "Bo Sample"],
        "Ada Example Lounge, :, Bo Sample",
        "Ada Example Lounge:, Bo Sample",
    ],
)
async def test_results_of_operators_have_the_same_authors(
    client: Gateway, authors: list[str] | str
) -> None:
    await write(client, PAPER | {"authors": authors})
    await write(client, PAPER | {"authors": authors})
    paper = await read_json(client, "/papers/2101.00001")
    [result] = await read_json(client, "/read-results")

    assert paper["authors"] == ["Ada Example Lounge", "Bo Sample"]
    assert paper["group_authors"] == ["Ada Example Lounge"]
    assert paper["affiliations"] is None
    assert result["author"] == "Ada Example Lounge, Bo Sample"
    assert (await read_ris(client, "/papers"))["2101.00001v2"]["authors"] == [
        *("Ada Example Lounge", "Sample, Bo"),
    ]


async def test_group_authors_can_be_written(client: Gateway) -> None:
    authors = {"authors": ["Ada Lounge", "Bo Sample"], "affiliations": [["A"], []]}
    await write(client, PAPER | authors | {"group_authors": ["Ada Lounge", "not an author"]})
    paper = await read_json(client, "/papers/2101.00001")

    assert paper["group_authors"] == ["Ada Lounge"]
    assert paper["affiliations"] == [["A"], []]
    entry = (await read_bibtex(client, "/results"))["2101.00001v2"]
    assert str(entry.persons["author"][0]) == "{Ada Lounge}"


async def test_suffix_after_a_comma_belongs_to_the_author_before(client: Gateway) -> None:
    await write(client, BASIC | {"authors": ["Ada Example, Jr.", "Bo Sample"]})

    [record] = (await read_ris(client, "/results")).values()
    assert record["authors"] == ["Example, Ada, Jr.", "Sample, Bo"]


@pytest.mark.parametrize(
    ("author", "ids"),
    [
        ("José Müller", "1"),
        ("Müller, José", "1"),
        ("Muller,Jose", "1"),
        ("Example, Ludwig", ""),
        ("van der Example, Ludwig", "2"),
        ("Sample, J.-P.", "3"),
        ("Sample, J. -P., Jr.", "3"),
        ("Sample, Jr., J.-P.", "3"),
        ("José Müller, Felix Klein", "1"),
        ("Felix Klein, Ada Example", "1"),
        ("Klein, Felix", "1"),
        ("김, 철수", "2"),
    ],
)
async def test_author_may_be_written_surname_first(client: Gateway, author: str, ids: str) -> None:
    authors = [
        ["José Müller", "Felix Klein", "Ada Example"],
        ["Ludwig van der Example", "김 철수"],
        ["J. -P. Sample Jr."],
    ]
    papers = [
        PAPER | {"authors": names, "arxiv_id": f"2101.0000{number}", "version": 1}
        for number, names in enumerate(authors, 1)
    ]
    await write(client, *papers)

    results = await read_json(client, "/results", author=author)
    found = (await read_json(client, "/papers", author=author))["papers"]
    assert [row["arxiv_id"] for row in results] == [f"2101.0000{number}" for number in ids]
    assert sorted(paper["arxiv_id"] for paper in found) == [row["arxiv_id"] for row in results]


async def test_both_spellings_of_an_author_are_one_search(
    client: Gateway, db: psycopg.Connection
) -> None:
    spellings = ["José van der Müller", "van der Müller, José", r"Jos\'e van der M{\"u}ller"]
    ids = {(await read_json(client, "/arxiv", author=author))["query_id"] for author in spellings}

    assert len(ids) == 1
    [(query,)] = db.execute("select query from queries")
    assert query.startswith('search_query=au:"José van der Müller"&')


# Dates and DOIs


async def test_citation_has_the_year_of_its_version_and_the_doi_of_arxiv(client: Gateway) -> None:
    published = {"journal": "J. Ex. 1", "dois": ["10.1000/1", "10.1000/2"]}
    journal = PAPER | published | {"arxiv_id": "2101.00003", "version": 1}
    await write(client, PAPER, OLD, journal, BASIC | {"arxiv_id": "2101.00009", "version": 1})
    for path in "/results", "/papers":
        bibtex, ris = await read_bibtex(client, path), await read_ris(client, path)

        entry, record = bibtex["2101.00001v2"], ris["2101.00001v2"]
        assert (entry.fields["year"], entry.fields["month"]) == ("2022", "February")
        assert (record["year"], record["date"]) == ("2022", "2022/02/01/")
        assert entry.fields["doi"] == record["doi"] == "10.48550/arXiv.2101.00001"
        assert record["type_of_reference"] == "MANSCPT"
        old = bibtex["hep-th/9901001v1"]
        assert (
            old.fields["doi"] == ris["hep-th/9901001v1"]["doi"] == "10.48550/arXiv.hep-th/9901001"
        )
        assert ris["2101.00003v1"]["type_of_reference"] == "JOUR"
        assert ris["2101.00003v1"]["doi"] == "10.1000/1"
        undated = ris["2101.00009v1"]
        assert "year" not in bibtex["2101.00009v1"].fields
        assert "year" not in undated
        assert "date" not in undated
    papers = {row["arxiv_id"]: row for row in await read_csv(client, "/papers")}
    assert papers["2101.00003"]["dois"] == "10.1000/1; 10.1000/2"
    assert papers["hep-th/9901001"]["dois"] == ""


async def test_result_without_a_paper_has_no_date(client: Gateway) -> None:
    await write(client, BASIC)

    [entry] = (await read_bibtex(client, "/results")).values()
    [record] = (await read_ris(client, "/results")).values()
    assert not {"year", "month", "doi"} & entry.fields.keys()
    assert not {"year", "date", "doi"} & record.keys()


async def test_feed_of_a_search_is_dated_by_when_a_version_was_found(client: Gateway) -> None:
    summary = await read_json(client, "/arxiv", title="testing", max_results=5)
    feed = feedparser.parse((await client.get(f"/queries/{summary['query_id']}/feed")).content)
    export = feedparser.parse((await client.get("/papers?format=atom")).content)

    found = datetime.fromisoformat(summary["timestamp"]).replace(tzinfo=UTC)
    assert len(feed.entries) == 5
    assert {entry.published for entry in feed.entries} == {f"{found:%Y-%m-%dT%H:%M:%SZ}"}
    assert all(entry.published == entry.updated for entry in feed.entries)
    assert not {entry.published for entry in feed.entries} & {e.published for e in export.entries}


# URLs


async def test_every_row_has_the_url_of_its_paper(client: Gateway) -> None:
    ids = [("0704.0001", 1), ("1501.00010", 10), ("hep-th/9901001", 3)]
    rows = [PAPER | {"arxiv_id": arxiv_id, "version": version} for arxiv_id, version in ids]
    await write(client, *rows, BASIC | {"arxiv_id": "2101.00001"}, BASIC)
    urls = [f"https://arxiv.org/abs/{arxiv_id}v{version}" for arxiv_id, version in ids]
    urls += ["https://arxiv.org/abs/2101.00001"]

    for path in "/results", "/read-results":
        listed = await read_json(client, path)
        assert [row["url"] for row in listed] == [*urls, None]
        selected = await client.get(f"{path}?fields=url,title&format=ndjson")
        lines = [json.loads(line) for line in selected.text.splitlines()]
        assert [line["url"] for line in lines] == [*urls, None]
        assert all(list(line) == ["url", "title"] for line in lines)
        assert [row["url"] for row in await read_csv(client, path)] == [*urls, ""]
    papers = (await read_json(client, "/papers", fields="url"))["papers"]
    assert sorted(paper["url"] for paper in papers) == sorted(urls)
    assert (await read_json(client, "/papers/0704.0001"))["url"] == urls[0]
    assert sorted(row["url"] for row in await read_csv(client, "/papers")) == sorted(urls)


# Other releases


def test_previous_version_goes_on_writing_papers_after_the_migration(server: str) -> None:
    with create_database(server) as url:
        for path in migrations.list_files():
            if path.stem == "0014_group_authors":
                break
            apply(url, str(path))
        with psycopg.connect(url, autocommit=True) as conn:
            insert = "insert into papers (arxiv_id, version, timestamp, title, authors) values"
            conn.execute(f"{insert} ('2101.00001', 1, 1, 'T', '{{A}}')")
            file = conn.execute("select pg_relation_filenode('papers')").fetchone()

            apply(url, str(path))

            assert conn.execute("select pg_relation_filenode('papers')").fetchone() == file
            conn.execute(f"{insert} ('2101.00001', 2, 1, 'T', '{{A}}')")
            groups = conn.execute("select group_authors from papers").fetchall()
    assert groups == [([],), ([],)]


def apply(url: str, path: str) -> None:
    subprocess.run(
        [str(embedded_postgres.find_program("psql")), "-X", "-q", "-f", path],
        env=os.environ | create_libpq_environment(url),
        check=True,
    )


def test_record_of_the_previous_version_is_read_without_groups() -> None:
    """From the queue, and from a backend."""
    paper = dict.fromkeys(PaperRow.__struct_fields__) | {
        **{name: [] for name in ("authors", "dois", "categories")},
        "arxiv_id": "2101.00001",
        "version": 1,
        "title": "T",
        "withdrawn": False,
        "timestamp": NOON,
    }
    del paper["group_authors"]

    assert convert(paper, PaperInsert).group_authors == []
    assert convert(paper, PaperRow).group_authors == []
