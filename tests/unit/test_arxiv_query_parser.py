"""The query parser rejects what arXiv would misinterpret and preserves the meaning of the rest."""
# ruff: noqa: RUF001 - quotes of other languages

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import query as demo
from service.arxiv_query_parser import (
    FIELDS,
    MAX_DEPTH,
    MAX_TERMS,
    BinaryOp,
    InvalidQuery,
    Node,
    Operator,
    Term,
    format_query,
    parse_fielded_query,
    parse_query,
)
from tests.support.measure import assert_cpu_below

ParsedQuery = Term | BinaryOp


def parse_like_arxiv(text: str) -> ParsedQuery:
    """Parse a query like arXiv."""
    return convert_tree(demo.parse(demo.rewrite(text)))


def convert_tree(tree: demo.Node) -> ParsedQuery:
    match tree:
        case demo.Term(field, value):
            return Term(field, value)
        case demo.BinaryOp(left, operator, right):
            return BinaryOp(convert_tree(left), operator, convert_tree(right))
        case demo.Not():
            raise AssertionError(tree)


def reason(text: str) -> str:
    with pytest.raises(InvalidQuery) as refused:
        parse_query(text)
    return str(refused.value)


# Queries written by users

WORDS = st.from_regex(r"[a-z]{1,6}(-[a-z0-9]{1,3})?\*?", fullmatch=True).filter(
    lambda word: word.strip("*").upper() not in {"AND", "OR", "NOT", "ANDNOT"}
)
PHRASES = st.from_regex(r'"[A-Za-z0-9().:,é-]{1,5}( (AND|ti:x|[a-z]{1,5})){0,2}"', fullmatch=True)
NAMES = st.sampled_from([name for name in FIELDS if name != "submittedDate"] + ["title"])
SPACES = st.sampled_from([" ", "  ", "\n", "\t "])
RANGES = st.sampled_from(
    [
        "submittedDate:[2020 TO 2021]",
        "submittedDate:[202002 TO 202002]",
        "submittedDate:[20200229 TO 202003011200]",
        "submittedDate:[20200101000000 TO 20211231235959]",
    ]
)
OPERATORS = st.sampled_from(["AND", "OR", "ANDNOT", "NOT", "AND NOT"])


@st.composite
def fielded(draw: Any) -> str:
    return f"{draw(NAMES)}:{draw(WORDS | PHRASES)}"


@st.composite
def chain(draw: Any, parts: st.SearchStrategy[str]) -> str:
    text = draw(parts)
    for _ in range(draw(st.integers(0, 3))):
        text += f"{draw(SPACES)}{draw(OPERATORS)}{draw(SPACES)}{draw(parts)}"
    return str(text)


QUERIES = st.recursive(
    WORDS | PHRASES | fielded() | RANGES,
    lambda parts: (
        chain(parts)
        | chain(parts).map(lambda text: f"({text})")
        | st.tuples(NAMES, chain(WORDS | PHRASES)).map(lambda pair: f"{pair[0]}:({pair[1]})")
    ),
    max_leaves=12,
)

# Generated trees

BINARY: st.SearchStrategy[Operator] = st.sampled_from(["AND", "OR", "ANDNOT"])
TERMS = st.builds(
    Term,
    st.sampled_from([name for name in FIELDS if name != "submittedDate"]),
    st.from_regex(r"[A-Za-z0-9().:,é-]{1,9}( [a-zA-Z()]{1,5}){0,2}", fullmatch=True),
)
TREES: st.SearchStrategy[Node] = st.recursive(
    TERMS,
    lambda trees: st.builds(BinaryOp, trees, BINARY, trees),
    max_leaves=20,
)


@given(QUERIES)
def test_formatted_query_has_arxiv_meaning_of_original(text: str) -> None:
    tree = parse_query(text)

    assert parse_like_arxiv(text) == tree
    assert parse_like_arxiv(format_query(tree)) == tree


