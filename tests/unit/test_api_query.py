"""The parameters of arXiv's API are read as arXiv reads them, and sent as they are written."""

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api_query import parse_api_query, parse_parameters
from service.arxiv_query import encode_search, find_differences
from service.errors import InvalidApiQuery
from service.models.arxiv import ApiQuery, Feed

URL = "https://export.arxiv.org/api/query"
PIECES = st.sampled_from(
    [
        *("search_query", "id_list", "start", "max_results", "sortBy", "sortOrder", "raw", "="),
        *("&", "&&", ";", "%", "%2", "%00", "%FF", "%ED%A0%80", "+", "%2B", "\0", "1", "-", "_"),
        *(
            "2101.00001",
            "all:",
            '"',
            "(",
            ")",
            "[",
            "]",
            "ANDNOT",
            "\u00e9",
            "\U0001f600",
            "\u0661",
        ),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=20).map("".join), st.text(max_size=30), st.text("0123456789+-_ ")
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("search_query", "id_list", "start", "max_results", "raw", "x"), TEXTS)
    | {
        "sortBy": TEXTS | st.sampled_from(["relevance", "submittedDate"]),
        "sortOrder": TEXTS | st.sampled_from(["ascending", "descending"]),
    },
)


@given(TEXTS.map(lambda text: text.encode(errors="surrogatepass")) | st.binary(max_size=50))
def test_any_query_of_a_url_is_read_or_rejected(text: bytes) -> None:
    parameters = parse_parameters(text)
    with suppress(InvalidApiQuery):
        parse_api_query(parameters)


@given(PARAMETERS)
def test_arxiv_receives_what_was_given(parameters: dict[str, str]) -> None:
    try:
        query = parse_api_query(parameters)
    except InvalidApiQuery:
        return
    sent = encode_search(query, URL, 10).parameters

    received = parse_parameters(urlencode(sent, errors="replace").encode())
    assert received == {name: text.encode(errors="replace").decode() for name, text in sent.items()}
    assert (query.search_query, query.id_list) == (sent["search_query"], sent["id_list"])
    assert parse_api_query(sent) == query


@given(TEXTS, TEXTS)
def test_any_query_is_compared_with_the_executed_one(written: str, executed: str) -> None:
    sent = encode_search(ApiQuery(search_query=written.replace("\0", "")), URL, 10).parameters
    link = f"https://arxiv.org/api/query?{urlencode({'search_query': executed}, errors='replace')}"
    title = f"search_query={executed}&id_list=&start=0&max_results=10"
    feed = Feed(query=title, link=link, total=0, entries=[], error=None)

    assert isinstance(find_differences(sent, feed), list)


def test_first_of_repeated_parameters_counts() -> None:
    assert parse_parameters(b"start=1&id_list=&start=2&id_list=x") == {"start": "1", "id_list": ""}


@pytest.mark.parametrize(
    "id_list",
    [
        *("2101.00001", "2101.0001", "2101.00001v2", "arXiv:2101.00001", "x 2101.00001 y"),
        *("hep-th/9901001", "math.GT/0309199", "math-ph/0601001v3", "MATH/0309199", "cs/0001024V1"),
        *(
            "2101.00001,hep-th/9901001",
            "[2101.00001 2101.00002]",
            "https://arxiv.org/abs/cs/0001024",
        ),
        "cmp-lg/9412001",
    ],
)
def test_ids_that_arxiv_takes_are_taken(id_list: str) -> None:
    assert parse_api_query({"id_list": id_list}).id_list == id_list


@pytest.mark.parametrize(
    ("id_list", "wrong"),
    [
        *(("abc", "abc"), ("2101.001", "2101.001"), ("0305100v2", "0305100v2"), (",", "")),
        *(("2101.00001, ,x", " "), ("hep-th/9921001", "hep-th/9921001"), ("/9901001", "/9901001")),
        *(("2101.00001,", ""), ("cs/000102", "cs/000102"), ("x y", "x y"), ("9901001", "9901001")),
    ],
)
def test_other_ids_are_rejected_and_the_first_is_named(id_list: str, wrong: str) -> None:
    with pytest.raises(InvalidApiQuery) as rejected:
        parse_api_query({"id_list": id_list})
    assert rejected.value.detail == f"incorrect id format for {wrong}"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"start": "a"}, "start must be an integer"),
        ({"start": ""}, "start must be an integer"),
        ({"start": "-1"}, "start must be non-negative"),
        ({"max_results": "1.5"}, "max_results must be an integer"),
        ({"max_results": "-5"}, "max_results must be non-negative"),
        ({"sortBy": "date"}, "sortBy must be in: relevance, lastUpdatedDate, submittedDate"),
        ({"sortOrder": "up"}, "sortOrder must be in: ascending, descending"),
        ({"start": "a", "max_results": "-5"}, "max_results must be non-negative"),
        ({"start": "a", "sortBy": "date"}, "start must be an integer"),
        ({"sortBy": "date", "sortOrder": "up"}, "sortBy must be in: relevance"),
        ({"search_query": "", "sortOrder": "up"}, "sortOrder must be in: ascending"),
        ({"search_query": ""}, "Either a search_query or id_list must be specified"),
        ({"max_results": "0"}, "max_results must be positive"),
        ({"max_results": "2001"}, "max_results must be at most 2000"),
        ({"start": "9000", "max_results": "1001"}, "start must be at most 8999: arXiv sends only"),
    ],
)
def test_messages_and_their_order_are_those_of_arxiv(
    parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidApiQuery) as rejected:
        parse_api_query({"search_query": "all:x"} | parameters)
    assert rejected.value.detail.startswith(message)


def test_last_page_that_arxiv_sends_is_allowed() -> None:
    query = parse_api_query({"search_query": "x", "start": "8000", "max_results": "2000"})
    assert (query.start, query.max_results) == (8000, 2000)
