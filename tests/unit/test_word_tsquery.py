"""Words of filters are valid tsqueries, and normalized as the database normalizes its texts."""

import sys
import unicodedata
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service.word_tsquery import build_word_tsqueries, unaccent_text


@pytest.fixture(scope="module")
def conn(server: str, template: str) -> Iterator[psycopg.Connection]:
    """A database for this module."""
    with psycopg.connect(server, autocommit=True) as admin:
        new, old = Identifier("words"), Identifier(template)
        admin.execute(SQL("create database {} template {}").format(new, old))
        with psycopg.connect(make_conninfo(server, dbname="words"), autocommit=True) as conn:
            yield conn
        admin.execute("drop database words")


@pytest.mark.parametrize(
    ("text", "tsqueries"),
    [
        ("dark-matter", ["'dark'", "'matter'"]),
        ("Schrödinger AT&T", ["'Schrodinger'", "'AT'", "'T'"]),
        (r"$\alpha$ O'Brien", [r"'$\\alpha$'", "'O''Brien'"]),
        ("SU(2) - ... ()", ["'SU(2)'"]),
        ("AND & | !x", ["'AND'", "'!x'"]),
        ("... \u2013", []),
    ],
)
def test_each_word_is_a_tsquery(text: str, tsqueries: list[str]) -> None:
    assert build_word_tsqueries(text) == tsqueries


PIECES = st.sampled_from(
    ["quark", *" '\\&|!:*()<>\"@/.-", "<->", "<b>", "a/b.c", "x@y.org", "http://", "é", "½", "1e5"]
)
TYPED = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TYPED | st.lists(PIECES, max_size=12).map("".join), min_size=80, max_size=80))
@settings(max_examples=40)
def test_any_word_is_a_valid_tsquery(conn: psycopg.Connection, texts: list[str]) -> None:
    tsqueries = [tsquery for text in texts for tsquery in build_word_tsqueries(text)]

    conn.execute("select to_tsquery('arxiv', word) from unnest(%s::text[]) as word", [tsqueries])


@pytest.mark.parametrize(
    ("paper", "text"),
    [
        ("AdS/CFT and GPT-4", "CFT GPT 4"),
        ("for $m<n$ and $k>0$ we", "n and k"),
        ("Chern\u2013Simons theories", "theory Simons"),
        ("J. Schro\u0308dinger, Ł. Erdős", "schrödinger ł erdos"),
        ("ﬁeld of R²", "field R2"),
        ("ΛCDM from ΩM", "λcdm ωm"),
        (r"in $\alpha$ of e+e- at SU(2)", r"$\alpha$ e+e- SU(2) su"),
        ("see https://arxiv.org/abs/2101.00001v2", "arxiv.org 2101.00001v2"),
    ],
)
def test_words_are_found_in_any_spelling(conn: psycopg.Connection, paper: str, text: str) -> None:
    row = conn.execute(
        "select to_tsvector('arxiv', unaccent_text(%s)) @@ to_tsquery('arxiv', %s)",
        [paper, " & ".join(build_word_tsqueries(text))],
    ).fetchone()

    assert row == (True,)


def test_normalization_equals_that_of_the_database(conn: psycopg.Connection) -> None:
    known = [
        character
        for character in map(chr, range(1, sys.maxunicode + 1))
        if unicodedata.category(character) not in {"Cn", "Cs", "Co"}
    ]
    rows = conn.execute(
        "select character from unnest(%s::text[], %s::text[]) as folded (character, expected)"
        " where unaccent_text(character) <> expected",
        [known, [unaccent_text(character) for character in known]],
    ).fetchall()

    assert rows == []


TEX_PIECES = st.sampled_from(
    [
        *"\\{} '\"`^~=.Hckbdurvtija1&%$_,é\u0301\u00ad\u200b", r"\\", "ss", "aa", "ng", "oe",
        r"\emph", r"\textbf{", r"{\em ", r"\cite", r"\"", r"\'", "''", r"\H", r"\i", r"\o", r"\AE",
        "か\u3099",
    ]
)  # fmt: skip
TEX = st.lists(TEX_PIECES, max_size=15).map("".join)


@given(st.lists(TEX, min_size=200, max_size=200))
@settings(max_examples=40)
def test_normalization_of_tex_equals_that_of_the_database(
    conn: psycopg.Connection, texts: list[str]
) -> None:
    rows = conn.execute(
        "select original, unaccent_text(original), expected"
        " from unnest(%s::text[], %s::text[]) as normalized (original, expected)"
        " where unaccent_text(original) <> expected",
        [texts, [unaccent_text(text) for text in texts]],
    ).fetchall()

    assert rows == []


@pytest.mark.parametrize(
    ("original", "normalized"),
    [
        (r"K{\"a}hler K\"ahler K\"{a}hler K{\"{a}}hler", "Kahler Kahler Kahler Kahler"),
        (r"Andr\\'e", "Andre"),
        (r"Schr\"odinger Schr\''odinger", "Schrodinger Schrodinger"),
        (r"Erd\H{o}s Erd\H os", "Erdos Erdos"),
        (r"na\"{\i}ve na\"\i ve", "naive naive"),
        (r"Nguy{\~{\^e}}n", "Nguyen"),
        (
            r"\v{S}koda \v Skoda \c{C}elik \.Zak \=a \k{a} \r{a} \d{h} \u{g}",
            "Skoda Skoda Celik Zak a a a h g",
        ),
        (r"{\L}\'od\'z \L{}ukasz J\o rgen {\AA}rhus Wei{\ss}", "Lodz Lukasz Jorgen Arhus Weiss"),
        ("Weiß Ærø Œuvre Þór Łódź", "Weiss AEro OEuvre THor Lodz"),
        (r"\emph{weak} {\it limit}", "weak} limit}"),
        (r"AT\&T 5\%", "AT T 5%"),
        (r"\frac{\"a}{b} \alpha \textdegree", r"\frac{a{b} \alpha \textdegree"),
        (
            "soft\u00adhyphen zero\u200bwidth \ufeffbom \u202ebidi\u202c",
            "softhyphen zerowidth bom bidi",
        ),
    ],
)
def test_accents_of_all_spellings_are_removed(original: str, normalized: str) -> None:
    assert unaccent_text(original) == normalized
