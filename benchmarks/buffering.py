"""What the queue changes: searches acknowledged a second, and stored a second, against directly."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from uuid import UUID

from benchmarks.measuring import ROUNDS, Bench, NotHere, Row, progress, ratios
from benchmarks.recording import anew, answer_of
from demo import feed
from demo.papers import generate
from service.context import create_pools
from service.db.queued_records import QueuedRecordStore
from service.db.records import RecordStore
from service.models.records import Record
from service.queue.rabbitmq import RecordQueue
from service.queue.worker import Writer
from service.settings import Settings
from tests.support import broker

SEARCHES = 2000
CLIENTS = 16


def rates(bench: Bench) -> Iterator[Row]:
    """Both, with a RabbitMQ beside."""
    if not broker.is_there():
        raise NotHere("RabbitMQ is not installed")
    settings, found = bench.database("queue"), []
    with tempfile.TemporaryDirectory() as folder, broker.broker(Path(folder)) as node:
        for number in range(ROUNDS):
            progress(f"searches through the queue: round {number + 1} of {ROUNDS}")
            found.append(asyncio.run(_rates(settings, node.url)))
    directly, taken, stored = zip(*found, strict=True)
    yield Row(
        measure="searches of 10 known papers acknowledged a second by the queue,"
        f" {CLIENTS} at once",
        against="recorded directly",
        seen=ratios(taken, directly),
        detail=f"{median(taken):,.0f} against {median(directly):,.0f}",
    )
    yield Row(
        measure="the same stored a second by one writer",
        against="recorded directly",
        seen=ratios(stored, directly),
        detail=f"{median(stored):,.0f} against {median(directly):,.0f}",
    )


async def _rates(settings: Settings, url: str) -> tuple[float, float, float]:
    papers = generate(1000)
    answers = [answer_of(feed.render(papers[n : n + 10])) for n in range(0, len(papers), 10)]
    async with create_pools(settings) as connections, RecordQueue(url) as buffer:
        while not buffer.connected:  # noqa: ASYNC110 - once, and nobody else waits for it
            await asyncio.sleep(0.01)
        store = RecordStore(connections)
        await _record(store, answers, len(answers))  # they are known from now on
        directly = await _record(store, answers, SEARCHES)
        taken = await _record(QueuedRecordStore(connections, buffer), answers, SEARCHES)
        return directly, taken, await _drain(Writer(url, store), store)


async def _record(store: RecordStore, answers: list[Record], number: int) -> float:
    """Record so many searches; how many a second."""
    to_do = [anew(answers[n % len(answers)]) for n in range(number)]

    async def client() -> None:
        while to_do:
            await store.insert(to_do.pop())

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return number / (time.perf_counter() - began)


async def _drain(writer: Writer, store: RecordStore) -> float:
    """Store what waits; how many a second."""
    stored, store_some = 0, store.insert_batch

    async def counted(records: list[object]) -> set[UUID]:
        nonlocal stored
        refused = await store_some(records)  # type: ignore[arg-type]
        stored += len(records)
        if stored >= SEARCHES:
            writer.stop()
        return refused

    store.insert_batch = counted  # type: ignore[method-assign,assignment]
    began = time.perf_counter()
    await writer.run()
    return SEARCHES / (time.perf_counter() - began)
