"""Filters by title, author and journal ignore accents, TeX and invisible characters."""

import json

import psycopg
import pytest

from tests.conftest import Gateway, Serve
from tests.support.cases import case_transport

STORED = r"K{\"a}hler metrics, Schr\"odinger and Erd\H{o}s in \emph{na\"{\i}ve} Stra{\ss}burg"
PASTED = "Soft\u00adhyphens and zero\u200bwidth \u2067marks\u2069"
SPELLINGS = [
    (STORED, "Kähler"),
    (STORED, "Kahler"),
    (STORED, r"K{\"a}hler"),
    (STORED, r"K\"ahler metrics"),
    (STORED, "KÄHLER METRICS"),
    (STORED, "schrödinger"),
    (STORED, r"Schr{\"o}dinger and Erdős"),
    (STORED, "Erdos in naïve"),
    (STORED, "Straßburg"),
    (STORED, "strassburg"),
    (STORED, "Kä\u00adhler"),
    ("Kähler und Erdős", r"K{\"a}hler und Erd\H{o}s"),
    ("Søren Kierkegård", r"S{\o}ren Kierkeg{\aa}rd"),
    (r"\L{}ukasz \.Zak, \c{C}elik, \v Skoda", "Łukasz Żak, Çelik, Škoda"),
    (r"Nguy{\~{\^e}}n and Garc{\'\i}a", "Nguyễn and García"),
    (r"Ann. Inst. H. Poincar\'e", "Ann. Inst. H. Poincaré"),
    (r"Astron. \& Astrophys.", "Astron. & Astrophys."),
    (PASTED, "Softhyphens"),
    (PASTED, "zerowidth marks"),
    (PASTED, "zero\u2060width"),
    ("Hyphenated words", "Hy\u00adphen\u200bated \ufeffwords"),
    ("Left to right", "Left\u200e to\u202a right\u202c"),
]


def insert(db: psycopg.Connection, texts: list[str]) -> None:
    """Each text is the title, the author and the journal of a result and a paper."""
    for number, text in enumerate(texts):
        db.execute(
            "insert into results (query_id, timestamp, result_number, author, title, journal)"
            " values (1, 1, %(number)s, %(text)s, %(text)s, %(text)s)",
            {"text": text, "number": number},
        )
        db.execute(
            "insert into papers (arxiv_id, version, timestamp, title, authors, journal)"
            " values ('2101.' || %(number)s, 1, 1, %(text)s, array[%(text)s], %(text)s)",
            {"text": text, "number": number},
        )


async def find_titles(client: Gateway, path: str, **params: str) -> list[str]:
    response = await client.get(path, params=params | {"fields": "title", "format": "ndjson"})
    assert response.status_code == 200, response.text
    return [json.loads(line)["title"] for line in response.text.splitlines()]


@pytest.mark.parametrize("name", ["title", "author", "journal"])
async def test_filter_finds_every_spelling(
    client: Gateway, db: psycopg.Connection, name: str
) -> None:
    insert(db, list(dict.fromkeys(stored for stored, _ in SPELLINGS)))

    for path in ("/results", "/papers"):
        for stored, text in SPELLINGS:
            assert stored in await find_titles(client, path, **{name: text}), (path, text)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (STORED, "Köhler"),
        (STORED, "metricsx"),
        ("two words", "twowords"),
        ("zero width", "zero\u200bwidth"),
    ],
)
async def test_filter_does_not_find_other_words(
    client: Gateway, db: psycopg.Connection, stored: str, text: str
) -> None:
    insert(db, [stored])

    assert await find_titles(client, "/results", title=text) == []


async def test_title_with_tex_is_found_and_returned_as_arxiv_sent_it(gateway: Serve) -> None:
    async with gateway(case_transport()) as client:
        await client.get("/arxiv", params={"title": "caseCJK"})
        for path in ("/results", "/papers"):
            for text in ("Kähler", "Kahler", r"K{\"a}hler", "schrödinger"):
                titles = await find_titles(client, path, title=text)
                assert titles == [r"caseCJK K{\"a}hler metrics and Schr\"odinger"]


async def test_full_text_query_finds_tex_and_words_with_invisible_characters(
    gateway: Serve,
) -> None:
    async with gateway(case_transport()) as client:
        await client.get("/arxiv", params={"title": "caseCJK"})
        for q in ("kähler", "kahler", "erdős", "softhyphenated", "zerowidth"):
            assert len(await find_titles(client, "/papers", q=q)) == 1
