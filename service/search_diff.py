"""Differences between the results of two runs of a search."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from .models.records import ResultRow
from .models.responses import Moved, NewVersion

Identity = tuple[str, str]
Results = Sequence[ResultRow]


def _identify(result: ResultRow) -> Identity:
    """Identify a paper by its arXiv id, or by author and title for results stored without one."""
    return (result.arxiv_id, "") if result.arxiv_id else (result.author, result.title)


def find_added(now: Results, before: Results) -> list[ResultRow]:
    """Return the results whose paper was not found before in any version.

    With the arguments exchanged, it returns the results that were removed.
    """
    known = {_identify(result) for result in before}
    return [result for result in now if _identify(result) not in known]


def find_new_versions(now: Results, before: Results) -> list[NewVersion]:
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


def find_moved(now: Results, before: Results) -> list[Moved]:
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


def _pair_results(now: Results, before: Results) -> Iterator[tuple[ResultRow, ResultRow]]:
    """Pair each result with the previous result of the same paper, if there is one.

    A search by ids can return several versions of a paper: the same version is preferred, then the
    same result number.
    """
    known = defaultdict[Identity, list[ResultRow]](list)
    for result in before:
        known[_identify(result)].append(result)
    for result in now:
        if previous := known.get(_identify(result)):
            yield result, max(previous, key=partial(_rate_similarity, result))


def _rate_similarity(one: ResultRow, other: ResultRow) -> tuple[bool, bool, int]:
    same_version = one.version == other.version
    return same_version, one.result_number == other.result_number, other.version or 0
