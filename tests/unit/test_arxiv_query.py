"""Search parameters are converted to arXiv requests with the same meaning and a stable text."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from demo.feed import render
from demo.papers import generate
from demo.query import BinaryOp, Node, Term, parse, rewrite
from service.arxiv_query import (
    MAX_LIST_ITEMS,
    MAX_QUERY_LENGTH,
    MAX_RESULT,
    SEARCH_PARAMS,
    build_params,
    find_missing_ids,
)
from service.arxiv_query_parser import MAX_TERMS
from service.arxiv_xml import parse_feed
from service.errors import InvalidParameter
from service.metadata.categories import CATEGORIES
from service.metadata.tex import convert_markup, tex_to_text
from service.metadata.unicode_text import remove_invisible
from service.models.arxiv import Entry, Search

FIELDS = {
    "author": "au",
    "title": "ti",
    "journal": "jr",
    "abstract": "abs",
    "comment": "co",
    "any": "all",
}

# words and symbols of the query language in any combination
_PIECES = st.sampled_from(
    [
        *('"', "\\", "_", "(", ")", "[", "]", ":", "*", "?", "+", "-", "%22", "&", " ", "\t", "\n"),
        *("AND", "OR", "ANDNOT", "NOT", "and", "TO", "ti:", "au:", "all:", "title:", "cat:cs.*"),
        *("submittedDate:[2020 TO 2021]", "lastUpdatedDate:[2020 TO 2021]", "submittedDate:"),
        *("neural", "Müller", "漢字", "0", "\x00", "\x85", "\u2028", "“", "”", "e\u0301", "\u200b"),
    ]
)
TYPED = st.text(max_size=30) | st.lists(_PIECES, max_size=8).map("".join)


def sent(**params: Any) -> dict[str, str]:
    return build_params(Search(**params), 10)


def query(**params: Any) -> str:
    return sent(**params)["search_query"]


def refused(**params: Any) -> InvalidParameter:
    with pytest.raises(InvalidParameter) as error:
        sent(**params)
    assert error.value.detail.startswith(f"{error.value.parameter}: ")
    return error.value


def terms(tree: Node) -> list[Term]:
    """Return the terms of a tree that contains only AND."""
    if isinstance(tree, Term):
        return [tree]
    assert isinstance(tree, BinaryOp)
    assert tree.operator == "AND"
    return [*terms(tree.left), *terms(tree.right)]


def words(text: str) -> list[str]:
    """Return the letters and digits of a text, as indexed."""
    return re.findall(
        r"\S+",
        "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in remove_invisible(text)),
    )


def has_letters(text: str) -> bool:
    return any(unicodedata.category(c)[0] in "LN" for c in text)


# Terms


@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, TYPED)))
@example(dict.fromkeys(FIELDS, '" OR all:"'))
@example(dict.fromkeys(FIELDS, "submittedDate:[2020 TO 2021]"))
@example(dict.fromkeys(FIELDS, "lastUpdatedDate:[202001 TO 2021]"))
@example(dict.fromkeys(FIELDS, "submittedDate_:[2020 TO 2021]"))
@example(dict.fromkeys(FIELDS, 'submittedDate":[2020 TO 2021]'))
@example(dict.fromkeys(FIELDS, 'b\\"'))
@example(dict.fromkeys(FIELDS, "a\\"))
@example(dict.fromkeys(FIELDS, 'neural\\"AND'))
def test_each_field_becomes_one_term_with_all_words(typed: dict[str, str]) -> None:
    try:
        built = query(**typed)
    except InvalidParameter as error:
        names = error.parameter.split(", ")
        assert not has_letters("".join(typed[name] for name in names if name in typed))
        return

    found = terms(parse(rewrite(built)))
    expected_terms = {
        field: tex_to_text(typed[name]) if name == "author" else convert_markup(typed[name])
        for name, field in FIELDS.items()
        if typed[name].strip()
    }
    assert [term.field for term in found] == list(expected_terms)
    for term in found:
        assert words(term.value) == words(expected_terms[term.field])
        # arXiv's rewriting did not change the query
        assert f'{term.field}:"{term.value}"' in built


@given(st.sampled_from(list(FIELDS)), TYPED)
def test_single_field_is_one_term(name: str, text: str) -> None:
    try:
        built = query(**{name: text})
    except InvalidParameter:
        assert not has_letters(text)
        return

    assert isinstance(parse(rewrite(built)), Term)


@given(st.text("abcdefgXYZäé0123456789.,:;()[]{}<>+-&|!^~/'$#%=@", min_size=1, max_size=40))
def test_ordinary_characters_are_sent_unchanged(text: str) -> None:
    assert query(title=text) == f'ti:"{text}"'


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("neural network", "neural network"),
        ("  padded\t and \r\n broken ", "padded and broken"),
        ('the "weak" limit', "the weak limit"),
        ("a_b__c", "a b c"),
        ("\\alpha", "alpha"),
        ('Schr\\"odinger and K{\\"a}hler', "Schrödinger and Kähler"),
        ("“dark matter” „halos“", "dark matter halos"),
        ('say \\"hello\\"', "say hello"),
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
        ("neu\u00adtri\u200bno \u202adark\u202c\ufeff", "neutrino dark"),
    ],
)
def test_only_unsafe_characters_are_removed(typed: str, expected: str) -> None:
    assert query(title=typed) == f'ti:"{expected}"'


def test_parameters_are_combined_with_and() -> None:
    built = query(
        author="Noether",
        title="Invariants",
        journal="Math. Ann.",
        abstract="algebra",
        comment="18 pages",
        any="ring",
        category=("math.AC", "math.RA"),
        query="ti:a OR ti:b",
        submitted_from=0,
    )

    assert built == (
        '(ti:"a" OR ti:"b") AND au:"Noether" AND ti:"Invariants" AND jr:"Math. Ann."'
        ' AND abs:"algebra" AND co:"18 pages" AND all:"ring" AND (cat:math.AC OR cat:math.RA)'
        " AND submittedDate:[199101010000 TO 209912312359]"
    )


@pytest.mark.parametrize("empty", [None, "", " ", "\t\n", "\u3000"])
def test_empty_field_is_omitted(empty: str | None) -> None:
    assert query(author=empty, title="x", query=empty) == 'ti:"x"'


@pytest.mark.parametrize("empty", [None, "", " \n"])
def test_search_without_parameters_is_rejected(empty: str | None) -> None:
    error = refused(author=empty, query=empty, category=("",), id_list=(" ",), max_results=5)

    assert error.parameter == ", ".join(SEARCH_PARAMS)
    assert set(SEARCH_PARAMS) < set(Search.__struct_fields__)


@pytest.mark.parametrize(
    "typed",
    [
        *('"', '""', "\\", "_", "*", "? *", "\x00", '" _ \\'),
        *("\u200b", "\u200b \ufeff", "\u2060*", "\u00ad", "*\u200b", "\u3164", "\u2800", "\u0301"),
    ],
)
@pytest.mark.parametrize("name", list(FIELDS))
def test_field_without_searchable_characters_is_rejected(name: str, typed: str) -> None:
    others = dict.fromkeys(FIELDS, "x")

    assert refused(**(others | {name: typed})).parameter == name


# Categories


@pytest.mark.parametrize(
    "name",
    [
        *("cs.AI", "hep-th", "cs.*", "math.*", "alg-geom", "cond-mat.str-el", "physics.acc-ph"),
        *("astro-ph.CO", "physics.*", "physics.optics", "cond-mat.soft", "q-bio.GN", "stat.ML"),
    ],
)
@pytest.mark.parametrize("spell", [str, str.upper, str.lower, lambda name: f" {name}\n"])
def test_category_is_sent_in_arxiv_spelling(name: str, spell: Any) -> None:
    assert query(category=(spell(name),)) == f"cat:{name}"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "cs.AI OR all:x",
            "cs.AI)",
            '"cs.AI"',
            "cs.",
            ".AI",
            "*",
            "cs.A*",
            "c*",
            "cs.A1",
            "cs_AI",
        ),
        *("cs.AI.LG", "-cs", "cs-", "c--s", "Kcs.AI".replace("K", "\u212a"), "cs,AI", "1"),
    ],
)
def test_invalid_category_is_rejected(name: str) -> None:
    error = refused(title="x", category=("cs.AI", name))

    assert error.parameter == "category"
    assert "is not a category" in error.detail
    assert "closest: " in error.detail or "cs.AI, hep-th or cs.*" in error.detail


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        (["econ"], "cat:econ.*"),
        (["ECON.*"], "cat:econ.*"),
        (["physics"], "cat:physics.*"),
        (["econ", "econ.EM", "Econ.*"], "cat:econ.*"),
        (["astro-ph"], "cat:astro-ph OR cat:astro-ph.*"),
        (["cond-mat.*"], "cat:cond-mat OR cat:cond-mat.*"),
        (["hep-th.*"], "cat:hep-th"),
        (["math.MP"], "cat:math-ph OR cat:math.MP"),
        (["math-ph"], "cat:math-ph OR cat:math.MP"),
        (["cs.sy"], "cat:cs.SY OR cat:eess.SY"),
        (["alg-geom"], "cat:alg-geom"),
        (["math.AG"], "cat:math.AG"),
    ],
)
def test_archives_and_categories_with_two_names_are_sent_in_full(
    names: list[str], sent: str
) -> None:
    assert query(category=tuple(names)) == sent


def test_categories_are_combined_with_or_in_stable_order() -> None:
    built = query(title="x", category=("hep-th", "cs.AI", "cs.ai", "hep-th", "math.*"))

    assert built == 'ti:"x" AND (cat:cs.AI OR cat:hep-th OR cat:math.*)'


def test_all_categories_at_once_are_a_query_that_arxiv_accepts() -> None:
    built = query(category=tuple(CATEGORIES))

    assert len(CATEGORIES) - 30 < built.count(" OR ") < MAX_TERMS
    assert parse(rewrite(built))


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("cat:cs.ai", "cat:cs.AI"),
        ('cat:"CS.ai"', "cat:cs.AI"),
        ("cat:(CS.lg OR stat.ml)", "cat:cs.LG OR cat:stat.ML"),
        ("cat:COND-MAT.Str-El", "cat:cond-mat.str-el"),
        ("cat:MATH.*", "cat:math.*"),
        ("cat:math.a*", "cat:math.A*"),
        ("cat:Q-*", "cat:q-*"),
        ("cat:cs", "cat:cs"),
        ("cat:math.MP", "cat:math.MP"),
        ("cat:cs.XX", "cat:cs.XX"),
        ("cat:cs.xx", "cat:cs.xx"),
        ("cat:econn.*", "cat:econn.*"),
    ],
)
def test_category_in_a_query_is_sent_in_arxiv_spelling_and_otherwise_as_written(
    typed: str, sent: str
) -> None:
    assert query(query=typed) == sent


def test_category_and_query_for_one_category_are_sent_as_the_same_text() -> None:
    for name in CATEGORIES:
        built = query(query=f"cat:{name.upper()}")
        assert built == f"cat:{name}"
        assert built in query(category=(name.lower(),)).split(" OR ")


# Dates


def seconds(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ((2020, 1, 2, 3, 4, 5), (2021, 6, 7, 23, 59, 59), "202001020304 TO 202106072359"),
        ((2020, 1, 2), None, "202001020000 TO 209912312359"),
        (None, (2020, 1, 2), "199101010000 TO 202001020000"),
        ((1, 1, 2), (9999, 12, 31), "199101010000 TO 209912312359"),
        ((1970, 1, 1), (1970, 1, 1), "199101010000 TO 199101010000"),
        ((2020, 1, 2), (2020, 1, 2), "202001020000 TO 202001020000"),
    ],
)
def test_dates_are_sent_as_minutes_in_utc(since: Any, until: Any, expected: str) -> None:
    built = query(submitted_from=since and seconds(*since), submitted_to=until and seconds(*until))

    assert built == f"submittedDate:[{expected}]"
    assert parse(rewrite(built)) == Term("submittedDate", expected)


def test_range_that_ends_before_it_starts_is_rejected() -> None:
    assert refused(submitted_from=1, submitted_to=0).parameter == "submitted_to"


# Ids


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("2101.00001", "2101.00001"),
        ("0704.0001", "0704.0001"),
        ("2101.00001v12", "2101.00001v12"),
        ("hep-th/9901001", "hep-th/9901001"),
        ("hep-th/9901001v2", "hep-th/9901001v2"),
        ("math.GT/0309136", "math/0309136"),
        ("arXiv:2101.00001", "2101.00001"),
        ("ARXIV:math.GT/0309136v1", "math/0309136v1"),
        ("https://arxiv.org/abs/2101.00001v2", "2101.00001v2"),
        ("http://www.arxiv.org/pdf/hep-th/9901001v1.pdf", "hep-th/9901001v1"),
        ("export.arxiv.org/abs/2101.00001", "2101.00001"),
        ("https://arxiv.org/abs/2101.00001?context=cs#top", "2101.00001"),
        ("https://arxiv.org/html/2101.00001/", "2101.00001"),
        (" 2101.00001\n", "2101.00001"),
    ],
)
def test_ids_are_sent_without_url_and_subject_class(typed: str, expected: str) -> None:
    assert sent(id_list=(typed,)) == {
        "search_query": "",
        "id_list": expected,
        "start": "0",
        "max_results": "1",
    }


@pytest.mark.parametrize(
    "typed",
    [
        *("abc", "2101.1", "2101.000001", "0305100", "0305100v2", "2101.00001v0", "2101.00001v"),
        *("hep-th/99010011", "2101.00001&max_results=9"),
        *("https://example.org/abs/2101.00001", "https://arxiv.org/list/cs.AI/new", "arXiv:"),
        *("\u0662101.00001", "https://arxiv.org.example.org/abs/2101.00001", "../2101.00001"),
    ],
)
def test_invalid_id_is_rejected(typed: str) -> None:
    error = refused(id_list=("2101.00001", typed))

    assert error.parameter == "id_list"
    assert repr(typed) in error.detail


def test_max_results_defaults_to_number_of_ids() -> None:
    ids = tuple(f"2101.{number:05}" for number in range(25))

    assert sent(id_list=ids)["max_results"] == "25"
    assert sent(id_list=ids, query="ti:x")["max_results"] == "25"
    assert sent(id_list=ids, max_results=3)["max_results"] == "3"
    assert sent(title="x")["max_results"] == "10"


def test_order_and_repetition_of_ids_do_not_matter() -> None:
    params = sent(id_list=("2101.00002", "2101.00001", "2101.00001v1"))

    assert params["id_list"] == "2101.00001,2101.00001v1,2101.00002"
    assert params["max_results"] == "3"
    assert params == sent(
        id_list=("arXiv:2101.00001v1,2101.00002", "2101.00001 2101.00002", "2101.00001")
    )


def test_too_many_ids_are_rejected() -> None:
    ids = tuple(f"2101.{number:05}" for number in range(MAX_LIST_ITEMS + 1))

    assert sent(id_list=ids[1:])["max_results"] == str(MAX_LIST_ITEMS)
    assert refused(id_list=ids).parameter == "id_list"


# Paging and sorting


def test_plain_search_sends_four_parameters() -> None:
    assert list(sent(title="x").items()) == [
        ("search_query", 'ti:"x"'),
        ("id_list", ""),
        ("start", "0"),
        ("max_results", "10"),
    ]


@pytest.mark.parametrize("by", ["relevance", "lastUpdatedDate", "submittedDate"])
@pytest.mark.parametrize("order", ["descending", "ascending"])
def test_sort_order_is_sent_unless_default(by: str, order: str) -> None:
    extra = dict(list(sent(title="x", sort_by=by, sort_order=order).items())[4:])

    usual = (by, order) == ("relevance", "descending")
    assert extra == ({} if usual else {"sortBy": by, "sortOrder": order})


def test_page_beyond_last_result_is_rejected() -> None:
    assert sent(title="x", start=MAX_RESULT - 10)["start"] == "9990"

    error = refused(title="x", start=MAX_RESULT - 9)
    assert error.parameter == "start"
    assert "submitted_from" in error.detail
    assert "harvest" in error.detail


# Queries


def test_query_alone_has_no_parentheses() -> None:
    assert query(query=" ti:a   AND(au:b OR c)") == 'ti:"a" AND (au:"b" OR all:"c")'


def test_query_is_combined_with_other_parameters() -> None:
    assert query(query="ti:a OR ti:b", title="c") == '(ti:"a" OR ti:"b") AND ti:"c"'
    assert query(query="ti:a", title="c") == 'ti:"a" AND ti:"c"'


@pytest.mark.parametrize("wrong", ["ti:a b", "author:x", "(", "ti:" + "x" * MAX_QUERY_LENGTH])
def test_invalid_query_is_rejected(wrong: str) -> None:
    assert refused(query=wrong, title="x").parameter == "query"


def test_underscore_in_doi_does_not_affect_author() -> None:
    built = query(query='doi:"10.1007/978-3-030-58452-8_13"', author="Carion")

    assert terms(parse(rewrite(built))) == [
        Term("doi", "10.1007/978-3-030-58452-8_13"),
        Term("au", "Carion"),
    ]


@given(st.permutations(["cs.AI", "cs.LG", "hep-th"]), st.permutations(["2101.00001", "2101.00002"]))
def test_same_search_is_sent_as_same_text(categories: list[str], ids: list[str]) -> None:
    one = sent(title=" a  b", category=categories, id_list=ids, query="ti:a  AND (b)", comment="")
    other = sent(
        title="a b",
        category=("cs.AI", "cs.LG", "hep-th", "cs.AI"),
        id_list=("arXiv:2101.00001", "2101.00002"),
        query='(ti:"a" AND all:b)',
        max_results=2,
    )

    assert list(one.items()) == list(other.items())


# Missing ids

ENTRY = parse_feed(render(generate(1))).entries[0]


def entry(arxiv_id: str | None, version: int | None) -> Entry:
    return structs.replace(ENTRY, arxiv_id=arxiv_id, version=version)


@pytest.mark.parametrize(
    ("id_list", "missing"),
    [
        ("", []),
        ("2101.00001,2101.00002", []),
        ("2101.00001v3", []),
        ("2101.00001v1,2101.00001v3", ["2101.00001v1"]),
        ("2101.0000,2101.00003,hep-th/9901001v2", ["2101.0000", "2101.00003"]),
        ("hep-th/9901001", []),
    ],
)
def test_missing_ids_are_listed(id_list: str, missing: list[str]) -> None:
    entries = [
        entry("2101.00001", 3),
        entry("2101.00002", None),
        entry("hep-th/9901001", 2),
        entry(None, None),
    ]

    assert find_missing_ids({"id_list": id_list}, entries) == missing


def test_id_unknown_to_arxiv_is_listed() -> None:
    params = sent(id_list=("0808.05394", "1707.08567"))

    assert find_missing_ids(params, [entry("1707.08567", 2)]) == ["0808.05394"]
