"""`GET /papers/{arxiv_id}/similar`: papers with the same significant words."""

import csv
import io
import json
from typing import Any

import pytest

from service.models.arxiv import Entry
from service.models.responses import Paper
from tests.conftest import Gateway, Serve
from tests.support.papers import create_paper, store_papers

SPINS = "We study the entanglement of spins in a chain."
OTHERS = [
    create_paper(50 + n, title, f"We study the {title.lower()} of a place in a new way.")
    for n, title in enumerate(["Stars", "Galaxies", "Proofs", "Languages", "Networks", "Prices"])
]


def create_spins() -> list[Entry]:
    return [
        create_paper(1, "Entanglement in spin chains", SPINS),
        create_paper(2, "Entangled spins", "The entanglement of a spin and the chain of another."),
        create_paper(3, "Magnets", "In magnets, the spins are studied in a new way."),
        *OTHERS,
    ]


async def find_similar(client: Gateway, arxiv_id: str, **params: Any) -> list[dict[str, Any]]:
    response = await client.get(f"/papers/{arxiv_id}/similar", params=params)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"papers"}
    papers: list[dict[str, Any]] = response.json()["papers"]
    return papers


async def test_papers_with_more_significant_words_in_common_come_first(
    client: Gateway, database: str
) -> None:
    await store_papers(database, *create_spins())
    papers = await find_similar(client, "2611.00001")
    assert [paper["arxiv_id"] for paper in papers] == ["2611.00002", "2611.00003"]
    assert set(papers[0]["shared_terms"]) == {"entanglement", "spin", "chains"}
    assert papers[1]["shared_terms"] == ["spin"]
    stored = (await client.get("/papers/2611.00002")).json()
    assert papers[0].keys() == {*Paper.__struct_fields__, "shared_terms"}
    assert all(papers[0][name] == stored[name] for name in Paper.__struct_fields__)


async def test_shared_terms_are_words_and_not_stems(client: Gateway, database: str) -> None:
    first = create_paper(1, "Poincaré inequalities", 'Inequalities of M\\"obius.')
    second = create_paper(2, "An inequality of Poincare", "Möbius and others.")
    await store_papers(database, first, second, *OTHERS)
    [paper] = await find_similar(client, "2611.00001")
    assert paper["shared_terms"] == ["inequalities", "poincare", "mobius"]


async def test_words_of_many_papers_are_not_significant(client: Gateway, database: str) -> None:
    stars = create_paper(60, "Stars in a new way", "The stars of a galaxy.")
    await store_papers(database, *create_spins(), stars)
    for paper in await find_similar(client, "2611.00060"):
        assert not {"the", "in", "a", "we"} & {*paper["shared_terms"]}


async def test_the_paper_itself_is_not_similar_in_any_version(
    client: Gateway, database: str
) -> None:
    newer = create_paper(1, "Entanglement in long spin chains", SPINS, version=2)
    old = create_paper(2, "Entangled spin chains", SPINS)
    new = create_paper(2, "Entangled spin chains again", SPINS, version=2)
    await store_papers(database, *create_spins()[:1], newer, old, new, *OTHERS)
    for arxiv_id in "2611.00001", "2611.00001v1", "2611.00001v2":
        found = await find_similar(client, arxiv_id)
        assert [(paper["arxiv_id"], paper["version"]) for paper in found] == [("2611.00002", 2)]
        found = await find_similar(client, arxiv_id, versions="all")
        assert {(paper["arxiv_id"], paper["version"]) for paper in found} == {
            ("2611.00002", 1),
            ("2611.00002", 2),
        }


async def test_similar_papers_are_filtered(client: Gateway, database: str) -> None:
    paper = create_paper(
        4,
        "Spin entanglement",
        SPINS,
        authors=["Emmy Noether"],
        categories=["quant-ph"],
        journal="Phys. Rev. A 1",
    )
    await store_papers(database, *create_spins(), paper)
    for filters in (
        {"author": "Noether"},
        {"title": "spin entanglement"},
        {"journal": "Phys. Rev."},
        {"category": "quant-ph"},
    ):
        found = await find_similar(client, "2611.00001", **filters)
        assert [each["arxiv_id"] for each in found] == ["2611.00004"], filters
    assert await find_similar(client, "2611.00001", until="2020") == []
    assert len(await find_similar(client, "2611.00001", since="2020")) == 3
    assert len(await find_similar(client, "2611.00001", items_per_page=1)) == 1


