"""What is new in a search: its results now against those of the run before."""

from collections.abc import Sequence

from service.models import Moved, NewVersion, StoredResult

Name = tuple[str, str]


def _name(result: StoredResult) -> Name:
    """What makes a result the same in both: the paper, or where it has no id its own words."""
    return (result.arxiv_id, "") if result.arxiv_id else (result.author, result.title)


def came(now: Sequence[StoredResult], before: Sequence[StoredResult]) -> list[StoredResult]:
    """Results whose paper was not there before, in whatever version."""
    known = {_name(result) for result in before}
    return [result for result in now if _name(result) not in known]


def new_versions(now: Sequence[StoredResult], before: Sequence[StoredResult]) -> list[NewVersion]:
    """Papers that are there in another version than before."""
    known = {_name(result): result.version for result in before}
    return [
        NewVersion(
            arxiv_id=result.arxiv_id,
            title=result.title,
            version=result.version,
            previous_version=known[_name(result)],
            result_number=result.result_number,
        )
        for result in now
        if result.arxiv_id and _name(result) in known and known[_name(result)] != result.version
    ]


def moved(now: Sequence[StoredResult], before: Sequence[StoredResult]) -> list[Moved]:
    """Papers that are in another place than before."""
    known = {_name(result): result.result_number for result in before}
    return [
        Moved(
            arxiv_id=result.arxiv_id,
            title=result.title,
            result_number=result.result_number,
            previous_result_number=known[_name(result)],
        )
        for result in now
        if _name(result) in known and known[_name(result)] != result.result_number
    ]
