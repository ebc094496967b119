"""Queries, results and numbers on systems of their own, and what becomes of them in a crash."""

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
from service.cli.reconcile import run_reconcile
from service.context import LocalContext
from service.db import milestones
from service.db import pool as connections_module
from service.db import reconcile as reconciliation_module
from service.db.pool import DatabasePools
from service.db.reader import RecordReader
from service.db.reconcile import Reconciler
from service.db.records import RecordStore
from service.errors import ConfigurationError, DatabaseUnavailable
from service.harvest import Harvester
from service.models.requests import WriteQueryRequest, WriteResultsRequest
from service.settings import Settings
from tests.conftest import Serve, copied
from tests.db.test_milestones import INSERT, fill, page, plain, watch
from tests.db.test_records import Unadaptable, answer
from tests.support.process import ROOT
from tests.support.proxy import proxied
from tests.support.replica import Replica, copy_of

logger = logging.getLogger(__name__)
Settle = Callable[..., Settings]


class Apart:
    """A database for each of the three."""

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
    async def stored(self) -> AsyncIterator[RecordStore]:
        async with self.connections() as connections:
            yield RecordStore(connections)

    def counts(self) -> tuple[int, int, int, int]:
        """Searches, and how many of them have another number of results than they say; results,
        and those without a search."""
        searches = dict(rows(self.queries, "select query_id, num_entries from queries"))
        found = dict(rows(self.results, "select query_id, count(*) from results group by 1"))
        partial = sum(found.get(number, 0) != said for number, said in searches.items())
        orphans = sum(number not in searches for number in found)
        return len(searches), partial, sum(found.values()), orphans


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode()).fetchall()


@pytest.fixture
def apart(server: str, template: str) -> Iterator[Apart]:
    with ExitStack() as stack:
        yield Apart(*(stack.enter_context(copied(server, template)) for _ in range(3)))


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
    given = [{"authors": ["A"], "title": title} for title in titles]
    body = {"query_id": query_id, "timestamp": 1_700_000_000, "results": given}
    return msgspec.convert(body, WriteResultsRequest)


# The service on three databases


async def conversation(client: httpx.AsyncClient) -> list[Any]:
    """What a client is told, step by step, without what differs from one moment to another."""
    anew = {"cache-control": "no-cache"}
    number = await client.get("/get-sequence")
    told = [
        number,
        await client.get("/arxiv?title=testing&max_results=5"),
        await client.get("/arxiv?title=testing&max_results=5"),
        await client.get("/arxiv?title=testing&max_results=5", headers=anew),
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
    ]
    told += [await client.get(path) for path in paths]
    return [(answer.status_code, re.sub(WHEN, "", answer.text)) for answer in told]


