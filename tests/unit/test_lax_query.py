"""Queries are rewritten, parsed and shown as by arXiv's server."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import query as stand_in
from service.arxiv_query import QUERY_PREFIX
from service.arxiv_query_parser import BinaryOp, InvalidQuery, Term
from service.arxiv_xml import parse_feed
from service.lax_query import (
    EVERYTHING,
    QuotedTerm,
    format_feed_link,
    format_feed_query,
    format_tree,
    parse_rewritten_query,
    rewrite_query,
)
from tests.support.captures import captured
from tests.support.measure import assert_cpu_below

PIECES = st.sampled_from(
    [
        *("ti:", "au:", "title:", "all:", "submittedDate:", "author:", "(", ")", " ", "\n", '"'),
        *("AND", "OR", "ANDNOT", "NOT", "AND NOT NOT", "and", "a", "b_c", '"x y"', '"x_y"', "+"),
        *("submittedDate:[2020 TO 202102]", "lastUpdatedDate:[20200101 TO *]", "cat:cs.*", "\\"),
        *("submittedDate:[202013 TO 20201301234567]", "submittedDate:[2020-01-01 TO 2021]"),
    ]
)
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from(["", " "])), max_size=14).map(
    lambda pairs: "".join(piece + space for piece, space in pairs)
)


def show(text: str) -> str:
    return format_tree(parse_rewritten_query(rewrite_query(text)))


def show_as_stand_in(text: str) -> str:
    try:
        return stand_in.format_tree(stand_in.parse(text))
    except stand_in.InvalidQueryError as error:
        return str(error)


@pytest.mark.parametrize(
    ("sent", "executed"),
    [
        ("ti:a AND ti:b OR ti:c", "ti:a AND (ti:b OR ti:c)"),
        ("ti:a ANDNOT ti:b ANDNOT ti:c", "ti:a ANDNOT (ti:b ANDNOT ti:c)"),
        ("ti:a b", "ti:a OR all:b"),
        ("ti:(a b)", "ti:a OR ti:b"),
        ("a and b", "all:a OR (all:and OR all:b)"),
        ("ti:a NOT ti:b", "ti:a ANDNOT ti:b"),
        ("NOT ti:b", "ANDNOT ti:b"),
        ("ti:a AND OR ti:b", "ti:a OR ti:b"),
        ("ti:a_b AND au:bob", 'ti:a_b AND au:"a b"'),
        ("ti:x AND au:del_maestro", "ti:x AND au:del_maestro"),
        ("au:del_maestro", 'au:"del maestro"'),
        ("cat:cs.AI OR cs.LG", "cat:cs.AI OR all:cs.LG"),
        ("author:x", "all:author:x"),
        ("title:x", "ti:x"),
        ("ti:a+b", "ti:a+b"),
        ("lastUpdatedDate:[2020 TO 202102]", 'submittedDate:"202001010000 TO 202102282359"'),
        ("submittedDate:[2020 TO *]", "submittedDate:[2020 OR (all:TO OR all:*])"),
        ("", "all:"),
    ],
)
def test_missing_and_wrong_parts_are_replaced_as_by_arxiv(sent: str, executed: str) -> None:
    assert show(sent) == executed


@pytest.mark.parametrize(
    "text", ["ti:foo AND", "(ti:foo", "ti:a)", r'ti:"say \"hi\""', "()", "AND"]
)
def test_what_arxiv_cannot_parse_is_rejected_with_its_message(text: str) -> None:
    rewritten = rewrite_query(text)

    with pytest.raises(InvalidQuery) as error:
        parse_rewritten_query(rewritten)

    assert str(error.value) == f"Invalid query string: '{rewritten}'"


@given(TEXTS)
def test_any_query_is_rewritten_and_parsed_as_by_the_stand_in(text: str) -> None:
    rewritten = rewrite_query(text)
    assert rewritten == stand_in.rewrite(text)

    for query in (text, rewritten):  # as sent with raw=1, and without
        try:
            shown = format_tree(parse_rewritten_query(query))
        except InvalidQuery as error:
            shown = str(error)
        assert shown == show_as_stand_in(query)


def test_an_exclusion_without_a_left_side_excludes_from_all_papers() -> None:
    tree = parse_rewritten_query('ANDNOT ti:"a b"')

    assert tree == BinaryOp(EVERYTHING, "ANDNOT", QuotedTerm("ti", "a b"))
    assert format_tree(BinaryOp(QuotedTerm("all", ""), "ANDNOT", Term("ti", "b"))) == (
        "all: ANDNOT ti:b"
    )


@captured
def test_titles_and_links_of_captured_feeds_are_reproduced(path: Path) -> None:
    feed = parse_feed(path.read_bytes())
    match = re.fullmatch(
        r"search_query=(.*)&id_list=(.*)&start=(\d+)&max_results=(\d+)",
        QUERY_PREFIX.sub("", feed.query or ""),
    )
    if not match or not path.name.startswith("new_"):
        pytest.skip("this feed has no query, or is of the old server, which rewrote nothing")
    query, ids, start, size = match[1], match[2], int(match[3]), int(match[4])
    tree = parse_rewritten_query(query) if query else None

    assert format_feed_query(rewrite_query(query), ids, start, size) == match[0]
    assert format_feed_link(tree, ids, start, size) == feed.link


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a " * 201, "more than 200 terms"),
        ("(" * 51 + "a" + ")" * 51, "deeper than 50"),
        ("ANDNOT(" * 51 + "a" + ")" * 51, "deeper than 50"),
    ],
)
def test_a_query_that_is_too_long_or_deep_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(InvalidQuery, match=reason):
        show(text)


@pytest.mark.parametrize(
    "piece",
    ["(", ")", "a ", '"', "ANDNOT ", "ti:", "au:_ ", "submittedDate:[", '\\"', "NOT", '"" '],
)
def test_hostile_queries_take_less_than_100_ms_of_computing(piece: str) -> None:
    text = (piece * 10_000)[:10_000]

    def read() -> None:
        with contextlib.suppress(InvalidQuery):
            show(text)

    assert_cpu_below(0.1, read)
