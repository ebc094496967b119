"""Acknowledged searches are stored exactly once and completely through the queue."""

import asyncio
import logging
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.cli.reconcile import run_reconcile
from service.context import LocalContext
from service.db import pool as connections_module
from service.db.pool import DatabasePools
from service.db.queued_records import QueuedRecordStore
from service.db.records import RecordStore, create_record
from service.errors import ConfigurationError, DatabaseUnavailable
from service.models.arxiv import ArxivResponse
from service.models.records import Record
from service.models.requests import ResultPayload, WriteQueryRequest, WriteResultsRequest
from service.queue import rabbitmq
from service.queue import worker as worker_module
from service.queue.rabbitmq import RecordQueue
from service.queue.worker import QueueWorker
from service.settings import Settings
from tests.conftest import Gateway, Serve, copied
from tests.db.test_records import COUNTS, answer, paper, response
from tests.support import broker as broker_module
from tests.support.broker import Broker
from tests.support.process import service
from tests.support.proxy import proxied

pytestmark = pytest.mark.skipif(not broker_module.is_there(), reason="RabbitMQ is not installed")

PARTIAL = (
    "select query_id from queries where num_entries"
    " <> (select count(*) from results where results.query_id = queries.query_id)"
)
encode = msgspec.json.encode


@pytest.fixture(scope="session")
def node() -> Iterator[Broker]:
    with (
        TemporaryDirectory(prefix="arxiv-gateway-") as folder,
        broker_module.broker(Path(folder)) as running,
    ):
        yield running


@pytest.fixture
async def broker(node: Broker) -> Broker:
    """The broker with empty queues."""
    await node.purge()
    return node


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rabbitmq, worker_module):
        monkeypatch.setattr(module, "RETRY_PAUSES", (0.05, 0.2))


async def until(condition: Callable[[], Any], limit: float = 60) -> None:
    end = monotonic() + limit
    while not condition():
        assert monotonic() < end
        await asyncio.sleep(0.02)


@asynccontextmanager
async def buffered(database: str, url: str) -> AsyncIterator[QueuedRecordStore]:
    async with DatabasePools(database) as connections, RecordQueue(url) as buffer:
        await until(lambda: buffer.connected)
        yield QueuedRecordStore(connections, buffer)


@asynccontextmanager
async def writing(connections: DatabasePools | str, url: str) -> AsyncIterator[QueueWorker]:
    """Run a queue worker."""
    if isinstance(connections, str):
        connections = DatabasePools(connections)
    async with connections:
        writer = QueueWorker(url, RecordStore(connections))
        work = asyncio.create_task(writer.run())
        try:
            yield writer
        finally:
            writer.stop()
            await work


def fetch_query_ids(db: psycopg.Connection) -> set[int]:
    return {query_id for (query_id,) in db.execute("select query_id from queries")}


def is_whole(db: psycopg.Connection, numbers: list[int], entries: int) -> bool:
    """Whether exactly these searches are stored, once and with all results."""
    return (
        len(set(numbers)) == len(numbers)
        and fetch_query_ids(db) == set(numbers)
        and db.execute(COUNTS).fetchone() == (len(numbers), len(numbers) * entries)
        and db.execute(PARTIAL).fetchall() == []
    )


async def record(store: RecordStore, entries: int = 3) -> Record:
    return msgspec.structs.replace(answer(entries), query_id=await store.take_query_id())


async def test_search_is_acknowledged_by_broker_and_stored_by_worker(
    gateway: Serve, broker: Broker, database: str, db: psycopg.Connection, arxiv: StandIn
) -> None:
    params = {"title": "testing", "include": "results"}
    async with gateway(queue_url=broker.url) as client:
        await connected(client)
        first = await client.get("/arxiv", params=params)
        again = await client.get("/arxiv", params=params)
        query_id = first.json()["query_id"]
        unseen = await client.get(f"/queries/{query_id}")
        assert fetch_query_ids(db) == set()
        recorded = time()
        await asyncio.sleep(1.1)
        async with writing(database, broker.url):
            await until(lambda: fetch_query_ids(db))
        seen = await client.get(f"/queries/{query_id}")

    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    assert len(arxiv.requests) == 1
    assert unseen.status_code == 404
    assert seen.json()["results"] == first.json()["results"]
    assert len(seen.json()["results"]) == 10
    assert is_whole(db, [query_id], 10)
    # its age is that of the response, not of the row
    acknowledged = db.execute(
        "select acknowledged <= %s, recorded > %s from queries", [recorded] * 2
    )
    assert acknowledged.fetchone() == (True, True)
    assert db.execute("select count(*) from papers").fetchone() == (10,)