@given(TREES)
def test_formatted_tree_is_parsed_back(tree: Node) -> None:
    text = format_query(tree)

    assert parse_like_arxiv(text) == tree
    assert parse_query(text) == tree
    assert parse_fielded_query(text, unambiguous=True) == tree
    assert parse_fielded_query(demo.format_tree(demo.parse(demo.rewrite('ti:"a b"')))) == Term(
        "ti", "a b"
    )


@given(QUERIES)
def test_formatting_is_idempotent(text: str) -> None:
    written = format_query(parse_query(text))

    assert format_query(parse_query(written)) == written


@given(st.lists(QUERIES | st.sampled_from([*'()":_*\\', "AND", "ti:", " "]), max_size=8))
def test_any_text_is_rejected_or_keeps_its_meaning(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        tree = parse_query(text)
    except InvalidQuery:
        return

    assert parse_like_arxiv(format_query(tree)) == tree


@given(st.text(max_size=60))
def test_any_text_is_accepted_by_parse_fielded_query(text: str) -> None:
    parse_fielded_query(text)
    try:
        tree = parse_query(text)
    except InvalidQuery:
        return

    assert parse_like_arxiv(format_query(tree)) == tree


# Parsing the queries of users


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("electron", 'all:"electron"'),
        ('"dark matter"', 'all:"dark matter"'),
        ("ti:electron", 'ti:"electron"'),
        ("title: electron", 'ti:"electron"'),
        ('au:"del  maestro"', 'au:"del maestro"'),
        ("au:del_maestro", 'au:"del maestro"'),
        ("ti:x AND au:del_maestro", 'ti:"x" AND au:"del maestro"'),
        ("doi:10.1007/978-3_13", 'doi:"10.1007/978-3_13"'),
        ("cat:cs.AI", "cat:cs.AI"),
        ("cat:cs.*", "cat:cs.*"),
        ('cat:"AND"', 'cat:"AND"'),
        ("ti:neur*", 'ti:"neur*"'),
        ('ti:"neur* net*"', 'ti:"neur* net*"'),
        ("ti:why?", 'ti:"why?"'),
        ("all:C++ AND e+e-", 'all:"C++" AND all:"e+e-"'),
        (
            'ti:"a+AND+b" OR "-x" OR "!y" OR "100%20"',
            'ti:"a+AND+b" OR all:"-x" OR all:"!y" OR all:"100%20"',
        ),
        ("ti:AT&T OR rn:3-4 OR x=y", 'ti:"AT&T" OR rn:"3-4" OR all:"x=y"'),
        ("ti:“dark matter” AND „a b“", 'ti:"dark matter" AND all:"a b"'),
        ("ti:‘a b’ OR ‚a b‘ OR ‹a b›", 'ti:"a b" OR all:"a b" OR all:"a b"'),
        ("«a b» OR ＂a b＂ OR ti:O’Brien", 'all:"a b" OR all:"a b" OR ti:"O’Brien"'),
        ("ti:neu\u00adtri\u200bno\ufeff A\u2060ND \u202ax", 'ti:"neutrino" AND all:"x"'),
        ("ti:and", 'ti:"and"'),
        ('"and" AND "NOT"', 'all:"and" AND all:"NOT"'),
        ('ti:"f(R) gravity"', 'ti:"f(R) gravity"'),
        ('ti:"a: b"', 'ti:"a: b"'),
        ("rn:a:b", 'rn:"a:b"'),
        ("((a))", 'all:"a"'),
        ("ti:(a AND (b OR au:c))", 'ti:"a" AND (ti:"b" OR au:"c")'),
        ("ti:a AND ti:b AND ti:c", 'ti:"a" AND ti:"b" AND ti:"c"'),
        ("(ti:a AND ti:b) AND ti:c", '(ti:"a" AND ti:"b") AND ti:"c"'),
        ("ti:a AND ti:b OR ti:c", 'ti:"a" AND (ti:"b" OR ti:"c")'),
        ("(ti:a AND ti:b) OR ti:c", '(ti:"a" AND ti:"b") OR ti:"c"'),
        ("ti:a ANDNOT ti:b ANDNOT ti:c", 'ti:"a" ANDNOT (ti:"b" ANDNOT ti:"c")'),
        ("ti:a NOT ti:b", 'ti:"a" ANDNOT ti:"b"'),
        ("ti:a AND NOT ti:b", 'ti:"a" ANDNOT ti:"b"'),
        ("a AND(b)", 'all:"a" AND all:"b"'),
        ("submittedDate:[2020 TO 2021]", "submittedDate:[202001010000 TO 202112312359]"),
        ("submittedDate:[202002 TO 202002]", "submittedDate:[202002010000 TO 202002292359]"),
        ("submittedDate:[20200103 TO 20200104]", "submittedDate:[202001030000 TO 202001042359]"),
        (
            "submittedDate:[2020010304 TO 2020010305]",
            "submittedDate:[202001030400 TO 202001030559]",
        ),
        (
            "submittedDate: [ 20200103040506  TO  20200103040506 ]",
            "submittedDate:[202001030405 TO 202001030405]",
        ),
    ],
)
def test_query_is_formatted_unambiguously(text: str, written: str) -> None:
    assert format_query(parse_query(text)) == written


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("ti:a b", "an operator is missing before b, where arXiv would assume OR"),
        ("ti:(a b)", "an operator is missing before b"),
        ("ti:(a) ti:b", "an operator is missing before ti:b"),
        ("ti:f(R)", "an operator is missing before ("),
        ('ti:a"b"', 'an operator is missing before "b"'),
        ("a and b", "write AND, not and"),
        ("a Or b", "write OR, not Or"),
        ("a AND not", "a term is missing after AND, before not; put it in quotes"),
        ("author:x", "author: is not a field; arXiv's fields are ti (title), au (author)"),
        ("TI:x", "TI: is not a field"),
        ("https://arxiv.org", "Put a word with a colon in quotes"),
        ("ti:au:x", "ti: and au: apply to the same value"),
        ("ti:", "ti: has no value"),
        ("ti: AND x", "ti: has no value"),
        ("ti: au:x", "ti: has no value"),
        ("(ti:)", "ti: has no value"),
        ("lastUpdatedDate:[2020 TO 2021]", "it silently searches submittedDate instead"),
        ("cat:cs.AI OR cs.LG", "cs.LG has no field; write cat:cs.LG"),
        # literal plus signs and percent-encoding
        ("all:a+AND+all:b", "write all:a AND all:b"),
        ('ti:"a b"+OR+au:c', "write OR au:c"),
        ("(ti:a+OR+ti:b)+ANDNOT+ti:c", "write ti:a OR ti:b"),
        ("ti:a+ti:b", "write a space before ti:"),
        ("all:a%20AND%20all:b", "it is percent-encoded twice: write all:a AND all:b"),
        ("all:a%2BAND%2Ball:b", "write all:a AND all:b"),
        ("all:%22dark matter%22", "it is percent-encoded twice"),
        # spellings of other query languages
        ("-ti:a", "write ANDNOT ti:a after what to find, not -ti:a"),
        ("ti:b -ti:a", "write ANDNOT ti:a"),
        ("ti:b \u2013ti:a", "write ANDNOT ti:a"),
        ("ti:-a", "write ANDNOT ti:a"),
        ('-"a b"', 'write ANDNOT "..."'),
        ("-(a OR b)", "write ANDNOT (...)"),
        ("!a", "write ANDNOT a after what to find, not !a"),
        ("+ti:a", "write ti:a, with AND between terms, not +ti:a"),
        ("+a +b", "write a, with AND between terms"),
        ("a && b", "write AND, not &&"),
        ("ti:a||ti:b", "write OR, not ||"),
        ("a | b", "write OR, not |"),
        ("ti=a", "write ti:a, not ti=a"),
        ("ti\uff1aa", "write ti:a, not"),
        ("ti:a,au:b", "write a space before au:"),
        ("search_query=ti:a", "write only the query, ti:a, without search_query="),
        (
            "http://export.arxiv.org/api/query?search_query=all:dark+AND+all:matter&start=0",
            "write only the query, all:dark AND all:matter, without search_query=",
        ),
        ('ti:a -ti:"b c"', 'write ANDNOT ti:"..." after what to find'),
        ("ti:'dark matter'", "a phrase in double quotes"),
        ("arXiv:2101.00001", "it is the identifier of a paper; use id_list=2101.00001"),
        ("https://arxiv.org/abs/2101.00001v2", "use id_list=2101.00001v2"),
        ("https://doi.org/10.1103/x.y", 'it is the DOI of a paper; write doi:"10.1103/x.y"'),
        ("10.1016/0370-2693(82)90697-1", 'write doi:"10.1016/0370-2693(82)90697-1"'),
        ('ti:"the \\"dark\\" sector"', "a phrase cannot contain quotes"),
        ("a AND-NOT b", "write ANDNOT, not AND-NOT"),
        ("a andnot b", "write ANDNOT, not andnot"),
        ("TI:a", "Write ti:"),
        ("author:a", "Write au:"),
        ("journal:a", "Write jr:"),
        ("submitteddate:[2020 TO 2021]", "Write submittedDate:"),
        ("ti:foo AND", "a term is missing after AND"),
        ("AND ti:foo", "a term is missing at the beginning, before AND"),
        ("ANDNOT ti:foo", "a term is missing at the beginning, before ANDNOT"),
        ("ti:a AND (ANDNOT ti:foo)", "a term is missing after (, before ANDNOT"),
        ("ti:a AND OR ti:b", "a term is missing after AND, before OR"),
        ("ti:a OR NOT ti:b", "a term is missing after OR, before NOT"),
        ("", "a term is missing at the beginning"),
        ("()", "a term is missing after (, before )"),
        ("(ti:foo", "an opening parenthesis is not closed"),
        ("ti:foo)", "a closing parenthesis has no opening one"),
        (")", "a term is missing at the beginning, before )"),
        ('ti:"foo', 'the quotes that open "foo are not closed'),
        ('"', "are not closed"),
        ('ti:"say \\"hi\\""', "a phrase cannot contain quotes"),
        ('ti:""', "no characters that arXiv can search for"),
        ("ti:_", "no characters that arXiv can search for"),
        ('"\u200b"', "no characters that arXiv can search for"),
        ("ti:*x", "a wildcard is allowed only at the end of a word"),
        ("ti:a*b", "a wildcard is allowed only at the end of a word"),
        ('ti:"a ?b"', "a wildcard is allowed only at the end of a word"),
        ("cat:*", "a wildcard is allowed only at the end of a word"),
        ("submittedDate:2020", "write submittedDate:[202001010000 TO 202112312359]"),
        ("submittedDate:[2020 TO *]", "digits only, without *"),
        ("submittedDate:[2020-01-01 TO 2021-01-01]", "digits only"),
        ("submittedDate:[202 TO 2021]", "202 is not a date"),
        ("submittedDate:[20201 TO 2021]", "20201 is not a date"),
        ("submittedDate:[202001010000000 TO 2021]", "is not a date"),
        ("submittedDate:[202013 TO 202014]", "202013 does not exist"),
        ("submittedDate:[2020 TO 202013]", "202013 does not exist"),
        ("submittedDate:[0000 TO 2020]", "0000 does not exist"),
        ("submittedDate:[20200230 TO 2021]", "20200230 does not exist"),
        ("submittedDate:[2021 TO 2020]", "ends before it starts"),
    ],
)
def test_misinterpreted_query_is_rejected_with_reason(text: str, excerpt: str) -> None:
    assert excerpt in reason(text)


