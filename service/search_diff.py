"""What is new in a search: its results now against those of the run before."""

from collections.abc import Sequence

from .models.records import ResultRow
from .models.responses import Moved, NewVersion

Name = tuple[str, str]


def _name(result: ResultRow) -> Name:
    """What makes a result the same in both: the paper, or where it has no id its own words."""
    return (result.arxiv_id, "") if result.arxiv_id else (result.author, result.title)


def find_added(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[ResultRow]:
    """Results whose paper was not there before, in whatever version."""
    known = {_name(result) for result in before}
    return [result for result in now if _name(result) not in known]


def find_new_versions(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[NewVersion]:
    """Papers that are there in another version than before."""
    return [
        NewVersion(
            arxiv_id=result.arxiv_id,
            title=result.title,
            version=result.version,
            previous_version=previous.version,
            result_number=result.result_number,
        )
        for result, previous in _pairs(now, before)
        if result.arxiv_id and previous.version != result.version
    ]


def find_moved(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[Moved]:
    """Papers that are in another place than before."""
    return [
        Moved(
            arxiv_id=result.arxiv_id,
            title=result.title,
            result_number=result.result_number,
            previous_result_number=previous.result_number,
        )
        for result, previous in _pairs(now, before)
        if previous.result_number != result.result_number
    ]


def _pairs(
    now: Sequence[ResultRow], before: Sequence[ResultRow]
) -> list[tuple[ResultRow, ResultRow]]:
    """What is there now as it was before, for all that was.

    A search by ids may find several versions of a paper, so that the same version goes first, and
    of the same version the same place.
    """
    known: dict[Name, list[ResultRow]] = {}
    for result in before:
        known.setdefault(_name(result), []).append(result)
    return [
        (result, max(known[_name(result)], key=lambda previous: _likeness(result, previous)))
        for result in now
        if _name(result) in known
    ]


def _likeness(one: ResultRow, other: ResultRow) -> tuple[bool, bool, int]:
    return (
        one.version == other.version,
        one.result_number == other.result_number,
        other.version or 0,
    )
