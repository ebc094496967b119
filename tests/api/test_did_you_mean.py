"""`did_you_mean` of `/papers?q=`: corrected queries in place of one that finds nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.search_index.spelling import compute_distance
from tests.conftest import Gateway
from tests.support.papers import create_paper, store_papers

PAPERS = [
    create_paper(1, "Quantum entanglement", "Teleportation of photons.", authors=["Emmy Noether"]),
    create_paper(2, "Quantum gravity", "Loops.", comment="Habilitation", categories=["gr-qc"]),
    create_paper(3, "Quanta of gravity", "Photons and phonons.", authors=["José Müller"]),
    create_paper(4, "Neural networks", "The photon is rare here.", authors=["Erika Mueller"]),
]


async def correct(client: Gateway, q: str, **params: Any) -> list[str] | None:
    response = await client.get("/papers", params={"q": q, **params})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    assert found["total"] == 0 or "did_you_mean" not in found
    corrections: list[str] | None = found.get("did_you_mean")
    for correction in corrections or []:
        body = (await client.get("/papers", params={"q": correction, **params})).json()
        assert body["total"] > 0
    return corrections


@pytest.mark.parametrize(
    ("q", "corrected"),
    [
        ("qantum", "quantum"),  # a missing letter
        ("quantumm", "quantum"),  # a superfluous one
        ("quamtum", "quantum"),  # a wrong one
        ("qunatum", "quantum"),  # two in the wrong order
        ("entangelmnet", "entanglement"),  # two mistakes in a long word
        ("Qantum", "Quantum"),
        ("title:qantum", "title:quantum"),
        ("author:Nöthr", None),  # two mistakes in a short word
        ("author:Noeter", "author:Noether"),
        ('author:"Noeter, Emmy"', 'author:"Noether, Emmy"'),
        ('"quantum gravty"', '"quantum gravity"'),
        ("note:habilitatoin", "note:habilitation"),
        ("qantum gravty", "quantum gravity"),
        ("  qantum   AND (loops OR walls) -neural", "  quantum   AND (loops OR walls) -neural"),
        ("qantum-gravity", "quantum-gravity"),
        ("\u201cqantum gravity\u201d", "\u201cquantum gravity\u201d"),
        ("neral netwroks photon", "neural networks photon"),
        ("quantum AND (qravity OR xyzzyx)", "quantum AND (gravity OR xyzzyx)"),
    ],
)
async def test_misspelled_words_are_corrected_and_the_rest_is_kept(
    client: Gateway, database: str, q: str, corrected: str | None
) -> None:
    await store_papers(database, *PAPERS)
    assert await correct(client, q) == (corrected and [corrected])


async def test_fewer_mistakes_and_more_papers_come_first(client: Gateway, database: str) -> None:
    titles = ["Phonons", "Photons", "Photons again", "Photon counting", "Phone calls"]
    await store_papers(database, *(create_paper(n, title) for n, title in enumerate(titles)))
    assert await correct(client, '"phoons"') == ['"photons"', '"phonons"']


async def test_corrections_find_papers_with_the_same_filters(
    client: Gateway, database: str
) -> None:
    await store_papers(database, *PAPERS)
    assert await correct(client, "qantum", category="gr-qc") == ["quantum"]
    assert await correct(client, "qantum", category="cs.LG") is None
    assert await correct(client, "qantum", until="1999") is None
    assert await correct(client, "qantum networks") is None


async def test_words_of_superseded_versions_do_not_count(client: Gateway, database: str) -> None:
    typo = create_paper(7, "Qantum walks")
    fixed = create_paper(7, "Quantum walks", version=2)
    await store_papers(database, typo, fixed)
    assert await correct(client, "qantum walks") == ["quantum walks"]
    assert await correct(client, "qantum walks", versions="all") is None


@pytest.mark.parametrize(
    "q",
    [
        "quantum",  # finds papers
        "quantum neural",  # both words exist
        "xyzzyxyzzy",
        "gr",
        "qua",  # too short
        "lops",  # of four letters, but
        "-quantum loops neural",
        "quantm*",
        "2611.99999",
        "10.1000/quantm",
        "qantum gravty neral netwrks",  # too many words
    ],
)
async def test_no_corrections_where_none_helps(client: Gateway, database: str, q: str) -> None:
    await store_papers(database, *PAPERS)
    assert await correct(client, q) == (["loops"] if q == "lops" else None)


async def test_only_the_first_page_in_json_has_corrections(client: Gateway, database: str) -> None:
    await store_papers(database, *PAPERS)
    assert "did_you_mean" in (await client.get("/papers?q=qantum")).json()
    assert "did_you_mean" not in (await client.get("/papers?q=qantum&page=1")).json()
    assert (await client.get("/papers?q=qantum&format=ndjson")).text == ""


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_that_of_optimal_string_alignment(first: str, second: str) -> None:
    def compute(one: str, other: str) -> int:
        if not (one and other):
            return len(one or other)
        options = [
            compute(one[1:], other) + 1,
            compute(one, other[1:]) + 1,
            compute(one[1:], other[1:]) + (one[0] != other[0]),
        ]
        if len(one) > 1 and len(other) > 1 and one[:2] == other[1::-1]:
            options.append(compute(one[2:], other[2:]) + 1)
        return min(options)

    assert compute_distance(first, second) == compute(first, second)
