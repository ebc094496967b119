"""Full text queries are converted or rejected, and highlighting preserves the text."""
# ruff: noqa: RUF001 - quotes of other languages

import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from html import unescape
from itertools import combinations

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from service.errors import InvalidParameter
from service.full_text import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_WORD,
    MAX_WORDS,
    START,
    STOP,
    build_highlight_tsquery,
    build_tsquery,
    highlight_matches,
    unaccent_text,
)

WORDS = ("quark", "lepton", "boson", "gluon")
PAPERS = [" ".join(words) for count in range(5) for words in combinations(WORDS, count)]


@pytest.fixture(scope="module")
def conn(server: str, template: str) -> Iterator[psycopg.Connection]:
    """A database for this module."""
    with psycopg.connect(server, autocommit=True) as admin:
        new, old = Identifier("words"), Identifier(template)
        admin.execute(SQL("create database {} template {}").format(new, old))
        with psycopg.connect(make_conninfo(server, dbname="words"), autocommit=True) as conn:
            yield conn
        admin.execute("drop database words")


def read(text: str) -> str | None:
    try:
        return build_tsquery(text)
    except InvalidParameter:
        return None


def reason(text: str) -> str:
    with pytest.raises(InvalidParameter) as refused:
        build_tsquery(text)
    assert len(refused.value.detail) < 300
    return refused.value.detail


def headline(conn: psycopg.Connection, text: str, query: str) -> str:
    row = conn.execute(
        "select ts_headline('arxiv', fold(%(text)s), to_tsquery('arxiv', %(query)s),"
        " 'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3))",
        {"text": text, "query": query},
    ).fetchone()
    assert row
    return str(row[0])


