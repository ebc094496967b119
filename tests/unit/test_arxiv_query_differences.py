"""Differences between the query sent and the query that arXiv executed."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from msgspec import structs

from demo.arxiv import StandIn
from demo.papers import generate
from service.arxiv_query import QUERY_PREFIX, build_params, find_differences
from service.arxiv_xml import parse_feed
from service.errors import InvalidParameter
from service.models.arxiv import Feed, Search
from tests.support.captures import captured, catalogued
from tests.unit.test_arxiv_query import TYPED
from tests.unit.test_arxiv_query_parser import QUERIES

ARXIV = StandIn(generate(50))
OLD_ARXIV = StandIn(generate(50), family="old")


def search_stand_in(sent: dict[str, str], arxiv: StandIn = ARXIV) -> Feed:
    status, body = arxiv.answer(sent)
    assert status == 200, body
    return parse_feed(body)


def params(search_query: str, ids: str = "") -> dict[str, str]:
    return {"search_query": search_query, "id_list": ids, "start": "0", "max_results": "10"}


def feed(link: str | None = None, title: str | None = None) -> Feed:
    return Feed(query=title, link=link, total=0, entries=[], error=None)


# No difference


@captured
def test_captured_responses_have_no_differences(path: Path) -> None:
    title = catalogued(path)["title"]
    sent = dict(re.findall(r"(\w+)=(.*?)(?=&\w+=|$)", QUERY_PREFIX.sub("", title)))

    assert find_differences(params("") | sent, parse_feed(path.read_bytes())) == []


SEARCHES: list[dict[str, Any]] = [
    {"title": "testing"},
    {"title": "f(R) gravity", "author": "O'Neill"},
    {"title": "f(R)", "author": "x)", "any": "(y"},
    {"title": ":(", "comment": "a:b"},
    {"title": "ti:x", "abstract": "AND"},
    {"title": "Müller 漢字 & more+less = #1;?%20"},
    {"category": ("cs.AI", "hep-th", "math.*"), "submitted_from": 0},
    {"category": ("cs.AI", "hep-th", "math.*")},
    {"submitted_to": 1_600_000_000},
    {"id_list": ("2101.00001", "hep-th/9901001v1")},
    {"id_list": ("2101.00001",), "title": "x", "start": 3, "sort_by": "submittedDate"},
    {"query": "ti:a AND ti:b OR ti:c", "title": "x"},
    {"query": "ti:a ANDNOT ti:b ANDNOT ti:c"},
    {"query": "ti:neur* AND (au:del_maestro OR submittedDate:[2020 TO 202106])"},
    {"query": "doi:10.1007/978-3_13", "author": "Carion"},
]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("arxiv", [ARXIV, OLD_ARXIV])
def test_ordinary_searches_have_no_differences(search: dict[str, Any], arxiv: StandIn) -> None:
    sent = build_params(Search(**search), 10)

    assert find_differences(sent, search_stand_in(sent, arxiv)) == []


@given(TYPED, TYPED, TYPED)
def test_any_text_is_searched_as_typed(author: str, title: str, anything: str) -> None:
    try:
        sent = build_params(Search(author=author, title=title, any=anything), 10)
    except InvalidParameter:
        return

    assert find_differences(sent, search_stand_in(sent)) == []


@given(QUERIES, TYPED)
def test_any_query_is_searched_as_written(query: str, title: str) -> None:
    try:
        sent = build_params(Search(query=query, title=title), 10)
    except InvalidParameter:
        return
    # the stand-in does not support these
    status, body = ARXIV.answer(sent)
    if status == 200:
        assert find_differences(sent, parse_feed(body)) == []


@pytest.mark.parametrize(
    "spelling",
    [
        "(ti:A) AND ((au:b))",
        'ti:"a"  AND  au:"b"',
        "(TI:a".lower() + " AND au:b)",
    ],
)
def test_spelling_is_not_a_difference(spelling: str) -> None:
    link = f"https://arxiv.org/api/query?search_query={spelling.replace(' ', '+')}"

    assert find_differences(params('ti:"a" AND au:"b"'), feed(link)) == []


@pytest.mark.parametrize(
    ("link", "title"),
    [
        (None, None),
        ("", ""),
        ("https://[", "no query"),
        ("https://arxiv.org/api/query?" + "&".join(f"x{n}=" for n in range(100)), None),
        ("https://arxiv.org/api/query?search_query=%22", "search_query=((&id_list="),
    ],
)
def test_unreadable_feed_reports_no_difference(link: str | None, title: str | None) -> None:
    assert find_differences(params('ti:"a"'), feed(link, title)) == []


# Differences


@pytest.mark.parametrize(
    ("trap", "executed"),
    [
        ("ti:a AND ti:b OR ti:c", "ti:a AND (ti:b OR ti:c)"),
        ("ti:a ANDNOT ti:b ANDNOT ti:c", "ti:a ANDNOT (ti:b ANDNOT ti:c)"),
        ("ti:a b", "ti:a OR all:b"),
        ("ti:(a b)", "ti:a OR ti:b"),
        ("a and b", "all:a OR (all:and OR all:b)"),
        ("ti:a NOT ti:b", "ti:a ANDNOT ti:b"),
        ("ti:a_b AND au:bob", 'ti:a_b AND au:"a b"'),
        ("ti:x AND au:del_maestro", "ti:x AND au:del_maestro"),
        ("cat:cs.AI OR cs.LG", "cat:cs.AI OR all:cs.LG"),
        ("author:x", "all:author:x"),
        ("[2020 TO *]", "all:[2020 OR (all:TO OR all:*])"),
    ],
)
def test_misinterpreted_query_is_reported(trap: str, executed: str) -> None:
    link = f"https://arxiv.org/api/query?search_query={executed.replace(' ', '+')}&id_list="

    assert find_differences(params(trap), feed(link)) == [
        f"arXiv searched {executed!r}, not {trap!r}"
    ]


@pytest.mark.parametrize(
    "trap",
    [
        *("ti:a AND ti:b OR ti:c", "ti:a b", "ti:(a b)", "a and b", "ti:a NOT ti:b", "author:x"),
        *("ti:a_b AND au:bob", "ti:x AND au:del_maestro", "cat:cs.AI OR cs.LG"),
    ],
)
def test_stand_in_misinterprets_queries_like_arxiv(trap: str) -> None:
    assert len(find_differences(params(trap), search_stand_in(params(trap)))) == 1


@pytest.mark.parametrize(
    "executed", ["all:x", "", "ti:a OR ti:b", "au:a AND ti:b", "ti:b AND ti:a"]
)
@pytest.mark.parametrize("where", ["link", "title"])
def test_different_query_is_reported(executed: str, where: str) -> None:
    title = f"search_query={executed}&id_list="
    found = feed(f"https://arxiv.org/api/query?{title}") if where == "link" else feed(None, title)

    differences = find_differences(params('ti:"a" AND ti:"b"'), found)

    assert differences == [f'arXiv searched {executed!r}, not \'ti:"a" AND ti:"b"\'']


def test_unexpected_query_is_reported() -> None:
    link = "https://arxiv.org/api/query?search_query=all:x&id_list=2101.00001"

    assert find_differences(params("", "2101.00001"), feed(link)) == [
        "arXiv searched 'all:x', not ''"
    ]


@pytest.mark.parametrize("family", [ARXIV, OLD_ARXIV])
@pytest.mark.parametrize(
    ("name", "value"), [("id_list", "2101.00009"), ("start", "5"), ("max_results", "7")]
)
def test_different_page_is_reported(family: StandIn, name: str, value: str) -> None:
    sent = params('ti:"testing"', "2101.00001,2101.00002")

    differences = find_differences(sent, search_stand_in(sent | {name: value}, family))

    assert differences == [f"arXiv used {value!r} as {name}, not {sent[name]!r}"]


def test_order_of_ids_is_not_a_difference() -> None:
    sent = params("", "2101.00001,2101.00002")

    assert find_differences(sent, search_stand_in(params("", "2101.00002,2101.00001"))) == []


@pytest.mark.parametrize(
    "executed", ["(" * 5000 + "ti:a" + ")" * 5000, " AND ".join(["ti:a"] * 5000), "ti:" * 10**5]
)
def test_very_long_query_is_truncated(executed: str) -> None:
    differences = find_differences(
        params('ti:"b"'), feed(f"https://arxiv.org/?search_query={executed}")
    )

    assert all(len(sentence) < 6000 for sentence in differences)


def test_control_characters_are_escaped() -> None:
    differences = find_differences(
        params('ti:"b"'), feed("https://arxiv.org/?search_query=ti:%22a%0a%00%1b%22")
    )

    assert differences == ["arXiv searched 'ti:\"a\\n\\x00\\x1b\"', not 'ti:\"b\"'"]


def test_title_is_used_without_link() -> None:
    sent = params('ti:"a"')
    found = search_stand_in(sent)

    assert find_differences(sent, structs.replace(found, link=None)) == []
    assert len(find_differences(params('ti:"b"'), structs.replace(found, link=None))) == 1
