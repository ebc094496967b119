"""The parameters that paths share, with their bounds, and what holds for any parameter."""

from collections import Counter
from collections.abc import Callable
from datetime import tzinfo
from typing import Annotated, Any
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import QueryParameter

from service import timestamps
from service.errors import BadInput

AnyConnection = ASGIConnection[Any, Any, Any, Any]
MAX_LENGTH = 500
"""Characters of a search term."""


def _term(what: str, example: str) -> QueryParameter:
    return QueryParameter(
        max_length=MAX_LENGTH, description=what, examples=[Example(value=example)]
    )


Author = Annotated[str | None, _term("words of one author's name", "Emmy Noether")]
Title = Annotated[str | None, _term("a phrase of the title", "testing")]
Journal = Annotated[str | None, _term("a phrase of the journal reference", "Phys.Rev.Lett.")]
MaxResults = Annotated[
    int | None,
    QueryParameter(
        ge=1,
        le=2000,
        description="how many papers to fetch at most; default: ARXIV_MAX_RESULTS (10)",
        examples=[Example(value=10)],
    ),
]
Page = Annotated[
    int,
    QueryParameter(
        ge=0, le=1_000_000_000, description="0 is the first", examples=[Example(value=0)]
    ),
]
ItemsPerPage = Annotated[
    int | None,
    QueryParameter(
        ge=1,
        le=1000,
        description="default: ARXIV_ITEMS_PER_PAGE (10)",
        examples=[Example(value=10)],
    ),
]
StartTimestamp = Annotated[
    str | None,
    QueryParameter(
        max_length=64,
        description="ISO 8601 date or time, included; without an offset in ARXIV_TIMEZONE;"
        " default: the first search",
        examples=[Example(value="2026-11-23T20:15:00")],
    ),
]
EndTimestamp = Annotated[
    str | None,
    QueryParameter(
        max_length=64,
        description="ISO 8601 date (all of that day) or time, included; default: the last search",
        examples=[Example(value="2026-11-24")],
    ),
]
UnixStart = Annotated[
    int,
    QueryParameter(
        ge=timestamps.EARLIEST,
        le=timestamps.LATEST,
        description="Unix seconds, included; default: the first search",
        examples=[Example(value=1_795_464_900)],
    ),
]
UnixEnd = Annotated[
    int,
    QueryParameter(
        ge=timestamps.EARLIEST,
        le=timestamps.LATEST,
        description="Unix seconds, included; default: the last search",
        examples=[Example(value=1_795_551_300)],
    ),
]


def time_range(start: str | None, end: str | None, tz: tzinfo) -> tuple[int, int]:
    """First and last second of a range, in Unix seconds. Raises BadInput for one that is none."""
    first = _seconds("start_timestamp", start, tz, timestamps.first_second, timestamps.EARLIEST)
    last = _seconds("end_timestamp", end, tz, timestamps.last_second, timestamps.LATEST)
    return ordered(first, last)


def ordered(start: int, end: int) -> tuple[int, int]:
    """The range as it is. Raises BadInput where it ends before it starts."""
    if end < start:
        raise BadInput("end_timestamp", "is before start_timestamp")
    return start, end


def _seconds(
    name: str, text: str | None, tz: tzinfo, read: Callable[[str, tzinfo], int], default: int
) -> int:
    if text is None:
        return default
    try:
        return read(text, tz)
    except (ValueError, OverflowError) as error:
        raise BadInput(name, f"{text!r} {error}") from None


def check_names(connection: AnyConnection, route_handler: BaseRouteHandler) -> None:
    """Refuse what the path does not know, what is given twice, and what no text can hold.

    A guard: it runs before Litestar reads the parameters, which would pass over all of these.
    """
    try:
        query = connection.scope["query_string"].decode("ascii")
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise BadInput("query string", "is not percent-encoded UTF-8") from None
    known = [
        name
        for name, field in route_handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    ]
    for name, times in Counter(name for name, _ in pairs).items():
        if name not in known:
            hint = f"it takes {', '.join(known)}" if known else "it takes none"
            raise BadInput(name[:100], f"{connection.scope['path']} has no such parameter; {hint}")
        if times > 1:
            raise BadInput(name, f"is given {times} times")
    for name, value in pairs:
        if "\0" in value:
            raise BadInput(name, "holds a NUL character")