@pytest.mark.parametrize(
    "spelling",
    [
        "hep-th/9901001",
        "hep-th/9901001v1",
        "HEP-TH/9901001",
        "hep-th%2F9901001",
        "arXiv:hep-th/9901001",
        "https://arxiv.org/abs/hep-th/9901001v1",
        "https:/arxiv.org/pdf/hep-th/9901001.pdf",
        "10.48550/arXiv.hep-th/9901001",
        "https://doi.org/10.48550/arXiv.hep-th/9901001/",
        "/hep-th/9901001",
    ],
)
async def test_any_spelling_of_an_identifier(client: Gateway, database: str, spelling: str) -> None:
    first, *others = create_spins()
    first = create_paper(1, first.title, first.summary, arxiv_id="hep-th/9901001")
    await store_papers(database, first, *others)
    paper = await client.get(f"/papers/{spelling}")
    assert (paper.status_code, paper.json().get("arxiv_id")) == (200, "hep-th/9901001")
    for end in "", "/":
        similar = await client.get(f"/papers/{spelling}/similar{end}")
        assert similar.status_code == 200, similar.text
        assert [each["arxiv_id"] for each in similar.json()["papers"]] == [
            "2611.00002",
            "2611.00003",
        ]


async def test_other_formats_have_the_same_papers(client: Gateway, database: str) -> None:
    await store_papers(database, *create_spins())
    texts = {}
    for name in "ndjson", "csv", "bibtex", "ris", "atom":
        response = await client.get(f"/papers/2611.00001/similar?format={name}")
        assert response.status_code == 200
        texts[name] = response.text
        assert response.text.index("00002") < response.text.index("00003")
        assert "2611.00050" not in response.text
    rows = [json.loads(line) for line in texts["ndjson"].splitlines()]
    assert rows == await find_similar(client, "2611.00001")
    assert len([*csv.DictReader(io.StringIO(texts["csv"]))]) == 2
    response = await client.get(
        "/papers/2611.00001/similar", params={"fields": "arxiv_id,shared_terms"}
    )
    assert response.json()["papers"][1] == {"arxiv_id": "2611.00003", "shared_terms": ["spin"]}


async def test_paper_that_is_not_stored_is_not_found(client: Gateway, database: str) -> None:
    await store_papers(database, *create_spins())
    for arxiv_id, status in {
        "2611.09999": 404,
        "2611.00001v7": 404,
        "hep-th/9901001": 404,
        "no-paper": 400,
        "a/b/c": 400,
        "similar": 400,
    }.items():
        paper = await client.get(f"/papers/{arxiv_id}")
        similar = await client.get(f"/papers/{arxiv_id}/similar")
        assert paper.status_code == similar.status_code == status, arxiv_id
        assert paper.json()["detail"] == similar.json()["detail"]
    assert (await client.get("/papers/suggest/similar")).status_code == 400


async def test_paper_without_significant_words_has_no_similar_papers(
    client: Gateway, database: str
) -> None:
    unique = create_paper(9, "Xylophones")
    await store_papers(database, *create_spins(), unique, create_paper(10, "?"))
    assert await find_similar(client, "2611.00009") == []
    assert await find_similar(client, "2611.00010") == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("items_per_page=0", "items_per_page"),
        ("items_per_page=101", "items_per_page"),
        ("items_per_page=x", "items_per_page"),
        ("q=x", "q"),
        ("page=1", "page"),
        ("after=x", "after"),
        ("order=newest", "order"),
        ("author=?", "author"),
        ("category=none", "category"),
        ("since=x", "since"),
        ("since=2021&until=2020", "until"),
        ("versions=1", "versions"),
        ("format=xml", "format"),
        ("fields=highlights", "fields"),
        ("fields=title&format=ris", "fields"),
    ],
)
async def test_invalid_parameters_are_rejected(
    client: Gateway, database: str, query: str, parameter: str
) -> None:
    await store_papers(database, *create_spins())
    response = await client.get(f"/papers/2611.00001/similar?{query}")
    assert (response.status_code, response.json()["parameter"]) == (400, parameter)


async def test_head_and_options_of_similar_papers(client: Gateway, database: str) -> None:
    await store_papers(database, *create_spins())
    path = "/papers/hep-th/9901001/similar"
    assert (await client.head(path)).status_code == 404
    options = await client.options(path)
    assert (options.status_code, "GET" in options.headers["allow"]) == (204, True)
    assert (await client.post(path)).status_code == 405


async def test_similar_papers_are_unavailable_without_an_index(
    gateway: Serve, database: str
) -> None:
    await store_papers(database, *create_spins())
    async with gateway(settle=1, index_dir="/proc/no-such-directory") as client:
        response = await client.get("/papers/2611.00001/similar")
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")
        assert (await client.get("/papers/2611.09999/similar")).status_code == 404
