"""The service behaves the same with PgBouncer (deploy/pgbouncer.ini) in front of PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.db.pool import PREPARE_AFTER, ConnectionSource, DatabasePools
from service.db.reader import RESULTS, ListSelection, RecordReader
from service.models.filters import Position, ResultFilter
from tests.conftest import Gateway, Serve
from tests.db.test_records import COUNTS, answer, stored
from tests.support.haproxy import pgbouncer

TIGHT = {"default_pool_size = 20": "default_pool_size = 3"}
PARTIAL = (
    "select count(*) from queries where num_entries"
    " <> (select count(*) from results where results.query_id = queries.query_id)"
)


@pytest.fixture
def bouncer(database: str, tmp_path: Path) -> Iterator[str]:
    """A connection string without user; PgBouncer has three server connections per role."""
    with pgbouncer(tmp_path, database, TIGHT) as url:
        yield url


@pytest.fixture
async def pooled(bouncer: str, gateway: Serve) -> AsyncIterator[Gateway]:
    """A client of the service, which uses PgBouncer."""
    urls = {
        "database_url": make_conninfo(bouncer, user="arxiv_rw"),
        "database_ro_url": make_conninfo(bouncer, user="arxiv_ro", dbname="arxiv_ro"),
    }
    async with gateway(**urls) as client:
        yield client


@pytest.mark.usefixtures("arxiv")
async def test_every_path_works_with_pgbouncer(pooled: Gateway) -> None:
    search = (await pooled.get("/arxiv?any=testing&max_results=5")).json()
    again = await pooled.get(
        "/arxiv?any=testing&max_results=5", headers={"cache-control": "no-cache"}
    )
    number = search["query_id"]
    [paper, *_] = (await pooled.get("/papers")).json()["papers"]
    written = {
        "query_id": (await pooled.get("/get-sequence")).json()["sequence"],
        "timestamp": int(datetime(2026, 11, 23, tzinfo=UTC).timestamp()),
        "status": 200,
        "num_results": 1,
        "num_entries": 1,
        "query": "ArXiv Query: search_query=x",
    }
    results = {
        "query_id": written["query_id"],
        "timestamp": written["timestamp"],
        "results": [{"authors": ["Emmy Noether"], "title": "Invariants", "journal": None}],
    }
    paths = [
        *("/health/ready", f"/queries/{number}", f"/queries/{again.json()['query_id']}/changes"),
        *(f"/queries/{number}/feed", "/queries", "/results", "/results?page=400&author=zajac"),
        *("/results?category=cs.*", "/papers?q=testing", f"/papers/{paper['arxiv_id']}"),
        "/api/query?search_query=all:%22testing%22&max_results=5",
        *("/arxiv-api?any=testing", "/read-results", "/read-queries?start_timestamp=0"),
    ]

    responses = [await pooled.get(path) for path in paths]
    responses += [
        await pooled.post("/write-results", json=results),
        await pooled.post("/write-queries", json=written),
        await pooled.post("/write-results", json=results),
        await pooled.post("/write-queries", json=written),
        await pooled.post("/queries", json={}),
    ]

    assert {str(each.request.url): each.text for each in responses if each.is_error} == {}


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize("kind", ["ndjson", "csv", "bibtex", "ris", "atom"])
async def test_exports_work_with_pgbouncer(pooled: Gateway, kind: str) -> None:
    found = [
        (await pooled.get(f"/arxiv?any=testing&max_results=200&start={start}")).json()
        for start in (0, 200)
    ]

    exports = await asyncio.gather(
        *(pooled.get(f"/{name}?format={kind}") for name in ("results", "papers", "queries") * 3)
    )

    assert {each.status_code for each in exports} == {200}
    assert len({each.content for each in exports}) <= 3 + 6 * (kind == "atom")
    if kind == "ndjson":
        assert exports[0].text.count("\n") == sum(each["num_entries"] for each in found)


async def test_concurrent_clients_on_three_connections_mix_nothing_up(
    bouncer: str,
    db: psycopg.Connection,
    arxiv: StandIn,
    pooled: Gateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # on a busy machine, the last of 400 writes waits for long
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 60.0)

    async def read() -> None:
        for page in range(40):
            assert (await pooled.get(f"/results?page={page}")).status_code == 200

    async with stored(make_conninfo(bouncer, user="arxiv_rw")) as store:
        writing = [store.insert(answer(number % 12)) for number in range(400)]
        reading = asyncio.gather(*(read() for _ in range(4)))
        numbers = await asyncio.gather(*writing)
        await reading
        searched = await asyncio.gather(
            *(pooled.get("/arxiv", params={"any": f"testing{n}"}) for n in range(20))
        )

    assert len({*numbers}) == 400
    assert {each.status_code for each in searched} == {200}
    assert len(arxiv.requests) == 20
    assert db.execute(PARTIAL).fetchone() == (0,)
    servers = db.execute(
        "select usename, count(*) from pg_stat_activity where usename in ('arxiv_rw', 'arxiv_ro')"
        " and datname = current_database() group by 1"
    )
    assert all(count <= 3 for _, count in servers)


async def test_cancelled_write_leaves_no_partial_record(
    bouncer: str, db: psycopg.Connection
) -> None:
    async with stored(make_conninfo(bouncer, user="arxiv_rw")) as store:
        await store.insert(answer(1))
        for delay in range(40):
            task = asyncio.create_task(store.insert(answer(200)))
            await asyncio.sleep(delay / 4000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await store.insert(answer(5, "last"))

    assert db.execute(PARTIAL).fetchone() == (0,)
    assert db.execute("select count(*) from queries where query = 'last'").fetchone() == (1,)


async def test_terminated_server_connections_lose_no_search(
    bouncer: str, db: psycopg.Connection
) -> None:
    async with stored(make_conninfo(bouncer, user="arxiv_rw")) as store:
        for _ in range(5):
            await asyncio.gather(*(store.insert(answer(2)) for _ in range(10)))
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where usename = 'arxiv_rw' and datname = current_database()"
            )
            await asyncio.sleep(0.1)
        await store.insert(answer(2))

    assert db.execute(COUNTS).fetchone() == (51, 102)


async def test_writes_are_prepared_only_without_pgbouncer(bouncer: str, database: str) -> None:
    for url, may_prepare in ((bouncer, False), (database, True)):
        async with stored(make_conninfo(url, user="arxiv_rw")) as store:
            await store.insert(answer(1))
            found = await _list_prepared(store._pools.writer)  # noqa: SLF001
        assert ("insert into queries" in str(found)) is may_prepare


async def test_pages_are_prepared_only_without_pgbouncer_and_planned_for_each_execution(
    bouncer: str, database: str
) -> None:
    writer = make_conninfo(database, user="arxiv_rw")
    for url, may_prepare in (
        (make_conninfo(bouncer, user="arxiv_ro", dbname="arxiv_ro"), False),
        (make_conninfo(database, user="arxiv_ro"), True),
    ):
        async with DatabasePools(writer, url) as connections:
            reader = RecordReader(connections)
            for _ in range(4 * PREPARE_AFTER):  # with at most two connections
                await reader.fetch_page(ListSelection(RESULTS, ResultFilter()), Position(), 10)
            found = await _list_prepared(partial(connections.reader, "results"))
        pages = [mode for statement, mode in found if "from results" in statement]
        assert bool(pages) is may_prepare
        assert set(pages) <= {"force_custom_plan"}


async def _list_prepared(source: ConnectionSource) -> list[tuple[str, str]]:
    """The prepared statements of two connections, with their plan_cache_mode."""
    found = []
    async with source() as one, source() as other:  # one of them may be new
        for conn in (one, other):
            rows = await conn.execute(
                "select statement, current_setting('plan_cache_mode') from pg_prepared_statements"
            )
            found += await rows.fetchall()
    return found


async def test_changed_column_type_fails_once_per_connection_with_the_reason(
    gateway: Serve, database: str, db: psycopg.Connection
) -> None:
    urls = {
        "database_url": make_conninfo(database, user="arxiv_rw"),
        "database_ro_url": make_conninfo(database, user="arxiv_ro"),
    }
    path = "/queries?items_per_page=5"
    async with gateway(**urls) as client:
        before = [(await client.get(path)).status_code for _ in range(4 * PREPARE_AFTER)]
        db.execute("alter table queries alter column status type integer")
        after = [await client.get(path) for _ in range(6)]

    assert set(before) == {200}
    failed = [response for response in after if response.status_code != 200]
    assert 1 <= len(failed) <= 2  # one per connection
    assert all(response.status_code == 503 for response in failed)
    assert "schema has just changed" in failed[0].json()["detail"]
