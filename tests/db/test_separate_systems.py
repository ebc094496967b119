"""Queries, results and sequence on separate PostgreSQL systems, with crashes and failovers."""

import asyncio
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from msgspec import structs
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from demo.papers import generate
from service.app import create_app
from service.cli.database import migrate_databases
from service.cli.reconcile import run_reconcile as run_reconcile_command
from service.context import LocalContext
from service.db import pool as pool_module
from service.db import reconcile as reconcile_module
from service.db.pool import DatabasePools
from service.db.reader import RecordReader
from service.db.reconcile import Reconciler
from service.db.records import RecordStore
from service.errors import ConfigurationError, DatabaseUnavailable, RecordRejected
from service.harvest import Harvester
from service.models.requests import WriteQueryRequest, WriteResultsRequest
from service.settings import Settings
from tests.conftest import Serve, copied
from tests.db.test_records import Unadaptable, answer
from tests.support.process import ROOT
from tests.support.proxy import proxied
from tests.support.replica import Replica, copy_of
from tests.support.results import fetch_keys, insert_results, select_keys

logger = logging.getLogger(__name__)
Settle = Callable[..., Settings]


class Systems:
    """A database for each of the three systems."""

    def __init__(self, queries: str, results: str, sequence: str) -> None:
        self.queries, self.results, self.sequence = queries, results, sequence

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "database_url": make_conninfo(self.queries, user="arxiv_rw"),
            "database_ro_url": make_conninfo(self.queries, user="arxiv_ro"),
            "results_database_url": make_conninfo(self.results, user="arxiv_rw"),
            "results_database_ro_url": make_conninfo(self.results, user="arxiv_ro"),
            "sequence_database_url": make_conninfo(self.sequence, user="arxiv_sequence"),
        }

    def connections(self) -> DatabasePools:
        return DatabasePools(self.queries, results_url=self.results, sequence_url=self.sequence)

    @asynccontextmanager
    async def open_store(self) -> AsyncIterator[RecordStore]:
        async with self.connections() as connections:
            yield RecordStore(connections)

    def counts(self) -> tuple[int, int, int, int]:
        """Numbers of runs, runs with missing results, results, and query_ids without a run."""
        runs = dict(rows(self.queries, "select query_id, num_entries from queries"))
        stored = dict(rows(self.results, "select query_id, count(*) from results group by 1"))
        partial = sum(stored.get(query_id, 0) != count for query_id, count in runs.items())
        orphans = sum(query_id not in runs for query_id in stored)
        return len(runs), partial, sum(stored.values()), orphans


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode()).fetchall()


@pytest.fixture
def systems(server: str, template: str) -> Iterator[Systems]:
    with ExitStack() as stack:
        yield Systems(*(stack.enter_context(copied(server, template)) for _ in range(3)))


def search(query_id: int, entries: int = 0) -> WriteQueryRequest:
    return WriteQueryRequest(
        query_id=query_id,
        timestamp=1_700_000_000,
        status=200,
        num_results=entries,
        num_entries=entries,
        query="search_query=x",
    )


def results(query_id: int, *titles: str) -> WriteResultsRequest:
    payloads = [{"authors": ["A"], "title": title} for title in titles]
    body = {"query_id": query_id, "timestamp": 1_700_000_000, "results": payloads}
    return msgspec.convert(body, WriteResultsRequest)


# The service on three databases