# The language


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("dark matter", "'dark' & 'matter'"),
        ("dark AND matter", "'dark' & 'matter'"),
        ('"dark matter"', "'dark matter'"),
        ("„dark matter“ «halo»", "'dark matter' & 'halo'"),
        ("a OR b c", "'a' | ('b' & 'c')"),
        ("(a OR b) c", "('a' | 'b') & 'c'"),
        ("a AND(b)OR(c)", "('a' & 'b') | 'c'"),
        ("((a))", "'a'"),
        ("a -b", "'a' & !'b'"),
        ('a -"b c"', "'a' & !'b c'"),
        ("a NOT b", "'a' & !'b'"),
        ("a AND NOT (b OR c)", "'a' & !('b' | 'c')"),
        ("a -(b c)", "'a' & !('b' & 'c')"),
        ("a ANDNOT b", "'a' & !'b'"),
        ('a ANDNOT title:(b OR "c d") e', "'a' & !('b':A | 'c d':A) & 'e'"),
        ("‘dark matter’ ‚halo‘ ＂a b＂", "'dark matter' & 'halo' & 'a b'"),
        ("+dark +title:matter", "'dark' & 'matter':A"),
        ("neu\u00adtri\u200bno ti\u200dtle:x", "'neutrino' & 'x':A"),
        ("10.5555/abc", "'10 5555 abc'"),
        ("doi:10.5555/abc", "'10 5555 abc'"),
        ("<https://doi.org/10.1016/0370-2693(88)90598-X>", "'10 1016 0370 2693(88)90598 X'"),
        ('"arXiv:2101.00001"', "'arXiv:2101 00001'"),
        ("NOT NOT a", "'a'"),
        ("a (b OR -c)", "'a' & ('b' | !'c')"),
        ("title:dark", "'dark':A"),
        ("Ti: dark", "'dark':A"),
        ('author:"van der Berg" abs:x note:12', "'van der Berg':B & 'x':C & '12':D"),
        ("a -title:b", "'a' & !'b':A"),
        ("ti:(a OR au:b c)", "'a':A | ('b':B & 'c':A)"),
        ("galax*", "'galax':*"),
        ("ti:galax*", "'galax':*A"),
        ("non-abel*", "('non' <-> 'abel':*)"),
        ("x NOT au:non-abel*", "'x' & !('non':B <-> 'abel':*B)"),
        ('"galax*"', "'galax*'"),
        ("a*b C*-algebra", "'a*b' & 'C* algebra'"),
        ("a * b - c ... () ''", "'a' & 'b' & 'c'"),
        ("a OR ...", "'a'"),
        ("dark-matter --dry-run", "'dark matter' & 'dry run'"),
        ("SU(2) f(R)", "'SU(2)' & 'f(R)'"),
        ("e+e- C++", "'e e' & 'C'"),
        (r"$\alpha$ O'Brien", r"'$\\alpha$' & 'O''Brien'"),
        ("10.1000/182 2101.00001v2", "'10 1000 182' & '2101 00001v2'"),
        ("http://arxiv.org/abs/1 3:1 :x", "'http: arxiv org abs 1' & '3:1' & ':x'"),
        ("Attention: is all", "'Attention:' & 'is' & 'all'"),
        ("title://x", "'x':A"),
        ('"journal:x" and "AND"', "'journal:x' & 'and' & 'AND'"),
        ("Schrödinger AT&T", "'Schrodinger' & 'AT T'"),
        (r'Schr\"odinger title:"K{\"a}hler x"', "'Schrodinger' & 'Kahler x':A"),
        (r"say \"dark matter\"", r"'say' & 'dark matter\\'"),
        (
            'author:"Müller, José" au:("de la Cruz, Eva" x)',
            "'Jose Muller':B & 'Eva de la Cruz':B & 'x':B",
        ),
        ('"Müller, José"', "'Muller, Jose'"),
    ],
)
def test_query_is_converted_to_tsquery(text: str, query: str) -> None:
    assert build_tsquery(text) == query


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("journal:x", "q: journal is not a field: a paper has title, author, abstract and note"),
        ("cat:cs.AI", "use the parameter category"),
        ("dark year:2020", "use since and until"),
        ("jr:JHEP", "write note:"),
        ("all:dark", "words without a field are searched in all of them"),
        ("http://x.org/api/query?search_query=all:dark", "write only the query, all:dark, without"),
        ("arXiv:2101.00001", "/papers/2101.00001 returns; put it in quotes"),
        ("ti:journal:x", "journal is not a field"),
        ("title:", "title: has no value"),
        ("(title: )", "title: has no value"),
        ("title: OR x", "title: has no value"),
        ("title:author:x", "title: has no value"),
        ("title:-x", "write -title:word to exclude one"),
        ('a "b', "the quote at character 3 is not closed"),
        ("a “b", "the quote at character 3 is not closed"),
        ("a (b", "the ( at character 3 is not closed"),
        ("a b)", "the ) at character 4 has no ( before it"),
        ("a OR", "a word is missing at the end"),
        ("a -NOT", "a word is missing at the end"),
        (
            "a OR OR b",
            "a word is missing before OR at character 6; put it in quotes to search for the word",
        ),
        ("(a OR)", "a word is missing before ) at character 6"),
        ("AND b", "a word is missing before AND at character 1"),
        ("", "it does not contain a word"),
        ('"..." - () * “”', "it does not contain a word"),
        ("\u0301 🎉 \u2013 \u200b", "it does not contain a word"),
        ("-...", "it does not contain a word"),
        ("-a", "it would match nearly every paper"),
        ("-a ...", "it would match nearly every paper"),
        ("a OR -b", "it would match nearly every paper"),
        ("NOT (a -b)", "it would match nearly every paper"),
        ("a\0", "NUL"),
        ("漢" * (MAX_WORD // 3 + 1), "too long for a word"),
        ("a" * (MAX_LENGTH + 1), "longer than 2000 characters"),
        # a short prefix
        ("A* search", 'put it in quotes to search for the word: "A*"'),
        ("mass of K*", 'put it in quotes to search for the word: "K*"'),
        # identifiers
        ("2101.00001v2", "/papers/2101.00001v2 returns; put it in quotes"),
        ("https://arxiv.org/pdf/math.GT/0309136", "/papers/math/0309136 returns"),
        # spellings of other query languages
        ("a+AND+b", "write a AND b"),
        ("title:a+OR+title:b", "write a OR title:b"),
        ("a%20b", "it is percent-encoded twice: write a b"),
        ("a%2BANDNOT%2Bb", "write a ANDNOT b"),
        ("a && b", "write AND, not &&"),
        ("a||b", "write OR, not ||"),
        ("a | b", "write OR, not |"),
        ("a !b", "write -b, not !b"),
        ('a !"b c"', 'write -"..."'),
        ("a \u2013b", "write -b, not \u2013b"),
        ("title=a", "write title:a, not title=a"),
        ("title:a,author:b", "write a space before author:"),
        ("a andnot b", "write ANDNOT, not andnot"),
        ("a AND-NOT b", "write ANDNOT, not AND-NOT"),
        ("a AND ANDNOT b", "a word is missing before ANDNOT"),
        ("ANDNOT b", "a word is missing before ANDNOT"),
        ("+journal:x", "journal is not a field"),
    ],
)
def test_invalid_query_is_rejected_with_reason(text: str, excerpt: str) -> None:
    assert excerpt in reason(text)


