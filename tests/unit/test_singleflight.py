"""Concurrent identical reads are coalesced, and never return data read before the call."""

import asyncio

import pytest

from service.errors import DatabaseUnavailable
from service.singleflight import SingleFlight


class Table:
    """A table whose rows are counted in many steps of the event loop."""

    def __init__(self) -> None:
        self.rows = 0
        self.reads = 0

    async def count(self) -> int:
        self.reads += 1
        rows = self.rows
        for _ in range(100):
            await asyncio.sleep(0)
        return rows


async def test_concurrent_identical_reads_are_coalesced() -> None:
    shared, table = SingleFlight[int](), Table()

    counts = await asyncio.gather(*(shared.read(b"all", table.count) for _ in range(50)))

    assert counts == [0] * 50
    assert table.reads == 1


async def test_call_during_a_read_gets_the_result_of_the_next_one() -> None:
    shared, table = SingleFlight[int](), Table()
    first = asyncio.create_task(shared.read(b"all", table.count))
    while not table.reads:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0)
    table.rows = 1
    later = [asyncio.create_task(shared.read(b"all", table.count)) for _ in range(20)]

    assert await first == 0
    assert await asyncio.gather(*later) == [1] * 20
    assert table.reads == 2


async def test_different_reads_do_not_wait_for_each_other() -> None:
    shared, table = SingleFlight[int](), Table()

    async def never() -> int:
        await asyncio.Event().wait()
        return 0

    stuck = asyncio.create_task(shared.read(b"stuck", never))
    assert await shared.read(b"all", table.count) == 0
    stuck.cancel()


async def test_failure_is_raised_for_all_callers_and_the_next_read_is_new() -> None:
    shared, table = SingleFlight[int](), Table()

    async def fail() -> int:
        await asyncio.sleep(0.01)
        raise DatabaseUnavailable("the database is unavailable")

    failing = [asyncio.create_task(shared.read(b"all", fail)) for _ in range(3)]
    failed = await asyncio.gather(*failing, return_exceptions=True)

    assert [type(error) for error in failed] == [DatabaseUnavailable] * 3
    assert await shared.read(b"all", table.count) == 0


async def test_cancelled_caller_does_not_cancel_the_read() -> None:
    shared, table = SingleFlight[int](), Table()
    gone = asyncio.create_task(shared.read(b"all", table.count))
    stays = asyncio.create_task(shared.read(b"all", table.count))
    await asyncio.sleep(0)
    gone.cancel()

    assert await stays == 0
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert table.reads == 1


async def test_read_is_cancelled_once_when_its_last_caller_leaves() -> None:
    shared, cancelled = SingleFlight[int](), 0

    async def never() -> int:
        nonlocal cancelled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            await asyncio.sleep(0.01)  # as PostgreSQL takes to cancel a statement
            raise
        return 0

    callers = [asyncio.create_task(shared.read(b"all", never)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for caller in callers[:2]:
        caller.cancel()
    await asyncio.sleep(0.01)
    assert cancelled == 0
    callers[2].cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    table = Table()
    assert await shared.read(b"all", table.count) == 0
    assert cancelled == 1


async def test_abandoned_next_read_does_not_start_and_is_not_joined() -> None:
    shared, table = SingleFlight[int](), Table()
    first = asyncio.create_task(shared.read(b"all", table.count))
    await asyncio.sleep(0)
    gone = asyncio.create_task(shared.read(b"all", table.count))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)

    assert await shared.read(b"all", table.count) == 0
    assert await first == 0
    assert table.reads == 2


async def test_finished_reads_are_not_kept() -> None:
    shared, table = SingleFlight[int](), Table()
    for number in range(10):
        await asyncio.gather(*(shared.read(b"%d" % number, table.count) for _ in range(3)))

    assert not vars(shared)["_current"]
    assert not vars(shared)["_next"]
