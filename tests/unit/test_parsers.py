"""Whatever is sent where text is parsed, it is understood or refused: nothing else comes of it."""

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
from service import arxiv_query, full_text
from service.db.reader import PAPERS, QUERIES, RANKED, RESULTS
from service.errors import InvalidParameter
from service.handlers import cursors
from service.handlers.filters import _categories
from service.middleware.conditional import _is_known
from service.models.arxiv import Search
from service.models.filters import Position
from service.settings import Settings
from tests.conftest import served

KEYS: dict[str, tuple[Any, ...]] = {
    "queries": (1_795_464_900, 42),
    "results": (1_795_464_900, 42, 0),
    "papers": (1_795_464_900, "hep-th/9901001", 2),
    "ranked": (0.5, "2101.00001", 1),
}
SHAPES = {
    "queries": QUERIES.key_types,
    "results": RESULTS.key_types,
    "papers": PAPERS.key_types,
    "ranked": RANKED.key_types,
}


def like(*parts: str) -> st.SearchStrategy[str]:
    """Any text, and text made of such parts."""
    return st.text(max_size=60) | st.lists(
        st.sampled_from([*parts, " "]) | st.text(max_size=3), max_size=12
    ).map("".join)


@given(st.sampled_from([*KEYS]), st.booleans(), st.text(max_size=30))
def test_a_cursor_leads_back_to_its_place(name: str, back: bool, query: str) -> None:  # noqa: FBT001
    cursor = cursors.write(KEYS[name], query, back=back)

    assert cursors.read(cursor, query, SHAPES[name]) == Position(KEYS[name], back)


@given(
    st.sampled_from([*SHAPES]),
    st.sampled_from([*KEYS]),
    st.lists(st.tuples(st.integers(0, 60), st.text(max_size=2)), min_size=1, max_size=3),
)
def test_a_changed_cursor_is_refused(
    name: str, made_for: str, changes: list[tuple[int, str]]
) -> None:
    cursor = given_cursor = cursors.write(KEYS[made_for], "/list?a=b")
    for place, text in changes:
        cursor = cursor[:place] + text + cursor[place + 1 :]
    if cursor == given_cursor:
        return
    with pytest.raises(InvalidParameter, match=r"^after: "):
        cursors.read(cursor, "/list?a=b", SHAPES[name])


@given(st.sampled_from([*SHAPES]), st.binary(max_size=40), st.text(max_size=10))
@example("queries", b"\x93\xc3\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "")
def test_a_cursor_with_a_digest_of_its_own_is_a_place_or_refused(
    name: str, place: bytes, query: str
) -> None:
    """Whoever makes up the digest too reaches the decoder."""
    made_up = cursors._text(cursors._digest(place, query) + place)  # noqa: SLF001
    with suppress(InvalidParameter):
        assert isinstance(cursors.read(made_up, query, SHAPES[name]), Position)


@given(
    like('"', "W/", '"a"', ",", "*", 'W/"a"').map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b'"a"', b'W/"a"', b'"a-gzip-1234"']),
)
def test_an_if_none_match_knows_only_tags_that_it_names(known: bytes, tag: bytes) -> None:
    if _is_known(tag, known):
        assert tag.removeprefix(b"W/") in known or known.strip() == b"*"


@given(like("arXiv:", "https://", "arxiv.org/abs/", "2101.00001", "hep-th/9901001", "v1", "/", "."))
@example("arxiv:" + "?" * 5000)
def test_any_text_is_the_id_of_a_paper_or_refused(text: str) -> None:
    try:
        name, version = arxiv_query.paper(text, "arxiv_id")
    except InvalidParameter as refused:
        assert refused.parameter == "arxiv_id"  # noqa: PT017
    else:
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}", name, re.ASCII)
        assert version is None or 0 < version < 10_000
        assert name in text or "." in text  # the subject class is left out


@given(st.lists(like("cs", ".", "AI", "*", "hep-th", "math", "-"), max_size=4))
def test_any_texts_are_categories_or_refused(texts: list[str]) -> None:
    try:
        names, archives = _categories(texts)
    except InvalidParameter as refused:
        assert refused.parameter == "category"  # noqa: PT017
    else:
        for name in [*(names or ()), *(archives or ())]:
            assert re.fullmatch(r"[a-z-]+(\.[a-zA-Z-]+)?", name)


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
def test_any_search_is_one_for_arxiv_or_refused(search: Search) -> None:
    with suppress(InvalidParameter):
        sent = arxiv_query.parameters(search, 10)
        assert sent["search_query"] or sent["id_list"]
        assert not any(unicodedata.category(each) == "Cc" for each in sent["search_query"])


@given(
    like('"', "(", ")", "-", "*", "OR", "NOT", "title:", "x", ":", "'", "\\", "&", "|", "!", "<")
)
def test_any_full_text_query_is_read_or_refused(q: str) -> None:
    with suppress(InvalidParameter):
        assert full_text.tsquery(q)
        full_text.sought(q, "title")


# Over HTTP: what stands before the parsers, and between them

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
    arxiv: StandIn,  # noqa: ARG001 - a clean one
) -> Iterator[httpx.Client]:
    """A client of a service with a search in it, over real HTTP."""
    with served(settings(cors_origins="https://example.org")) as url, httpx.Client() as client:
        client.base_url = httpx.URL(url)
        client.get("/arxiv?title=testing").raise_for_status()
        yield client


ANY_REQUEST = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ANY_REQUEST
@given(headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=4))
def test_no_header_breaks_the_service(wire: httpx.Client, headers: list[tuple[str, bytes]]) -> None:
    # the server refuses what is no header before the service sees it
    visible = [
        (name.encode(), bytes(byte for byte in value if byte > 31 and byte != 127).strip())
        for name, value in headers
    ]
    with wire.stream("GET", "/results", headers=visible) as answer:
        assert answer.status_code in {200, 304, 406}
        assert len(b"".join(answer.iter_raw())) < 100_000


@ANY_REQUEST
@given(
    path=st.sampled_from(PATHS),
    name=TEXTS,
    pairs=st.lists(st.tuples(st.sampled_from(NAMES), TEXTS), max_size=4),
)
@example("/papers", b"", [("author", "\N{LATIN SMALL LIGATURE FI}".encode())])
def test_no_query_string_breaks_the_service(
    wire: httpx.Client, path: str, name: bytes, pairs: list[tuple[str, bytes]]
) -> None:
    query = "&".join(f"{key}={quote_from_bytes(value)}" for key, value in pairs)
    where = path.replace("%s", quote_from_bytes(name, safe=""))
    answer = wire.get(f"{where}?{query}")

    assert answer.status_code in {200, 400, 404}, answer.text
    if answer.status_code == 400:
        assert answer.json()["parameter"]
