"""The stand-in for arXiv behaves like arXiv, on generated papers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from demo import feed, query
from demo.__main__ import main
from demo.arxiv import StandIn
from demo.papers import ODD_PAPERS, Author, Paper, generate
from tests.support.captures import CAPTURES, FEEDS

URL = "http://127.0.0.1/api/query"
REPOSITORY = Path(__file__).parents[2]
NS = {
    "a": "http://www.w3.org/2005/Atom",
    "o": "http://a9.com/-/spec/opensearch/1.1/",
    "x": "http://arxiv.org/schemas/atom",
}
MOMENT = datetime(2020, 2, 29, 12, 0, 30, tzinfo=UTC)
PAPER = Paper(
    arxiv_id="2002.00001",
    title="Plain title",
    abstract="Plain abstract.",
    authors=(Author("Ada Novák"),),
    categories=("cs.AI",),
    versions=(MOMENT,),
)


class ArxivResponse:
    """Parse a feed."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self.root = etree.fromstring(content)
        self.title = self._text("a:title")
        self.id = self._text("a:id")

    def _text(self, path: str) -> str:
        return self.root.findtext(path, "", NS)

    @property
    def total(self) -> int:
        return int(self._text("o:totalResults"))

    @property
    def executed(self) -> str:
        """Return the rewritten query in the title."""
        return self.title.removeprefix("arXiv Query: search_query=").split("&id_list=")[0]

    @property
    def tree(self) -> str:
        """Return the parsed query in the link."""
        (link,) = self.root.iterfind("a:link", NS)
        return parse_qs(urlsplit(link.get("href", "")).query)["search_query"][0]

    @property
    def names(self) -> list[str]:
        """Return ids with versions in order."""
        return [text.split("/abs/")[1] for text in self.texts("a:id")]

    @property
    def error(self) -> tuple[str, str]:
        """Return the id and the message of an error entry."""
        assert self.texts("a:title") == ["Error"]
        return self.texts("a:id")[0], self.texts("a:summary")[0]

    def texts(self, path: str) -> list[str]:
        return [found.text or "" for found in self.root.iterfind(f"a:entry/{path}", NS)]


@pytest.fixture(scope="module")
def stand_in() -> StandIn:
    return StandIn(generate(400))


def small_stand_in(*papers: Paper) -> StandIn:
    """Return a stand-in with these papers and unique ids."""
    return StandIn([replace(p, arxiv_id=f"2002.{n:05}") for n, p in enumerate(papers, 1)])


def search_stand_in(stand_in: StandIn, search_query: str = "", **others: object) -> ArxivResponse:
    params = {name: str(value) for name, value in others.items()}
    return ArxivResponse(*stand_in.answer({"search_query": search_query, **params}))


# The search language


@pytest.mark.parametrize(
    ("sent", "rewritten", "tree"),
    [
        ("ti:a AND ti:b OR ti:c", "ti:a AND ti:b OR ti:c", "ti:a AND (ti:b OR ti:c)"),
        (
            "ti:a ANDNOT ti:b ANDNOT ti:c",
            "ti:a ANDNOT ti:b ANDNOT ti:c",
            "ti:a ANDNOT (ti:b ANDNOT ti:c)",
        ),
        ("ti:a b", "ti:a OR all:b", "ti:a OR all:b"),
        ("ti:(a b)", "(ti:a OR ti:b)", "ti:a OR ti:b"),
        ("a and b", "all:a OR all:and OR all:b", "all:a OR (all:and OR all:b)"),
        ("ti:a NOT ti:b", "ti:a ANDNOT ti:b", "ti:a ANDNOT ti:b"),
        ("ti:a AND NOT ti:b", "ti:a ANDNOT ti:b", "ti:a ANDNOT ti:b"),
        ("ti:a_b AND au:bob", 'ti:a_b AND au:"a b"', 'ti:a_b AND au:"a b"'),
        ("ti:x AND au:del_maestro", "ti:x AND au:del_maestro", "ti:x AND au:del_maestro"),
        ("au:del_maestro", 'au:"del maestro"', 'au:"del maestro"'),
        ("cat:cs.AI OR cs.LG", "cat:cs.AI OR all:cs.LG", "cat:cs.AI OR all:cs.LG"),
        ("author:x", "all:author:x", "all:author:x"),
        ("title:x", "ti:x", "ti:x"),
        ("a AND OR b", "all:a OR all:b", "all:a OR all:b"),
        ("((a b) AND c)", "( (all:a OR all:b) AND all:c)", "(all:a OR all:b) AND all:c"),
        ('ti:"a" ti:"b c"', 'ti:"a" OR ti:"b c"', 'ti:"a" OR ti:"b c"'),
        ('ti:" a "', 'ti:" a "', 'ti:"a"'),
        ('ti:""', 'ti:""', "ti:"),
        ("a\nAND\rb", "all:a AND all:b", "all:a AND all:b"),
        (
            "submittedDate:[2020 TO 202002]",
            'submittedDate:"202001010000 TO 202002292359"',
            'submittedDate:"202001010000 TO 202002292359"',
        ),
        (
            "lastUpdatedDate:[20200301 TO 202003011230]",
            'submittedDate:"202003010000 TO 202003011230"',
            'submittedDate:"202003010000 TO 202003011230"',
        ),
    ],
)
def test_query_is_rewritten_and_parsed_like_arxiv(
    stand_in: StandIn, sent: str, rewritten: str, tree: str
) -> None:
    response = search_stand_in(stand_in, sent)

    assert response.status == 200
    assert response.executed == rewritten
    assert response.tree == tree