async def connected(client: Gateway) -> None:
    end = monotonic() + 60
    while (await client.get("/health/ready")).json()["queue"] != "connected":
        assert monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.thorough
async def test_killed_workers_lose_and_duplicate_nothing(
    broker: Broker, database: str, db: psycopg.Connection
) -> None:
    url = make_conninfo(database, user="arxiv_rw")
    environment = {"ARXIV_DATABASE_URL": url, "ARXIV_QUEUE_URL": broker.url}
    command = ("service", "writer")
    async with buffered(database, broker.url) as store:
        numbers: list[int] = []

        async def search(count: int) -> None:
            for _ in range(count):
                numbers.append(await store.insert(answer(20)))
                await asyncio.sleep(0.01)

        load = asyncio.gather(*(search(150) for _ in range(4)))
        with ExitStack() as stack:
            *killed, last = [stack.enter_context(service(environment, command)) for _ in range(3)]
            for writer in killed:
                await until(lambda w=writer: "stored" in w.output)  # type: ignore[misc]
                await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - not a secret
                writer.end(signal.SIGKILL)
                assert db.execute(PARTIAL).fetchall() == []
            await load
            await until(lambda: len(fetch_query_ids(db)) == len(numbers))
            assert last.end(signal.SIGTERM) == 0

    assert len(numbers) == 600
    assert is_whole(db, numbers, 20)
    assert await broker.parked() == []
    assert broker.url not in last.output


async def test_redelivered_messages_change_nothing(
    broker: Broker, database: str, db: psycopg.Connection
) -> None:
    async with buffered(database, broker.url) as store:
        records = [await record(store) for _ in range(20)]
        for _ in range(2):
            await store.insert_batch(records)
        for one in [*records, *records]:
            await broker.publish(encode(one))
        new = await record(store)
        await broker.publish(encode(new))
        await broker.publish(encode(new))
        async with writing(database, broker.url):
            await until(lambda: len(fetch_query_ids(db)) == 21)

    assert is_whole(db, [one.query_id for one in [*records, new]], 3)
    assert await broker.parked() == []


