"""What a sync counts as covered, complete and current."""

from datetime import UTC, date, datetime, timedelta

from msgspec import structs

from service.mirror.sync_state import (
    EARLIEST,
    add_import,
    choose_window,
    complete_window,
    end_run,
    is_complete,
    start_run,
)
from service.models.mirror import SyncState

TODAY = date(2026, 11, 24)
COVERED = SyncState(
    set_spec="",
    covered_from=EARLIEST,
    covered_until=TODAY,
    synced_at=int(datetime(2026, 11, 24, 1, tzinfo=UTC).timestamp()),
)


def seconds(day: date, hour: int = 0) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp())


def run(state: SyncState, since: date | None, until: date | None, started: int) -> SyncState:
    """The progress after a run of one window."""
    state = start_run(state, since, until, TODAY)
    state = choose_window(state, TODAY, is_split=False)
    return end_run(complete_window(structs.replace(state, run_started=started)))


def test_snapshot_before_a_gap_makes_the_mirror_incomplete_until_the_gap_is_closed() -> None:
    recent = run(SyncState(set_spec=""), TODAY - timedelta(days=9), None, seconds(TODAY, 5))
    assert recent.synced_at
    state = add_import(recent, seconds(date(2026, 10, 30)))
    assert (state.covered_until, state.synced_at) == (date(2026, 10, 30), None)
    assert not is_complete(state)

    state = run(state, None, None, seconds(TODAY, 6))
    assert is_complete(state)
    assert state.synced_at == seconds(TODAY, 6)


def test_mirror_whose_covered_days_end_before_its_latest_run_is_not_complete() -> None:
    assert is_complete(COVERED)
    assert not is_complete(structs.replace(COVERED, covered_until=TODAY - timedelta(days=1)))


def test_run_of_earlier_days_does_not_make_the_mirror_current() -> None:
    state = run(COVERED, date(2010, 1, 1), date(2010, 1, 2), seconds(TODAY, 4))
    assert state.synced_at == COVERED.synced_at

    assert run(COVERED, TODAY, None, seconds(TODAY, 4)).synced_at == seconds(TODAY, 4)


def test_server_whose_clock_is_behind_does_not_make_the_mirror_current() -> None:
    state = structs.replace(COVERED, synced_at=None)
    assert run(state, None, None, seconds(date(2010, 1, 1))).synced_at is None
