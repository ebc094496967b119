"""DOIs are extracted from the texts that authors enter at arXiv."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metadata.dois import format_doi_url, parse_doi, parse_dois, replace_doi_links
from service.models.arxiv import Link
from tests.support.measure import assert_cpu_below

SICI = "10.1002/(SICI)1097-0258(19980815/30)17:15/16<1661::AID-SIM968>3.0.CO;2-2"


@pytest.mark.parametrize(
    ("texts", "dois"),
    [
        (["10.5555/a,"], ["10.5555/a"]),
        (["10.5555/a;,."], ["10.5555/a"]),
        (["10.5555/a;10.5555/b"], ["10.5555/a", "10.5555/b"]),
        (["10.5555/a,10.5555/b; 10.5555/c"], ["10.5555/a", "10.5555/b", "10.5555/c"]),
        (["10.5555/a;doi:10.5555/b,https://doi.org/10.5555/c"],
         ["10.5555/a", "10.5555/b", "10.5555/c"]),
        (["10.5555/a 10.5555/b"], ["10.5555/a", "10.5555/b"]),
        (["10.5555/a;b,c"], ["10.5555/a;b,c"]),
        (["https://doi.org/10.5555/a"], ["10.5555/a"]),
        (["http://dx.doi.org/10.5555/a"], ["10.5555/a"]),
        (["doi.org/10.5555/a", "DOI 10.5555/b"], ["10.5555/a", "10.5555/b"]),
        (["doi:10.5555/a"], ["10.5555/a"]),
        (["DOI10.5555/a"], ["10.5555/a"]),
        (["https://doi.org/https://doi.org/10.5555/a"], ["10.5555/a"]),
        (["https://journal.example/abs/10.5555/a"], ["10.5555/a"]),
        (["DOI:", "10.5555/a"], ["10.5555/a"]),
        (["see", "to appear in 10.5555/a."], ["10.5555/a"]),
        (["10.5555/Ab", "10.5555/aB"], ["10.5555/Ab"]),
        ([SICI], [SICI]),
        ([f"doi:{SICI};"], [SICI]),
        (["10.1016/0370-2693(88)90598-X."], ["10.1016/0370-2693(88)90598-X"]),
        (["(10.5555/a)", "<https://doi.org/10.5555/b>", '"10.5555/c"', "“10.5555/d”."],
         ["10.5555/a", "10.5555/b", "10.5555/c", "10.5555/d"]),
        (["(10.5555/a(1))", "[10.5555/b[", r"\doi{10.5555/c}"],
         ["10.5555/a(1)", "10.5555/b", "10.5555/c"]),
        (["10.5555/a#b?c%d_e&f"], ["10.5555/a#b?c%d_e&f"]),
        (["https://doi.org/10.5555/%28a%29"], ["10.5555/(a)"]),
        (["https://doi.org/10.5555%2Fa"], ["10.5555/a"]),
        ([f"https://doi.org/{SICI.replace('<', '%3C').replace('>', '%3e')}"], [SICI]),
        (["https://doi.org/10.5555/a?utm_source=b", "http://doi.org/10.5555/b#c"],
         ["10.5555/a", "10.5555/b"]),
        (["https://doi.org/10.5555/a%3B10.5555/b", "https://doi.org/10.5555/b%00%0A"],
         ["10.5555/a", "10.5555/b%00%0A"]),
        (["10.5555/a%3Cb"], ["10.5555/a%3Cb"]),
        (["10.5555/a\uff1b10.5555/b", "10.5555/c\uff0c10.5555/d、10.5555/e。"],
         ["10.5555/a", "10.5555/b", "10.5555/c", "10.5555/d", "10.5555/e"]),
        (["10.5555/a;info:doi/10.5555/b,urn:doi:10.5555/c;www.doi.org/10.5555/d"],
         ["10.5555/a", "10.5555/b", "10.5555/c", "10.5555/d"]),
        (["10.5555/a,,;10.5555/b"], ["10.5555/a", "10.5555/b"]),
        (["10.5555/a\u200bb"], ["10.5555/ab"]),
        (["", "see", "DOI:", "10.5555/", "10.55/a", "1010.5555/a", "10.5555/.", "10.\u0665555/a"],
         []),
    ],
)  # fmt: skip
def test_bare_dois_are_found_once(texts: list[str], dois: list[str]) -> None:
    assert parse_dois(texts) == dois


@given(st.lists(st.sampled_from(["10.5555/a", "doi:", ",", ";", " ", ".", "(", ")", '"', "b"])))
def test_found_dois_are_bare_and_stable(parts: list[str]) -> None:
    dois = parse_dois(["".join(parts)])

    assert parse_dois(dois) == dois
    assert all(re.fullmatch(r"10\.[0-9]{4,9}/\S*[^\s,;.(]", doi) for doi in dois)


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("10.5555/a", "10.5555/a"),
        ("DOI: 10.5555/a", "10.5555/a"),
        ("(https://www.doi.org/10.5555/a)", "10.5555/a"),
        ("info:doi/10.5555/a", "10.5555/a"),
        ("urn:doi:10.5555/a", "10.5555/a"),
        ("doi=10.5555/a", "10.5555/a"),
        ("DOI\uff1a10.5555/a", "10.5555/a"),
        ("https://doi.org/10.5555%2Fa", "10.5555/a"),
        ("https://journal.example/abs/10.5555/a?b=c", "10.5555/a"),
        (f"https://doi.org/{SICI.replace('<', '%3C').replace('>', '%3E')}", SICI),
        ("https://journal.example/10.5555/a 10.5555/b", None),
        ("https://journal.example/10.55", None),
        ("10.5555/a;10.5555/b", None),
        ("10.5555/a b", None),
        ("10.5555/" + "a" * 2000, None),
        ("a", None),
    ],
)
def test_whole_text_is_a_doi(text: str, doi: str | None) -> None:
    assert parse_doi(text) == doi


def test_url_of_a_doi_is_encoded() -> None:
    assert format_doi_url("10.5555/a#b?c%d_e&f") == "https://doi.org/10.5555/a%23b%3Fc%25d_e%26f"


def test_links_contain_each_doi_once_in_the_place_of_the_first() -> None:
    page, pdf = Link("https://arxiv.org/abs/1", "alternate"), Link("p", "related", "pdf")
    first, second = (
        Link(f"https://doi.org/10.5555/{name}", "related", "doi") for name in ("a", "b")
    )
    wrong = Link("https://doi.org/doi:10.5555/a,", "related", "doi")

    assert replace_doi_links([page, wrong, pdf, wrong], ["10.5555/a", "10.5555/b"]) == [
        *(page, first, second, pdf)
    ]
    assert replace_doi_links([page], ["10.5555/a"]) == [page, first]
    assert replace_doi_links([wrong, page], []) == [page]


@pytest.mark.parametrize(
    "part", [" ", ")", "(", "10.5555/a;", "10.5555/", '"', "doi:", "doi.org/", ";"]
)
def test_long_texts_are_parsed_in_linear_time(part: str) -> None:
    assert_cpu_below(1, lambda: parse_dois(["10.5555/a" + (part * 60_000)[:60_000]]))