async def test_rejected_messages_are_parked_and_the_rest_is_stored(
    broker: Broker, database: str, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with buffered(database, broker.url) as store:
        good = [await record(store) for _ in range(30)]
        with_nul = create_record(
            ArxivResponse(
                timestamp=1, status=200, num_results=1, query="q", entries=[paper(1, "NUL \0")]
            ),
            query_id=await store.take_query_id(),
        )
        taken = await record(store)
        await store.write_query(
            WriteQueryRequest(
                query_id=taken.query_id,
                timestamp=1,
                status=200,
                num_results=0,
                num_entries=0,
                query="an operator's",
            )
        )
        others = await record(store)
        await store.write_results(
            WriteResultsRequest(
                query_id=others.query_id,
                timestamp=1,
                results=[ResultPayload(authors=["A"], title="An operator's", journal=None)],
            )
        )
        short = msgspec.structs.replace(good[0], num_entries=2)
        absurd = msgspec.to_builtins(good[0]) | {"timestamp": 10**17}
        bad = [b"{}", b"\xff", encode(short), encode(absurd)]
        bad += [encode(with_nul), encode(taken), encode(others)]
        bodies = [encode(one) for one in good] + bad
        random.Random(1).shuffle(bodies)  # noqa: S311 - not a secret
        for body in bodies:
            await broker.publish(body)
        async with writing(database, broker.url):
            await until(lambda: len(fetch_query_ids(db)) == 31)
            await until(lambda: caplog.text.count("is parked") == 7)

    parked = {body: headers["x-reason"] for body, headers in await broker.parked()}
    assert set(parked) == set(bad)
    assert "cannot be read" in parked[b"{}"]
    assert "cannot be converted to text" in parked[encode(with_nul)]
    assert str(taken.query_id) in parked[encode(taken)]
    assert "unique" in parked[encode(others)]
    errors = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert len(errors) == 7
    assert db.execute("select count(*) from results").fetchone() == (91,)


async def test_message_that_crashes_workers_is_parked_by_broker(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"x-delivery-limit": 2}
    monkeypatch.setattr(rabbitmq, "QUEUE", "limited")
    monkeypatch.setattr(rabbitmq, "ARGUMENTS", rabbitmq.ARGUMENTS | limit)
    async with RecordQueue(broker.url) as buffer:
        await until(lambda: buffer.connected)
        await buffer.put(b"a killer")
    for _ in range(3):
        async with rabbitmq.consume(broker.url) as consumer:
            await consumer.fetch_batch(1, 1)

    end = monotonic() + 60
    while not (parked := await broker.parked()):
        assert monotonic() < end
    [(body, headers)] = parked
    assert body == b"a killer"
    assert headers["x-death"][0]["reason"] == "delivery_limit"


async def test_query_id_used_by_operator_is_skipped(broker: Broker, database: str) -> None:
    async with buffered(database, broker.url) as store:
        first = await store.insert(answer(1))
        await store.write_query(
            WriteQueryRequest(
                query_id=first + 1, timestamp=1, status=200, num_results=0, num_entries=0, query="q"
            )
        )
        assert await store.insert(answer(1)) == first + 2


@pytest.mark.thorough
async def test_broker_killed_under_load_loses_and_blocks_nothing(
    broker: Broker, database: str, db: psycopg.Connection
) -> None:
    numbers: list[int] = []
    slowest = 0.0
    ending = asyncio.Event()

    async def search(store: QueuedRecordStore) -> None:
        nonlocal slowest
        while not ending.is_set():
            began = monotonic()
            numbers.append(await store.insert(answer(5)))
            slowest = max(slowest, monotonic() - began)
            await asyncio.sleep(0.04)

    async with buffered(database, broker.url) as store, writing(database, broker.url):
        load = asyncio.gather(*(search(store) for _ in range(8)))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.kill)
        before = len(numbers)
        await until(lambda: len(numbers) > before)  # searches continue without the broker
        await asyncio.sleep(0.5)
        broker.start()
        await asyncio.to_thread(broker.wait)
        back = monotonic()
        await until(lambda: store._queue.connected)  # noqa: SLF001
        ending.set()
        await load
        await until(lambda: len(fetch_query_ids(db)) == len(numbers))
        recovery = monotonic() - back
        print(f"{len(numbers)} searches, slowest {slowest:.2f} s, recovery {recovery:.2f} s")  # noqa: T201

    assert slowest < rabbitmq.PUBLISH_TIMEOUT + 20
    assert is_whole(db, numbers, 5)


async def test_silent_broker_delays_only_one_search(
    broker: Broker, database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "BACKLOG_TIMEOUT", 0.2)
    async with buffered(database, broker.url) as store:
        numbers = [await store.insert(answer(2))]
        broker.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(0.1)  # until all of its threads have stopped
            began = monotonic()
            assert await store._queue.fetch_backlog() is None  # noqa: SLF001
            assert 0.2 <= monotonic() - began < 20
            began = monotonic()
            numbers.append(await store.insert(answer(2)))
            found_out = monotonic() - began
            numbers += [await store.insert(answer(2)) for _ in range(5)]
            rest = monotonic() - began - found_out
        finally:
            broker.send(signal.SIGCONT)
        assert len(fetch_query_ids(db)) == 6
        async with writing(database, broker.url):
            # the unconfirmed message may be in the queue as well
            await until(lambda: len(fetch_query_ids(db)) == 7)
            await until_empty(store)

    assert found_out >= rabbitmq.PUBLISH_TIMEOUT
    assert rest < 5 * rabbitmq.PUBLISH_TIMEOUT
    assert is_whole(db, numbers, 2)