def test_nesting_and_words_are_limited() -> None:
    assert build_tsquery("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == "'a'"
    assert "nested deeper" in reason("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert build_tsquery(" ".join(["a"] * MAX_WORDS)).count("'a'") == MAX_WORDS
    assert "more than" in reason(" ".join(["a"] * (MAX_WORDS + 1)))


@pytest.mark.parametrize(
    "part", ["(", "a(", 'a "', "-", "title:", "NOT ", "a ", "a:", "()", "é\u0301"]
)
def test_long_texts_are_parsed_quickly(part: str) -> None:
    started = time.monotonic()
    read((part * MAX_LENGTH)[:MAX_LENGTH])
    read("word" + " " * (MAX_LENGTH - len("word")))

    assert time.monotonic() - started < 0.1


PIECES = st.sampled_from(
    [
        *WORDS, "AND", "OR", "NOT", "-", "(", ")", '"', "“", "*", ":", "title:", "au:", "note:",
        " ", "'", "\\", "&", "|", "!", "<->", "<b>", "&amp;", "@", "/", ".", "a/b.c", "x@y.org",
        "http://", "é", "\u0301", "한", "ﬁ", "½", "🎉", "1e5", "-5", "\x02", "\u200d", "\u0663",
    ]
)  # fmt: skip
TYPED = st.text(max_size=30) | st.lists(PIECES, max_size=12).map("".join)

# characters that the Unicode versions of Python and PostgreSQL both know
KNOWN = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")
STORED = st.text(KNOWN, max_size=30) | st.lists(PIECES, max_size=12).map("".join)


@given(st.lists(TYPED, min_size=80, max_size=80))
@settings(max_examples=40)
def test_any_text_is_rejected_or_a_valid_tsquery(
    conn: psycopg.Connection, texts: list[str]
) -> None:
    queries = [query for text in texts if (query := read(text))]

    empty = conn.execute(
        "select query from unnest(%s::text[]) query where numnode(to_tsquery('arxiv', query)) = 0",
        [queries],
    ).fetchall()

    assert empty == []
    for text in texts:
        if read(text):
            build_highlight_tsquery(text, "title")


Meaning = Callable[[set[str]], bool]


def both(left: tuple[str, Meaning], right: tuple[str, Meaning], how: str) -> tuple[str, Meaning]:
    (one, first), (other, second) = left, right
    if how == " OR ":
        return f"({one} OR {other})", lambda paper: first(paper) or second(paper)
    if how in {" -", " NOT "}:
        return f"({one}{how}({other}))", lambda paper: first(paper) and not second(paper)
    return f"({one}{how}{other})", lambda paper: first(paper) and second(paper)


QUERIES: st.SearchStrategy[tuple[str, Meaning]] = st.recursive(
    st.sampled_from(WORDS).map(lambda word: (word, lambda paper: word in paper)),
    lambda parts: st.builds(
        both, parts, parts, st.sampled_from([" ", " AND ", " OR ", " -", " NOT "])
    ),
    max_leaves=8,
)


@given(st.lists(QUERIES, min_size=40, max_size=40))
@settings(max_examples=20)
def test_operators_select_the_right_papers(
    conn: psycopg.Connection, queries: list[tuple[str, Meaning]]
) -> None:
    found = conn.execute(
        "select array(select to_tsvector('arxiv', paper) @@ to_tsquery('arxiv', query)"
        " from unnest(%s::text[]) with ordinality as papers (paper, place) order by place)"
        " from unnest(%s::text[]) with ordinality as queries (query, place) order by place",
        [PAPERS, [build_tsquery(text) for text, _ in queries]],
    ).fetchall()

    expected = [[meaning(set(paper.split())) for paper in PAPERS] for _, meaning in queries]
    assert [row[0] for row in found] == expected


@pytest.mark.parametrize(
    ("paper", "text"),
    [
        ("the dark-matter halo", '"dark matter"'),
        ("the dark matter halo", "dark-matter"),
        ("AdS/CFT and GPT-4", "CFT GPT 4"),
        ("for $m<n$ and $k>0$ we", "n and k"),
        ("Chern–Simons theories", "theory Simons"),
        ("J. Schro\u0308dinger, Ł. Erdős", "schrödinger lukas OR ł erdos"),
        ("ﬁeld of R²", "field R2"),
        ("non-Abelian gauge", "nonabelian OR non-abel*"),
        ("to be or not", '"to be or not"'),
        ("ΛCDM from ΩM", "λcdm ωm"),
        (r"in $\alpha$ of e+e- at SU(2)", r"$\alpha$ e+e- SU(2) su"),
        ("see https://arxiv.org/abs/2101.00001v2", "arxiv.org 2101.00001v2"),
    ],
)
def test_words_are_found_in_any_spelling(conn: psycopg.Connection, paper: str, text: str) -> None:
    row = conn.execute(
        "select to_tsvector('arxiv', fold(%s)) @@ to_tsquery('arxiv', %s)",
        [paper, build_tsquery(text)],
    ).fetchone()

    assert row == (True,)


def test_field_restricts_the_search(conn: psycopg.Connection) -> None:
    vector = (
        "setweight(to_tsvector('arxiv', 'dark matter'), 'A')"
        " || setweight(to_tsvector('arxiv', 'm berg'), 'B')"
    )
    for text, expected in {
        "title:dark": True,
        'title:"dark matter" au:berg': True,
        "author:dark": False,
        "au:ber*": True,
        "ti:ber*": False,
        "berg -title:berg": True,
    }.items():
        found = conn.execute(f"select {vector} @@ to_tsquery('arxiv', %s)", [build_tsquery(text)])
        assert found.fetchone() == (expected,), text


# Highlights


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


@pytest.mark.parametrize(
    ("original", "text", "html"),
    [
        (r"the K{\"a}hler form", "kähler", r"the <mark>K{\&quot;a}hler</mark> form"),
        (r"an Erd\H{o}s--R\'enyi graph", "renyi", r"an Erd\H{o}s--<mark>R\&#x27;enyi</mark> graph"),
        (r"the \emph{weak} limit", "weak", r"the \emph{<mark>weak</mark>} limit"),
        ("a soft\u00adhyphen", "softhyphen", "a <mark>soft\u00adhyphen</mark>"),
        ("a か\u200b\u3099 x", "が", "a <mark>か\u200b\u3099</mark> x"),
        ("Dark matter", "matter", "Dark <mark>matter</mark>"),
        ("the dark-matter halo", "dark-matter", "the <mark>dark</mark>-<mark>matter</mark> halo"),
        ("Erdős & Rényi", "renyi erdos", "<mark>Erdős</mark> &amp; <mark>Rényi</mark>"),
        ("Re\u0301nyi e\u0301", "rényi", "<mark>Re\u0301nyi</mark> e\u0301"),
        ("\u0301dark", "dark", "\u0301<mark>dark</mark>"),
        ("the <f_c> of \"x'", "c", "the &lt;f_<mark>c</mark>&gt; of &quot;x&#x27;"),
        ("<b>dark</b> <mark>", "dark", "&lt;b&gt;<mark>dark</mark>&lt;/b&gt; &lt;mark&gt;"),
        (
            "<script>x</script>",
            "script",
            "&lt;<mark>script</mark>&gt;x&lt;/<mark>script</mark>&gt;",
        ),
        (r"mass $\alpha_s$ ", "alpha", r"mass $\<mark>alpha</mark>_s$ "),
        ("http://a.org/dark?x=1", "dark", "http://a.org/<mark>dark</mark>?x=1"),
        ("me@a.org 🎉 dark", "dark", "me@a.org 🎉 <mark>dark</mark>"),
        ("日本語 が dark", "日本語 が", "<mark>日本語</mark> <mark>が</mark> dark"),
        ("か\u3099 x", "が", "<mark>か\u3099</mark> x"),
        ("한국 dark", "한국", "<mark>한국</mark> dark"),
        ("\u1112\u1161\u11ab dark", "한 dark", "<mark>\u1112\u1161\u11ab</mark> <mark>dark</mark>"),
        ("a ﬁeld", "field", "a <mark>ﬁeld</mark>"),
        ("½ of R²", "1 2 R2", "<mark>½</mark> of <mark>R²</mark>"),
        ("dark  \n\tmatter\n", "dark matter", "<mark>dark</mark>  \n\t<mark>matter</mark>\n"),
    ],
)
def test_matches_are_highlighted_in_original(
    conn: psycopg.Connection, original: str, text: str, html: str
) -> None:
    assert highlight_matches(original, headline(conn, original, build_tsquery(text))) == html


@given(st.lists(STORED | TEX, min_size=60, max_size=60))
@settings(max_examples=30)
def test_highlighting_preserves_text(conn: psycopg.Connection, texts: list[str]) -> None:
    originals = [f"{text} quark <lepton>{text}boson" for text in texts]
    rows = conn.execute(
        "select ts_headline('arxiv', fold(original),"
        " to_tsquery('arxiv', 'quark & lepton & a & fi & 1 & 2'),"
        " 'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3))"
        " from unnest(%s::text[]) with ordinality as o (original, place) order by place",
        [originals],
    ).fetchall()

    for original, (highlighted,) in zip(originals, rows, strict=True):
        html = highlight_matches(original, highlighted)
        assert unescape(re.sub("</?mark>", "", html)) == original
        assert not re.search("[<>\"']", re.sub("</?mark>", "", html))
        if not {START, STOP, "\\"} & set(original):
            assert "<mark>quark</mark>" in html


@pytest.mark.parametrize(
    "highlighted",
    ["", "dark", f"{START}dark{STOP} x", f"a {START}d\u0131rk{STOP}", START, STOP * 3],
)
def test_headline_of_other_text_highlights_nothing(highlighted: str) -> None:
    assert highlight_matches("a <dark>", highlighted) == "a &lt;dark&gt;"
    assert (
        highlight_matches(f"{START}a{STOP} dark", f"a {START}dark{STOP}") == f"{START}a{STOP} dark"
    )


def test_negated_words_and_other_fields_are_not_highlighted(
    conn: psycopg.Connection,
) -> None:
    query = "dark title:halo -author:mass gal*"
    assert build_highlight_tsquery(query, "title") == "'dark' | 'halo':A | 'gal':*"
    assert build_highlight_tsquery(query, "abstract") == "'dark' | 'gal':*"
    assert build_highlight_tsquery("au:x", "note") == ""

    highlighted = headline(
        conn, "dark halo mass of galaxies", build_highlight_tsquery(query, "abstract")
    )
    expected = "<mark>dark</mark> halo mass of <mark>galaxies</mark>"
    assert highlight_matches("dark halo mass of galaxies", highlighted) == expected


@pytest.mark.parametrize("character", ["a", "é", "e\u0301", "\u0301"])
def test_long_texts_are_highlighted_quickly(character: str) -> None:
    original = character * 100_000
    started = time.monotonic()
    highlight_matches(original, unaccent_text(original))

    assert time.monotonic() - started < 2
