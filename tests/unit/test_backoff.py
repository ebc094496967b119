"""Pauses grow exponentially up to the maximum, with jitter."""

from service.backoff import Backoff


def test_pauses_double_up_to_maximum_with_jitter() -> None:
    backoff = Backoff(1, 4)
    for pause in (1, 2, 4, 4):
        assert pause / 2 <= backoff.next_pause() <= 1.5 * pause


def test_reset_starts_with_initial_pause() -> None:
    backoff = Backoff(1, 4)
    for _ in range(3):
        backoff.next_pause()
    backoff.reset()
    assert backoff.next_pause() <= 1.5
