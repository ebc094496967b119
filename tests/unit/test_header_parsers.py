"""Parsers of request headers take time in proportion to their input, with a small bound."""

from collections.abc import Callable
from time import thread_time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.datastructures import Headers

from service.errors import NotAcceptable
from service.formats import select_format
from service.formats.negotiation import MAX_MEMBERS, parse_media_type, select_offer
from service.handlers.client_state import bypasses_cache
from service.middleware.allowed_hosts import parse_host
from service.middleware.compression import choose_encoding
from service.middleware.conditional import matches_etag

MAX_BYTES = 60_000
MAX_SECONDS = 0.02
PARTS = (
    *(",", ", ", ";", "a/b,", "*/*,", "text/csv,", "text/csv;q=1,", "a/b;x=1;", ";q=0", "q=", "="),
    *(
        '"',
        'W/"',
        '"a",',
        "W/",
        "[",
        ":",
        "[1:",
        "a.",
        ".",
        "-",
        "no-cache,",
        "gzip;q=0,",
        " ",
        "\t",
    ),
    *("0", "1.", "a", "é", "/", "*"),
)


def accept(text: str) -> object:
    try:
        return select_format(None, text)
    except NotAcceptable:
        return None


def cache_control(text: str) -> object:
    request = SimpleNamespace(headers=Headers({"cache-control": text}))
    return bypasses_cache(cast("Any", request))


PARSERS: dict[str, Callable[[str], object]] = {
    "Accept": accept,
    "Accept-Encoding": choose_encoding,
    "If-None-Match": lambda text: matches_etag(b'"a"', text.encode()),
    "Cache-Control": cache_control,
    "Host": parse_host,
}


def measure(parse: Callable[[str], object], text: str) -> float:
    """Return the CPU time of the shortest of five runs, each with a text that is in no cache."""
    times = []
    for run in range(5):
        begun = thread_time()
        parse(f"{text}{run}")
        times.append(thread_time() - begun)
    return min(times)


@pytest.mark.parametrize("name", PARSERS)
def test_hostile_headers_are_parsed_in_linear_time(name: str) -> None:
    parse = PARSERS[name]
    for part in PARTS:
        for suffix in ("", "x"):
            half, whole = (
                measure(parse, part * (size // len(part)) + suffix)
                for size in (MAX_BYTES // 2, MAX_BYTES)
            )
            assert whole < MAX_SECONDS, part
            assert whole < max(3 * half, MAX_SECONDS / 4), part


def test_refused_accept_header_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []

    def refuse(accept: str, _: object) -> None:
        parsed.append(accept)

    monkeypatch.setattr("service.formats.select_offer", refuse)
    for _ in range(3):
        with pytest.raises(NotAcceptable):
            select_format(None, "image/refused")

    assert parsed == ["image/refused"]


def test_first_hundred_members_of_accept_are_considered() -> None:
    offers = {"csv": [parse_media_type("text/csv")]}

    assert select_offer("a/b," * (MAX_MEMBERS - 1) + "text/csv", offers) == "csv"
    assert select_offer("a/b," * MAX_MEMBERS + "text/csv", offers) is None
