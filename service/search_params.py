"""Search parameters in text form -> Search; shared by the HTTP handlers and the command line."""

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any

from . import timestamps
from .errors import InvalidParameter
from .models.arxiv import Search

MAX_TERM_LENGTH = 500
"""Characters of a search term."""


def parse_search(
    tz: tzinfo,
    *,
    category: Sequence[str] | None = None,
    id_list: str | None = None,
    submitted_from: str | None = None,
    submitted_to: str | None = None,
    **fields: Any,  # noqa: ANN401 - see Search
) -> Search:
    """Build a search; times without an offset are in this zone. Raises InvalidParameter."""
    return Search(
        category=tuple(category or ()),
        id_list=(id_list,) if id_list else (),
        submitted_from=parse_time(
            "submitted_from", submitted_from, tz, timestamps.parse_range_start
        ),
        submitted_to=parse_time("submitted_to", submitted_to, tz, timestamps.parse_range_end),
        **fields,
    )


def parse_time_range(
    start: str | None, end: str | None, tz: tzinfo, names: tuple[str, str]
) -> tuple[int, int]:
    """Return the first and last second of a range, in Unix seconds.

    `names` are those of the two parameters. Raises InvalidParameter.
    """
    first = parse_time(names[0], start, tz, timestamps.parse_range_start)
    last = parse_time(names[1], end, tz, timestamps.parse_range_end)
    return check_time_range(
        timestamps.EARLIEST if first is None else first,
        timestamps.LATEST if last is None else last,
        names,
    )


def check_time_range(start: int, end: int, names: tuple[str, str]) -> tuple[int, int]:
    """Return the range. Raises InvalidParameter if it ends before it starts."""
    if end < start:
        raise InvalidParameter(names[1], f"must not be before {names[0]}")
    return start, end


def parse_time(
    name: str, text: str | None, tz: tzinfo, parse: Callable[[str, tzinfo], int]
) -> int | None:
    """Return Unix seconds. Raises InvalidParameter for this parameter."""
    if text is None:
        return None
    try:
        return parse(text, tz)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(name, f"{text!r} {error}") from None
