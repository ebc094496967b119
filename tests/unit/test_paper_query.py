"""Full-text queries are parsed to a tree, or rejected with the position of the problem."""
# ruff: noqa: RUF001 - quotes of other languages

from collections.abc import Callable
from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidParameter
from service.paper_query import (
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_WORDS,
    And,
    Field,
    Node,
    Not,
    Or,
    Query,
    Reference,
    Words,
    find_terms,
    iterate_words,
    parse_query,
)
from tests.support.measure import assert_cpu_below

WORDS = ("quark", "lepton", "boson", "gluon")
PAPERS = [" ".join(words) for count in range(5) for words in combinations(WORDS, count)]


def show(query: Query) -> str:
    """Write a tree: consecutive words have _ between them."""
    match query:
        case Words(words, field, is_exact, is_prefix):
            text = "_".join(words) + "*" * is_prefix
            return f"{field}:" * bool(field) + (f'"{text}"' if is_exact else text)
        case Not(operand):
            return f"-{show(operand)}"
        case And(operands):
            return f"({' & '.join(map(show, operands))})"
        case Or(operands):
            return f"({' | '.join(map(show, operands))})"
        case Reference(arxiv_id, version, doi):
            return f"{arxiv_id} {version} {doi}"


def reject(text: str) -> str:
    """Return why a query is rejected."""
    with pytest.raises(InvalidParameter) as rejected:
        parse_query(text)
    assert rejected.value.parameter == "q"
    assert len(rejected.value.detail) < 500
    return rejected.value.detail


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("dark matter", "(dark & matter)"),
        ("dark AND matter", "(dark & matter)"),
        ('"dark matter"', '"dark_matter"'),
        ("„dark matter“ «halo»", '("dark_matter" & "halo")'),
        ("a OR b c", "(a | (b & c))"),
        ("(a OR b) c", "((a | b) & c)"),
        ("(a (b c)) OR (d OR e)", "((a & b & c) | d | e)"),
        ("a AND(b)OR(c)", "((a & b) | c)"),
        ("((a))", "a"),
        ("a -b", "(a & -b)"),
        ('a -"b c"', '(a & -"b_c")'),
        ("a NOT b", "(a & -b)"),
        ("a AND NOT (b OR c)", "(a & -(b | c))"),
        ("a -(b c)", "(a & -(b & c))"),
        ("a ANDNOT b", "(a & -b)"),
        ('a ANDNOT title:(b OR "c d") e', '(a & -(title:b | title:"c_d") & e)'),
        ("‘dark matter’ ‚halo‘ ＂a b＂", '("dark_matter" & "halo" & "a_b")'),
        ("+dark +title:matter", "(dark & title:matter)"),
        ("neu\u00adtri\u200bno ti\u200dtle:x", "(neutrino & title:x)"),
        ("NOT NOT a", "a"),
        ("a -(-b)", "(a & b)"),
        ("NOT (NOT a OR b)", "-(-a | b)"),
        ("a (b OR -c)", "(a & (b | -c))"),
        ("title:dark", "title:dark"),
        ("Ti: dark", "title:dark"),
        ('author:"van der Berg" abs:x note:12', '(author:"van_der_berg" & abstract:x & note:12)'),
        ("a -title:b", "(a & -title:b)"),
        ("ti:(a OR au:b c)", "(title:a | (author:b & title:c))"),
        ("title://x", "title:x"),
        # prefixes
        ("galax*", "galax*"),
        ("galax**", "galax*"),
        ("ti:galax*", "title:galax*"),
        ("non-abel*", "non_abel*"),
        ("x NOT au:non-abel*", "(x & -author:non_abel*)"),
        ("Müll*", "mull*"),
        ('"galax*"', '"galax"'),
        ("日本*", "日_本"),
        ("데이터*", "데_이_터"),
        # as written
        ("A* K* search", "(a* & k* & search)"),
        ("A** (B*) -C*", "(a* & b* & -c*)"),
        ("B->K* D_s^* B_c^{*}", "(b_k* & d_s* & b_c*)"),
        ("C*-algebra c*-algebra C^*-algebra", "(c*_algebra & c*_algebra & c*_algebra)"),
        ("C++ c# C#", "(c++ & c# & c#)"),
        ('"a*" "A*" "c++"', '("a*" & "a*" & "c++")'),
        # words of any kind
        ("a * b - c ... () ''", "(a & b & c)"),
        ("a OR ...", "a"),
        ("dark-matter --dry-run", "(dark_matter & dry_run)"),
        ("SU(2) f(R) AdS/CFT GPT-4", "(su_2 & f_r & ads_cft & gpt_4)"),
        (r"$\alpha$ O'Brien", "(alpha & o_brien)"),
        ("[a-z] x.y (a|b) ^c$ d? e{2}", "(a_z & x_y & a_b & c & d & e_2)"),
        ("10.1000/182 2101.00001v2", "(10_1000_182 & 2101_00001v2)"),
        ("http://arxiv.org/abs/1 3:1 :x", "(http_arxiv_org_abs_1 & 3_1 & x)"),
        ("Attention: is all", "(attention & is & all)"),
        ('"journal:x" and "AND"', '("journal_x" & and & "and")'),
        ("Schrödinger AT&T", "(schrodinger & at_t)"),
        (r'Schr\"odinger title:"K{\"a}hler x"', '(schrodinger & title:"kahler_x")'),
        (r"say \"dark matter\"", '(say & "dark_matter")'),
        (
            'author:"Müller, José" au:("de la Cruz, Eva" x)',
            '(author:"jose_muller" & author:"eva_de_la_cruz" & author:x)',
        ),
        ('"Müller, José"', '"muller_jose"'),
    ],
)
def test_query_is_parsed(text: str, tree: str) -> None:
    assert show(parse_query(text)) == tree


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("2101.00001v2", Reference("2101.00001", 2)),
        ("arXiv:2101.00001", Reference("2101.00001")),
        (" https://arxiv.org/pdf/math.GT/0309136 ", Reference("math/0309136")),
        ("10.5555/abc", Reference(doi="10.5555/abc")),
        ("doi:10.5555/abc", Reference(doi="10.5555/abc")),
        (
            "<https://doi.org/10.1016/0370-2693(88)90598-X>",
            Reference(doi="10.1016/0370-2693(88)90598-X"),
        ),
    ],
)
def test_identifier_doi_or_url_refers_to_a_paper(text: str, reference: Reference) -> None:
    assert parse_query(text) == reference
    assert not [*iterate_words(reference)]


