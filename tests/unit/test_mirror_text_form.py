"""Texts and names of arXiv's sources get the form that arXiv's API has."""

import json
from collections import defaultdict
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from service import arxiv_xml
from service.mirror import oai_xml, rss_xml
from service.mirror.snapshot import parse_line
from service.mirror.text_form import (
    InvalidRecord,
    convert_tex,
    parse_day,
    parse_size,
    parse_time,
    split_raw_authors,
    unescape,
)
from service.models.arxiv import Entry
from service.models.mirror import MirrorRecord
from service.untrusted_xml import InvalidResponse
from tests.support.captures import CAPTURES
from tests.support.mirror_data import OAI, RSS, get_format, needs_data, read_lines

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Poincar\'e and Erd\H{o}s", "Poincaré and Erdős"),
        (r"K{\"a}hler, K\"{a}hler, K\"ahler", "K{ä}hler, Kähler, Kähler"),
        (r"na\"{\i}ve Mart\'{\i}nez \'\i", "naïve Martínez í"),
        (
            r"\v{S}koda, Gen\c{c}, M{\aa}rten, Stra{\ss}e, {\O}bro",
            "Škoda, Genç, Mårten, Straße, Øbro",
        ),
        (r"\L ukasz \l{}a", "Łukasz ła"),
        (r"$\alpha_s$, $\Gamma\subset$, $\pi /4$", "$α_s$, $Γ\\subset$, $π/4$"),  # noqa: RUF001
        (r"$\tilde{\Theta}(n)$", r"$\tildeΘ(n)$"),
        (
            r"$\varepsilon$, $\ell_1$, $\upsilon$, \alphabet",
            r"$\varepsilon$, $\ell_1$, $\upsilon$, \alphabet",
        ),
        (r"$\phi$ $\varphi$ $\epsilon$", "$ϕ$ $φ$ $ε$"),
        (r"\emph{word} \textbf{a} 50\% \& \$5", r"\emph{word} \textbf{a} 50\% \& \$5"),
        (r"Theorem \S 3, \S3, 5\deg", "Theorem §3, \\S3, 5°"),
        ("no commands", "no commands"),
    ],
)
def test_accents_and_greek_letters_are_converted_as_by_the_api(text: str, expected: str) -> None:
    assert convert_tex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            r"the $\\pm J$ model.\n  In the article, it\'s",
            "the $\\pm J$ model.\n  In the article, it's",
        ),
        (r"the end\n", "the end\n"),
        (r"$\nu$ and $\nabla$", r"$\nu$ and $\nabla$"),
        (r"a line\\ break and $\alpha$\n  x", r"a line\\ break and $\alpha$\n  x"),
        (r"$\\pm$", r"$\\pm$"),
    ],
)
def test_escapes_of_a_database_dump_are_removed_only_from_dumps(text: str, expected: str) -> None:
    assert unescape(text) == expected


@pytest.mark.parametrize(
    ("text", "names", "affiliations"),
    [
        ("Ada Example", ["Ada Example"], [[]]),
        ("A. Example, B. Sample and C. Test", ["A. Example", "B. Sample", "C. Test"], [[]] * 3),
        ("A. Example, B. Sample, and C. Test", ["A. Example", "B. Sample", "C. Test"], [[]] * 3),
        ("A. Example & B. Sample", ["A. Example", "B. Sample"], [[]] * 2),
        ("P.-A. Example, B.C. Sample", ["P. -A. Example", "B. C. Sample"], [[]] * 2),
        ("Anders Andersson, Sandy Anderson", ["Anders Andersson", "Sandy Anderson"], [[]] * 2),
        ("A. Example, Jr., B. Sample III", ["A. Example, Jr.", "B. Sample III"], [[]] * 2),
        (
            "A. Example (Paris), B. Sample (Rome)",
            ["A. Example", "B. Sample"],
            [["Paris"], ["Rome"]],
        ),
        (
            "A. Example, B. Sample (Institute for A and B, Paris (France))",
            ["A. Example", "B. Sample"],
            [["Institute for A and B, Paris (France)"]] * 2,
        ),
        (
            "A. Example (1), B. Sample (1 and 2) ((1) Paris, France, (2) Rome)",
            ["A. Example", "B. Sample"],
            [["Paris, France"], ["Paris, France", "Rome"]],
        ),
        (
            "A. Example (1,2), B. Sample (2) (1 Paris; 2 Rome)",
            ["A. Example", "B. Sample"],
            [["Paris", "Rome"], ["Rome"]],
        ),
        ("A. Example (1), B. Sample (2)", ["A. Example", "B. Sample"], [[], []]),
        ("A. Example$^{1}$, B. Sample$^{2,*}$", ["A. Example", "B. Sample"], [[]] * 2),
        ("A. Example*, B. Sample\u2020", ["A. Example", "B. Sample"], [[]] * 2),
        (r"A. Example\thanks{Supported}, B. Sample\dag", ["A. Example", "B. Sample"], [[]] * 2),
        ("A. Example, et al.", ["A. Example"], [[]]),
        ("A. Example,, B. Sample,", ["A. Example", "B. Sample"], [[]] * 2),
        (r"J\'ozsef Test, {\O}. {\L}a", ["József Test", "Ø. Ła"], [[]] * 2),
        (r"Jos\\'e R. Test, Aza\\\"is", ["José R. Test", "Azaïs"], [[]] * 2),
        ("A. Example (Paris", ["A. Example"], [["Paris"]]),
        ("A. Example) (", ["A. Example)"], [[]]),
    ],
)
def test_authors_in_one_text_are_split(
    text: str, names: list[str], affiliations: list[list[str]]
) -> None:
    authors = split_raw_authors(text)
    assert (authors.names, authors.affiliations) == (names, affiliations)