@pytest.mark.parametrize(
    ("sent", "rewritten"),
    [
        ("ti: au:(a b)", "OR (all:a OR all:b)"),
        ("a AND NOT NOT b", "all:a NOT all:b"),
        ("submittedDate:[202013 TO 202013]", 'submittedDate:"202013010000 TO 202013"'),
        ('"a\rb"', 'all:"a b"'),
    ],
)
def test_query_is_rewritten_with_the_bugs_of_arxiv(sent: str, rewritten: str) -> None:
    assert query.rewrite(sent) == rewritten


def test_open_date_range_is_split_into_words() -> None:
    rewritten = query.rewrite("submittedDate:[2020 TO *]")

    assert rewritten == "submittedDate:[2020 OR all:TO OR all:*]"


@pytest.mark.parametrize(
    "sent", ["ti:foo AND", "AND ti:foo", "(ti:foo", "ti:foo)", "()", r'ti:"say \"hi\""']
)
def test_unreadable_query_is_rejected(stand_in: StandIn, sent: str) -> None:
    response = search_stand_in(stand_in, sent)

    assert response.status == 400
    assert response.error == (feed.ERRORS, f"Invalid query string: '{query.rewrite(sent)}'")


@pytest.mark.parametrize(
    "sent",
    [
        "submittedDate:[2020-01-01 TO 2020-12-31]",
        "submittedDate:2020",
        "ANDNOT (ti:a OR ti:b)",
        "submittedDate:[2020 TO *]",
        "all:*",
        'doi:"?x"',
        "au:;",
        " OR ".join(["ti:a"] * 2000),
        "a\x01",
        "a\uffff",
    ],
)
def test_unanswerable_query_is_a_server_error(stand_in: StandIn, sent: str) -> None:
    response = search_stand_in(stand_in, sent)

    assert response.status == 500
    assert response.error[0] == feed.ERRORS


@settings(deadline=None)  # the machine may be busy
@given(
    st.text('ab_" ()', max_size=8),
    st.lists(st.sampled_from(["ti:", "au:", "AND", "OR", "(", ")", "a_b"])),
)
def test_readable_query_is_rewritten_once(text: str, words: list[str]) -> None:
    rewritten = query.rewrite(" ".join([*words, text]))
    try:
        query.parse(rewritten)
    except query.InvalidQueryError:
        return

    assert query.rewrite(rewritten) == rewritten


# Results


def test_quoted_value_is_a_case_insensitive_phrase() -> None:
    stand_in = small_stand_in(
        replace(PAPER, title="Dark Matter halos"),
        replace(PAPER, title="Matter, mostly dark"),
        replace(PAPER, title="Darkest matters"),
    )

    assert search_stand_in(stand_in, 'ti:"dark matter"').names == ["2002.00001v1"]
    assert search_stand_in(stand_in, "ti:dark").total == 2


def test_author_is_found_in_any_word_order_without_accents() -> None:
    stand_in = small_stand_in(
        replace(PAPER, authors=(Author("Ada Novák"), Author("Zoltán Øst"))),
        replace(PAPER, authors=(Author("Ada Øst"), Author("Zoltán Novák"))),
    )

    assert search_stand_in(stand_in, 'au:"novak ada"').names == ["2002.00001v1"]
    assert search_stand_in(stand_in, 'au:"Ada Ost"').names == ["2002.00002v1"]
    assert search_stand_in(stand_in, 'au:"A. Novák"').total == 0


