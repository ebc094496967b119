"""Quotas: windows, eviction, and the networks that addresses belong to."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import quotas
from service.api_keys import Rate
from service.middleware.api_keys import SITE_FACTOR, get_limits
from service.quotas import QuotaCounter

MINUTE = Rate(3, 60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quotas, "monotonic", clock)
    return clock


def count(counter: QuotaCounter, address: str, rate: Rate = MINUTE) -> bool:
    return counter.count(*get_limits(address, rate))[1]


def get_size(counter: QuotaCounter) -> int:
    return sum(map(len, counter._windows.values()))  # noqa: SLF001


def test_windows_that_have_ended_are_dropped_first(clock: Clock) -> None:
    counter = QuotaCounter(100)
    for number in range(99):
        counter.count((f"early {number}", MINUTE))
    clock.now += 59
    assert counter.count(("late", Rate(1, 60)))[1]
    clock.now += 1
    for number in range(99):
        counter.count((f"new {number}", MINUTE))

    assert not counter.count(("late", Rate(1, 60)))[1]
    assert get_size(counter) == 100


def test_number_of_windows_of_addresses_is_bounded() -> None:
    counter = QuotaCounter(50)
    for number in range(500):
        counter.count((f"{number}", MINUTE))
        assert get_size(counter) <= 50


def test_window_of_a_key_lasts_until_its_end_however_many_there_are(clock: Clock) -> None:
    counter = QuotaCounter()
    for _ in range(3):
        assert counter.count(("team-a", MINUTE))[1]
    for number in range(20_000):
        counter.count((f"team-{number}", MINUTE))
        counter.count((f"team-{number}", Rate(3, 1)))

    assert not counter.count(("team-a", MINUTE))[1]
    clock.now += 60
    assert counter.count(("team-a", MINUTE))[1]
    assert len(counter._windows[60]) == 1, "windows that have ended use no memory"  # noqa: SLF001


def test_replacing_a_key_by_one_of_another_rate_does_not_reset_either(clock: Clock) -> None:
    """Both are valid for some seconds."""
    del clock
    counter = QuotaCounter()
    within = [counter.count(("team-a", Rate(quota, 60)))[1] for quota in (2, 3) * 5]
    assert sum(within) == 5


def test_one_site_gets_a_multiple_of_the_quota(clock: Clock) -> None:
    counter = QuotaCounter(10_000)
    within = sum(count(counter, f"2001:db8:1:{number:x}::1") for number in range(5000))
    assert within == 3 * SITE_FACTOR
    assert count(counter, "2001:db8:2::1")
    assert get_size(counter) < 100, "requests beyond the quota of the site begin no window"
    clock.now += 60
    assert count(counter, "2001:db8:1:ffff::1")


def test_network_beyond_its_quota_does_not_use_up_that_of_its_site() -> None:
    counter = QuotaCounter(10_000)
    assert sum(count(counter, f"2001:db8::{number:x}") for number in range(1000)) == 3
    assert count(counter, "2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("192.0.2.1", ["192.0.2.1"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"]),
        ("2001:db8:1:2:3::4", ["2001:db8:1::/48", "2001:db8:1:2::/64"]),
        ("fe80::1%eth0", ["fe80::/48", "fe80::/64"]),
        ("192.0.2.\u0661", ["malformed addresses"]),
        ("", ["malformed addresses"]),
    ],
)
def test_address_has_the_limits_of_its_networks(address: str, names: list[str]) -> None:
    limits = get_limits(address, MINUTE)

    assert [name for name, _ in limits] == names
    assert limits[-1][1] == MINUTE


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]), st.integers(1, 3), st.sampled_from([1, 60]),
            st.sampled_from([0, 0.4, 1, 30, 61]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_any_sequence_is_counted_as_in_a_simple_model(
    requests: list[tuple[str, int, int, float]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(quotas, "monotonic", clock)
        counter = QuotaCounter()
        begun: dict[tuple[str, Rate], float] = {}
        used: defaultdict[tuple[str, Rate], int] = defaultdict(int)
        for client, quota, seconds, pause in requests:
            clock.now += pause
            limit = client, Rate(quota, seconds)
            if limit not in begun or clock.now >= begun[limit] + seconds:
                begun[limit], used[limit] = clock.now, 0
            expected = used[limit] < quota
            used[limit] += expected
            shown, within = counter.count(limit)
            assert (within, shown.left) == (expected, quota - used[limit])
