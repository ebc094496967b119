"""`GET /papers/suggest`: terms, authors and titles while a query is typed."""

from typing import Any

import pytest

from tests.conftest import Gateway, Serve
from tests.support.papers import create_paper, store_papers

EMPTY: dict[str, list[Any]] = {"terms": [], "authors": [], "titles": []}


async def suggest(client: Gateway, q: str) -> dict[str, list[Any]]:
    response = await client.get("/papers/suggest", params={"q": q})
    assert response.status_code == 200, response.text
    found: dict[str, list[Any]] = response.json()
    return found


async def test_terms_complete_the_last_word_most_frequent_first(
    client: Gateway, database: str
) -> None:
    titles = [
        "Quantum entropy",
        "Quantum entanglement",
        "Entanglement of spins",
        "Entire functions",
    ]
    await store_papers(database, *(create_paper(n, title) for n, title in enumerate(titles)))

    assert (await suggest(client, "ENT"))["terms"] == [
        {"text": "entanglement", "papers": 2},
        {"text": "entire", "papers": 1},
        {"text": "entropy", "papers": 1},
    ]
    assert (await suggest(client, "quantum ent"))["terms"] == [
        {"text": "quantum entanglement", "papers": 1},
        {"text": "quantum entropy", "papers": 1},
    ]
    assert (await suggest(client, "spins quantum ent"))["terms"] == []


async def test_at_most_ten_terms_and_authors_and_five_titles(
    client: Gateway, database: str
) -> None:
    names = [f"Petra Kowalski{letter}" for letter in "abcdefghijklm"]
    papers = [
        create_paper(n, f"Kow{letter} theory", authors=names)
        for n, letter in enumerate("abcdefghijklm")
    ]
    await store_papers(database, *papers)
    found = await suggest(client, "kow")
    assert [len(found[name]) for name in ("terms", "authors", "titles")] == [10, 10, 5]


async def test_authors_are_found_by_given_name_and_surname(client: Gateway, database: str) -> None:
    papers = [
        create_paper(1, "One", authors=["Emmy Noether", "Émilie du Châtelet"]),
        create_paper(2, "Two", authors=["Emmy Noether"]),
        create_paper(3, "Three", authors=["Émmy Nœther", "Max Noether"]),
    ]
    await store_papers(database, *papers)
    for q in "emmy noe", "noether em", "Noether, Emmy", "EMMY":
        assert (await suggest(client, q))["authors"] == [{"name": "Emmy Noether", "papers": 3}], q
    assert [each["name"] for each in (await suggest(client, "noether"))["authors"]] == [
        "Emmy Noether",
        "Max Noether",
    ]
    for q in "chatelet", "Émil", "emilie du ch", "du Chât":
        [author] = (await suggest(client, q))["authors"]
        assert author == {"name": "Émilie du Châtelet", "papers": 1}, q


async def test_names_in_another_order_are_other_authors(client: Gateway, database: str) -> None:
    names = ["James Thomas", "Thomas James"]
    await store_papers(database, *(create_paper(n, "A", authors=[x]) for n, x in enumerate(names)))
    found = (await suggest(client, "thomas"))["authors"]
    assert sorted(author["name"] for author in found) == names
    assert [author["papers"] for author in found] == [1, 1]


async def test_titles_have_all_words_and_the_beginning_of_the_last(
    client: Gateway, database: str
) -> None:
    titles = ["Dark matter", "Dark material in a dark room of many walls", "Dark energy", "Matter"]
    await store_papers(database, *(create_paper(n, title) for n, title in enumerate(titles)))
    assert (await suggest(client, "dark matt"))["titles"] == [
        {"arxiv_id": "2611.00000", "title": "Dark matter"}
    ]
    found = [each["title"] for each in (await suggest(client, "dark mat"))["titles"]]
    assert found == titles[:2]
    assert (await suggest(client, "light mat"))["titles"] == []


async def test_suggestions_ignore_tex_and_accents_in_titles(client: Gateway, database: str) -> None:
    await store_papers(database, create_paper(1, r"On Schr\"odinger's equation"))
    for q in "schro", "Schrö", 'Schr\\"od':
        found = await suggest(client, q)
        assert found["terms"] == [{"text": "schrodinger", "papers": 1}], q
        assert len(found["titles"]) == 1


async def test_only_latest_versions_count(client: Gateway, database: str) -> None:
    first = create_paper(1, "Quantum testnig", authors=["Jon Doe"])
    second = create_paper(1, "Quantum testing", version=2, authors=["John Doe"])
    await store_papers(database, first, second)
    assert await suggest(client, "test") == {
        "terms": [{"text": "testing", "papers": 1}],
        "authors": [],
        "titles": [{"arxiv_id": "2611.00001", "title": "Quantum testing"}],
    }
    assert (await suggest(client, "doe"))["authors"] == [{"name": "John Doe", "papers": 1}]
    assert await suggest(client, "testn") == EMPTY


@pytest.mark.parametrize("q", ["", " ", "q", "?", "a*", '"', "\u0301a", "(((", "量"])
async def test_less_than_two_letters_suggest_nothing(
    client: Gateway, database: str, q: str
) -> None:
    await store_papers(database, create_paper(1, "Quantum a 量子", authors=["Quentin A"]))
    assert await suggest(client, q) == EMPTY


async def test_missing_query_suggests_nothing(client: Gateway) -> None:
    assert (await client.get("/papers/suggest")).json() == EMPTY


@pytest.mark.parametrize("q", [".*", "a.*", "qu[a-z]", "title:(", '"quantum', "NOT -", "\x1f\x1f"])
async def test_queries_are_plain_text(client: Gateway, database: str, q: str) -> None:
    await store_papers(database, create_paper(1, "Quantum abc", authors=["Quentin Abc"]))
    assert (await suggest(client, q))["titles"] in (
        [],
        (await suggest(client, "quantum"))["titles"],
    )


async def test_long_queries_are_rejected(client: Gateway) -> None:
    assert await suggest(client, "ab " * 66) == EMPTY
    response = await client.get("/papers/suggest", params={"q": "x" * 201})
    assert (response.status_code, response.json()["parameter"]) == (400, "q")
    response = await client.get("/papers/suggest?q=a%00b")
    assert (response.status_code, response.json()["parameter"]) == (400, "q")
    assert (await client.get("/papers/suggest?items_per_page=3")).status_code == 400


async def test_suggestions_are_cacheable_like_other_lists(client: Gateway, database: str) -> None:
    await store_papers(database, create_paper(1, "Quantum testing"))
    suggestions = await client.get("/papers/suggest?q=quan")
    papers = await client.get("/papers?q=quantum")
    assert suggestions.headers.get("cache-control") == papers.headers.get("cache-control")
    headers = {"if-none-match": suggestions.headers["etag"]}
    assert (await client.get("/papers/suggest?q=quan", headers=headers)).status_code == 304


async def test_suggestions_are_unavailable_while_there_is_no_index(gateway: Serve) -> None:
    async with gateway(settle=1, index_dir="/proc/no-such-directory") as client:
        for path in "/papers/suggest?q=quantum", "/papers?q=quantum":
            response = await client.get(path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "10")