async def run_requests(client: httpx.AsyncClient) -> list[Any]:
    """The responses to a series of requests, without what depends on the time."""
    no_cache = {"cache-control": "no-cache"}
    responses = [
        await client.get("/get-sequence"),
        await client.get("/arxiv?title=testing&max_results=5"),
        await client.get("/arxiv?title=testing&max_results=5"),
        await client.get("/arxiv?title=testing&max_results=5", headers=no_cache),
        await client.get("/arxiv?author=li&max_results=3&include=results"),
        await client.get("/arxiv?title=nothinglikethis"),
        await client.post(
            "/write-results",
            json={
                "query_id": 1,
                "timestamp": 1_700_000_000,
                "results": [{"authors": "A, B", "title": "T", "arxiv_id": "2611.00001"}],
            },
        ),
        await client.post("/write-queries", json=structs.asdict(search(1, 1))),
        await client.post("/write-queries", json=structs.asdict(search(1, 2))),
    ]
    paths = [
        *("/queries", "/results", "/results?category=cs.*", "/papers", "/papers?q=testing"),
        *("/queries/1", "/queries/2", "/queries/3/changes", "/queries/3/feed", "/queries/1/feed"),
        *("/results?format=bibtex", "/read-results", "/read-queries", "/queries/99"),
        *("/papers/2611.00001", "/queries?format=atom", "/results?order=newest&title=t"),
        *("/papers?author=li", "/papers?order=oldest", "/papers?format=ndjson"),
        "/api/query?search_query=ti:%22testing%22&max_results=5",
        *("/api/query?search_query=au:li", "/api/query?search_query=ti:x&max_results=0"),
    ]
    responses += [await client.get(path) for path in paths]
    return [(response.status_code, re.sub(VARIABLE, "", response.text)) for response in responses]