@pytest.mark.parametrize(
    "text", ['"2101.00001"', "“2101.00001”", "‘2101.00001’", "2101.00001 x", "-x 10.5555/abc"]
)
def test_reference_in_quotes_or_with_other_words_is_text(text: str) -> None:
    assert not isinstance(parse_query(text), Reference)


@pytest.mark.parametrize(
    ("text", "position", "excerpt"),
    [
        ("journal:x", 1, "journal is not a field: a paper has title, author, abstract and note"),
        ("cat:cs.AI", 1, "use the parameter category"),
        ("dark year:2020", 6, "use since and until"),
        ("jr:JHEP", 1, "write note:"),
        ("all:dark", 1, "words without a field are searched in all of them"),
        (
            "http://x.org/api/query?search_query=all:dark",
            1,
            "write only the query, all:dark, without",
        ),
        ("ti:journal:x", 4, "journal is not a field"),
        ("+journal:x", 2, "journal is not a field"),
        ("title:", 1, "title: has no value"),
        ("(title: )", 2, "title: has no value"),
        ("a title: OR x", 3, "title: has no value"),
        ("title:author:x", 1, "title: has no value"),
        ("title:-x", 1, "write -title:word to exclude one"),
        ('a "b', 3, "the quote is not closed"),
        ("a “b", 3, "the quote is not closed"),
        ("a (b", 3, "the ( is not closed"),
        ("a b)", 4, "the ) has no ( before it"),
        ("a OR", 5, "a word is missing at the end"),
        ("a -NOT", 7, "a word is missing at the end"),
        (
            "a OR OR b",
            6,
            "a word is missing before OR; put it in quotes to search for the word",
        ),
        ("(a OR)", 6, "a word is missing before )"),
        ("AND b", 1, "a word is missing before AND"),
        ("a AND ANDNOT b", 7, "a word is missing before ANDNOT"),
        ("ANDNOT b", 1, "a word is missing before ANDNOT"),
        ("-a", 2, "it would match nearly every paper"),
        ("-a ...", 2, "it would match nearly every paper"),
        ("a OR -b", 7, "it would match nearly every paper"),
        ("NOT (a -b)", 6, "it would match nearly every paper"),
        ("a\0", 2, "NUL"),
        ("ab \ud800", 4, "surrogate"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "longer than 2000 characters"),
        ("a" * 60_000, MAX_LENGTH + 1, "longer than 2000 characters"),
        # short prefixes
        ("x a*", 3, 'put it in quotes to search for the word: "a*"'),
        ("ab* x", 1, 'put it in quotes to search for the word: "ab*"'),
        ("GPT-4*", 1, 'put it in quotes to search for the word: "GPT-4*"'),
        ("title:é*", 7, 'put it in quotes to search for the word: "é*"'),
        ("C++*", 1, "needs 3 letters before the *"),
        # many or long prefixes
        ("abc* " * 11, 51, "more than 10 words with *"),
        (f"x {'a' * 101}*", 3, "at most 100 letters"),
        # spellings of other query languages
        ("a+AND+b", 1, "write a AND b"),
        ("title:a+OR+title:b", 7, "write a OR title:b"),
        ("a%20b", 1, "it is percent-encoded twice: write a b"),
        ("a%2BANDNOT%2Bb", 1, "write a ANDNOT b"),
        ("a && b", 3, "write AND, not &&"),
        ("a||b", 1, "write OR, not ||"),
        ("a | b", 3, "write OR, not |"),
        ("a !b", 3, "write -b, not !b"),
        ('a !"b c"', 3, 'write -"..."'),
        ("a \u2013b", 3, "write -b, not \u2013b"),
        ("title=a", 1, "write title:a, not title=a"),
        ("title:a,author:b", 7, "write a space before author:"),
        ("a andnot b", 3, "write ANDNOT, not andnot"),
        ("a AND-NOT b", 3, "write ANDNOT, not AND-NOT"),
        # positions are those of the characters that were typed
        ("neu\u00adtri\u200bno (b", 12, "the ( is not closed"),
        (r"Schr\"odinger K{\"a}hler (b", 26, "the ( is not closed"),
        ("\u200b“\u200b”\u200b(", 6, "the ( is not closed"),
        (r"\'e x OR", 9, "a word is missing at the end"),
    ],
)
def test_invalid_query_is_rejected_with_position(text: str, position: int, excerpt: str) -> None:
    reason = reject(text)
    assert reason.startswith(f"q: at character {position}: ")
    assert excerpt in reason


