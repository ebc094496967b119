"""Recorded searches as lists on pages show them."""

from msgspec import Struct

from .. import timestamps
from ..context import Context
from ..models.arxiv import Outcome
from ..models.records import QueryRow
from ..recorded_query import describe_query, parse_recorded_query
from .page_params import replace_controls

OUTCOMES: dict[str, tuple[str, str]] = {
    Outcome.OK: ("✓", "complete"),
    Outcome.SUSPECT: ("!", "incomplete"),
    Outcome.REFUSED: ("✗", "rejected by arXiv"),
    Outcome.BUSY: ("✗", "arXiv was overloaded"),
    Outcome.UNREACHABLE: ("✗", "arXiv was unreachable"),
    Outcome.TIMEOUT: ("✗", "no response in time"),
    Outcome.BROKEN: ("✗", "invalid response"),
    Outcome.INTERRUPTED: ("✗", "interrupted"),
}
"""A mark and a text for each outcome."""


class HistoryEntry(Struct, frozen=True):
    """A recorded search in a list."""

    query_id: int
    text: str
    time: str
    mark: str
    outcome: str
    num_results: int
    num_entries: int
    first: int
    """Position of its first result, from 1."""


def describe_outcome(outcome: str) -> tuple[str, str]:
    """Return a mark and a text."""
    return OUTCOMES.get(outcome, ("✗", outcome))


def create_history_entry(row: QueryRow, context: Context) -> HistoryEntry:
    """Return what lists show of a run."""
    mark, outcome = describe_outcome(row.outcome)
    query = parse_recorded_query(row.query)
    return HistoryEntry(
        query_id=row.query_id,
        text=replace_controls(describe_query(row.query, query)),
        time=timestamps.format_iso(row.timestamp, context.settings.zone),
        mark=mark,
        outcome=outcome,
        num_results=row.num_results,
        num_entries=row.num_entries,
        first=query.start + 1 if query else 1,
    )