@pytest.mark.parametrize(
    "sent",
    [
        "ti:alpha",
        "abs:beta",
        "au:gamma",
        "co:delta",
        'jr:"Phys. Epsilon B"',
        "rn:NM-20-7",
        "cat:hep-th",
        "cat:math*",
        "doi:10.5555/X(1)<2>",
        "id:2002.00002",
        "id:2002.00002v2",
        "submittedDate:[199901 TO 1999]",
        "all:alpha",
        "all:beta",
        "all:gamma",
        "all:delta",
        "all:epsilon",
        "all:hep-th",
        "all:1999",
        "all:2002.00002",
    ],
)
def test_every_field_is_searched(sent: str) -> None:
    other = replace(
        PAPER,
        title="Alpha",
        abstract="On beta.",
        authors=(Author("Gamma"),),
        comment="Delta pages",
        journal_ref="Phys. Epsilon B 12 (2001) 7",
        report_number="NM-20-7",
        categories=("hep-th", "math.AG"),
        dois=("10.5555/x(1)<2>",),
        versions=(MOMENT.replace(year=1999, day=1), MOMENT.replace(year=2001, day=1)),
    )
    sent = sent.replace("doi:10.5555/X(1)<2>", 'doi:"10.5555/X(1)<2>"')

    assert search_stand_in(small_stand_in(PAPER, other), sent).names == ["2002.00002v2"]


def test_operators_combine_results() -> None:
    stand_in = small_stand_in(
        *(replace(PAPER, title=title) for title in ("a b", "a c", "b c", "a b c"))
    )

    def found(sent: str) -> list[str]:
        return sorted(name[-4:-2] for name in search_stand_in(stand_in, sent).names)

    assert found("ti:a AND ti:b") == ["01", "04"]
    assert found("ti:a ANDNOT ti:b") == ["02"]
    assert found("ti:a ANDNOT ti:b ANDNOT ti:c") == ["02", "04"]
    assert found("(ti:a ANDNOT ti:b) ANDNOT ti:c") == []
    assert found("ti:b AND ti:a OR ti:c") == ["01", "03", "04"]
    assert found("ANDNOT ti:a") == ["03"]
    assert found("ti:(a b)") == ["01", "02", "03", "04"]


def test_dates_are_of_first_version_and_inclusive() -> None:
    stand_in = small_stand_in(replace(PAPER, versions=(MOMENT, MOMENT.replace(year=2024))))

    assert search_stand_in(stand_in, "submittedDate:[202002291200 TO 202002291200]").total == 1
    assert search_stand_in(stand_in, "submittedDate:[202002291201 TO 2024]").total == 0
    assert search_stand_in(stand_in, "lastUpdatedDate:[2024 TO 2024]").total == 0


def test_unknown_word_finds_nothing(stand_in: StandIn) -> None:
    response = search_stand_in(stand_in, "ti:xyzzy")

    assert (response.status, response.total, response.names) == (200, 0, [])


# Paging and sorting


def test_pages_cover_every_result_once(stand_in: StandIn) -> None:
    whole = search_stand_in(stand_in, "all:the", max_results=1000)
    pages = [
        search_stand_in(stand_in, "all:the", start=n, max_results=70)
        for n in range(0, whole.total, 70)
    ]

    assert [name for page in pages for name in page.names] == whole.names
    assert {page.total for page in pages} == {len(whole.names)}
    assert search_stand_in(stand_in, "all:the", start=whole.total).names == []


def test_first_ten_results_are_the_default(stand_in: StandIn) -> None:
    response = search_stand_in(stand_in, "all:the")

    assert len(response.names) == 10
    assert response.title == "arXiv Query: search_query=all:the&id_list=&start=0&max_results=10"


@pytest.mark.parametrize(
    ("sort_by", "element"), [("submittedDate", "a:published"), ("lastUpdatedDate", "a:updated")]
)
def test_results_are_sorted_by_date(stand_in: StandIn, sort_by: str, element: str) -> None:
    down = search_stand_in(stand_in, "all:the", sortBy=sort_by, max_results=400).texts(element)
    up = search_stand_in(
        stand_in, "all:the", sortBy=sort_by, sortOrder="ascending", max_results=400
    ).texts(element)

    assert down == sorted(down, reverse=True)
    assert up == down[::-1]


def test_most_relevant_results_come_first() -> None:
    stand_in = small_stand_in(
        replace(PAPER, abstract="On spin."),
        replace(PAPER, title="Spin", abstract="On spin."),
        replace(PAPER, title="Spin"),
    )

    assert [name[-4:-2] for name in search_stand_in(stand_in, "spin").names] == ["02", "03", "01"]


@pytest.mark.parametrize(
    "page",
    [
        {"max_results": 0},
        {"max_results": 10_001},
        {"start": 9_991, "max_results": 10},
        {"start": 10_000, "max_results": 1},
        {"start": 9_993, "max_results": 7},  # the number of the page is rounded up
        {"start": 10**400, "max_results": 1},
    ],
)
def test_pages_out_of_range_are_server_errors(stand_in: StandIn, page: dict[str, int]) -> None:
    response = search_stand_in(stand_in, "all:the", **page)

    assert response.status == 500
    assert response.error[0].startswith(feed.ERRORS)


