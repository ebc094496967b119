"""Queries of the stored papers in arXiv's language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import paper_query
from service.arxiv_query_parser import format_query, parse_query
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
    "2101.00001": 'id:"2101.00001"',
    "10.1103/PhysRevD.1.2": 'doi:"10.1103/PhysRevD.1.2"',
}


@pytest.mark.parametrize(("q", "expected"), TRANSLATIONS.items(), ids=TRANSLATIONS)
def test_query_is_translated(q: str, expected: str) -> None:
    assert format_query(translate_query(q)) == expected


@pytest.mark.parametrize("q", ["", "(", "x:y", "-dark", '"dark', "a" * 2001])
def test_invalid_query_is_rejected_as_for_the_stored_papers(q: str) -> None:
    with pytest.raises(InvalidParameter) as known:
        paper_query.parse_query(q)
    with pytest.raises(InvalidParameter) as error:
        translate_query(q)
    assert error.value.detail == known.value.detail


TERMS = ["dark", '"dark matter"', "-energy", "title:axion", "author:(a OR b)", "neutrin*", "the"]


@given(
    st.recursive(
        st.sampled_from(TERMS),
        lambda inner: st.builds(
            "({} {} {})".format, inner, st.sampled_from(["", "OR", "AND", "NOT"]), inner
        ),
        max_leaves=8,
    )
)
def test_every_translation_is_a_query_of_arxiv(q: str) -> None:
    try:
        text = format_query(translate_query(q))
    except InvalidParameter:  # it excludes only
        return
    assert format_query(parse_query(text)) == text
