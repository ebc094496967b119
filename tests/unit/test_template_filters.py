"""Filters of the templates."""

from urllib.parse import parse_qs, urlsplit

import pytest

from service.pages.template_filters import author_url, isolate
from service.paper_query import Words, parse_query


@pytest.mark.parametrize("name", ['M\\"uller', 'M{\\"u}ller', "Müller", '"Müller'])
def test_link_of_an_author_searches_for_the_name(name: str) -> None:
    [q] = parse_qs(urlsplit(author_url(name)).query)["q"]
    query = parse_query(q)
    assert isinstance(query, Words)
    assert (query.words, query.field) == (("muller",), "author")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <b>", "a &lt;b&gt;"),
        ("\u2069\u2069\u202ea", "\u202ea"),
        ("\u202ea\u2066\u2067b", "\u202ea\u2066\u2067b\u2069\u2069"),
        ("\u2068a\u2069b\u2069", "\u2068a\u2069b"),
    ],
)
def test_isolated_text_has_pairs_of_control_characters(text: str, shown: str) -> None:
    assert isolate(text) == f"<bdi>{shown}</bdi>"