def test_last_page_in_range_is_returned(stand_in: StandIn) -> None:
    assert search_stand_in(stand_in, "all:the", start=9_990, max_results=10).status == 200


# Ids


def test_id_returns_newest_or_given_version() -> None:
    stand_in = small_stand_in(replace(PAPER, versions=(MOMENT, MOMENT.replace(year=2024))), PAPER)

    newest = search_stand_in(stand_in, id_list="2002.00001")
    first = search_stand_in(stand_in, id_list="2002.00001v1")

    assert (newest.names, newest.texts("a:updated")) == (["2002.00001v2"], ["2024-02-29T12:00:30Z"])
    assert (first.names, first.texts("a:updated")) == (["2002.00001v1"], ["2020-02-29T12:00:30Z"])


def test_unknown_and_repeated_ids_are_dropped(stand_in: StandIn) -> None:
    known = stand_in.papers[5].arxiv_id
    response = search_stand_in(
        stand_in, id_list=f"{known},0000.0000,hep-th/0000000,{known}v99,{known}"
    )

    assert (response.status, response.total) == (200, 1)
    assert response.names == [f"{known}v{stand_in.papers[5].version}"]


def test_ids_are_limited_to_max_results_in_stable_order(stand_in: StandIn) -> None:
    ids = [paper.arxiv_id for paper in stand_in.papers[:15]]
    response = search_stand_in(stand_in, id_list=",".join(reversed(ids)))

    assert response.total == 15
    assert [name.rpartition("v")[0] for name in response.names] == ids[:10]


def test_ids_restrict_a_query(stand_in: StandIn) -> None:
    found = search_stand_in(stand_in, "ti:testing")
    others = [paper.arxiv_id for paper in stand_in.papers if "esting" not in paper.title]

    assert (
        search_stand_in(stand_in, "ti:testing", id_list=",".join([*others, found.names[0]])).total
        == 1
    )


@pytest.mark.parametrize(
    "name",
    [
        "abc",
        "0305100v2",
        "=2002.00001",
        "12002.00001",
        "cs.XX/0001001",
        "hep-th/9921001",
        "a b",
        "",
        "1.2",
    ],
)
def test_malformed_id_fails_the_request(stand_in: StandIn, name: str) -> None:
    response = search_stand_in(stand_in, id_list=f"2002.00001,{name}")

    assert response.status == 400
    assert response.error == (
        f"{feed.ERRORS}#incorrect_id_format_for_{name}",
        f"incorrect id format for {name}",
    )
    assert (response.title, response.id, response.total) == (
        "arXiv Search Results",
        "https://arxiv.org/",
        1,
    )
    assert response.texts("a:published") == []
    assert response.texts("a:author/a:name") == ["arXiv api core"]


@pytest.mark.parametrize(
    "name",
    [
        "arXiv:{}",
        "[{}",
        "http://arxiv.org/abs/{}",
        " {}",
        "{}v0",
        "{}v01",
        "{}V1",
        "{}v",
        "xmath.GT/0309199",
        "MATH/0309199",
        "２００２.00001",  # noqa: RUF001 - arXiv accepts all decimal digits
    ],
)
def test_id_within_text_is_valid_but_not_found(name: str) -> None:
    stand_in = small_stand_in(PAPER)
    sent = name.format(stand_in.papers[0].arxiv_id)

    response = search_stand_in(stand_in, id_list=sent)

    assert (response.status, response.total) == (200, 0)
    assert f"&id_list={sent}&" in response.title


# Parameters


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"start": "x"}, "start must be an integer"),
        ({"start": "-1"}, "start must be non-negative"),
        ({"max_results": "1.5"}, "max_results must be an integer"),
        ({"max_results": "-1"}, "max_results must be non-negative"),
        ({"start": ""}, "start must be an integer"),
        ({"start": "x", "max_results": "x", "sortBy": "x"}, "max_results must be an integer"),
        ({"start": "9" * 5000}, "start must be an integer"),
    ],
)
def test_numbers_are_validated(stand_in: StandIn, params: dict[str, str], message: str) -> None:
    response = search_stand_in(stand_in, "ti:a", **params)

    assert response.status == 400
    assert response.error == (f"{feed.ERRORS}#{message.replace(' ', '_')}", message)


@pytest.mark.parametrize("params", [{"sortBy": "date"}, {"sortOrder": "down"}])
def test_error_for_unknown_order_links_to_manual(stand_in: StandIn, params: dict[str, str]) -> None:
    response = search_stand_in(stand_in, "ti:a", **params)

    assert response.status == 400
    assert "must be in: " in response.error[1]
    assert "/api/errors" not in response.error[0]