async def test_write_with_unknown_outcome_is_not_queued(
    broker: Broker, database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RecordStore._insert  # noqa: SLF001

    async def save_and_lose_response(*sent: Any) -> int:
        await save(*sent)
        raise psycopg.OperationalError("consuming input failed: server closed the connection")

    response = answer(3)
    async with DatabasePools(database) as connections, RecordQueue(broker.url) as buffer:
        store = QueuedRecordStore(connections, buffer)
        monkeypatch.setattr(RecordStore, "_insert", save_and_lose_response)
        with pytest.raises(DatabaseUnavailable):  # not connected yet
            await store.insert(response)
        monkeypatch.setattr(RecordStore, "_insert", save)
        await until(lambda: buffer.connected)
        query_id = await store.insert(response)
        await until_empty(store)

    assert is_whole(db, [query_id], 3)


@pytest.mark.parametrize("separate", [False, True], ids=["one system", "separate results"])
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (3, 2)])
async def test_searches_with_same_query_id_keep_their_own_results(
    broker: Broker, server: str, template: str, sizes: tuple[int, int], *, separate: bool
) -> None:
    """As after a failover to a standby that has not received the last numbers."""
    with copied(server, template) as queries, ExitStack() as opened:
        results = opened.enter_context(copied(server, template)) if separate else queries
        async with buffered(queries, broker.url) as store:
            number = await store.take_query_id()
            for size in sizes:
                await broker.publish(encode(create_record(response(size), query_id=number)))
        async with writing(DatabasePools(queries, results_url=results), broker.url):
            with psycopg.connect(queries, autocommit=True) as db:
                await until(lambda: fetch_query_ids(db) == {number})
            async with asyncio.timeout(60):
                while not (parked := await broker.parked()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        with psycopg.connect(queries) as db, psycopg.connect(results) as other:
            [(entries, key)] = db.execute("select num_entries, write_key from queries").fetchall()
            assert other.execute("select count(*) from results").fetchone() == (entries,)
        [(body, headers)] = parked
        assert msgspec.json.decode(body)["write_key"] != str(key)
        assert "x-reason" in headers


async def test_queued_record_is_new_to_readers_and_old_to_cache(
    gateway: Serve, broker: Broker, database: str, db: psycopg.Connection
) -> None:
    async with buffered(database, broker.url) as store:
        late = msgspec.structs.replace(
            await record(store),
            acknowledged=int(time()) - 90,
            timestamp=int(time()) - 90,
            search_key=uuid4(),
        )
        await broker.publish(encode(late))
        async with writing(database, broker.url):
            await until(lambda: fetch_query_ids(db))
        assert late.search_key
        found = await store.find_latest(late.search_key)
    async with gateway(settle=30) as client:
        seen = await client.get("/queries?format=json&page=0")
        one = await client.get(f"/queries/{late.query_id}")

    assert found is not None
    assert found.recorded_at == late.acknowledged
    assert (seen.json(), one.status_code) == ([], 404)


async def test_database_failure_parks_nothing(
    broker: Broker, database: str, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute(
        "create function fail() returns trigger language plpgsql as"
        " $$ begin raise 'a page is broken' using errcode = 'XX001'; end $$"
    )
    db.execute("create trigger fail before insert on queries for each row execute function fail()")
    async with buffered(database, broker.url) as store:
        waiting = [await record(store) for _ in range(3)]
        for one in waiting:
            await broker.publish(encode(one))
        async with writing(database, broker.url):
            await until(lambda: "a page is broken" in caplog.text)
            db.execute("drop trigger fail on queries")
            await until(lambda: len(fetch_query_ids(db)) == 3)

    assert is_whole(db, [one.query_id for one in waiting], 3)
    assert await broker.parked() == []


async def test_reconcile_waits_for_queued_searches(
    broker: Broker,
    database: str,
    settings: Callable[..., Settings],
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with buffered(database, broker.url) as store:
        await store.insert(answer(1))
        with pytest.raises(SystemExit, match="nothing is repaired: 1 searches are waiting"):
            await run_reconcile(settings(queue_url=broker.url), repair=True, grace=0)
        await broker.purge()
        await run_reconcile(settings(queue_url=broker.url), repair=True, grace=0)
    assert capsys.readouterr().out == "0 mismatches, 0 repaired\n"


async def until_empty(store: QueuedRecordStore) -> None:
    end = monotonic() + 60
    while (backlog := await store._queue.fetch_backlog()) is None or backlog.waiting:  # noqa: SLF001
        assert monotonic() < end
        await asyncio.sleep(0.05)


async def test_without_a_broker_searches_are_written_directly(
    gateway: Serve, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    unreachable = "amqp://me:secret-word@127.0.0.1:9/"
    async with gateway(queue_url=unreachable) as client:
        response = await client.get("/arxiv", params={"title": "testing", "include": "results"})
        health = await client.get("/health/ready")
        metrics = await client.get("/metrics")

    assert response.status_code == 200
    assert is_whole(db, [response.json()["query_id"]], 10)
    assert health.json().items() >= {"status": "ready", "queue": "away"}.items()
    assert "arxiv_gateway_queue_connected 0.0" in metrics.text
    assert "arxiv_gateway_queue_waiting" not in metrics.text
    assert caplog.text.count("no connection to the queue") == 1
    assert "secret-word" not in caplog.text


async def test_full_queue_is_bypassed(
    broker: Broker, database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # operators set the limit with a policy
    monkeypatch.setattr(rabbitmq, "QUEUE", "bounded")
    monkeypatch.setattr(rabbitmq, "ARGUMENTS", rabbitmq.ARGUMENTS | {"x-max-length": 2})
    async with buffered(database, broker.url) as store:
        numbers = [await store.insert(answer(1)) for _ in range(20)]
        directly = fetch_query_ids(db)
        assert store._queue.connected  # noqa: SLF001
        async with writing(database, broker.url):
            await until(lambda: len(fetch_query_ids(db)) == 20)

    assert 0 < len(directly) < 20
    assert is_whole(db, numbers, 1)


async def test_worker_survives_unavailable_database(
    broker: Broker,
    server: str,
    database: str,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = db.info.dbname
    async with buffered(database, broker.url) as store, writing(database, broker.url):
        numbers = [await store.insert(answer(3))]
        await until(lambda: fetch_query_ids(db))
        more = [await record(store) for _ in range(20)]
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"alter database {name} with allow_connections false".encode())
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = %s and pid <> %s",
                [name, db.info.backend_pid],
            )
            for one in more:
                await broker.publish(encode(one))
            await until(lambda: "could not store searches" in caplog.text)
            admin.execute(f"alter database {name} with allow_connections true".encode())
        await until(lambda: len(fetch_query_ids(db)) == 21)

    assert is_whole(db, numbers + [one.query_id for one in more], 3)


async def test_many_searches_are_stored_in_one_round_trip(
    database: str, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "POOL_SIZE", 1)
    async with proxied(database) as (proxy, url), DatabasePools(url) as connections:
        store = RecordStore(connections)
        first, *records = [await record(store, 10) for _ in range(101)]
        await store.insert_batch([first])
        proxy.reset()
        refused = await store.insert_batch(records)

        assert (proxy.trips, proxy.answers) == (1, 1)
    assert refused == set()
    assert is_whole(db, [one.query_id for one in [first, *records]], 10)


async def test_paper_in_several_records_keeps_latest_description(
    database: str, db: psycopg.Connection
) -> None:
    async with DatabasePools(database) as connections:
        store = RecordStore(connections)
        records = [
            create_record(
                msgspec.structs.replace(response(0), timestamp=moment, entries=[paper(1, title)]),
                query_id=id_,
            )
            for id_, moment, title in [(1, 20, "Middle"), (2, 30, "Last"), (3, 10, "First")]
        ]
        await store.insert_batch(records)

    papers = db.execute("select title, timestamp, first_timestamp from papers").fetchall()
    assert papers == [("Last 1", 30, 10)]


async def test_concurrent_workers_share_the_work(
    broker: Broker, database: str, db: psycopg.Connection
) -> None:
    async with buffered(database, broker.url) as store:
        numbers = await asyncio.gather(*(store.insert(answer(10)) for _ in range(300)))
    async with writing(database, broker.url), writing(database, broker.url):
        await until(lambda: len(fetch_query_ids(db)) == 300)

    assert is_whole(db, numbers, 10)
    assert await broker.parked() == []


async def test_backlog_is_in_metrics(
    gateway: Serve, broker: Broker, database: str, db: psycopg.Connection
) -> None:
    async with gateway(queue_url=broker.url) as client, buffered(database, broker.url) as store:
        await connected(client)
        for _ in range(5):
            await store.insert(answer(1))
        await broker_shows(client, "arxiv_gateway_queue_waiting 5.0")
        text = (await client.get("/metrics")).text
        assert "arxiv_gateway_queue_connected 1.0" in text
        assert "arxiv_gateway_queue_writers 0.0" in text
        assert "arxiv_gateway_queue_parked 0.0" in text
        async with writing(database, broker.url):
            await until(lambda: len(fetch_query_ids(db)) == 5)
            await broker_shows(client, "arxiv_gateway_queue_waiting 0.0")
            await broker_shows(client, "arxiv_gateway_queue_writers 1.0")
    async with gateway() as client:
        assert "arxiv_gateway_queue" not in (await client.get("/metrics")).text


async def broker_shows(client: Gateway, line: str) -> None:
    end = monotonic() + 60
    while line not in (await client.get("/metrics")).text:
        assert monotonic() < end
        await asyncio.sleep(0.1)


async def test_harvest_is_not_queued(broker: Broker, database: str, db: psycopg.Connection) -> None:
    async with buffered(database, broker.url) as store:
        await store.start_harvest("cat:cs.SE", 0, 1)
        harvest = await store.find_harvest("cat:cs.SE")
        assert harvest
        query_id = await store.insert(answer(4), msgspec.structs.replace(harvest, page=1))

    assert is_whole(db, [query_id], 4)


async def test_worker_stores_results_first_on_separate_systems(
    broker: Broker, server: str, template: str
) -> None:
    with copied(server, template) as queries, copied(server, template) as results:
        connections = DatabasePools(queries, results_url=results)
        async with connections:
            store = RecordStore(connections)
            whole = [await record(store) for _ in range(10)]
            # a killed worker has stored only the results of some records, and others completely
            await store._insert_results_batch(whole[:2])  # noqa: SLF001
            await store.insert_batch(whole[2:4])
            others = await record(store)
            await store.write_results(
                WriteResultsRequest(
                    query_id=others.query_id,
                    timestamp=1,
                    results=[ResultPayload(authors=["A"], title="An operator's", journal=None)],
                )
            )
        async with buffered(queries, broker.url) as one:
            await one.insert(answer(0))  # creates the queue
        for each in [*whole, others]:
            await broker.publish(encode(each))
        with psycopg.connect(queries, autocommit=True) as db:
            separate = DatabasePools(queries, results_url=results)
            async with writing(separate, broker.url):
                await until(lambda: len(fetch_query_ids(db)) == 11)
            found = fetch_query_ids(db)
        with psycopg.connect(results) as other:
            counts = dict[int, int](
                other.execute("select query_id, count(*) from results group by 1").fetchall()
            )

    assert {one.query_id for one in whole} <= found
    assert others.query_id not in found
    assert counts == {one.query_id: 3 for one in whole} | {others.query_id: 1}
    [(body, _)] = await broker.parked()
    assert body == encode(others)


async def test_queued_results_of_other_process_are_reported(
    gateway: Serve, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.search.QUEUE_TIMEOUT", 0.2)
    params = {"title": "testing", "include": "results"}
    async with gateway() as client:
        await client.get("/arxiv", params=params)
        db.execute("alter table results rename to hidden")
        db.execute("create view results as select * from hidden where false")
        db.execute("grant select on results to arxiv_rw")
        response = await client.get("/arxiv", params=params)

    assert response.status_code == 503
    assert "still in the queue" in response.json()["detail"]


async def test_feed_is_the_same_from_the_queue_and_from_postgresql(
    gateway: Serve, broker: Broker, database: str, db: psycopg.Connection, arxiv: StandIn
) -> None:
    path = "/api/query?search_query=all:testing&max_results=50"
    async with gateway(queue_url=broker.url) as client:
        await connected(client)
        queued = await client.get(path)
        assert fetch_query_ids(db) == set()
        async with writing(database, broker.url):
            await until(lambda: fetch_query_ids(db))
    async with gateway() as client:
        stored = await client.get(path)

    assert queued.status_code == stored.status_code == 200
    assert queued.text.count("<entry>") == 50
    assert stored.content == queued.content
    assert len(arxiv.requests) == 1


async def test_feed_of_results_still_in_the_queue_of_another_process_is_reported(
    gateway: Serve, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the backend that recorded a search is not the one that is asked for its entries."""
    monkeypatch.setattr("service.search.QUEUE_TIMEOUT", 0.2)
    path = "/api/query?search_query=ti:testing"
    async with gateway() as client:
        await client.get(path)
    db.execute("delete from results")
    async with gateway() as client:
        response = await client.get(path)

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.headers["content-type"].startswith("application/atom+xml")
    assert "still in the queue" in response.text


def test_missing_queue_extra_is_reported(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("service.queue.rabbitmq", "service.db.queued_records"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiormq", None)
    with pytest.raises(ConfigurationError, match="the extra `queue` is not installed"):
        LocalContext(settings(queue_url="amqp://mq/"))


def test_only_one_module_imports_aiormq() -> None:
    folder = Path(str(rabbitmq.__file__)).parent
    users = [path.name for path in folder.rglob("*.py") if "aiormq" in path.read_text()]
    assert users == ["rabbitmq.py"]