def test_collaboration_before_a_colon_is_a_group_and_has_no_affiliation_of_others() -> None:
    authors = split_raw_authors("Example Collaboration: A. Example, B. Sample (Paris)")
    assert authors.names == ["Example Collaboration", "A. Example", "B. Sample"]
    assert authors.groups == ["Example Collaboration"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1183kb", 1183), ("0kb", 0), (" 12 KB ", 12), ("", None), ("big", None), ("1.5mb", None)],
)
def test_size_is_read_in_kilobytes(text: str, expected: int | None) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fri, 17 Jul 2009 03:36:56 GMT", 1247801816),
        ("Tue, 9 Dec 2008 20:46:26 GMT", 1228855586),
        ("Wed, 09 Dec 1992 00:00:00 GMT", 723859200),
    ],
)
def test_time_is_read(text: str, expected: int) -> None:
    assert parse_time(text, "date", NOW) == expected


@given(st.text())
def test_other_texts_are_not_times(text: str) -> None:
    for parse in (parse_time, parse_day):
        with suppress(InvalidRecord):
            assert 0 < parse(text, "date", NOW) < NOW + 1e6


# The same papers in several sources


@needs_data
def test_texts_of_the_api_have_no_commands_that_are_converted() -> None:
    """Before 2025, the API left TeX in titles and abstracts."""
    for path in (path for path in CAPTURES if path.stem.startswith("new_")):
        with suppress(InvalidResponse):
            for entry in arxiv_xml.parse_feed(path.read_bytes()).entries:
                texts = [entry.title, entry.summary, entry.comment, entry.journal, *entry.authors]
                for text in filter(None, texts):
                    assert convert_tex(text) == text


Paper = MirrorRecord | rss_xml.RssItem | Entry
ORDER = ["api", "arXiv", "arXivRaw", "snapshot", "rss"]


def find_papers() -> dict[str, dict[str, Paper]]:
    """All papers of the captures by source, those in several sources only."""
    papers: dict[str, dict[str, Paper]] = defaultdict(dict)
    for path in CAPTURES:
        with suppress(InvalidResponse):
            for entry in arxiv_xml.parse_feed(path.read_bytes()).entries:
                papers[entry.arxiv_id or ""].setdefault("api", entry)
    for path in OAI:
        kind: Any = get_format(path)
        for verb in ("ListRecords", "GetRecord"):
            with suppress(InvalidResponse):
                page = oai_xml.parse_page(path.read_bytes(), verb=verb, metadata_prefix=kind)
                for record in page.records:
                    papers[record.arxiv_id].setdefault(kind, record)
    for line in read_lines():
        record = parse_line(line)
        papers[record.arxiv_id]["snapshot"] = record
    for path in RSS:
        for item in rss_xml.parse_feed(path.read_bytes()).items:
            papers[item.arxiv_id]["rss"] = item
    return {name: found for name, found in papers.items() if len(found) > 1}


COMMON = [
    "title", "authors", "group_authors", "abstract", "comment", "journal", "dois",
    "primary_category", "categories", "license", "report_number", "msc_class", "acm_class",
]  # fmt: skip
"""The fields that several sources have, in the names of MirrorRecord."""
ELSEWHERE = {"abstract": "summary"}
"""Their names in the API."""


def get_fields(paper: Paper) -> dict[str, Any]:
    if isinstance(paper, Entry):
        fields = structs.asdict(paper)
        return {name: fields.get(ELSEWHERE.get(name, name)) for name in COMMON if name in fields}
    fields = structs.asdict(paper) if isinstance(paper, MirrorRecord) else paper._asdict()
    return {name: fields[name] for name in COMMON if name in fields}


@needs_data
def test_papers_in_several_sources_have_equal_fields() -> None:
    papers = find_papers()
    assert len(papers) >= 14
    for name, found in papers.items():
        first, *others = (get_fields(found[source]) for source in ORDER if source in found)
        for other in others:
            common = first.keys() & other.keys()
            assert {key: (name, other[key]) for key in common} == {
                key: (name, first[key]) for key in common
            }


@needs_data
def test_authors_in_one_text_have_the_names_that_arxiv_splits_them_into() -> None:
    for line in read_lines():
        record = parse_line(line)
        assert split_raw_authors(json.loads(line)["authors"]).names == record.authors


KNOWN_AFFILIATIONS = {"0704.0025", "0704.0128", "0704.0139"}
"""Papers whose list of affiliations arXiv does not understand; see docs/mirror.md."""


@needs_data
def test_authors_in_one_text_have_the_affiliations_that_arxiv_splits_them_into() -> None:
    different = set()
    for line in read_lines():
        record = parse_line(line)
        found = split_raw_authors(json.loads(line)["authors"]).affiliations
        if found != (record.affiliations or [[] for _ in found]):
            different.add(record.arxiv_id)
    assert different == KNOWN_AFFILIATIONS


@given(st.text(st.sampled_from("ab A.,:;(){}\\'\"^$*1 2&\u2020\n") | st.characters(), max_size=60))
def test_any_text_of_authors_is_split_or_refused(text: str) -> None:
    with suppress(InvalidRecord):
        authors = split_raw_authors(text)
        assert all(name == name.strip() and name for name in authors.names)
        assert len(authors.names) == len(authors.affiliations)


@given(st.text(st.sampled_from("ab{}\\'\"^~=.Hcvij \u0131") | st.characters()))
def test_conversion_makes_no_text_longer(text: str) -> None:
    assert len(convert_tex(text)) <= len(text)
    assert len(unescape(text)) <= len(text)
