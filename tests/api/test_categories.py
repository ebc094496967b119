"""Categories in searches, lists and facets, and the warnings of searches without results."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from demo.arxiv import StandIn
from tests.conftest import Gateway, Serve
from tests.support.cases import case_transport


@pytest.fixture
async def cases(gateway: Serve) -> AsyncIterator[Gateway]:
    """A service with seven papers: with two names, one of the two, a bare archive, MSC classes."""
    async with gateway(case_transport()) as client:
        response = await client.get("/arxiv?title=casecat")
        assert response.json()["num_entries"] == 7
        yield client


FOUND = {
    "math.MP": {"2101.06001"},
    "MATH-PH": {"2101.06001"},
    "cs.na": {"2101.06002"},
    "math.NA": {"2101.06002"},
    "cs.SY": {"2101.06003"},
    "eess": {"2101.06003"},
    "cs.*": {"2101.06003"},
    "alg-geom": {"alg-geom/9202002"},
    "math.AG": {"alg-geom/9202002"},
    "astro-ph": {"astro-ph/0601001"},
    "astro-ph.*": {"astro-ph/0601001"},
    "cond-mat": {"cond-mat/0001002"},
    "Cond-Mat.Mtrl-Sci": {"cond-mat/0001002"},
    "math.DG": {"0801.00001"},
    "math": {"2101.06001", "2101.06002", "alg-geom/9202002", "0801.00001"},
    "hep-th": {"2101.06001"},
    "hep-th.*": {"2101.06001"},
    "q-bio": set(),
}


async def test_category_finds_papers_under_each_of_its_names(cases: Gateway) -> None:
    for path in ("/papers", "/results"):
        for category, expected in FOUND.items():
            body = (await cases.get(path, params={"category": category})).json()
            papers = body["papers"] if path == "/papers" else body
            assert {paper["arxiv_id"] for paper in papers} == expected, (path, category)


async def test_facets_count_each_category_once_under_its_present_name(cases: Gateway) -> None:
    facets = (await cases.get("/papers")).json()["facets"]["category"]

    assert {facet["value"]: facet["count"] for facet in facets} == {
        **dict.fromkeys(["math-ph", "hep-th", "math.NA", "eess.SY", "alg-geom", "math.AG"], 1),
        **dict.fromkeys(["astro-ph", "cond-mat.mtrl-sci", "cond-mat.stat-mech", "math.DG"], 1),
    }
    names = {facet["value"]: facet["name"] for facet in facets}
    assert names["cond-mat.mtrl-sci"] == "Materials Science"
    for facet in facets:
        found = (await cases.get("/papers", params={"category": facet["value"]})).json()
        assert found["total"] == facet["count"]


async def test_paper_counts_once_per_category_and_not_for_other_terms(
    client: Gateway, db: psycopg.Connection
) -> None:
    for number, names in enumerate(
        (
            ["cs.AI", "cs.AI", "math.MP", "math-ph", "math.MP"],
            ["math.MP", "53C25, 53A30 (Primary)", "I.2.7; F.1.1", "Materials Science", "cs.XX"],
            [],
        )
    ):
        db.execute(
            "insert into papers (arxiv_id, version, timestamp, title, authors, categories)"
            " values (%s, 1, 1, 'x', '{}', %s)",
            (f"2101.0000{number}", names),
        )
    body = (await client.get("/papers")).json()

    assert body["total"] == 3
    assert body["facets"]["category"] == [
        {"value": "math-ph", "count": 2, "name": "Mathematical Physics"},
        {"value": "cs.AI", "count": 1, "name": "Artificial Intelligence"},
    ]


@pytest.mark.parametrize("path", ["/arxiv", "/arxiv-api", "/papers", "/results"])
async def test_unknown_category_is_rejected_with_the_closest_names(
    client: Gateway, arxiv: StandIn, path: str
) -> None:
    for category, expected in {"cs.XX": "cs.*", "econn": "econ", "stats.ML": "stat.ML"}.items():
        response = await client.get(path, params={"category": ["cs.AI", category]})

        assert response.status_code == 400
        assert response.json()["parameter"] == "category"
        assert response.json()["detail"].startswith(
            f"category: {category!r} is not a category; closest: {expected}"
        )
    assert arxiv.requests == []


@pytest.mark.parametrize(
    "searches",
    [
        ["category=econ", "category=econ.*", "category=ECON", "category=econ&category=econ.EM"],
        ["category=cs.AI", "category=CS.ai", "query=cat:cs.ai", "query=cat:(CS.AI)"],
        ["category=math-ph", "category=math.MP", "category=math.mp&category=math-ph"],
        ["category=astro-ph", "category=astro-ph.*"],
        ["query=cat:MATH.A*", "query=cat:math.a*"],
    ],
)
async def test_equal_categories_are_one_search(
    client: Gateway, arxiv: StandIn, searches: list[str]
) -> None:
    query_ids = {(await client.get(f"/arxiv?{each}")).json()["query_id"] for each in searches}

    assert len(query_ids) == len(arxiv.requests) == 1


async def test_archive_finds_the_papers_of_all_its_categories(client: Gateway) -> None:
    for archive in ("cs", "math", "hep-th"):
        response = await client.get(f"/arxiv?category={archive}&max_results=2000")
        papers = (await client.get(f"/papers?category={archive}")).json()

        assert response.json()["num_entries"] == papers["total"] > 10


# Warnings


async def test_empty_search_has_the_same_warnings_when_it_is_cached(
    gateway: Serve, client: Gateway
) -> None:
    warnings = [
        "query: cs.XX is not a category; closest: cs.*",
        (
            "title: 2021 is searched as a word;"
            " use submitted_from=2021-01-01 and submitted_to=2021-12-31"
        ),
    ]
    url = "/arxiv?query=cat:cs.XX&title=xyzzy+2021"
    async with gateway() as other:
        first, cached, stored = [await each.get(url) for each in (client, client, other)]

    assert "fwd" in first.headers["cache-status"]
    assert "hit" in cached.headers["cache-status"]
    assert "hit" in stored.headers["cache-status"]
    for response in first, cached, stored:
        assert response.json()["num_results"] == 0
        assert sorted(response.json()["warnings"]) == warnings


async def test_search_with_results_has_no_such_warnings(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        response = await client.get("/arxiv?title=casecat+2021")

    assert response.json()["num_results"] > 0
    assert "warnings" not in response.json()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"query": "cat:cs.XX"}, "query: cs.XX is not a category"),
        ({"title": "xyzzy ANDNOT abc"}, "title: ANDNOT is searched as a word; use query"),
        ({"any": "xyzzy+abc"}, "any: contains literal plus signs"),
        ({"title": "10.1016/0370-2693(82)90697-1"}, 'doi:"10.1016/0370-2693(82)90697-1"'),
        ({"author": "Xyzzy, Ada; Xyzzy, Bo"}, 'use query=au:"Ada Xyzzy" AND au:"Bo Xyzzy"'),
    ],
)
async def test_empty_search_explains_each_kind_of_mistake_fresh_and_cached(
    client: Gateway, parameters: dict[str, str], expected: str
) -> None:
    fresh, cached = [await client.get("/arxiv", params=parameters) for _ in range(2)]

    assert "fwd" in fresh.headers["cache-status"]
    assert "hit" in cached.headers["cache-status"]
    for response in fresh, cached:
        (warning,) = response.json()["warnings"]
        assert expected in warning


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"title": "xyzzy ANDNOT abc"}, "title: ANDNOT is searched as a word; use q"),
        ({"q": "xyzzy+abc"}, "q: contains literal plus signs"),
        ({"q": "10.1016/0370-2693(82)90697-1"}, 'doi:"10.1016/0370-2693(82)90697-1"'),
        ({"q": "xyz*zy"}, "q: xyz*zy is searched without the wildcard"),
        ({"author": "Xyzzy, Ada; Xyzzy, Bo"}, 'use q=author:"Ada Xyzzy" author:"Bo Xyzzy"'),
    ],
)
async def test_empty_list_of_papers_explains_each_kind_of_mistake(
    cases: Gateway, parameters: dict[str, str], expected: str
) -> None:
    (warning,) = (await cases.get("/papers", params=parameters)).json()["warnings"]
    assert expected in warning


async def test_first_page_of_papers_warns_if_nothing_was_found(cases: Gateway) -> None:
    empty = (await cases.get("/papers?q=cs.AI")).json()
    assert empty["total"] == 0
    assert empty["warnings"] == ["q: cs.AI is searched as a word; use category=cs.AI"]

    later = (await cases.get("/papers?q=cs.AI&page=1")).json()
    assert later == {"papers": []}
    found = (await cases.get("/papers?q=subsumed+or+archive+OR+casecat")).json()
    assert found["total"] > 0
    assert "warnings" not in found
    plain = (await cases.get("/papers?q=xyzzy")).json()
    assert "warnings" not in plain
