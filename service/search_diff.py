"""Differences between the results of two runs of a search."""

from collections.abc import Sequence

from .models.records import ResultRow
from .models.responses import Moved, NewVersion

Identity = tuple[str, str]


def _identify(result: ResultRow) -> Identity:
    """Identify a paper by its arXiv id, or by author and title for results stored without one."""
    return (result.arxiv_id, "") if result.arxiv_id else (result.author, result.title)


def find_added(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[ResultRow]:
    """Return the results whose paper was not found before in any version.

    With the arguments exchanged, it returns the results that were removed.
    """
    known = {_identify(result) for result in before}
    return [result for result in now if _identify(result) not in known]


def find_new_versions(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[NewVersion]:
    """Return the papers that were found in another version before."""
    return [
        NewVersion(
            arxiv_id=result.arxiv_id,
            title=result.title,
            version=result.version,
            previous_version=previous.version,
            result_number=result.result_number,
        )
        for result, previous in _pair_results(now, before)
        if result.arxiv_id and previous.version != result.version
    ]


def find_moved(now: Sequence[ResultRow], before: Sequence[ResultRow]) -> list[Moved]:
    """Return the papers whose result number has changed."""
    return [
        Moved(
            arxiv_id=result.arxiv_id,
            title=result.title,
            result_number=result.result_number,
            previous_result_number=previous.result_number,
        )
        for result, previous in _pair_results(now, before)
        if previous.result_number != result.result_number
    ]


def _pair_results(
    now: Sequence[ResultRow], before: Sequence[ResultRow]
) -> list[tuple[ResultRow, ResultRow]]:
    """Pair each result with the previous result of the same paper, if there is one.

    A search by ids can return several versions of a paper: the same version is preferred, then the
    same result number.
    """
    known: dict[Identity, list[ResultRow]] = {}
    for result in before:
        known.setdefault(_identify(result), []).append(result)
    return [
        (result, max(known[_identify(result)], key=lambda previous: _similarity(result, previous)))
        for result in now
        if _identify(result) in known
    ]


def _similarity(one: ResultRow, other: ResultRow) -> tuple[bool, bool, int]:
    return (
        one.version == other.version,
        one.result_number == other.result_number,
        other.version or 0,
    )
