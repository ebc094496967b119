"""How the progress of a sync changes. Pure functions on SyncState.

A run consists of windows of days. The server sends the records of a window as a list, once in each
format. The last window of a run without `run_until` has no end, so that it contains everything up
to the moment of its first page.
"""

from datetime import UTC, date, datetime, timedelta

from msgspec import structs

from ..models.mirror import SyncState

EARLIEST = date(2005, 9, 16)
"""The first datestamp of arXiv."""
WINDOW = timedelta(days=31)
"""Length of a window: an expired token costs at most one."""
DAY = timedelta(days=1)
MAX_DAYS = 3
"""Days that an error names."""


def to_day(seconds: float) -> date:
    """Return the day (UTC) of a time in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).date()


def add_import(state: SyncState, newest: int | None) -> SyncState:
    """Include a snapshot, which has all records up to that of this datestamp."""
    if newest is None:
        return state
    imported = _extend(state, EARLIEST, to_day(newest))
    if imported.covered_from == EARLIEST:
        return imported
    # there is a gap between the snapshot and what was synced: the next run closes it
    return structs.replace(
        state, covered_from=EARLIEST, covered_until=to_day(newest), synced_at=None
    )


def start_run(state: SyncState, since: date | None, until: date | None, today: date) -> SyncState:
    """Continue the run that covers these days, or begin one.

    Without `since`, it continues from the last day that is covered; without `until`, it contains
    everything up to now.
    """
    until = until if until and until < today else None
    covered = state.covered_until or EARLIEST
    first = max(since or covered, EARLIEST)
    if (
        until is None
        and state.run_from
        and (state.run_from == first or (since is None and state.run_from <= covered))
    ):
        next_day = state.run_until if is_received(state) else state.run_next
        return structs.replace(state, run_next=next_day, run_until=None)
    if (state.run_from, state.run_until) == (first, until):
        return state
    return structs.replace(
        state,
        run_from=first,
        run_until=until,
        run_next=first,
        window_until=None,
        token=None,
        metadata_prefix=None,
        run_started=None,
        run_records=0,
        run_invalid=0,
        skipped=[],
    )


def choose_window(state: SyncState, today: date, *, is_split: bool) -> SyncState:
    """Set the end of the next window: the same day if `is_split`, and none if it contains today.

    The server rejects days in the future, so windows end before yesterday, or not at all.
    """
    assert state.run_next  # noqa: S101 - of a run
    end: date | None = state.run_next if is_split else state.run_next + WINDOW - DAY
    if state.run_until and state.run_until < today:
        end = min(end or today, state.run_until)
    elif end and end >= (today if is_split else today - DAY):
        end = None
    return structs.replace(state, window_until=end, token=None, metadata_prefix=None)


def is_received(state: SyncState) -> bool:
    """Whether all windows of the run were received or skipped."""
    return bool(state.run_until and state.run_next and state.run_next > state.run_until)


def is_complete(state: SyncState) -> bool:
    """Whether all records of the set are stored up to those of the latest complete run."""
    covered, synced = state.covered_until, state.synced_at
    return bool(
        state.covered_from == EARLIEST
        and covered is not None
        and synced is not None
        and covered >= to_day(synced)
    )


def complete_window(state: SyncState) -> SyncState:
    """Go on to the next window."""
    end = state.window_until
    if end is None:
        assert state.run_started is not None  # noqa: S101 - of the first page of the window
        end = to_day(state.run_started)
        state = structs.replace(state, run_until=end)
    return _cover_run(_go_on(state, end))


def skip_day(state: SyncState) -> SyncState:
    """Go on to the next day, and request this one again at the end."""
    assert state.run_next  # noqa: S101 - of a run
    skipped = [*state.skipped, state.run_next]
    return _go_on(structs.replace(state, skipped=skipped), state.run_next)


def complete_day(state: SyncState, day: date) -> SyncState:
    """Remove a day from those that were skipped."""
    skipped = [each for each in state.skipped if each != day]
    return _cover_run(structs.replace(state, skipped=skipped))


def end_run(state: SyncState) -> SyncState:
    """End the run; if days are missing, the next one continues it."""
    if state.skipped:
        days = ", ".join(map(str, state.skipped[:MAX_DAYS]))
        others = len(state.skipped) - MAX_DAYS
        more = f" and {others} other days" if others > 0 else ""
        error = f"arXiv sent no usable records of {days}{more}"
        return structs.replace(state, error=error)
    started = state.run_started or 0
    return structs.replace(
        state,
        synced_at=max(started, state.synced_at or 0) if _is_current(state) else state.synced_at,
        run_from=None,
        run_until=None,
        run_next=None,
        run_started=None,
        error=None,
    )


def _is_current(state: SyncState) -> bool:
    """Whether the run has covered the days up to its beginning."""
    first, last, covered = state.run_from, state.run_until, state.covered_until
    if not (first and last and covered and state.run_started):
        return False
    # a run with an end has requested nothing of today; a clock may be behind
    started = to_day(state.run_started)
    return last >= max(first, started) and covered >= started


def _go_on(state: SyncState, last_day: date) -> SyncState:
    return structs.replace(
        state, run_next=last_day + DAY, window_until=None, token=None, metadata_prefix=None
    )


def _cover_run(state: SyncState) -> SyncState:
    """Cover the days of the run before the first that is missing."""
    assert state.run_from  # noqa: S101 - of a run
    assert state.run_next  # noqa: S101
    first_missing = min([*state.skipped, state.run_next])
    return _extend(state, state.run_from, first_missing - DAY)


def _extend(state: SyncState, first: date, last: date) -> SyncState:
    """Add days to those that are covered, unless there is a gap in between."""
    if last < first:
        return state
    covered_from, covered_until = state.covered_from, state.covered_until
    if covered_from is None or covered_until is None:
        return structs.replace(state, covered_from=first, covered_until=last)
    if first > covered_until + DAY or last < covered_from - DAY:
        return state
    return structs.replace(
        state, covered_from=min(first, covered_from), covered_until=max(last, covered_until)
    )
