"""arXiv identifiers are recognized in every form in which people paste them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metadata.arxiv_ids import (
    MAX_LENGTH,
    ArxivId,
    find_paper_reference,
    parse_arxiv_id,
    split_arxiv_ids,
)
from tests.support.measure import assert_cpu_below

PREFIXES = [
    *("", "arXiv:", "arxiv: ", "ARXIV : ", "arXiv ", "arXiv.org:", "arXiv-", "oai:arXiv.org:"),
    *("https://arxiv.org/abs/", "http://arxiv.org/abs/", "arxiv.org/abs/", "https:/arxiv.org/abs/"),
    *("https://www.arxiv.org/pdf/", "http://export.arxiv.org/html/", "https://arxiv.org/e-print/"),
    *("https://arxiv.org/format/", "https://arxiv.org/src/", "https://arxiv.org/ps/"),
    *("http://xxx.lanl.gov/abs/", "http://de.arxiv.org/abs/", "HTTPS://ARXIV.ORG/ABS/"),
    *("https://arxiv.org/abs/arXiv:", "https://arxiv.org/", "https://ar5iv.org/abs/"),
    *("https://ar5iv.labs.arxiv.org/html/", "https://www.alphaxiv.org/abs/"),
    *("https://api.semanticscholar.org/arXiv:", "https://www.semanticscholar.org/arxiv/"),
    *("10.48550/arXiv.", "10.48550/ARXIV.", "doi:10.48550/arXiv.", "DOI 10.48550/arxiv."),
    *("https://doi.org/10.48550/arXiv.", "http://dx.doi.org/10.48550/arXiv."),
    *("10.48550/arXiv:", "abs/", "/abs/", "pdf/", "https://www.alphaxiv.org/overview/"),
    *("https://huggingface.co/papers/", "https://scirate.com/arxiv/"),
    *("arXiv preprint arXiv:", "arXiv e-prints, arXiv:", "eprint arXiv:", "Preprint arXiv: "),
    *("arXiv\uff1a", "arXiv:\u00a0", "arXiv\u2009", "arXiv:\u3000"),
]
SUFFIXES = ["", "/", ".pdf", ".ps.gz", ".tar.gz", "?context=cs", "#page=3", ".pdf?download=1#a"]
STAMPS = ["", " [cs.SE]", " [hep-th]", " [cs.SE] 5 Jan 2021", "  5 Jan 1999", " (2021)", ", 2021"]
QUOTES = [("", ""), ("<", ">"), ("(", ")."), ('"', '",'), ("[", "]"), ("“", "”;"), (" \n", "\t")]
IDS = [
    ("2101.00001", ArxivId("2101.00001", None)),
    ("2101.00001v2", ArxivId("2101.00001", 2)),
    ("2101.00001V12", ArxivId("2101.00001", 12)),
    ("0704.0001", ArxivId("0704.0001", None)),
    ("hep-th/9901001v1", ArxivId("hep-th/9901001", 1)),
    ("HEP-TH/0703001", ArxivId("hep-th/0703001", None)),
    ("solv-int/9701001V3", ArxivId("solv-int/9701001", 3)),
    ("math.GT/0309199", ArxivId("math/0309199", None)),
    ("math.gt/0309199v1", ArxivId("math/0309199", 1)),
    ("cond-mat.mes-hall/0309136", ArxivId("cond-mat/0309136", None)),
]


@given(
    st.sampled_from(PREFIXES),
    st.sampled_from(IDS),
    st.sampled_from(SUFFIXES) | st.sampled_from(STAMPS),
    st.sampled_from(QUOTES),
)
def test_every_spelling_is_the_same_identifier(
    prefix: str, pair: tuple[str, ArxivId], suffix: str, quotes: tuple[str, str]
) -> None:
    text, expected = pair

    assert parse_arxiv_id(f"{quotes[0]}{prefix}{text}{suffix}{quotes[1]}") == expected


@pytest.mark.parametrize(
    "text",
    [
        "arXiv%3A2101.00001",
        "\u200b2101.\u00ad00001\ufeff",
        "arXiv:2101.00001 [cs.SE",
        "arXiv:2101.00001 [cs.SE] (5 Jan 2021)",
        "https://arxiv.org/ftp/arxiv/papers/2101/2101.00001.pdf",
        "2101.00001。",
        "2101.00001]",
    ],
)
def test_encoded_and_pasted_text_is_understood(text: str) -> None:
    assert parse_arxiv_id(text) == ArxivId("2101.00001", None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "arXiv:", "2101.1", "2101.000001", "0305100v2", "2101.00001v0", "2101.00001v"),
        *("hep-th/99010011", "2101.00001&x", "2101.00001 word", "x2101.00001", "../2101.00001"),
        *("2101.000012021", "2101.00001 2101.00002", "print", "arXiv preprint", "abs/"),
        # months and archives that do not exist
        *("2113.00001", "2100.00001", "0703.0001", "hep-th/9913001", "hep-th/0704001"),
        *("hep-th/9012001", "abc/9901001", "stat/0701001"),
        # other hosts, pages and DOIs
        *("https://example.org/abs/2101.00001", "https://arxiv.org.example.org/abs/2101.00001"),
        *("https://notarxiv.org/abs/2101.00001", "https://arxiv.org/list/cs.AI/new"),
        *("http://arxiv.org/api/errors#2101.00001", "10.48550/2101.00001", "10.5555/2101.00001"),
        # digits and letters that are not ASCII
        *("\u0662101.00001", "\uff12101.00001", "2101.0000\u0661", "2101.00001v\u0661"),
        "\u212aep-th/9901001",
        "2101.00001" + "?" * MAX_LENGTH,
    ],
)
def test_other_text_is_not_an_identifier(text: str) -> None:
    assert parse_arxiv_id(text) is None


def test_list_is_split_at_commas_semicolons_and_white_space() -> None:
    stamp = "arXiv:2101.00004v1 [cs.SE] 5 Jan 2021"
    text = f"arXiv: 2101.00001, hep-th/9901001/;2101.00002\n\narXiv 2101.00003 {stamp}\t2101.00005"

    assert split_arxiv_ids(text) == [
        *("arXiv: 2101.00001", "hep-th/9901001/", "2101.00002", "arXiv 2101.00003"),
        *(stamp, "2101.00005"),
    ]
    assert split_arxiv_ids(" ,;\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "hep-th/9901001\uff0c2101.00002、2101.00003\uff1b2101.00004",
        "arXiv:hep-th/9901001v1  5 Jan 1999, 2101.00002 (2021) 2101.00003\u00a02101.00004",
        "arXiv preprint arXiv:hep-th/9901001, eprint arXiv:2101.00002;2101.00003,2101.00004",
        "arXiv e-prints, arXiv:hep-th/9901001 oai:arXiv.org: 2101.00002,2101.00003,2101.00004",
        "hep-th/9901001\u30002101.00002\u200b 2101.00003\u2003arXiv\u00a02101.00004",
    ],
)
def test_items_of_a_list_have_every_spelling(text: str) -> None:
    ids = [parse_arxiv_id(item) for item in split_arxiv_ids(text)]

    assert [paper and paper.name for paper in ids] == [
        *("hep-th/9901001", "2101.00002", "2101.00003", "2101.00004"),
    ]


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("arXiv:2101.10001", ArxivId("2101.10001", None)),
        ("https://arxiv.org/pdf/2101.10001v2.pdf", ArxivId("2101.10001", 2)),
        ("doi:10.48550/arXiv.2101.10001", ArxivId("2101.10001", None)),
        ("10.5555/abc", "10.5555/abc"),
        ("doi: 10.5555/abc.", "10.5555/abc"),
        ("<https://doi.org/10.5555/abc>", "10.5555/abc"),
        ("dark matter", None),
        ("10.5555/abc 10.5555/def", None),
        ("see 10.5555/abc", None),
        ('"2101.10001"', None),
        ("", None),
    ],
)
def test_whole_query_is_a_reference(text: str, reference: ArxivId | str | None) -> None:
    assert find_paper_reference(text) == reference


@pytest.mark.parametrize(
    "part",
    [" ", "(", "a-", "a.", "arxiv ", "arXiv:", "doi ", "[", "2101.", "print,", "arXiv e-print: "],
)
def test_long_lists_are_split_in_linear_time(part: str) -> None:
    def parse() -> None:
        for item in split_arxiv_ids((part * 60_000)[:60_000]):
            parse_arxiv_id(item)

    assert_cpu_below(1, parse)
