"""Whatever is typed, the query built from it asks for that, and for nothing else."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demo.query import Pair, Term, Tree, parse, rewrite
from service.arxiv_query import build
from service.errors import BadInput
from service.models import Search

FIELDS = {"author": "au", "title": "ti", "journal": "jr"}

# Hostile on purpose: words and marks of the query language, glued in any way.
_PIECES = st.sampled_from(
    [
        *('"', "\\", "_", "(", ")", "[", "]", ":", "*", "?", "+", "-", "%22", "&", " ", "\t", "\n"),
        *("AND", "OR", "ANDNOT", "NOT", "and", "TO", "ti:", "au:", "all:", "title:", "cat:cs.*"),
        *("submittedDate:[2020 TO 2021]", "lastUpdatedDate:[2020 TO 2021]", "submittedDate:"),
        *("neural", "Müller", "漢字", "0", "\x00", "\x85", "\u2028", "“", "”", "e\u0301"),
    ]
)
TYPED = st.text(max_size=30) | st.lists(_PIECES, max_size=8).map("".join)


def search(author: str | None, title: str | None, journal: str | None) -> Search:
    return Search(author=author, title=title, journal=journal, max_results=10)


def terms(tree: Tree) -> list[Term]:
    """The terms of a tree in which everything must match."""
    if isinstance(tree, Term):
        return [tree]
    assert isinstance(tree, Pair)
    assert tree.operator == "AND"
    return [*terms(tree.left), *terms(tree.right)]


def words(text: str) -> list[str]:
    """What an index knows of a text: its letters, with their accents, and its digits."""
    return re.findall(
        r"\S+", "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    )


@given(TYPED, TYPED, TYPED)
@example('" OR all:"', "x", "y")
@example("submittedDate:[2020 TO 2021]", "x", "y")
@example("x", "lastUpdatedDate:[202001 TO 2021]", "y")
@example("x", "submittedDate_:[2020 TO 2021]", "y")
@example("x", 'submittedDate":[2020 TO 2021]', "y")
@example("\\", "a\\", 'b\\"')
def test_arxiv_reads_one_term_for_each_field_and_no_word_is_lost(
    author: str, title: str, journal: str
) -> None:
    typed = {"author": author, "title": title, "journal": journal}
    try:
        built = build(search(author, title, journal))
    except BadInput:
        assert any(not words(text) for text in typed.values())
        return

    found = terms(parse(rewrite(built)))
    given_terms = {FIELDS[name]: text for name, text in typed.items() if text.strip()}
    assert [term.field for term in found] == list(given_terms)
    for term in found:
        assert words(term.value) == words(given_terms[term.field])
        # arXiv's rewriting of a query did not touch it
        assert f'{term.field}:"{term.value}"' in built


@given(st.sampled_from(list(FIELDS)), TYPED)
def test_a_field_alone_is_one_term(name: str, text: str) -> None:
    try:
        built = build(Search(max_results=1, **{name: text}))
    except BadInput:
        assert not words(text)
        return

    assert isinstance(parse(rewrite(built)), Term)


@given(st.text("abcdefgXYZäé0123456789.,:;()[]{}<>+-&|!^~/'$#%=@", min_size=1, max_size=40))
def test_ordinary_characters_are_sent_as_they_are_typed(text: str) -> None:
    assert build(search(None, text, None)) == f'ti:"{text}"'


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("neural network", "neural network"),
        ("  padded\t and \r\n broken ", "padded and broken"),
        ('the "weak" limit', "the weak limit"),
        ("a_b__c", "a b c"),
        ("\\alpha", "alpha"),
        ("*omics", "omics"),
        ("?what", "what"),
        ("* ? *x*", "x*"),
        ("gen*", "gen*"),
        ("why?", "why?"),
        ("0", "0"),
        ("AND", "AND"),
        ("ti:x AND au:y", "ti:x AND au:y"),
        ("\x00a\x1fb\x7fc\x9fd", "a b c d"),
        ("a\u00a0b\u3000c", "a b c"),
        ("Łódź 漢字 \U0001d518", "Łódź 漢字 \U0001d518"),
        ("submittedDate:[2020 TO 2021]", "submittedDate [2020 TO 2021]"),
    ],
)
def test_only_what_has_no_meaning_is_taken_out(typed: str, sent: str) -> None:
    assert build(search(None, typed, None)) == f'ti:"{sent}"'


def test_all_fields_given_must_match() -> None:
    built = build(search("Noether", "Invariants", "Math. Ann."))

    assert built == 'au:"Noether" AND ti:"Invariants" AND jr:"Math. Ann."'


@pytest.mark.parametrize("empty", [None, "", " ", "\t\n", "\u3000"])
def test_an_empty_field_is_left_out(empty: str | None) -> None:
    assert build(search(empty, "x", empty)) == 'ti:"x"'


@pytest.mark.parametrize("empty", [None, "", " \n"])
def test_a_search_for_nothing_names_all_fields(empty: str | None) -> None:
    with pytest.raises(BadInput, match="author, title, journal: ") as refused:
        build(search(empty, empty, empty))

    assert refused.value.parameter == "author, title, journal"


@pytest.mark.parametrize("typed", ['"', '""', "\\", "_", "*", "? *", "\x00", '" _ \\'])
@pytest.mark.parametrize("name", list(FIELDS))
def test_a_field_without_anything_to_search_for_is_named(name: str, typed: str) -> None:
    others = dict.fromkeys(FIELDS, "x")
    with pytest.raises(BadInput) as refused:
        build(Search(max_results=1, **(others | {name: typed})))

    assert refused.value.parameter == name