def ban(url: str, tables: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(f"revoke all on {tables} from arxiv_rw, arxiv_ro".encode())


WHEN = re.compile(
    r'\d{4}-\d\d-\d\dT[\d:]+|"timestamp":\d+|"request_id":"\w+"|[&?]after=[\w-]+|urn:uuid:[\w-]+'
)


@pytest.mark.usefixtures("arxiv")
async def test_three_systems_answer_as_one_does(
    gateway: Serve, apart: Apart, database: str
) -> None:
    async with gateway() as client:
        expected = await conversation(client)
    # whoever asks a system for what lives elsewhere is refused
    ban(apart.queries, "results, papers")
    ban(apart.results, "queries, harvests, gate, gate_queue")
    ban(apart.sequence, "queries, harvests, gate, gate_queue, results, papers")
    async with gateway(**apart.settings) as client:
        assert await conversation(client) == expected
        assert (await client.get("/health/ready")).status_code == 200

    assert {status for status, _ in expected} == {200, 201, 404, 409}
    tables = ("queries", "results", "papers")
    counts = "select " + ", ".join(f"(select count(*) from {table})" for table in tables)
    [[queries, found, papers]] = rows(database, counts)
    assert rows(apart.queries, counts) == [(queries, 0, 0)]
    assert rows(apart.results, counts) == [(0, found, papers)]
    assert rows(apart.sequence, counts) == [(0, 0, 0)]
    used = "select is_called from arxiv_sequence"
    assert [rows(url, used) for url in (apart.queries, apart.results, apart.sequence)] == [
        [(False,)],
        [(False,)],
        [(True,)],
    ]


async def test_a_harvest_goes_on_where_it_was_on_three_systems(
    settings: Settle, apart: Apart
) -> None:
    stand_in = httpx.ASGITransport(StandIn(generate(300)))

    async def harvested(most: int) -> list[int]:
        async with LocalContext(settings(**apart.settings), stand_in) as context:
            harvester = Harvester("cat:cs.SE", most, context.search_service, context.store)
            return [progress.stored async for progress in harvester.run()]

    assert (await harvested(5))[-1] == 5
    assert (await harvested(9))[0] == 5
    assert apart.counts() == (2, 0, 9, 0)


async def test_a_search_takes_one_round_trip_to_each_system_and_one_to_look(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections_module, "POOL_SIZE", 1)
    async with (
        proxied(apart.queries) as (queries, queries_url),
        proxied(apart.results) as (found, results_url),
        proxied(apart.sequence) as (sequence, sequence_url),
        Apart(queries_url, results_url, sequence_url).stored() as store,
    ):
        await store.save(answer(1))
        for proxy in (queries, found, sequence):
            proxy.forget()
        await store.save(answer(2000))

        assert [queries.trips, found.trips, sequence.trips] == [2, 1, 1]


async def test_numbers_that_operators_took_are_passed_over(apart: Apart) -> None:
    async with apart.stored() as store:
        await store.write_query(search(1))
        await store.write_results(results(2, "theirs"))
        await store.write_results(results(3, "theirs", "theirs"))

        assert await store.save(answer(2)) == 4
    assert apart.counts() == (2, 0, 5, 2)


async def test_a_write_that_another_process_made_is_not_made_again(apart: Apart) -> None:
    async with apart.stored() as store, apart.stored() as other:
        made = answer(3)
        assert await other.save(made) == await store.save(made) == 1
    assert apart.counts() == (1, 0, 3, 0)


async def test_a_write_that_goes_on_after_its_repair_takes_another_number(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> int:
        raise DatabaseUnavailable("away")

    async with apart.connections() as connections:
        store, reconciliation = RecordStore(connections), Reconciler(connections)
        kept = answer(3)
        monkeypatch.setattr(store, "_save_query", away)
        with pytest.raises(DatabaseUnavailable):
            await store.save(kept)
        monkeypatch.undo()
        assert await reconciliation.repair(await reconciliation.look()) == 1

        assert await store.save(kept) == 2
    assert apart.counts() == (2, 0, 6, 0)


async def test_a_fault_between_the_systems_leaves_no_search_without_its_results(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with apart.stored() as store:
        monkeypatch.setattr("service.db.records._encode", lambda _: Unadaptable())
        with pytest.raises(psycopg.ProgrammingError):
            await store.save(answer(3))
        monkeypatch.undo()
        assert apart.counts() == (0, 0, 0, 0)
        bad = structs.replace(answer(3), query="NUL \0")
        with pytest.raises(psycopg.DataError):
            await store.save(bad)
    assert apart.counts() == (0, 0, 3, 1)


@pytest.mark.parametrize("behind", ["queries", "results"])
@pytest.mark.parametrize("sent", [None, 0, 100, 300, 600, 60_000])
async def test_a_connection_cut_in_mid_write_loses_nothing(
    apart: Apart, behind: str, sent: int | None
) -> None:
    async with proxied(getattr(apart, behind)) as (proxy, url):
        here = Apart(apart.queries, apart.results, apart.sequence)
        setattr(here, behind, url)
        async with here.stored() as store:
            await store.save(answer(1))
            if sent is None:
                proxy.cut_before_answer = True
            else:
                proxy.cut_after = sent
            kept = answer(500, "cut")
            try:
                query_id = await store.save(kept)
            except DatabaseUnavailable:  # as the searcher does
                query_id = await store.save(kept)

    assert rows(apart.queries, "select query_id from queries where query = 'cut'") == [(query_id,)]
    assert apart.counts() == (2, 0, 501, 0)


# What a crash leaves

KILLED = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from service.db.pool import DatabasePools
from service.db.records import RecordStore
from tests.db.test_records import answer

lend = DatabasePools.writer
step = last = 0

def passed():
    global step
    step += 1
    if step == last:
        os.kill(os.getpid(), 9)

@asynccontextmanager
async def writer(self, system="queries"):
    passed()
    async with lend(self, system) as conn:
        yield conn
    passed()

async def save(urls):
    async with DatabasePools(urls[0], results_url=urls[1], sequence_url=urls[2]) as connections:
        print(await RecordStore(connections).save(answer(5, f"{last}")), flush=True)

DatabasePools.writer = writer
for last in range(1, 10):
    if not (child := os.fork()):
        asyncio.run(save(sys.argv[1:]))
        os._exit(0)
    os.waitpid(child, 0)
"""


async def reconciled(apart: Apart, *, repair: bool = False) -> tuple[int, list[str]]:
    """The exit status of `reconcile`, and what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        try:
            await run_reconcile(Settings(**apart.settings), repair=repair, grace=0)
        except SystemExit as ended:
            return int(ended.code or 0), printed.getvalue().splitlines()
    return 0, printed.getvalue().splitlines()


async def test_a_kill_at_any_step_of_a_write_leaves_what_can_be_found_and_repaired(
    apart: Apart,
) -> None:
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is to go on meanwhile
        [sys.executable, "-c", KILLED, apart.queries, apart.results, apart.sequence],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(done.stdout.splitlines()) == 1, done.stderr  # the ninth was not killed
    # killed after the results and before the search; after it, and never
    assert apart.counts() == (2, 0, 20, 2)
    status, printed = await reconciled(apart)
    assert (status, printed[-1]) == (3, "2 mismatches, 0 repaired")
    assert "".join(printed).count("without their search") == 2
    assert apart.counts() == (2, 0, 20, 2)
    assert (await reconciled(apart, repair=True))[0] == 0
    again = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "service", "reconcile", "--repair"],
        cwd=ROOT,
        env=os.environ | {f"ARXIV_{name.upper()}": url for name, url in apart.settings.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == "0 mismatches, 0 repaired\n"
    assert apart.counts() == (4, 0, 20, 0)
    assert rows(apart.queries, "select outcome, num_results, query from queries order by 1, 3") == [
        *[("interrupted", 5, "")] * 2,
        *[("ok", 5, last) for last in "89"],
    ]


async def test_what_is_wrong_is_told_and_left_alone(apart: Apart) -> None:
    async with apart.stored() as store:
        await store.save(answer(3))
        await store.write_query(search(7, 2))
        await store.write_query(search(8, 1))
        await store.write_results(results(8, "one", "two"))
        await store.write_results(results(9, "one"))
    status, printed = await reconciled(apart, repair=True)

    assert status == 3
    assert [re.split(" {2,}", line.strip()) for line in printed[1:-1]] == [
        ["7", "0", "2", "WRONG: a search without its results; investigate"],
        ["8", "2", "1", "WRONG: the search has another number of results; investigate"],
        ["9", "1", "?", "without their search, as after a crash: use --repair"],
    ]
    assert apart.counts() == (4, 2, 6, 0)


async def test_a_search_that_comes_before_its_repair_stays_as_it_is(apart: Apart) -> None:
    async with apart.connections() as connections:
        store, reconciliation = RecordStore(connections), Reconciler(connections)
        await store.write_results(results(5, "one"))
        amiss = await reconciliation.look()
        await store.write_query(search(5, 1))

        assert await reconciliation.repair(amiss) == 0
        assert await reconciliation.look() == []
    assert rows(apart.queries, "select outcome from queries") == [("ok",)]


async def test_repairs_at_once_and_beside_writers_record_each_search_once(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation_module, "BATCH", 7)
    async with apart.connections() as connections:
        store, reconciliation = RecordStore(connections), Reconciler(connections)
        for number in range(1001, 1041):
            await store.write_results(results(number, "one"))
        amiss = await reconciliation.look()
        repaired = await asyncio.gather(
            *(reconciliation.repair(amiss) for _ in range(3)),
            *(store.save(answer(2)) for _ in range(20)),
        )

        assert sum(repaired[:3]) == len(amiss) == 40
        assert await reconciliation.look() == []
    assert apart.counts() == (60, 0, 80, 0)


async def test_any_number_of_searches_is_compared_in_batches(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation_module, "BATCH", 3)
    async with apart.connections() as connections:
        store, reconciliation = RecordStore(connections), Reconciler(connections)
        for number in range(1, 30):
            if number % 3:
                await store.write_results(results(number, "one"))
            if number % 5:
                await store.write_query(search(number, int(number % 3 > 0)))

        assert [each.query_id for each in await reconciliation.look()] == [5, 10, 20, 25]


# Deep pages


async def test_who_writes_results_is_asked_where_they_are_written(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"STEP": 4, "NEAR": 6, "READ": 40, "LOOK_AGAIN": -1.0, "WAIT": 9.0}
    for name, value in small.items():
        monkeypatch.setattr(milestones, name, value)
    with psycopg.connect(apart.results) as late, psycopg.connect(apart.results) as db:
        db.autocommit = True
        fill(db, 20)
        async with apart.connections() as connections:
            reader = RecordReader(connections)
            late.execute(INSERT, (500, 1001, 5))
            for query_id in (501, 502, 503):
                db.execute(INSERT, (query_id, 3000, 1))
                assert await page(reader, 40) == plain(db, 40)
            late.commit()
            for offset in range(6, 90, 3):
                assert await page(reader, offset) == plain(db, offset)
            asked = watch(reader)
            await page(reader, 60)
            assert asked[0]["offset"] == 0


# Starting


READING = {"database_url": None, "endpoints": "queries,results,papers,read-queries,read-results"}


async def test_an_instance_that_only_reads_starts_with_the_url_to_read_from(
    gateway: Serve, database: str
) -> None:
    async with DatabasePools(database) as connections:
        await RecordStore(connections).save(answer(3))
    async with gateway(**READING) as client:
        assert len((await client.get("/queries")).json()) == 1
        assert len((await client.get("/results")).json()) == 3
        assert len((await client.get("/queries/1")).json()["results"]) == 3
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/arxiv?title=x")).status_code == 404


@pytest.mark.parametrize("endpoints", ["all", "queries,arxiv", "write-results"])
def test_without_a_url_to_write_to_nothing_that_writes_is_served(
    settings: Settle, endpoints: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^ARXIV_DATABASE_URL is not set, but .* do more"):
        create_app(settings(database_url=None, endpoints=endpoints))


def test_the_program_says_so_too(database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=os.environ | {"ARXIV_DATABASE_RO_URL": database},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("python -m service: ARXIV_DATABASE_URL is not set, but ")


async def test_readiness_names_the_system_that_is_not_ready(
    gateway: Serve, apart: Apart, server: str
) -> None:
    changes = apart.settings | {"sequence_database_url": server}
    async with gateway(**changes) as client:
        response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["detail"] == "sequence: the database is not migrated: run the migrations"


def test_every_system_is_migrated(apart: Apart, capfd: pytest.CaptureFixture[str]) -> None:
    for url in (apart.results, apart.sequence):
        with psycopg.connect(url) as conn:
            conn.execute("drop index results_words")
            conn.execute("delete from migrations where name = '0010_reading'")
    settings = Settings(
        database_url=apart.queries,
        results_database_url=apart.results,
        sequence_database_url=apart.sequence,
    )
    migrate_databases(settings)

    told = re.findall(r"NOTICE service\.cli\.common \[-\] (.*)", capfd.readouterr().out)
    assert told == [
        "the database is up to date",
        *("applied migration 0010_reading", "the database of the results is up to date"),
        *("applied migration 0010_reading", "the database of the sequence is up to date"),
    ]
    with pytest.raises(ConfigurationError, match="ARXIV_DATABASE_URL is not set"):
        migrate_databases(Settings(database_ro_url=apart.queries))


# Standbys


@pytest.fixture(scope="module")
def pair_origin(server: str, template: str) -> Iterator[str]:
    with copied(server, template) as url:
        yield url


@pytest.fixture
def pair(pair_origin: str, quick_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """A primary, and a standby that has what the primary has confirmed."""
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


async def test_a_connection_that_turns_out_to_only_read_is_not_used_again(
    database: str, db: psycopg.Connection
) -> None:
    setting = f"database {db.info.dbname} set default_transaction_read_only"
    db.execute(f"alter {setting} = on".encode())
    async with DatabasePools(database) as connections:
        store = RecordStore(connections)
        with pytest.raises(DatabaseUnavailable, match="only reads"):
            await store.save(answer(1))
        db.execute("set default_transaction_read_only = off")
        db.execute(f"alter {setting} = off".encode())

        with suppress(DatabaseUnavailable):  # the next one may have been opened before
            await store.save(answer(1))
        assert await store.save(answer(1)) > 0


def either(primary: Replica, standby: Replica, **options: str) -> str:
    """A URL of both."""
    hosts = ",".join(str(server.folder) for server in (primary, standby))
    return make_conninfo(primary.url, host=hosts, port="5432,5432", **options)


async def test_a_standby_that_lags_shows_no_search_without_its_results(
    gateway: Serve, database: str, pair: tuple[Replica, Replica]
) -> None:
    primary, standby = pair
    standby.run("alter system set recovery_min_apply_delay = '500ms'")
    standby.run("select pg_reload_conf()")
    reading = READING | {"database_ro_url": database, "results_database_ro_url": standby.url}
    shown: dict[int, int] = {}
    told: list[int] = []
    async with (
        DatabasePools(database, results_url=primary.url) as connections,
        gateway(**reading) as at_once,
        gateway(**reading, settle=2) as settled,
    ):
        store = RecordStore(connections)
        end = monotonic() + 3.5
        while monotonic() < end:
            waited = 100 * (len(told) % 2)  # some answers were recorded late
            new = await store.save(structs.replace(answer(3), timestamp=int(time()) - waited))
            single = await at_once.get(f"/queries/{new}")
            told.append(single.status_code)
            assert single.status_code == 503 or len(single.json()["results"]) == 3
            for row in (await settled.get("/queries")).json():
                found = await settled.get(f"/results?query_id={row['query_id']}")
                shown[row["query_id"]] = len(found.json())
            await asyncio.sleep(0.05)

    assert told[0] == 503
    assert len(shown) > 5
    assert set(shown.values()) == {3}


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize("replicated", ["all", "results"])
async def test_after_a_failover_writes_go_on_and_no_acknowledged_search_is_lost(
    gateway: Serve, database: str, pair: tuple[Replica, Replica], replicated: str
) -> None:
    primary, standby = pair
    urls = {
        "url": either(primary, standby, target_session_attrs="read-write", user="arxiv_rw"),
        "ro_url": either(primary, standby, target_session_attrs="prefer-standby", user="arxiv_ro"),
    }
    changes = {f"database_{name}": url for name, url in urls.items()}
    if replicated == "results":
        changes = {f"results_{name}": url for name, url in changes.items()}
    acknowledged: list[tuple[float, int]] = []
    ended = asyncio.Event()

    async def ask(client: httpx.AsyncClient, asker: int) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            found = await client.get(f"/arxiv?title=testing&start={number}&max_results={asker}")
            if found.status_code == 200:
                acknowledged.append((monotonic(), found.json()["query_id"]))
            await asyncio.sleep(0.01)

    async with gateway(**changes) as client:
        askers = [asyncio.create_task(ask(client, asker)) for asker in range(1, 5)]
        await asyncio.sleep(0.5)
        killed = monotonic()
        await asyncio.to_thread(primary.kill)
        before = len(acknowledged)
        await asyncio.to_thread(standby.promote)
        async with asyncio.timeout(20):
            while len(acknowledged) < before + 50:  # noqa: ASYNC110 - the askers know nothing of it
                await asyncio.sleep(0.05)
        ended.set()
        await asyncio.gather(*askers)
        ready = await client.get("/health/ready")
        last = await client.get(f"/queries/{acknowledged[-1][1]}")

    gap = min(moment for moment, _ in acknowledged[before:] if moment > killed + 0.05) - killed
    logger.info("%d acknowledged, %.2f seconds without", len(acknowledged), gap)
    where = database if replicated == "results" else standby.url
    here = Apart(where, standby.url, where)
    kept = {number for (number,) in rows(where, "select query_id from queries")}
    twice = rows(where, "select query from queries group by 1 having count(*) > 1")
    assert {number for _, number in acknowledged} - kept == set()
    assert twice == []
    assert here.counts()[1::2] == (0, 0)
    assert gap < 10
    assert (ready.status_code, last.status_code) == (200, 200)