@pytest.mark.parametrize("sent", ["+3", " 3", "0_3", "\u0663"])
def test_numbers_are_read_as_by_python(stand_in: StandIn, sent: str) -> None:
    response = search_stand_in(stand_in, "all:the", max_results=sent)

    assert len(response.names) == 3
    assert response.title.endswith("&max_results=3")


@pytest.mark.parametrize(
    ("sent", "status", "title"),
    [
        ("ti:testing", 200, "search_query=ti:testing&"),
        ("ti:testing AND (ti:of)", 200, "search_query=ti:testing AND (ti:of)&"),
        ("testing", 400, "arXiv Search Results"),
        ("", 200, "search_query=&"),
    ],
)
def test_raw_query_is_not_rewritten(stand_in: StandIn, sent: str, status: int, title: str) -> None:
    response = search_stand_in(stand_in, sent, raw=1)

    assert response.status == status
    assert title in response.title


@pytest.mark.parametrize("sent", ["", " ", '"'])
def test_request_without_query_and_ids_is_rejected(stand_in: StandIn, sent: str) -> None:
    response = search_stand_in(stand_in, sent)

    assert response.status == 400
    assert response.error[1].startswith("Either a search_query or id_list must be specified")


def test_unknown_parameters_are_ignored(stand_in: StandIn) -> None:
    assert (
        search_stand_in(stand_in, "all:the", skip=5).names
        == search_stand_in(stand_in, "all:the").names
    )


# Feeds


def test_feed_id_is_digest_of_title_without_order(stand_in: StandIn) -> None:
    response = search_stand_in(stand_in, "all:the", sortBy="submittedDate")
    query = response.title.removeprefix("arXiv Query: ").encode()
    digest = hashlib.sha1(query, usedforsecurity=False).digest()

    assert response.id == f"https://arxiv.org/api/{base64.b64encode(digest).decode()[:-1]}"
    assert response.id == search_stand_in(stand_in, "all:the").id


def test_new_feed_contains_all_fields() -> None:
    paper = replace(
        PAPER,
        title=r"On <f_c> & $\alpha$",
        abstract="  Two\n  lines.",
        authors=(Author(" H Collaboration", ("X & Y", "Z")), Author("Łucja Ü")),
        categories=("hep-th", "gr-qc"),
        versions=(MOMENT, MOMENT.replace(year=2024)),
        comment="X\r& Y",
        journal_ref="J. & K. 1",
        dois=('10.5555/"a"<b>', "10.5555/c&d"),
        msc_class="35J20, 35B38",
    )
    root = etree.fromstring(feed.render([paper], query="ti:x", total=12_345, updated=MOMENT))
    (entry,) = root.iterfind("a:entry", NS)

    assert " ".join(etree.QName(child).localname for child in entry) == (
        "id title updated link link summary category category published comment"
        " primary_category journal_ref author author doi link doi link"
    )
    assert entry.findtext("a:id", None, NS) == "http://arxiv.org/abs/2002.00001v2"
    assert entry.findtext("a:title", None, NS) == paper.title
    assert entry.findtext("x:comment", None, NS) == paper.comment
    assert entry.findtext("a:summary", None, NS) == paper.abstract
    assert entry.xpath("a:category/@term", namespaces=NS) == ["hep-th", "gr-qc"]
    assert entry.xpath("a:author/a:name/text()", namespaces=NS) == [" H Collaboration", "Łucja Ü"]
    assert entry.xpath("a:author/x:affiliation/text()", namespaces=NS) == ["X & Y", "Z"]
    assert entry.xpath("x:doi/text()", namespaces=NS) == list(paper.dois)
    assert entry.xpath("a:link[@title='doi']/@href", namespaces=NS) == [
        f"https://doi.org/{doi}" for doi in paper.dois
    ]
    assert root.findtext("o:totalResults", None, NS) == "12345"
    assert root.findtext("a:updated", None, NS) == "2020-02-29T12:00:30Z"


def read_paper(entry: etree._Element) -> Paper:
    """Return the paper that an entry describes."""

    def text(element: str) -> str | None:
        return entry.findtext(element, None, NS)

    base, version = (text("a:id") or "").split("/abs/")[1].rsplit("v", 1)
    first, latest = (
        datetime.fromisoformat(text(name) or "") for name in ("a:published", "a:updated")
    )
    return Paper(
        arxiv_id=base,
        title=text("a:title") or "",
        abstract=text("a:summary") or "",
        authors=tuple(
            Author(
                author.findtext("a:name", "", NS),
                tuple(found.text or "" for found in author.iterfind("x:affiliation", NS)),
            )
            for author in entry.iterfind("a:author", NS)
        ),
        categories=tuple(found.get("term", "") for found in entry.iterfind("a:category", NS)),
        versions=(first, *[latest] * (int(version) - 1)),
        comment=text("x:comment"),
        journal_ref=text("x:journal_ref"),
        dois=tuple(found.text or "" for found in entry.iterfind("x:doi", NS)),
    )


