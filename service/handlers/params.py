"""The parameters that paths share, with their bounds, and which of them a path takes."""

from collections.abc import Callable
from datetime import tzinfo
from typing import Annotated, Any, Literal

from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

from .. import arxiv_query, timestamps
from ..context import Context
from ..errors import InvalidParameter
from ..models.arxiv import MAX_RESULTS, Search, SortBy, SortOrder

FROM_ZERO = {"minimum": 0}
"""Litestar describes no bound that is 0."""
MAX_LENGTH = 500
"""Characters of a search term."""


def term(what: str, example: str) -> QueryParameter:
    """A parameter that holds words."""
    return QueryParameter(
        max_length=MAX_LENGTH, description=what, examples=[Example(value=example)]
    )


def search(  # noqa: PLR0913, PLR0917 - as many as arXiv has
    author: Annotated[str | None, term("words of one author's name", "Emmy Noether")] = None,
    title: Annotated[str | None, term("a phrase of the title", "testing")] = None,
    journal: Annotated[str | None, term("a phrase of the journal reference", "Phys.Rev.")] = None,
    abstract: Annotated[str | None, term("a phrase of the abstract", "dark matter")] = None,
    comment: Annotated[str | None, term("a phrase of the comment", "18 pages")] = None,
    any_field: Annotated[
        str | None,
        QueryParameter(
            name="any",
            max_length=MAX_LENGTH,
            description="a phrase of any of arXiv's fields",
            examples=[Example(value="neutrino")],
        ),
    ] = None,
    category: Annotated[
        list[str] | None,
        QueryParameter(
            max_items=20,
            description="arXiv category, or all of an archive (cs.*); given several times: any",
            examples=[Example(value=["cs.SE", "math.*"])],
        ),
    ] = None,
    id_list: Annotated[
        str | None,
        QueryParameter(
            max_length=arxiv_query.MAX_QUERY_LENGTH,
            description="arXiv ids with commas between them, with or without versions; at most 200",
            examples=[Example(value="2101.00001,hep-th/9901001v1")],
        ),
    ] = None,
    expression: Annotated[
        str | None,
        QueryParameter(
            name="query",
            max_length=arxiv_query.MAX_QUERY_LENGTH,
            description="arXiv's own query language: ti au abs co jr cat rn id all, AND OR ANDNOT",
            examples=[Example(value='ti:"unit test" ANDNOT (cat:cs.AI OR cat:cs.LG)')],
        ),
    ] = None,
    submitted_from: Annotated[
        str | None,
        QueryParameter(
            max_length=64,
            description="ISO 8601 date or time of version 1, included",
            examples=[Example(value="2026-01-01")],
        ),
    ] = None,
    submitted_to: Annotated[
        str | None,
        QueryParameter(
            max_length=64,
            description="ISO 8601 date (all of that day) or time of version 1, included",
            examples=[Example(value="2026-06-30")],
        ),
    ] = None,
    start: Annotated[
        int,
        QueryParameter(
            ge=0,
            schema_extra=FROM_ZERO,
            le=arxiv_query.MAX_RESULT - 1,
            description="how many papers to pass over; start + max_results is at most 10,000",
            examples=[Example(value=0)],
        ),
    ] = 0,
    max_results: Annotated[
        int | None,
        QueryParameter(
            ge=1,
            le=MAX_RESULTS,
            description="how many papers to fetch at most; default: ARXIV_MAX_RESULTS (10), or"
            " as many as there are in id_list",
            examples=[Example(value=10)],
        ),
    ] = None,
    sort_by: Annotated[
        SortBy,
        QueryParameter(
            description="relevance, or the date of the current or the first version",
            examples=[Example(value="relevance")],
        ),
    ] = "relevance",
    sort_order: Annotated[
        SortOrder,
        QueryParameter(description="of that", examples=[Example(value="descending")]),
    ] = "descending",
    *,
    context: NamedDependency[Context],
) -> Search:
    """Read the parameters of a search, for the paths that ask arXiv."""
    tz = context.settings.zone
    return Search(
        author=author,
        title=title,
        journal=journal,
        abstract=abstract,
        comment=comment,
        any=any_field,
        category=tuple(category or ()),
        id_list=tuple((id_list or "").split(",")),
        query=expression,
        submitted_from=seconds("submitted_from", submitted_from, tz, timestamps.parse_range_start),
        submitted_to=seconds("submitted_to", submitted_to, tz, timestamps.parse_range_end),
        start=start,
        max_results=max_results,
        sort_by=sort_by,
        sort_order=sort_order,
    )


Include = Annotated[
    Literal["results"] | None,
    QueryParameter(
        description="`results`: with the papers themselves", examples=[Example(value="results")]
    ),
]
PathId = Annotated[int, PathParameter(description="of the search", examples=[Example(value=42)])]
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


def time_range(
    start: str | None,
    end: str | None,
    tz: tzinfo,
    names: tuple[str, str] = ("start_timestamp", "end_timestamp"),
) -> tuple[int, int]:
    """First and last second of a range, in Unix seconds. Raises BadInput for one that is none."""
    first = seconds(names[0], start, tz, timestamps.parse_range_start)
    last = seconds(names[1], end, tz, timestamps.parse_range_end)
    return ordered(
        timestamps.EARLIEST if first is None else first,
        timestamps.LATEST if last is None else last,
        names,
    )


def ordered(
    start: int, end: int, names: tuple[str, str] = ("start_timestamp", "end_timestamp")
) -> tuple[int, int]:
    """The range as it is. Raises BadInput where it ends before it starts."""
    if end < start:
        raise InvalidParameter(names[1], f"is before {names[0]}")
    return start, end


def seconds(
    name: str, text: str | None, tz: tzinfo, read: Callable[[str, tzinfo], int]
) -> int | None:
    """A moment, in Unix seconds. Raises BadInput, with its name, for what is none."""
    if text is None:
        return None
    try:
        return read(text, tz)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(name, f"{text!r} {error}") from None


_known: dict[Any, dict[str, QueryParameter]] = {}
"""What `parameters_of` has found, by the function that serves the path: it is always the same."""


def parameters_of(handler: BaseRouteHandler) -> dict[str, QueryParameter]:
    """The query parameters of a path and of all it depends on, by their names."""
    if (known := _known.get(handler.fn)) is not None:
        return known
    fields = dict(handler.parsed_fn_signature.parameters)
    providers = dict(handler.resolve_dependencies())  # Litestar's own serves the description
    while wanted := fields.keys() & providers.keys():
        for name in wanted:
            fields |= providers.pop(name).parsed_fn_signature.parameters
    _known[handler.fn] = known = {
        field.kwarg_definition.name or name: field.kwarg_definition
        for name, field in fields.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
    return known