def test_nesting_is_limited() -> None:
    assert parse_query("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) == Term("all", "a")
    assert "nested deeper" in reason("(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1))
    assert "nested deeper" in reason("(" * 100_000)
    assert "not closed" in reason("(" * MAX_DEPTH + "a")


def test_number_of_terms_is_limited() -> None:
    assert parse_like_arxiv(format_query(parse_query(" OR ".join(["a"] * MAX_TERMS))))
    assert "more than" in reason(" OR ".join(["a"] * (MAX_TERMS + 1)))
    assert "operators alternate" in reason(" ANDNOT ".join(["a"] * MAX_TERMS))


def test_messages_quote_only_an_excerpt() -> None:
    for text in ("a " + "b" * 4000, '"' + "b" * 4000, "b" * 4000 + ":x", "ti:*" + "b" * 4000):
        assert len(reason(text)) < 600


@pytest.mark.parametrize(
    "text",
    ["(" * 10**6, 'a "' * 10**6, "a " * 10**6, "ti:" * 10**6, "ti:(" * 10**6, ":((" * 10**6],
)
def test_long_texts_are_parsed_quickly(text: str) -> None:
    def parse() -> None:
        assert parse_fielded_query(text) is None
        with pytest.raises(InvalidQuery):
            parse_query(text)

    assert_cpu_below(3, parse)


@pytest.mark.parametrize(
    "text",
    [
        *("ti:a" + " " * 10**5, "submittedDate:[" + " " * 10**5, "submittedDate:[1" + " " * 10**5),
        *("submittedDate: " * 10**4, "%" * 10**5, "%20" * 10**4, "a+" * 10**5, "+AN" * 10**4),
        *("‘a " * 10**4, "a,t" * 10**4, "a=" * 10**5, "\u00ad" * 10**5),
    ],
)
def test_blanks_and_misspellings_are_parsed_in_linear_time(text: str) -> None:
    def parse() -> None:
        with suppress(InvalidQuery):
            parse_query(text)

    assert_cpu_below(1, parse)


# Parsing reported queries


@given(TREES)
def test_reported_tree_is_parsed(tree: Node) -> None:
    reported = demo.format_tree(demo.parse(demo.rewrite(format_query(tree))))
    values = re.findall(r'"([^"]*)"', format_query(tree))
    assert parse_fielded_query(reported) == tree or any(set("()") & set(value) for value in values)


@pytest.mark.parametrize(
    ("reported", "written"),
    [
        ("all:SSD AND (all:AI AND all:x)", 'all:"SSD" AND all:"AI" AND all:"x"'),
        ("all:author:x", 'all:"author:x"'),
        ("ti:f(R)", 'ti:"f(R)"'),
        ("( (all:a) )", 'all:"a"'),
        ('submittedDate:"202001010000 TO 202112312359"',
         "submittedDate:[202001010000 TO 202112312359]"),
    ],
)  # fmt: skip
def test_reported_query_is_parsed_literally(reported: str, written: str) -> None:
    tree = parse_fielded_query(reported)

    assert tree is not None
    assert format_query(tree) == written


@pytest.mark.parametrize(
    "text",
    ["", "a", "ti:a b", "ti:a AND", "AND ti:a", "(ti:a", "ti:a)", '""', "ti::(", "ti:a NOT ti:b"],
)
def test_query_without_fields_is_not_parsed(text: str) -> None:
    assert parse_fielded_query(text) is None


@pytest.mark.parametrize(
    "text", ["ti:a AND ti:b OR ti:c", "ti:a OR ti:b AND ti:c", "ti:a ANDNOT ti:b ANDNOT ti:c"]
)
def test_ambiguous_query_is_not_parsed_as_unambiguous(text: str) -> None:
    assert parse_fielded_query(text) == parse_like_arxiv(text)
    assert parse_fielded_query(text, unambiguous=True) is None


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (r"ti:Schr\"odinger AND au:Erd\H{o}s", 'ti:"Schrödinger" AND au:"Erdős"'),
        (r'ti:"K{\"a}hler manifold"', 'ti:"Kähler manifold"'),
        (r"abs:$\alpha$", 'abs:"$ alpha$"'),
        ("❝dark matter❞", 'all:"dark matter"'),
    ],
)
def test_accents_in_tex_and_all_double_quotes_are_understood(typed: str, sent: str) -> None:
    assert format_query(parse_query(typed)) == sent
