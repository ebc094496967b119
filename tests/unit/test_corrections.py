"""Likely mistakes in searches without results, and the corrections that are suggested."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.arxiv_query import build_params
from service.corrections import MAX_CORRECTIONS, suggest_corrections, suggest_list_corrections
from service.errors import InvalidParameter
from service.models.arxiv import Search
from tests.support.measure import assert_cpu_below


def correct_search(**parameters: Any) -> list[str]:
    return suggest_corrections(Search(**parameters))


def correct_list(**parameters: str) -> list[str]:
    return suggest_list_corrections(
        **(dict.fromkeys(("q", "author", "title", "journal")) | parameters)
    )


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"query": "cat:cs.XX"}, ["query: cs.XX is not a category; closest: cs.*"]),
        (
            {"query": "ti:x AND cat:hep-thh"},
            ["query: hep-thh is not a category; closest: hep-th, hep-ph, hep-lat, hep-ex"],
        ),
        (
            {"query": "cat:cs OR (cat:cs.AI ANDNOT cat:math*)"},
            ["query: cat:cs does not include subject classes; write cat:cs.*"],
        ),
        (
            {"query": "cat:hep-th.*"},
            ["query: hep-th.* is not a category; closest: hep-th, hep-ph, hep-lat"],
        ),
        (
            {"title": "neural AND network"},
            ["title: AND is searched as a word; use query for operators"],
        ),
        (
            {"any": "a ANDNOT b"},
            ["any: ANDNOT is searched as a word; use query for operators"],
        ),
        ({"author": "au:Klein"}, ["author: au:Klein is searched as words; use query for fields"]),
        (
            {"title": "dark+matter"},
            ["title: contains literal plus signs; encode a space as + or %20, not as %2B"],
        ),
        (
            {"abstract": "dark%20matter"},
            ["abstract: contains percent-encoded characters; encode the value once, not twice"],
        ),
        (
            {"any": "10.1103/PhysRevD.12.345."},
            [
                (
                    "any: 10.1103/PhysRevD.12.345 is a DOI, but is searched as words;"
                    ' use query=doi:"10.1103/PhysRevD.12.345"'
                )
            ],
        ),
        (
            {"title": "x 10.1016/0370-2693(82)90697-1"},
            [
                (
                    "title: 10.1016/0370-2693(82)90697-1 is a DOI, but is searched as words;"
                    ' use query=doi:"10.1016/0370-2693(82)90697-1"'
                )
            ],
        ),
        (
            {"any": "10.1002/(SICI)1097-0118(1997)24:4<309::AID-JGT2>3.0.CO;2-C"},
            [
                (
                    "any: 10.1002/(SICI)1097-0118(1997)24:4<309::AID-JGT2>3.0.CO;2-C is a DOI, but"
                    " is searched as words; use"
                    ' query=doi:"10.1002/(SICI)1097-0118(1997)24:4<309::AID-JGT2>3.0.CO;2-C"'
                )
            ],
        ),
        (
            {"any": "see https://doi.org/10.48550/arXiv.2101.00001v2"},
            [
                (
                    "any: 10.48550/arXiv.2101.00001v2 is an identifier, but is searched as words;"
                    " use id_list=2101.00001v2"
                )
            ],
        ),
        (
            {"any": "a andnot b"},
            ["any: andnot is searched as a word; use query for operators"],
        ),
        (
            {"author": "Noether, Emmy; Hilbert, David"},
            ['author: takes one name; use query=au:"Emmy Noether" AND au:"David Hilbert"'],
        ),
        (
            {"query": 'au:"Müller, José" AND ti:x'},
            ['query: au:"Müller, José" has the surname first; write au:"José Müller"'],
        ),
        (
            {"query": 'all:"10.5555/x"'},
            ['query: 10.5555/x is a DOI, but is searched as words; use query=doi:"10.5555/x"'],
        ),
        (
            {"title": "arXiv:2101.00001v2"},
            [
                (
                    "title: arXiv:2101.00001v2 is an identifier, but is searched as words;"
                    " use id_list=2101.00001v2"
                )
            ],
        ),
        (
            {"any": "paper hep-th/9901001"},
            [
                (
                    "any: hep-th/9901001 is an identifier, but is searched as words;"
                    " use id_list=hep-th/9901001"
                )
            ],
        ),
        (
            {"title": "quantum 2021"},
            [
                (
                    "title: 2021 is searched as a word;"
                    " use submitted_from=2021-01-01 and submitted_to=2021-12-31"
                )
            ],
        ),
        ({"any": "cs.ai testing"}, ["any: cs.ai is searched as a word; use category=cs.AI"]),
        ({"title": "hep-th"}, ["title: hep-th is searched as a word; use category=hep-th"]),
    ],
)
def test_mistake_in_a_search_is_explained(parameters: Any, expected: list[str]) -> None:
    build_params(Search(**parameters), 10)  # it is valid

    assert correct_search(**parameters) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"title": "neural networks", "author": "Klein", "category": ("cs",)},
        {"title": "C++ and search and rescue"},
        {"title": "ASTRONOMY AND ASTROPHYSICS"},
        {"journal": "JHEP 2021", "comment": "ICML 2021"},
        {"title": "math physics"},
        {"title": "1800 rooms, 3.14 and 1:2"},
        {"query": "cat:cs.AI AND cat:cs.* AND cat:astro-ph AND jr:2021 AND doi:10.5555/x"},
        {"query": "id:2101.00001 OR rn:2021 OR submittedDate:[2020 TO 2021]"},
        {"id_list": ("2101.00001",)},
        {},
    ],
)
def test_search_without_a_mistake_has_no_corrections(parameters: Any) -> None:
    assert correct_search(**parameters) == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"q": "a ANDNOT b"}, []),
        (
            {"q": "a andnot b"},
            ["q: andnot is searched as a word; write operators in capital letters"],
        ),
        (
            {"q": "(a and b) or c"},
            ["q: and, or is searched as a word; write operators in capital letters"],
        ),
        (
            {"q": "dark+matter"},
            ["q: contains literal plus signs; encode a space as + or %20, not as %2B"],
        ),
        (
            {"q": "10.5555/abc"},
            [
                (
                    "q: 10.5555/abc is a DOI, but is searched as words;"
                    ' use /arxiv?query=doi:"10.5555/abc"'
                )
            ],
        ),
        (
            {"title": "2101.00001"},
            [
                (
                    "title: 2101.00001 is an identifier, but is searched as words;"
                    " use /papers/2101.00001"
                )
            ],
        ),
        (
            {"q": "title:flow 2021"},
            ["q: 2021 is searched as a word; use since=2021-01-01 and until=2021-12-31"],
        ),
        (
            {"q": "(10.1016/0370-2693(82)90697-1)"},
            [
                (
                    "q: 10.1016/0370-2693(82)90697-1 is a DOI, but is searched as words;"
                    ' use /arxiv?query=doi:"10.1016/0370-2693(82)90697-1"'
                )
            ],
        ),
        (
            {"q": 'da*k "a*b"'},
            ["q: da*k is searched without the wildcard, which has to end a word"],
        ),
        (
            {"author": "Emmy Noether and David Hilbert"},
            ['author: takes one name; use q=author:"Emmy Noether" author:"David Hilbert"'],
        ),
        ({"q": "CS.SE"}, ["q: CS.SE is searched as a word; use category=cs.SE"]),
        ({"title": "a AND b"}, ["title: AND is searched as a word; use q for operators"]),
        ({"title": "author:x"}, ["title: author:x is searched as words; use q for fields"]),
        (
            {"author": "Klein F."},
            [
                (
                    "author: names are stored with the given name first, mostly in full;"
                    " use Klein or F. Klein"
                )
            ],
        ),
        (
            {"author": "O'Neil, J. R."},
            [
                (
                    "author: names are stored with the given name first, mostly in full;"
                    " use O'Neil or J. R. O'Neil"
                )
            ],
        ),
    ],
)
def test_mistake_in_the_filters_of_a_list_is_explained(
    parameters: dict[str, str], expected: list[str]
) -> None:
    assert correct_list(**parameters) == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"q": '"to be or not to be" -author:klein OR (a AND NOT b)'},
        {"author": "Felix Klein", "title": "search and rescue", "journal": "Phys. Rev. D 2021"},
        {"q": "C++ GPT-4 AdS/CFT SU(2)"},
        {},
    ],
)
def test_filters_without_a_mistake_have_no_corrections(parameters: dict[str, str]) -> None:
    assert correct_list(**parameters) == []


PIECES = st.sampled_from(
    ["cat:", "cs.", "AI", "*", "(", ")", " AND ", " OR ", "2021", "10.5555/x", "+", "%20", '"', " "]
)
TYPED = st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20)


@given(TYPED, TYPED)
def test_every_valid_search_has_short_corrections(query: str, title: str) -> None:
    try:
        build_params(Search(query=query, title=title), 10)
    except InvalidParameter:
        return
    assert all(len(each) < 500 for each in correct_search(query=query, title=title))


@pytest.mark.parametrize(
    "query",
    [
        " OR ".join(f"cat:x{number}.YZ" for number in range(199)),
        " OR ".join(["all:a.b"] * 199),
        f'all:"{"10.5555/x " * 490}"',
        f'all:"{"a+" * 2400}"',
        f'all:"{"%20" * 1600}"',
        f'all:"{"1" * 4900}"',
    ],
)
def test_corrections_of_long_searches_are_few_and_fast(query: str) -> None:
    corrections = correct_search(query=query)

    assert_cpu_below(0.25, lambda: correct_search(query=query))
    assert len(corrections) <= MAX_CORRECTIONS
    assert all(len(each) < 500 for each in corrections)