@pytest.mark.parametrize(
    "path",
    [path for path in CAPTURES if path.name.startswith("new_")]
    or [pytest.param(FEEDS, marks=pytest.mark.skip(reason=f"captured feeds are missing: {FEEDS}"))],
    ids=lambda path: path.stem,
)
def test_feed_has_the_bytes_of_a_captured_one(path: Path) -> None:
    content = path.read_bytes()
    root = etree.fromstring(content)
    updated = datetime.fromisoformat(root.findtext("a:updated", "", NS))
    title = root.findtext("a:title", "", NS)
    if message := root.findtext("a:entry[a:title='Error']/a:summary", None, NS):
        link = root.findtext("a:entry/a:id", "", NS)
        rendered = feed.error(message, link, updated)
    else:
        search_query, ids, start, size = re.fullmatch(
            "arXiv Query: search_query=(.*)&id_list=(.*)&start=(.*)&max_results=(.*)", title
        ).groups()  # type: ignore[union-attr]
        rendered = feed.render(
            [read_paper(entry) for entry in root.iterfind("a:entry", NS)],
            query=search_query or None,
            id_list=ids.split(","),
            start=int(start),
            max_results=int(size),
            total=int(root.findtext("o:totalResults", "", NS)),
            updated=updated,
        )

    assert rendered.strip() == content.strip()


@pytest.mark.parametrize("name", ["a b", "é&<>\"'\n\t#?"])
def test_link_of_an_error_is_a_url_without_line_breaks(stand_in: StandIn, name: str) -> None:
    response = search_stand_in(stand_in, id_list=name)
    (link,) = response.root.iterfind("a:entry/a:link", NS)

    assert response.error[0] == f"{feed.ERRORS}#incorrect_id_format_for_{name}"
    assert link.get("href") == response.error[0].replace("\n", "").replace("\t", "")
    assert list(link.attrib) == ["href", "rel", "type"]


def test_old_feed_wraps_text_and_lists_foreign_classes() -> None:
    paper = replace(PAPER, title="word " * 30, msc_class="35J20, 35B38", dois=("10.5555/x",))
    stand_in = small_stand_in(paper)
    stand_in.family = "old"

    response = search_stand_in(stand_in, "ti:word")

    assert response.title.startswith("ArXiv Query: search_query=ti:word&")
    assert response.id.startswith("http://arxiv.org/api/")
    assert "word\n  word" in response.texts("a:title")[0]
    assert response.root.xpath("a:entry/a:category/@term", namespaces=NS) == [
        "cs.AI",
        "35J20, 35B38",
    ]
    assert (
        search_stand_in(stand_in, id_list="abc").error[0].startswith("http://arxiv.org/api/errors#")
    )


def test_large_feed_can_be_rendered() -> None:
    papers = generate(2000)
    content = feed.render(papers, total=9_999)

    assert len(etree.fromstring(content).findall("a:entry", NS)) == 2000


# Papers


def test_papers_depend_only_on_count_and_seed() -> None:
    assert generate(50, seed=7) == generate(50, seed=7)
    assert generate(50, seed=7) != generate(50, seed=8)
    with pytest.raises(ValueError, match="between 0 and 100,000"):
        generate(100_001)


@pytest.mark.parametrize("family", ["new", "old"])
def test_papers_have_the_irregularities_of_arxiv(family: feed.Family) -> None:
    papers = generate(1000)
    stand_in = StandIn(papers, family=family)

    assert search_stand_in(stand_in, "ti:testing").total >= 10
    assert search_stand_in(stand_in, "ti:0").texts("a:title") == ["0"]
    assert search_stand_in(stand_in, "co:withdrawn").total > 5
    assert any(paper.arxiv_id.startswith("hep-th/9") for paper in papers)
    assert any(len(paper.authors) > 300 for paper in papers)
    assert any(len(paper.dois) > 1 for paper in papers)
    assert any(len(author.affiliations) > 1 for paper in papers for author in paper.authors)
    assert any(author.name.startswith(" ") for paper in papers for author in paper.authors)
    assert any(len(paper.versions) > 2 for paper in papers)
    assert Counter(paper.arxiv_id for paper in papers).most_common(1)[0][1] == 1
    everything = ",".join(paper.arxiv_id for paper in papers)
    assert search_stand_in(stand_in, id_list=everything, max_results=2000).status == 200