@pytest.mark.parametrize("text", ["", " ", '"..." - () * “”', "\u0301 🎉 \u2013 \u200b", "-..."])
def test_query_without_a_word_is_rejected(text: str) -> None:
    assert "it does not contain a word" in reject(text)


def test_nesting_and_words_are_limited() -> None:
    assert show(parse_query("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH)) == "a"
    reason = reject("a " + "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert reason.startswith(f"q: at character {MAX_DEPTH + 3}: ")
    assert "nested deeper" in reason

    assert show(parse_query(" ".join(["a"] * MAX_WORDS))).count("a") == MAX_WORDS
    for words in ("a ", '"a" ', "title:a "):
        reason = reject(words * (MAX_WORDS + 1))
        assert "more than" in reason
        position = MAX_WORDS * len(words) + 1 + words.find("a ") * words.startswith("title")
        assert reason.startswith(f"q: at character {position}: ")
    assert "more than" in reject(f'"{"a " * (MAX_WORDS + 1)}"')
    assert "more than" in reject("漢" * (MAX_WORDS + 1))


def test_positions_of_words_are_those_of_the_query() -> None:
    q = r'ti:dark (gal* OR -"big\u00ad bang") K{\"a}hler'.replace(r"\u00ad", "\u00ad")
    tree = parse_query(q)
    assert [q[words.position - 1 : words.end] for words in iterate_words(tree)] == [
        "dark",
        "gal*",
        r"K{\"a}hler",
    ]
    assert isinstance(tree, And)
    assert isinstance(tree.operands[1], Or)
    excluded = tree.operands[1].operands[1]
    assert isinstance(excluded, Not)
    assert isinstance(excluded.operand, Words)
    assert q[excluded.operand.position - 1 : excluded.operand.end] == '"big\u00ad bang"'


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("title", ["dark", "title:halo", "gal*"]),
        ("abstract", ["dark", "gal*"]),
        ("author", ["dark", "gal*", "author:x"]),
        ("note", ["dark", "gal*"]),
    ],
)
def test_terms_of_a_field_are_what_the_query_searches_for_in_it(
    field: Field, expected: list[str]
) -> None:
    query = parse_query("dark title:halo -author:mass (gal* OR au:x) -(note:y z)")
    assert [show(term) for term in find_terms(query, field)] == expected


@pytest.mark.parametrize(
    "part",
    ["(", "a(", 'a "', "-", "title:", "NOT ", "a ", "a:", "()", "é\u0301", "*", "A*", "\\'e", "漢"],
)
def test_long_texts_are_parsed_quickly(part: str) -> None:
    def parse() -> None:
        with suppress(InvalidParameter):
            parse_query((part * MAX_LENGTH)[:MAX_LENGTH])
        with suppress(InvalidParameter):
            parse_query("word" + " " * (MAX_LENGTH - len("word")))

    assert_cpu_below(0.1, parse)


PIECES = st.sampled_from(
    [
        *WORDS, "AND", "OR", "NOT", "ANDNOT", "-", "(", ")", '"', "“", "*", ":", "title:", "au:",
        "note:", " ", "'", "\\", "&", "|", "!", "<b>", "&amp;", "@", "/", ".", "a/b.c", "x@y.org",
        "http://", "é", "\u0301", "한", "ﬁ", "½", "🎉", "1e5", "-5", "\x02", "\u200d", "\u0663",
        "A*", "c++", "{", "}", "^", "[", "]", "?", "+", "\\'", "\0", "\ud800", "2101.00001",
        "10.5555/", "Müller, José", "%20", "search_query=",
    ]
)  # fmt: skip
TYPED = st.text(max_size=60) | st.lists(PIECES, max_size=40).map("".join)


@given(TYPED)
@settings(max_examples=400)
def test_any_text_is_quickly_parsed_or_rejected_with_a_short_reason(text: str) -> None:
    assert_cpu_below(0.1, lambda: check_tree_or_reason(text))


def check_tree_or_reason(text: str) -> None:
    try:
        tree = parse_query(text)
    except InvalidParameter as rejected:
        assert rejected.detail.startswith("q: ")  # noqa: PT017
        assert len(rejected.detail) < 500  # noqa: PT017
    else:
        words = [*iterate_words(tree)]
        assert isinstance(tree, Reference) or words
        assert all(term.words and all(term.words) for term in words)
        assert all(1 <= term.position <= term.end <= len(text) for term in words)


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


def matches(node: Node, paper: set[str]) -> bool:
    match node:
        case Words(words):
            return words[0] in paper
        case Not(operand):
            return not matches(operand, paper)
        case And(operands):
            return all(matches(operand, paper) for operand in operands)
        case Or(operands):
            return any(matches(operand, paper) for operand in operands)


@given(QUERIES)
@settings(max_examples=200)
def test_operators_select_the_right_papers(query: tuple[str, Meaning]) -> None:
    text, meaning = query
    tree = parse_query(text)
    assert not isinstance(tree, Reference)
    for paper in PAPERS:
        assert matches(tree, set(paper.split())) == meaning(set(paper.split())), text
        assert not (matches(tree, set()))  # a query that matches every paper is rejected


@pytest.mark.parametrize("character", ["a", "(", "\u0301"])
def test_query_of_60_kilobytes_is_rejected_within_milliseconds(character: str) -> None:
    def parse() -> None:
        with pytest.raises(InvalidParameter):
            parse_query(character * 60_000)

    assert_cpu_below(0.005, parse)
