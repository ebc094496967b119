"""Queries of the stored papers in arXiv's language."""

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from service import paper_query
from service.arxiv_query_parser import Node, Term, format_query, parse_query
from service.arxiv_query_translation import translate_query
from service.errors import InvalidParameter

TRANSLATIONS = {
    "dark matter": 'all:"dark" AND all:"matter"',
    '"dark matter" halo': 'all:"dark matter" AND all:"halo"',
    "galaxies and dark matter": 'all:"galaxies" AND all:"dark" AND all:"matter"',
    "the structure of the universe": 'all:"structure" AND all:"universe"',
    "this and that": 'all:"this" AND all:"and" AND all:"that"',
    '"The Who" a': 'all:"The Who"',
    "title:the": 'ti:"the"',
    "dark AND matter OR wimp": '(all:"dark" AND all:"matter") OR all:"wimp"',
    "dark -energy": 'all:"dark" ANDNOT all:"energy"',
    "dark NOT energy NOT flow": 'all:"dark" ANDNOT (all:"energy" OR all:"flow")',
    "dark (-energy OR flow)": 'all:"dark" ANDNOT (all:"energy" ANDNOT all:"flow")',
    "dark (-energy OR -flow)": 'all:"dark" ANDNOT (all:"energy" AND all:"flow")',
    "dark -(energy OR -flow)": 'all:"dark" AND (all:"flow" ANDNOT all:"energy")',
    "(axion OR wimp) detector": '(all:"axion" OR all:"wimp") AND all:"detector"',
    "neutrin*": 'all:"neutrin*"',
    "K* what?": 'all:"K" AND all:"what"',
    'author:"Noether, Emmy"': 'au:"Emmy Noether"',
    "title:(dark OR matter)": 'ti:"dark" OR ti:"matter"',
    "abstract:galaxy note:pages": 'abs:"galaxy" AND (co:"pages" OR jr:"pages")',
    "Schrödinger state-of-the-art": 'all:"Schrödinger" AND all:"state-of-the-art"',
    "“dark matter” x": 'all:"dark matter" AND all:"x"',
    'G\\"odel': 'all:"Gödel"',
    "the -energy": 'all:"the" ANDNOT all:"energy"',
    "(the -dark) OR axion": '(all:"the" ANDNOT all:"dark") OR all:"axion"',
    "title:(the dark energy)": 'ti:"dark" AND ti:"energy"',
    "author:(the will)": 'au:"the" AND au:"will"',
    "fo*o bar?": 'all:"fo o" AND all:"bar"',
    'author:M\\"uller\ufeff': 'au:"Müller"',
}


def translate(q: str) -> str:
    query = paper_query.parse_query(q)
    assert not isinstance(query, paper_query.Reference)
    return format_query(translate_query(q, query))


@pytest.mark.parametrize(("q", "expected"), TRANSLATIONS.items(), ids=TRANSLATIONS)
def test_query_is_translated(q: str, expected: str) -> None:
    assert translate(q) == expected


TERMS = ["dark", '"dark matter"', "energy", "flow", "title:axion", "the", "of"]
"""Of these, papers have all stop words."""
TREES = st.recursive(
    st.sampled_from(TERMS),
    lambda inner: st.builds(
        "({}{} {} {}{})".format,
        st.sampled_from(["", "-"]),
        inner,
        st.sampled_from(["", "OR", "AND", "NOT"]),
        st.sampled_from(["", "-"]),
        inner,
    ),
    max_leaves=10,
)


@given(TREES, st.frozensets(st.sampled_from(["dark", "dark matter", "energy", "flow", "axion"])))
def test_translation_matches_the_same_papers(q: str, phrases: frozenset[str]) -> None:
    try:
        query = paper_query.parse_query(q)
    except InvalidParameter:  # it only excludes papers
        reject()
    assert not isinstance(query, paper_query.Reference)
    paper = phrases | {"the", "of"}
    translated = translate_query(q, query)
    assert match_translated(translated, paper) == match(query, paper)
    text = format_query(translated)
    assert format_query(parse_query(text)) == text


def match(query: paper_query.Node, paper: frozenset[str]) -> bool:
    match query:
        case paper_query.Words(words):
            return " ".join(words) in paper
        case paper_query.Not(operand):
            return not match(operand, paper)
        case paper_query.And(operands):
            return all(match(each, paper) for each in operands)
        case paper_query.Or(operands):
            return any(match(each, paper) for each in operands)


def match_translated(node: Node, paper: frozenset[str]) -> bool:
    if isinstance(node, Term):
        return node.value in paper
    left, right = (match_translated(each, paper) for each in (node.left, node.right))
    return {"AND": left and right, "OR": left or right, "ANDNOT": left and not right}[node.operator]