@pytest.mark.parametrize("paper", ODD_PAPERS, ids=lambda paper: paper.arxiv_id)
def test_odd_papers_are_found_beside_generated_ones(paper: Paper) -> None:
    response = search_stand_in(StandIn([*generate(20), *ODD_PAPERS]), id_list=paper.arxiv_id)
    (entry,) = response.root.iterfind("a:entry", NS)

    assert read_paper(entry) == replace(
        paper, versions=(paper.submitted, *[paper.updated] * (paper.version - 1))
    )


# HTTP


def client(stand_in: StandIn) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=stand_in))


async def test_get_and_post_are_answered_and_recorded() -> None:
    stand_in = small_stand_in(PAPER)
    async with client(stand_in) as http:
        got = await http.get(
            f"{URL}?search_query=ti:plain+AND%20ti:title&start=0", headers={"a": "b"}
        )
        posted = await http.post(URL, data={"search_query": "ti:plain", "max_results": "1"})

    assert (got.status_code, posted.status_code) == (200, 200)
    assert got.headers["content-type"] == "application/atom+xml; charset=utf-8"
    first, second = stand_in.requests
    assert first.raw_query == "search_query=ti:plain+AND%20ti:title&start=0"
    assert first.params == {"search_query": "ti:plain AND ti:title", "start": "0"}
    assert first.headers["a"] == "b"
    assert second.params == {"search_query": "ti:plain", "max_results": "1"}
    assert second.body == b"search_query=ti%3Aplain&max_results=1"
    assert first.started <= first.ended <= second.started <= second.ended
    assert (first.status, second.status) == (200, 200)


@pytest.mark.parametrize("path", ["/", "/api", "/api/query/", "/abs/2002.00001"])
async def test_other_paths_are_not_found(path: str) -> None:
    stand_in = small_stand_in(PAPER)
    async with client(stand_in) as http:
        response = await http.get(f"http://127.0.0.1{path}")

    assert response.status_code == 404
    assert ArxivResponse(404, response.content).error[1].startswith("The requested URL was not")
    assert stand_in.requests == []


async def test_methods_are_those_of_arxiv() -> None:
    stand_in = small_stand_in(PAPER)
    async with client(stand_in) as http:
        rejected = await http.put(URL, params={"search_query": "ti:plain"})
        head = await http.head(URL, params={"search_query": "ti:plain"})
        options = await http.options(URL)

    assert rejected.status_code == 405
    assert ArxivResponse(405, rejected.content).error == (
        feed.ERRORS,
        "The method is not allowed for the requested URL.",
    )
    assert (head.status_code, head.content) == (200, b"")
    assert (options.status_code, options.content) == (200, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("headers", "body", "status", "params"),
    [
        (FORM, b"search_query=a&start=1&start=2", 200, {"search_query": "a", "start": "1"}),
        ({}, b"search_query=a&start=1&start=2", 200, {"search_query": "a", "start": "1"}),
        (FORM, b"search_query=a&start=", 400, {"search_query": "a", "start": ""}),
        ({}, b"search_query=a&start=", 200, {"search_query": "a"}),
        ({"content-type": "application/json"}, b"search_query=a", 400, {}),
        (FORM, b"", 400, {}),
        (FORM, b"search_query=%ff", 200, {"search_query": "%FF"}),
        ({}, b"search_query=%ff\xff", 200, {"search_query": "\ufffd\ufffd"}),
        (FORM, b"search_query=\xff", 413, {}),
    ],
)
async def test_form_is_read_by_content_type_and_without_the_url(
    headers: dict[str, str], body: bytes, status: int, params: dict[str, str]
) -> None:
    stand_in = small_stand_in(PAPER)
    async with client(stand_in) as http:
        url = f"{URL}?search_query=url&id_list=abc"
        response = await http.post(url, content=body, headers=headers)

    assert response.status_code == status
    assert stand_in.requests[0].params == params


@pytest.mark.parametrize(
    ("sent", "status", "params"),
    [
        (b"search_query=a&search_query=b", 200, {"search_query": "a"}),
        (b"search_query=%ff%41", 200, {"search_query": "%FFA"}),
        (b"search_query=\xc3\xbc", 200, {"search_query": "\u00fc"}),
        (b"search_query=\xff", 500, {}),
        (b"search_query=a&start", 400, {"search_query": "a", "start": ""}),
    ],
)
async def test_url_is_read_as_by_arxiv(sent: bytes, status: int, params: dict[str, str]) -> None:
    stand_in = small_stand_in(PAPER)
    responses: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        responses.append(message)

    # httpx sends ASCII only
    scope = {"type": "http", "method": "GET", "path": "/api/query", "headers": []}
    await stand_in(scope | {"query_string": sent}, receive, send)

    assert responses[0]["status"] == status
    assert stand_in.requests[0].params == params


