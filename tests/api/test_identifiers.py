"""Identifiers and DOIs have one form in every response, whatever form arXiv or a client uses."""

import re
from typing import Any

import psycopg
import pytest

from tests.conftest import Gateway, Serve
from tests.support.cases import case_transport

SICI = "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2"
DOIS = {
    "2101.01001": ["10.5555/first.1", "10.5555/erratum.2"],
    "2101.01002": ["10.5555/first.1", "10.5555/erratum.2"],
    "2101.01003": ["10.5555/first.1", "10.5555/erratum.2"],
    "2101.01004": ["10.5555/full.url"],
    "2101.01005": ["10.5555/pre.fix"],
    "2101.01006": ["10.5555/pre.fix"],
    "2101.01008": [SICI],
    "2101.01009": ["10.5555/a#b?c%d_e&f"],
    "2101.01011": ["10.5555/after.text"],
}
LINKS = {
    SICI: "10.1002/(SICI)1097-0258(19980815/30)17:15/16%3C1661::AID-SIM968%3E3.0.CO;2-2",
    "10.5555/a#b?c%d_e&f": "10.5555/a%23b%3Fc%25d_e%26f",
}


async def read_papers(client: Gateway) -> dict[str, Any]:
    papers = (await client.get("/papers?items_per_page=100")).json()["papers"]
    return {paper["arxiv_id"]: paper for paper in papers}


async def test_all_formats_have_the_same_bare_dois(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        await client.get("/arxiv?any=casedoi")
        papers = await read_papers(client)
        bibtex, ris, atom = [
            (await client.get(f"/papers?format={name}&order=oldest")).text
            for name in ("bibtex", "ris", "atom")
        ]

    assert {name: paper["dois"] for name, paper in papers.items()} == DOIS
    urls = [f"https://doi.org/{LINKS.get(doi, doi)}" for dois in DOIS.values() for doi in dois]
    assert [
        link["href"]
        for name in DOIS
        for link in papers[name]["links"]
        if link.get("title") == "doi"
    ] == urls
    firsts = [dois[0] for dois in DOIS.values()]
    assert sorted(re.findall(r"^DO  - (.*?)\r?$", ris, re.MULTILINE)) == sorted(firsts)
    assert len(re.findall(r"^ *doi = ", bibtex, re.MULTILINE)) == len(firsts)
    assert "DOI:" not in bibtex
    assert "{10.5555/first.1}" in bibtex
    assert sorted(re.findall('href="(https://doi.org/[^"]*)"', atom)) == sorted(urls)


async def test_written_results_have_bare_dois(client: Gateway) -> None:
    result = {
        "authors": ["A"],
        "title": "T",
        "arxiv_id": "2101.00001",
        "version": 1,
        "summary": "S",
        "dois": ["doi:10.5555/a,", "10.5555/A;10.5555/b", "DOI:"],
        "links": [{"href": "https://doi.org/doi:10.5555/a,", "title": "doi"}],
    }
    body = {"query_id": 7, "timestamp": 1_795_464_900, "results": [result]}
    assert (await client.post("/write-results", json=body)).status_code == 201

    paper = (await client.get("/papers/2101.00001")).json()
    assert paper["dois"] == ["10.5555/a", "10.5555/b"]
    assert [link["href"] for link in paper["links"]] == [
        *("https://doi.org/10.5555/a", "https://doi.org/10.5555/b")
    ]


async def test_id_with_subject_class_in_a_feed_is_stored_without_it(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        summary = (
            await client.get(
                "/arxiv?any=caseids&max_results=20&id_list=math.GT/0309199,MATH/0309136"
            )
        ).json()
        found = [
            (await client.get(f"/papers/{name}")).json()["arxiv_id"]
            for name in ("math/0309199", "math.GT/0309199", "math.gt/0309199V1")
        ]

    assert "missing_ids" not in summary
    assert found == ["math/0309199"] * 3


@pytest.mark.parametrize(
    "text",
    [
        *("HEP-TH/9901001", "arxiv: hep-th/9901001", "hep-th/9901001/", "hep-th/9901001V3"),
        *("10.48550/ARXIV.HEP-TH/9901001", "https://arxiv.org/e-print/hep-th/9901001"),
        *("hep-th/9901001v3.pdf", "oai:arXiv.org:hep-th/9901001"),
        "arXiv:hep-th/9901001v3 [hep-th] 5 Jan 1999",
    ],
)
async def test_any_form_of_an_id_is_accepted_everywhere(gateway: Serve, text: str) -> None:
    async with gateway(case_transport()) as client:
        search = await client.get(
            "/arxiv", params={"any": "caseids", "id_list": text, "max_results": 20}
        )
        paper = await client.get(f"/papers/{text}")
        q = await client.get("/papers", params={"q": text})

    assert (search.status_code, "missing_ids" in search.json()) == (200, False)
    assert (paper.status_code, paper.json()["arxiv_id"]) == (200, "hep-th/9901001")
    assert [found["arxiv_id"] for found in q.json()["papers"]] == ["hep-th/9901001"]


@pytest.mark.parametrize("digit", ["\u0661", "\uff11", "\u0967"])
async def test_ids_have_ascii_digits(client: Gateway, db: psycopg.Connection, digit: str) -> None:
    name = f"210{digit}.00001"
    result = {"authors": ["A"], "title": "T", "arxiv_id": name}
    body = {"query_id": 7, "timestamp": 1_795_464_900, "results": [result]}

    statuses = [
        (await client.get(f"/papers/{name}")).status_code,
        (await client.get("/arxiv", params={"id_list": name})).status_code,
        (await client.post("/write-results", json=body)).status_code,
    ]

    assert statuses == [400, 400, 400]
    assert db.execute("select count(*) from results").fetchone() == (0,)


@pytest.mark.parametrize(
    ("text", "is_included"),
    [
        *(("2021", True), ("2021-01", True), ("20210105", True), ("2021-W01", True)),
        *(("2021-005", True), ("2021-01-05T10", True), ("20210105T100000Z", True)),
        *(("2020-12", False), ("20210104", False), ("2021-W01-1", False), ("2021-01-05T09", False)),
    ],
)
async def test_dates_of_all_iso_forms_end_a_range(
    gateway: Serve,
    text: str,
    is_included: bool,  # noqa: FBT001
) -> None:
    async with gateway(case_transport(), timezone="UTC") as client:
        await client.get("/arxiv?any=caseids&max_results=20")
        papers = (await client.get("/papers", params={"until": text})).json()["papers"]
        queries = await client.post("/queries", json={"start_timestamp": text})
        search = await client.get("/arxiv", params={"any": "caseids", "submitted_to": text})

    assert bool(papers) is is_included
    assert (queries.status_code, len(queries.json())) == (200, 1)
    assert search.status_code == 200
