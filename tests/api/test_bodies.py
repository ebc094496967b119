"""Fuzzing of all request bodies: no body causes a server error. `make fuzz` tries more."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from demo.arxiv import StandIn
from service.settings import Settings
from tests.api.test_invalid_input import BODIES, JSON, ODD_TEXTS
from tests.conftest import served
from tests.support.indexing import wait_until_indexed

LONG = hypothesis_settings.get_current_profile_name() == "long"
BYTES = st.sampled_from(
    (*ODD_TEXTS, b"\0", b"\xef\xbb\xbf", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n")
) | st.sampled_from((b"9" * 400, b"1e999", b"-", b"NaN", b'"query_id":1,', b"[" * 3000))
"""What is inserted into a body or put in the place of some of its bytes."""
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**15, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["\0", "\ud800", "a\0b", "x" * 100_001, "((", "\\", "%", "2101.00001v9"])
)
VALUES = st.recursive(
    LEAVES,
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3)
    ),
    max_leaves=8,
)
PAPER = {"links": [{"href": "x", "rel": "y"}], "summary": "x", "arxiv_id": "2101.00001"}
RUN = BODIES["/write-queries"] | {"search_key": None}
PAGE = {"type": "page", "place": {}, "limit": 3}
READS: list[dict[str, Any]] = [
    *(
        PAGE | {"list": name, "wanted": {"type": kind, "text": "x"}, "place": {"key": [1]}}
        for name, kind in (("queries", "queries"), ("results", "results"), ("papers", "papers"))
    ),
    PAGE | {"list": "ranked", "wanted": {"type": "papers", "words": "x", "category": ["cs.SE"]}},
    {"type": "query", "query_id": 1},
    {"type": "runs", "run": RUN, "limit": 3},
    {"type": "results", "run": RUN},
    {"type": "feed", "runs": [RUN]},
    {"type": "versions", "arxiv_id": "2101.00001"},
    {"type": "papers", "names": [["2101.00001", 1]]},
    {"type": "counts", "wanted": {"type": "papers"}, "zone": "UTC"},
    {"type": "responses", "limit": 3},
    {"type": "searches", "starts": [1, 2]},
    {"type": "imports", "limit": 3},
    {"type": "database"},
]
SEEDS: dict[str, list[dict[str, Any]]] = {path: [body] for path, body in BODIES.items()}
SEEDS["/queries"].append({"start_timestamp": "2026-11-23", "status": 200, "order": "newest"})
SEEDS["/write-results"].append(
    BODIES["/write-results"] | {"results": [BODIES["/write-results"]["results"][0] | PAPER]}
)
SEEDS["/read-archive"] = READS


def find_places(value: Any) -> list[tuple[Any, ...]]:
    """Return the paths of all values within a value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [(), *((key, *rest) for key, item in items for rest in find_places(item))]


def replace_value(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """Return a copy in which one value is replaced."""
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = replace_value(value[place[0]], place[1:], new)
    return copy


@st.composite
def mutate_body(draw: st.DrawFn, seeds: list[dict[str, Any]]) -> bytes:
    """Draw a valid body with some values replaced, and with some bytes replaced or inserted."""
    value: Any = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        value = replace_value(value, draw(st.sampled_from(find_places(value))), draw(VALUES))
    body = json.dumps(value).encode()
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(body)))
        end = min(start + draw(st.integers(0, 3)), len(body))
        body = body[:start] + draw(BYTES) + body[end:]
    return body


@pytest.fixture
def connection(settings: Callable[..., Settings], arxiv: StandIn) -> Iterator[httpx.Client]:
    del arxiv  # reset
    made = settings()
    with served(made) as url, httpx.Client(base_url=url, timeout=30) as client:
        wait_until_indexed(made.database_ro_url or "", made.index_path)
        yield client


@pytest.mark.thorough
@hypothesis_settings(
    max_examples=2000 if LONG else 60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
@pytest.mark.parametrize("path", SEEDS)
def test_no_body_causes_a_server_error(
    connection: httpx.Client, path: str, data: st.DataObject
) -> None:
    body = data.draw(mutate_body(SEEDS[path]))
    response = connection.post(path, content=body, headers=JSON)

    assert response.status_code in {200, 201, 400, 409, 413}, (body, response.text)
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
    if response.status_code == 400:
        assert response.json().keys() & {"parameter", "query_id"}