async def test_faults_last_until_reset() -> None:
    stand_in = small_stand_in(PAPER)

    async with client(stand_in) as http:

        async def search() -> httpx.Response:
            return await http.get(URL, params={"search_query": "ti:plain"})

        stand_in.false_empty = 2
        totals = [ArxivResponse(200, (await search()).content).total for _ in range(3)]
        stand_in.retry_after = 7
        unavailable = await search()
        stand_in.reset()
        stand_in.redirect_url = "https://new.example/api/query"
        moved = await search()
        stand_in.reset()
        stand_in.truncates = True
        broken = await search()
        stand_in.reset()
        last = await search()

    assert totals == [0, 0, 1]
    assert (unavailable.status_code, unavailable.headers["retry-after"]) == (503, "7")
    assert (moved.status_code, moved.headers["location"]) == (301, "https://new.example/api/query")
    assert broken.status_code == 200
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(broken.content)
    assert ArxivResponse(200, last.content).total == 1
    assert len(stand_in.requests) == 1


async def test_early_request_gets_429_in_plain_text() -> None:
    stand_in = small_stand_in(PAPER)
    stand_in.min_interval = 60
    async with client(stand_in) as http:
        first = await http.get(URL, params={"search_query": "ti:plain"})
        early = await http.get(URL, params={"search_query": "ti:plain"})
        stand_in.min_interval = 0.01
        await asyncio.sleep(0.02)
        later = await http.get(URL, params={"search_query": "ti:plain"})

    assert [first.status_code, early.status_code, later.status_code] == [200, 429, 200]
    assert early.content == b"Rate exceeded."
    assert early.headers["content-type"].startswith("text/plain")


async def test_overlapping_request_gets_429() -> None:
    stand_in = small_stand_in(PAPER)
    stand_in.min_interval, stand_in.delay = 0.001, 2
    async with client(stand_in) as http:
        responses = await asyncio.gather(
            *(http.get(URL, params={"search_query": "ti:plain"}) for _ in range(3))
        )

    assert sorted(response.status_code for response in responses) == [200, 429, 429]


async def test_cancelled_request_has_end_without_status() -> None:
    stand_in = small_stand_in(PAPER)
    stand_in.delay = 30
    async with client(stand_in) as http:
        request = asyncio.create_task(http.get(URL, params={"search_query": "ti:plain"}))
        while not stand_in.requests:  # noqa: ASYNC110 - nothing announces a request
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)

    assert stand_in.requests[0].status == 0
    assert stand_in.requests[0].ended < time.monotonic()


# The command line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "arxiv.org"])  # noqa: S104
def test_stand_in_listens_on_loopback_only(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--host", host])

    assert "is not a loopback address" in capsys.readouterr().err


def test_stand_in_runs_until_stopped() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", "0", "--papers", "20"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        url = demo.stdout.readline().split(" at ")[1].split()[0]
        response = httpx.get(url, params={"search_query": "ti:0"}, timeout=60, trust_env=False)
        demo.send_signal(signal.SIGINT)

    assert response.status_code == 200
    assert "date" in response.headers
    assert demo.returncode == 0


SERVICE = """
import os, signal, sys, time, urllib.request
def stop(*_):
    print(read(), flush=True)
    sys.exit(7)
def read(name="ARXIV_API_URL", target="?search_query=ti:0"):
    return urllib.request.urlopen(os.environ[name] + target).status
signal.signal(signal.SIGTERM, stop)
mirror = read("ARXIV_OAI_URL", "?verb=Identify"), read("ARXIV_RSS_URL", "/rss/cs")
settings = os.environ["ARXIV_INTERVAL"], os.environ["ARXIV_SYNC"]
print(*settings, sys.argv[1:], read(), *mirror, flush=True)
time.sleep(30)
"""


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGTERM, 7), (signal.SIGKILL, -9)])
def test_stand_in_exits_with_the_service(tmp_path: Path, ending: signal.Signals, code: int) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").touch()
    (tmp_path / "service" / "__main__.py").write_text(SERVICE)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    for name in ("ARXIV_INTERVAL", "ARXIV_SYNC"):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--with-service", "--papers", "20"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        announced, started = demo.stdout.readline(), demo.stdout.readline()
        demo.send_signal(ending)
        rest = demo.stdout.read()  # ends after the last process with this pipe

    assert "http://127.0.0.1:" in announced
    assert started == "0 daily ['serve'] 200 200 200\n"
    assert rest == ("200\n" if ending == signal.SIGTERM else "")
    assert demo.returncode == code
