"""Filters of the templates."""

from urllib.parse import parse_qs, urlsplit

import pytest

from service.pages.template_filters import author_url
from service.paper_query import Words, parse_query


@pytest.mark.parametrize("name", ['M\\"uller', 'M{\\"u}ller', "Müller", '"Müller'])
def test_link_of_an_author_searches_for_the_name(name: str) -> None:
    [q] = parse_qs(urlsplit(author_url(name)).query)["q"]
    query = parse_query(q)
    assert isinstance(query, Words)
    assert (query.words, query.field) == (("muller",), "author")