def revoke(url: str, tables: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(f"revoke all on {tables} from arxiv_rw, arxiv_ro".encode())


VARIABLE = re.compile(
    r'\d{4}-\d\d-\d\dT[\d:]+|"timestamp":\d+|"request_id":"\w+"|[&?]after=[\w-]+|urn:uuid:[\w-]+'
)


@pytest.mark.usefixtures("arxiv")
async def test_three_systems_give_the_same_responses_as_one(
    gateway: Serve, systems: Systems, database: str
) -> None:
    async with gateway() as client:
        expected = await run_requests(client)
    # a system rejects statements on tables of another one
    revoke(systems.queries, "results, papers")
    revoke(systems.results, "queries, harvests, gate, gate_queue")
    revoke(systems.sequence, "queries, harvests, gate, gate_queue, results, papers")
    async with gateway(**systems.settings) as client:
        assert await run_requests(client) == expected
        assert (await client.get("/health/ready")).status_code == 200

    assert {status for status, _ in expected} == {200, 201, 400, 404, 409}
    tables = ("queries", "results", "papers")
    counts = "select " + ", ".join(f"(select count(*) from {table})" for table in tables)
    [[queries, found, papers]] = rows(database, counts)
    assert rows(systems.queries, counts) == [(queries, 0, 0)]
    assert rows(systems.results, counts) == [(0, found, papers)]
    assert rows(systems.sequence, counts) == [(0, 0, 0)]
    used = "select is_called from arxiv_sequence"
    assert [rows(url, used) for url in (systems.queries, systems.results, systems.sequence)] == [
        [(False,)],
        [(False,)],
        [(True,)],
    ]


async def test_harvest_resumes_on_three_systems(settings: Settle, systems: Systems) -> None:
    stand_in = httpx.ASGITransport(StandIn(generate(300)))

    async def harvest(most: int) -> list[int]:
        async with LocalContext(settings(**systems.settings), stand_in) as context:
            harvester = Harvester("cat:cs.SE", most, context.search_service, context.records)
            return [progress.stored async for progress in harvester.run()]

    assert (await harvest(5))[-1] == 5
    assert (await harvest(9))[0] == 5
    assert systems.counts() == (2, 0, 9, 0)


async def test_write_takes_one_round_trip_per_system_and_one_to_check_the_query_id(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "POOL_SIZE", 1)
    async with (
        proxied(systems.queries) as (queries, queries_url),
        proxied(systems.results) as (found, results_url),
        proxied(systems.sequence) as (sequence, sequence_url),
        Systems(queries_url, results_url, sequence_url).open_store() as store,
    ):
        await store.insert(answer(1))
        for proxy in (queries, found, sequence):
            proxy.reset()
        await store.insert(answer(2000))

        assert [queries.trips, found.trips, sequence.trips] == [2, 1, 1]


async def test_query_ids_used_by_operators_are_skipped(systems: Systems) -> None:
    async with systems.open_store() as store:
        await store.write_query(search(1))
        await store.write_results(results(2, "theirs"))
        await store.write_results(results(3, "theirs", "theirs"))

        assert await store.insert(answer(2)) == 4
    assert systems.counts() == (2, 0, 5, 2)


async def test_write_of_another_process_is_not_repeated(systems: Systems) -> None:
    async with systems.open_store() as store, systems.open_store() as other:
        response = answer(3)
        assert await other.insert(response) == await store.insert(response) == 1
    assert systems.counts() == (1, 0, 3, 0)


async def test_write_repeated_after_its_repair_gets_another_query_id(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> int:
        raise DatabaseUnavailable("the database is unavailable")

    async with systems.connections() as connections:
        store, reconciler = RecordStore(connections), Reconciler(connections)
        response = answer(3)
        monkeypatch.setattr(store, "_insert_query", fail)
        with pytest.raises(DatabaseUnavailable):
            await store.insert(response)
        monkeypatch.undo()
        assert await reconciler.repair(await reconciler.find_mismatches()) == 1

        assert await store.insert(response) == 2
    assert systems.counts() == (2, 0, 6, 0)


async def test_error_between_the_systems_leaves_no_search_without_its_results(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with systems.open_store() as store:
        monkeypatch.setattr("service.db.records._encode", lambda _: Unadaptable())
        with pytest.raises(psycopg.ProgrammingError):
            await store.insert(answer(3))
        monkeypatch.undo()
        assert systems.counts() == (0, 0, 0, 0)
        invalid = structs.replace(answer(3), query="NUL \0")
        with pytest.raises(RecordRejected):
            await store.insert(invalid)
    assert systems.counts() == (0, 0, 3, 1)


@pytest.mark.parametrize("behind", ["queries", "results"])
@pytest.mark.parametrize("sent", [None, 0, 100, 300, 600, 60_000])
async def test_connection_cut_during_a_write_loses_nothing(
    systems: Systems, behind: str, sent: int | None
) -> None:
    async with proxied(getattr(systems, behind)) as (proxy, url):
        changed_systems = Systems(systems.queries, systems.results, systems.sequence)
        setattr(changed_systems, behind, url)
        async with changed_systems.open_store() as store:
            await store.insert(answer(1))
            if sent is None:
                proxy.cut_before_answer = True
            else:
                proxy.cut_after = sent
            response = answer(500, "cut")
            try:
                query_id = await store.insert(response)
            except DatabaseUnavailable:  # the search service repeats the write too
                query_id = await store.insert(response)

    assert rows(systems.queries, "select query_id from queries where query = 'cut'") == [
        (query_id,)
    ]
    assert systems.counts() == (2, 0, 501, 0)


# Crashes

KILLED_WRITES = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from service.db.pool import DatabasePools
from service.db.records import RecordStore
from tests.db.test_records import answer

original_writer = DatabasePools.writer
step = last = 0

def count_step():
    global step
    step += 1
    if step == last:
        os.kill(os.getpid(), 9)

@asynccontextmanager
async def writer(self, system="queries"):
    count_step()
    async with original_writer(self, system) as conn:
        yield conn
    count_step()

async def save(urls):
    async with DatabasePools(urls[0], results_url=urls[1], sequence_url=urls[2]) as connections:
        print(await RecordStore(connections).insert(answer(5, f"{last}")), flush=True)

DatabasePools.writer = writer
for last in range(1, 10):
    if not (child := os.fork()):
        asyncio.run(save(sys.argv[1:]))
        os._exit(0)
    os.waitpid(child, 0)
"""


async def run_reconcile(systems: Systems, *, repair: bool = False) -> tuple[int, list[str]]:
    """The exit status and the output of `reconcile`."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        try:
            await run_reconcile_command(Settings(**systems.settings), repair=repair, grace=0)
        except SystemExit as error:
            return int(error.code or 0), printed.getvalue().splitlines()
    return 0, printed.getvalue().splitlines()


async def test_process_killed_at_any_step_of_a_write_leaves_repairable_records(
    systems: Systems,
) -> None:
    process = subprocess.run(  # noqa: ASYNC221 - nothing runs concurrently
        [sys.executable, "-c", KILLED_WRITES, systems.queries, systems.results, systems.sequence],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(process.stdout.splitlines()) == 1, process.stderr  # the ninth was not killed
    # two were killed between results and run, one after the run, one never
    assert systems.counts() == (2, 0, 20, 2)
    status, printed = await run_reconcile(systems)
    assert (status, printed[-1]) == (3, "2 mismatches, 0 repaired")
    assert "".join(printed).count("without their search") == 2
    assert systems.counts() == (2, 0, 20, 2)
    assert (await run_reconcile(systems, repair=True))[0] == 0
    repeated = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "service", "reconcile", "--repair"],
        cwd=ROOT,
        env=os.environ | {f"ARXIV_{name.upper()}": url for name, url in systems.settings.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert repeated.stdout == "0 mismatches, 0 repaired\n"
    assert systems.counts() == (4, 0, 20, 0)
    assert rows(
        systems.queries, "select outcome, num_results, query from queries order by 1, 3"
    ) == [
        *[("interrupted", 5, "")] * 2,
        *[("ok", 5, last) for last in "89"],
    ]


async def test_other_mismatches_are_reported_and_not_repaired(systems: Systems) -> None:
    async with systems.open_store() as store:
        await store.insert(answer(3))
        await store.write_query(search(7, 2))
        await store.write_query(search(8, 1))
        await store.write_results(results(8, "one", "two"))
        await store.write_results(results(9, "one"))
    status, printed = await run_reconcile(systems, repair=True)

    assert status == 3
    assert [re.split(" {2,}", line.strip()) for line in printed[1:-1]] == [
        ["7", "0", "2", "WRONG: a search without its results; investigate"],
        ["8", "2", "1", "WRONG: the search has another number of results; investigate"],
        ["9", "1", "?", "without their search, as after a crash: use --repair"],
    ]
    assert systems.counts() == (4, 2, 6, 0)


async def test_run_recorded_before_its_repair_stays_unchanged(systems: Systems) -> None:
    async with systems.connections() as connections:
        store, reconciler = RecordStore(connections), Reconciler(connections)
        await store.write_results(results(5, "one"))
        mismatches = await reconciler.find_mismatches()
        await store.write_query(search(5, 1))

        assert await reconciler.repair(mismatches) == 0
        assert await reconciler.find_mismatches() == []
    assert rows(systems.queries, "select outcome from queries") == [("ok",)]


async def test_concurrent_repairs_and_writes_record_each_run_once(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 7)
    async with systems.connections() as connections:
        store, reconciler = RecordStore(connections), Reconciler(connections)
        for number in range(1001, 1041):
            await store.write_results(results(number, "one"))
        mismatches = await reconciler.find_mismatches()
        repaired = await asyncio.gather(
            *(reconciler.repair(mismatches) for _ in range(3)),
            *(store.insert(answer(2)) for _ in range(20)),
        )

        assert sum(repaired[:3]) == len(mismatches) == 40
        assert await reconciler.find_mismatches() == []
    assert systems.counts() == (60, 0, 80, 0)


async def test_runs_are_compared_in_batches(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_module, "BATCH", 3)
    async with systems.connections() as connections:
        store, reconciler = RecordStore(connections), Reconciler(connections)
        for number in range(1, 30):
            if number % 3:
                await store.write_results(results(number, "one"))
            if number % 5:
                await store.write_query(search(number, int(number % 3 > 0)))

        assert [each.query_id for each in await reconciler.find_mismatches()] == [5, 10, 20, 25]


# Deep pages


async def test_deep_pages_are_read_from_the_system_of_the_results(systems: Systems) -> None:
    with psycopg.connect(systems.results, autocommit=True) as db:
        insert_results(db, 20)
        async with systems.connections() as pools:
            reader = RecordReader(pools)
            for offset in range(0, 90, 9):
                assert await fetch_keys(reader, offset) == select_keys(db, offset)


# Starting


READING = {"database_url": None, "endpoints": "queries,results,papers,read-queries,read-results"}


async def test_reading_instance_needs_only_the_read_url(gateway: Serve, database: str) -> None:
    async with DatabasePools(database) as connections:
        await RecordStore(connections).insert(answer(3))
    async with gateway(**READING) as client:
        assert len((await client.get("/queries")).json()) == 1
        assert len((await client.get("/results")).json()) == 3
        assert len((await client.get("/queries/1")).json()["results"]) == 3
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/arxiv?title=x")).status_code == 404


@pytest.mark.parametrize("endpoints", ["all", "queries,arxiv", "write-results"])
def test_writing_endpoints_need_the_write_url(settings: Settle, endpoints: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ARXIV_DATABASE_URL is not set, but .* do more"):
        create_app(settings(database_url=None, endpoints=endpoints))


def test_program_reports_the_missing_write_url(database: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=os.environ | {"ARXIV_DATABASE_RO_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("python -m service: ARXIV_DATABASE_URL is not set, but ")


async def test_readiness_names_the_system_without_migrations(
    gateway: Serve, systems: Systems, server: str
) -> None:
    changes = systems.settings | {"sequence_database_url": server}
    async with gateway(**changes) as client:
        response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["detail"] == "sequence: the database is not migrated: run the migrations"


def test_every_system_is_migrated(systems: Systems, capfd: pytest.CaptureFixture[str]) -> None:
    for url in (systems.results, systems.sequence):
        with psycopg.connect(url) as conn:
            conn.execute("drop index results_words")
            conn.execute("delete from migrations where name = '0010_reading'")
    settings = Settings(
        database_url=systems.queries,
        results_database_url=systems.results,
        sequence_database_url=systems.sequence,
    )
    migrate_databases(settings)

    lines = re.findall(r"NOTICE service\.cli\.common \[-\] (.*)", capfd.readouterr().out)
    assert lines == [
        "the database is up to date",
        *("applied migration 0010_reading", "the database of the results is up to date"),
        *("applied migration 0010_reading", "the database of the sequence is up to date"),
    ]
    with pytest.raises(ConfigurationError, match="ARXIV_DATABASE_URL is not set"):
        migrate_databases(Settings(database_ro_url=systems.queries))


# Standbys


@pytest.fixture(scope="module")
def pair_origin(server: str, template: str) -> Iterator[str]:
    with copied(server, template) as url:
        yield url


@pytest.fixture
def pair(pair_origin: str, quick_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """A primary and a synchronous standby."""
    with (
        TemporaryDirectory(prefix="pair-", dir=quick_path) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o711)
        primary = stack.enter_context(copy_of(pair_origin, folder / "one"))
        standby = stack.enter_context(copy_of(primary.url, folder / "two", "-R"))
        standby.follows(primary)
        yield primary, standby


async def test_read_only_connection_is_not_reused(database: str, db: psycopg.Connection) -> None:
    setting = f"database {db.info.dbname} set default_transaction_read_only"
    db.execute(f"alter {setting} = on".encode())
    async with DatabasePools(database) as connections:
        store = RecordStore(connections)
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await store.insert(answer(1))
        db.execute("set default_transaction_read_only = off")
        db.execute(f"alter {setting} = off".encode())

        with suppress(DatabaseUnavailable):  # another read-only connection may be open
            await store.insert(answer(1))
        assert await store.insert(answer(1)) > 0


def url_of_both(primary: Replica, standby: Replica, **options: str) -> str:
    """A URL with both hosts."""
    hosts = ",".join(str(server.folder) for server in (primary, standby))
    return make_conninfo(primary.url, host=hosts, port="5432,5432", **options)


async def test_lagging_standby_shows_no_search_without_its_results(
    gateway: Serve, database: str, pair: tuple[Replica, Replica]
) -> None:
    primary, standby = pair
    standby.run("alter system set recovery_min_apply_delay = '500ms'")
    standby.run("select pg_reload_conf()")
    reading = READING | {"database_ro_url": database, "results_database_ro_url": standby.url}
    result_counts: dict[int, int] = {}
    statuses: list[int] = []
    async with (
        DatabasePools(database, results_url=primary.url) as connections,
        gateway(**reading) as immediate,
        gateway(**reading, settle=4) as delayed,
    ):
        store = RecordStore(connections)
        end = monotonic() + 60
        while len(result_counts) <= 5 or len(statuses) < 20:
            assert monotonic() < end
            waited = 100 * (len(statuses) % 2)  # every other run is recorded late
            new = await store.insert(structs.replace(answer(3), timestamp=int(time()) - waited))
            single = await immediate.get(f"/queries/{new}")
            statuses.append(single.status_code)
            assert single.status_code == 503 or len(single.json()["results"]) == 3
            for row in (await delayed.get("/queries")).json():
                found = await delayed.get(f"/results?query_id={row['query_id']}")
                result_counts[row["query_id"]] = len(found.json())
            await asyncio.sleep(0.05)

    assert 503 in statuses
    assert set(result_counts.values()) == {3}


@pytest.mark.usefixtures("arxiv")
async def test_feed_comes_from_the_primary_while_the_standby_lags(
    gateway: Serve, pair: tuple[Replica, Replica]
) -> None:
    primary, standby = pair
    standby.run("alter system set recovery_min_apply_delay = '1min'")
    standby.run("select pg_reload_conf()")
    urls = {"database_url": primary.url, "database_ro_url": standby.url}
    path = "/api/query?search_query=ti:testing"
    async with gateway(**urls) as client:
        first = await client.get(path)
        listed = await client.get("/results")
    async with gateway(**urls) as client:
        cached = await client.get(path)

    assert listed.json() == []
    assert first.text.count("<entry>") == 10
    assert cached.content == first.content
    assert "; hit; " in cached.headers["cache-status"]


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize("replicated", ["all", "results"])
async def test_failover_loses_no_acknowledged_search(
    gateway: Serve, database: str, pair: tuple[Replica, Replica], replicated: str
) -> None:
    primary, standby = pair
    urls = {
        "url": url_of_both(primary, standby, target_session_attrs="read-write", user="arxiv_rw"),
        "ro_url": url_of_both(
            primary, standby, target_session_attrs="prefer-standby", user="arxiv_ro"
        ),
    }
    changes = {f"database_{name}": url for name, url in urls.items()}
    if replicated == "results":
        changes = {f"results_{name}": url for name, url in changes.items()}
    acknowledged: list[tuple[float, int]] = []
    ended = asyncio.Event()

    async def send_searches(client: httpx.AsyncClient, max_results: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            found = await client.get(
                f"/arxiv?title=testing&start={number}&max_results={max_results}"
            )
            if found.status_code == 200:
                acknowledged.append((monotonic(), found.json()["query_id"]))
            await asyncio.sleep(0.01)

    async with gateway(**changes) as client:
        clients = [asyncio.create_task(send_searches(client, n)) for n in range(1, 5)]
        await asyncio.sleep(0.5)
        killed = monotonic()
        await asyncio.to_thread(primary.kill)
        before = len(acknowledged)
        await asyncio.to_thread(standby.promote)
        async with asyncio.timeout(60):
            while len(acknowledged) < before + 50:  # noqa: ASYNC110 - nothing signals it
                await asyncio.sleep(0.05)
        ended.set()
        await asyncio.gather(*clients)
        ready = await client.get("/health/ready")
        last = await client.get(f"/queries/{acknowledged[-1][1]}")

    gap = min(moment for moment, _ in acknowledged[before:] if moment > killed + 0.05) - killed
    logger.info("%d acknowledged, %.2f seconds without", len(acknowledged), gap)
    where = database if replicated == "results" else standby.url
    surviving_systems = Systems(where, standby.url, where)
    stored = {query_id for (query_id,) in rows(where, "select query_id from queries")}
    twice = rows(where, "select query from queries group by 1 having count(*) > 1")
    assert {query_id for _, query_id in acknowledged} - stored == set()
    assert twice == []
    assert surviving_systems.counts()[1::2] == (0, 0)
    assert gap < 60
    assert (ready.status_code, last.status_code) == (200, 200)
