"""Searches per second acknowledged by the queue and stored by a worker, against direct writes."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from uuid import UUID

from benchmarks.measuring import ROUNDS, Bench, NotAvailable, Row, compute_ratios, print_progress
from benchmarks.recording import copy_as_new_search, create_test_record
from demo import feed
from demo.papers import generate
from service.context import create_pools
from service.db.queued_records import QueuedRecordStore
from service.db.records import RecordStore
from service.models.records import Record
from service.queue.rabbitmq import RecordQueue
from service.queue.worker import QueueWorker
from service.settings import Settings
from tests.support import broker

SEARCHES = 2000
CLIENTS = 16


def measure_rates(bench: Bench) -> Iterator[Row]:
    """Measure direct writes, acknowledgements and a queue worker, with a RabbitMQ of its own."""
    if not broker.is_there():
        raise NotAvailable("RabbitMQ is not installed")
    settings, rates = bench.create_database("queue"), []
    with tempfile.TemporaryDirectory() as folder, broker.broker(Path(folder)) as node:
        for number in range(ROUNDS):
            print_progress(f"searches through the queue: round {number + 1} of {ROUNDS}")
            rates.append(asyncio.run(_measure_round(settings, node.url)))
    direct, acknowledged, stored = zip(*rates, strict=True)
    yield Row(
        measure="searches of 10 known papers per second acknowledged by the queue,"
        f" {CLIENTS} at once",
        against="written directly",
        seen=compute_ratios(acknowledged, direct),
        detail=f"{median(acknowledged):,.0f} against {median(direct):,.0f}",
    )
    yield Row(
        measure="the same, stored per second by one queue worker",
        against="written directly",
        seen=compute_ratios(stored, direct),
        detail=f"{median(stored):,.0f} against {median(direct):,.0f}",
    )


async def _measure_round(settings: Settings, url: str) -> tuple[float, float, float]:
    papers = generate(1000)
    records = [
        create_test_record(feed.render(papers[n : n + 10])) for n in range(0, len(papers), 10)
    ]
    async with create_pools(settings) as connections, RecordQueue(url) as buffer:
        while not buffer.connected:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        record_store = RecordStore(connections)
        await _record_searches(record_store, records, len(records))  # makes the papers known
        direct = await _record_searches(record_store, records, SEARCHES)
        buffered = QueuedRecordStore(connections, buffer)
        acknowledged = await _record_searches(buffered, records, SEARCHES)
        return (
            direct,
            acknowledged,
            await _drain_queue(QueueWorker(url, record_store), record_store),
        )


async def _record_searches(record_store: RecordStore, records: list[Record], count: int) -> float:
    """Record this number of searches and return the rate per second."""
    pending = [copy_as_new_search(records[n % len(records)]) for n in range(count)]

    async def record() -> None:
        while pending:
            await record_store.insert(pending.pop())

    started = time.perf_counter()
    await asyncio.gather(*(record() for _ in range(CLIENTS)))
    return count / (time.perf_counter() - started)


async def _drain_queue(worker: QueueWorker, record_store: RecordStore) -> float:
    """Store all searches in the queue and return the rate per second."""
    stored, insert_batch = 0, record_store.insert_batch

    async def store_and_count(batch: list[object]) -> set[UUID]:
        nonlocal stored
        rejected = await insert_batch(batch)  # type: ignore[arg-type]
        stored += len(batch)
        if stored >= SEARCHES:
            worker.stop()
        return rejected

    record_store.insert_batch = store_and_count  # type: ignore[method-assign,assignment]
    started = time.perf_counter()
    await worker.run()
    return SEARCHES / (time.perf_counter() - started)
