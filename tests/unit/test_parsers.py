"""Property tests of all parsers of client input: any input is accepted or rejected cleanly."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demo.arxiv import StandIn
from service import arxiv_query, lists
from service.db.reader import PAPERS, QUERIES, RANKED, RESULTS
from service.errors import InvalidParameter
from service.handlers.params import parse_categories
from service.metadata.categories import CATEGORIES
from service.middleware.conditional import matches_etag
from service.models.arxiv import Search
from service.models.filters import Position
from service.settings import Settings
from tests.conftest import served
from tests.support.indexing import wait_until_indexed

KEYS: dict[str, tuple[Any, ...]] = {
    "queries": (1_795_464_900, 42),
    "results": (1_795_464_900, 42, 0),
    "papers": (1_795_464_900, "hep-th/9901001", 2),
    "ranked": (7, 3, "2101.00001", 1),
}
SHAPES = {
    "queries": tuple(QUERIES.key.values()),
    "results": tuple(RESULTS.key.values()),
    "papers": tuple(PAPERS.key.values()),
    "ranked": tuple(RANKED.key.values()),
}


def like(*parts: str) -> st.SearchStrategy[str]:
    """Any text, and text composed of these parts."""
    return st.text(max_size=60) | st.lists(
        st.sampled_from([*parts, " "]) | st.text(max_size=3), max_size=12
    ).map("".join)


@given(st.sampled_from([*KEYS]), st.booleans(), st.text(max_size=30))
def test_cursor_round_trip(name: str, back: bool, query: str) -> None:  # noqa: FBT001
    cursor = lists.encode_cursor(KEYS[name], query, back=back)

    assert lists.decode_cursor(cursor, query, SHAPES[name]) == Position(KEYS[name], back)


@given(
    st.sampled_from([*SHAPES]),
    st.sampled_from([*KEYS]),
    st.lists(st.tuples(st.integers(0, 60), st.text(max_size=2)), min_size=1, max_size=3),
)
def test_modified_cursor_is_rejected(
    name: str, made_for: str, changes: list[tuple[int, str]]
) -> None:
    cursor = original = lists.encode_cursor(KEYS[made_for], "/list?a=b")
    for place, text in changes:
        cursor = cursor[:place] + text + cursor[place + 1 :]
    if cursor == original:
        return
    with pytest.raises(InvalidParameter, match=r"^after: "):
        lists.decode_cursor(cursor, "/list?a=b", SHAPES[name])


@given(st.sampled_from([*SHAPES]), st.binary(max_size=40), st.text(max_size=10))
@example("queries", b"\x93\xc3\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "")
def test_forged_cursor_is_a_position_or_rejected(name: str, place: bytes, query: str) -> None:
    """With a forged digest the decoder is reached."""
    forged = lists._encode_base64(lists._compute_digest(place, query) + place)  # noqa: SLF001
    with suppress(InvalidParameter):
        assert isinstance(lists.decode_cursor(forged, query, SHAPES[name]), Position)


@given(
    like('"', "W/", '"a"', ",", "*", 'W/"a"').map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b'"a"', b'W/"a"', b'"a-gzip-1234"']),
)
def test_if_none_match_matches_only_listed_tags(known: bytes, tag: bytes) -> None:
    if matches_etag(tag, known):
        assert tag.removeprefix(b"W/") in known or known.strip() == b"*"


@given(like("arXiv:", "https://", "arxiv.org/abs/", "2101.00001", "hep-th/9901001", "v1", "/", "."))
@example("arxiv:" + "?" * 5000)
def test_any_text_is_an_id_or_rejected(text: str) -> None:
    try:
        name, version = arxiv_query.parse_id_parameter(text, "arxiv_id")
    except InvalidParameter as refused:
        assert refused.parameter == "arxiv_id"  # noqa: PT017
    else:
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}", name, re.ASCII)
        assert version is None or 0 < version < 10_000
        assert name in text or "." in text  # the subject class is omitted


@given(st.lists(like("cs", ".", "AI", "*", "hep-th", "math", "-"), max_size=4))
def test_any_texts_are_categories_or_rejected(texts: list[str]) -> None:
    try:
        names, archives = parse_categories(texts)
    except InvalidParameter as refused:
        assert refused.parameter == "category"  # noqa: PT017
    else:
        assert set(names or ()) <= CATEGORIES.keys()
        assert all(f"{archive}." in " ".join(CATEGORIES) for archive in archives or ())


TYPED = st.none() | like('"', "ti:", "AND", "(", ")", "\\", "_", "testing")
SECONDS = st.none() | st.integers(-62_135_510_400, 253_402_214_400)


@given(
    st.builds(
        Search,
        author=TYPED,
        title=TYPED,
        any=TYPED,
        query=TYPED,
        category=st.lists(like("cs.", "AI", "*"), max_size=2).map(tuple),
        id_list=st.lists(like("2101.00001", "v2", ","), max_size=2).map(tuple),
        submitted_from=SECONDS,
        submitted_to=SECONDS,
        start=st.integers(0, 9999),
        max_results=st.none() | st.integers(1, 2000),
    )
)
def test_any_search_is_valid_or_rejected(search: Search) -> None:
    with suppress(InvalidParameter):
        sent = arxiv_query.build_params(search, 10)
        assert sent["search_query"] or sent["id_list"]
        assert not any(unicodedata.category(each) == "Cc" for each in sent["search_query"])


# Over HTTP

HEADERS = (
    "accept",
    "accept-encoding",
    "if-none-match",
    "authorization",
    "cache-control",
    "origin",
    "x-request-id",
)
VALUES = st.binary(max_size=30) | st.lists(
    st.sampled_from([b"*/*", b"text/csv", b";q=", b"0.5", b", ", b'"', b"W/", b"gzip", b"Bearer "])
).map(b"".join)
NAMES = (
    *(
        "page",
        "items_per_page",
        "after",
        "fields",
        "format",
        "order",
        "query_id",
        "author",
        "title",
    ),
    *("journal", "category", "since", "until", "q", "versions", "status", "text"),
    *("start_timestamp", "end_timestamp", "nothing"),
)
TEXTS = st.binary(max_size=12) | st.sampled_from(
    [b"0", b"1", b"-1", b"9" * 30, b"1e3", b"json", b"csv", b"atom", b"2026-02-30", b"title", b"*"]
)
PATHS = ("/results", "/queries", "/papers", "/read-results", "/read-queries", "/papers/%s")


@pytest.fixture
def wire(
    settings: Callable[..., Settings],
    arxiv: StandIn,  # noqa: ARG001 - resets it
) -> Iterator[httpx.Client]:
    """HTTP client of a service with one recorded search."""
    made = settings(cors_origins="https://example.org")
    with served(made) as url, httpx.Client() as client:
        client.base_url = httpx.URL(url)
        client.get("/arxiv?title=testing").raise_for_status()
        wait_until_indexed(made.database_ro_url or "", made.index_path)
        yield client


ANY_REQUEST = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY_REQUEST
@given(headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=4))
def test_any_header_is_handled(wire: httpx.Client, headers: list[tuple[str, bytes]]) -> None:
    # the server rejects invalid headers itself
    visible = [
        (name.encode(), bytes(byte for byte in value if byte > 31 and byte != 127).strip())
        for name, value in headers
    ]
    with wire.stream("GET", "/results", headers=visible) as response:
        assert response.status_code in {200, 304, 406}
        assert len(b"".join(response.iter_raw())) < 100_000


@ANY_REQUEST
@given(
    path=st.sampled_from(PATHS),
    name=TEXTS,
    pairs=st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=4),
)
@example("/papers", b"", [("author", "\N{LATIN SMALL LIGATURE FI}".encode())])
def test_any_query_string_is_handled(
    wire: httpx.Client, path: str, name: bytes, pairs: list[tuple[str, bytes]]
) -> None:
    query = "&".join(f"{key}={quote_from_bytes(value)}" for key, value in pairs)
    where = path.replace("%s", quote_from_bytes(name, safe=""))
    response = wire.get(f"{where}?{query}")

    assert response.status_code in {200, 400, 404}, response.text
    if response.status_code == 400:
        assert response.json()["parameter"]
