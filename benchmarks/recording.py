"""The cost of recording a search, against pgbench with the same statements and server."""

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import uvloop
from msgspec import structs
from psycopg.conninfo import conninfo_to_dict

from benchmarks.measuring import (
    ROUND_SECONDS,
    Bench,
    Row,
    compute_ratios,
    measure_rate,
    run_rounds,
    run_service,
)
from demo import feed
from demo.papers import generate
from service import arxiv_xml, embedded_postgres, sql
from service.context import LocalContext, create_pools
from service.db.pool import DatabasePools
from service.db.records import RecordStore, build_insert_values, create_record
from service.models.arxiv import ArxivResponse, Search
from service.models.records import Record
from service.settings import Settings
from tests.support.proxy import proxied

CLIENTS = 8
RESULTS = (1, 10, 2000)
PAGES = 24
"""Number of searches with different papers: the pages of this query in the stand-in."""
QUERY = "all:testing OR all:w{number}"
"""No paper contains the second word; it makes each search a new one."""
STATEMENTS = (sql.BEGIN, sql.INSERT_QUERY, sql.INSERT_RESULTS, sql.UPSERT_PAPERS, sql.COMMIT)
"""The statements of a recorded search, which are sent in one pipeline."""


def measure_searches(bench: Bench) -> Iterator[Row]:
    """Measure recorded searches of ten known papers: the database layer alone, and through HTTP."""
    settings = bench.create_database("recording")
    records = _fetch_records(settings.api_url)
    command = create_pgbench_command(settings, records, bench.folder)
    with run_service(settings) as (address, _):
        path = f"/arxiv?query={quote(QUERY, safe='{}:')}&start={{number%{(PAGES - 1) * 10}}}"
        direct, through_http, extended, prepared = run_rounds(
            "recorded searches",
            lambda: uvloop.run(_measure_database_layer(settings, records)),
            partial(measure_rate, address + path),
            partial(_run_pgbench, command, "extended"),
            partial(_run_pgbench, command, "prepared"),
        )
    for variant, rates, target in (
        ("the database layer alone", direct, 0.8),
        ("through HTTP and a stand-in for arXiv", through_http, None),
    ):
        yield Row(
            measure=f"recorded searches per second, {CLIENTS} connections, 10 results: {variant}",
            against="pgbench, the same statements in a pipeline, same server",
            seen=compute_ratios(rates, prepared),
            at_least=target,
            detail=f"{median(rates):,.0f} against {median(prepared):,.0f}"
            f" ({median(extended):,.0f} without prepared statements in pgbench)",
        )


def _fetch_records(api_url: str) -> list[Record]:
    """Fetch the first pages of a search from the stand-in for arXiv, as records."""
    records = []
    for page in range(PAGES):
        query = QUERY.format(number=page)
        params = {"search_query": query, "start": f"{page * 10}", "max_results": "10"}
        content = httpx.get(api_url, params=params, timeout=30).raise_for_status().content
        records.append(create_test_record(content))
    return records


def create_test_record(content: bytes) -> Record:
    """Create the record of a new search from a feed."""
    parsed = arxiv_xml.parse_feed(content)
    response = ArxivResponse(
        timestamp=int(time.time()),
        status=200,
        num_results=parsed.total,
        query=parsed.query or "",
        entries=parsed.entries,
    )
    return create_record(response, uuid4())


def copy_as_new_search(record: Record) -> Record:
    """Copy a record as that of another search."""
    return structs.replace(record, query_id=0, write_key=uuid4(), search_key=uuid4())


async def _measure_database_layer(settings: Settings, records: list[Record]) -> float:
    """Return the searches per second that eight tasks record through the pool."""
    count = 0
    async with create_pools(settings) as pools:
        record_store = RecordStore(pools)
        for record in records:
            await record_store.insert(copy_as_new_search(record))
        started = time.perf_counter()

        async def insert_repeatedly() -> None:
            nonlocal count
            while time.perf_counter() < started + ROUND_SECONDS:
                count += 1
                await record_store.insert(copy_as_new_search(records[count % len(records)]))

        await asyncio.gather(*(insert_repeatedly() for _ in range(CLIENTS)))
        return count / (time.perf_counter() - started)


def create_pgbench_command(settings: Settings, records: list[Record], folder: Path) -> list[str]:
    """Create the command that records these searches like the database layer.

    Each search has its own script, with the same parameters, except for null and UUIDs. pgbench
    does not support these, so they are part of the statements.
    """
    conninfo = conninfo_to_dict(str(settings.database_url))
    options = {"host": "host", "port": "port", "username": "user", "dbname": "dbname"}
    command = [str(embedded_postgres.find_program("pgbench")), "--no-vacuum"]
    command += [f"--{option}={conninfo[key]}" for option, key in options.items()]
    for number, record in enumerate(records):
        expressions = {}
        for name, value in build_insert_values(record).items():
            if value is None or isinstance(value, UUID):
                expressions[name] = "null" if value is None else "gen_random_uuid()"
            else:
                expressions[name] = f":{name}{number}"
                command.append(f"--define={name}{number}={value}")
        lines = [
            re.sub(r"%\((\w+)\)s", lambda match: expressions[match[1]], statement.decode()) + ";\n"  # noqa: B023
            for statement in STATEMENTS
        ]
        script = folder / f"search-{number}.sql"
        script.write_text("".join(["\\startpipeline\n", *lines, "\\endpipeline\n"]))
        command.append(f"--file={script}")
    return command


def _run_pgbench(command: list[str], protocol: str) -> float:
    """Return the transactions per second."""
    options = [f"--client={CLIENTS}", f"--time={ROUND_SECONDS}", f"--protocol={protocol}"]
    process = subprocess.run([*command, *options], capture_output=True, text=True, check=True)  # noqa: S603 - our own arguments
    assert "number of failed transactions: 0 " in process.stdout, process.stderr  # noqa: S101
    return float(re.findall(r"^tps = ([\d.]+)", process.stdout, re.MULTILINE)[0])


def count_round_trips(bench: Bench) -> Iterator[Row]:
    """Count how often the database layer waits for the server to record a search of any size."""
    settings = bench.create_database("trips")
    trips, whole = asyncio.run(_count_round_trips(settings))
    yield Row(
        measure=f"round trips of a recorded search on the wire, {', '.join(map(str, RESULTS))}"
        " results",
        against="1",
        seen=[max(trips)],  # the cases are not rounds
        at_most=1,
        detail="the maximum of six cases, with new and known papers; a whole cache miss, with the"
        f" lookup of recorded searches and the rate limiter, takes {whole}",
    )


async def _count_round_trips(settings: Settings) -> tuple[list[float], int]:
    """Return the round trips of each write, and of a whole cache miss."""
    papers, trips = generate(sum(RESULTS)), []
    async with proxied(str(settings.database_url)) as (proxy, url):
        async with DatabasePools(url) as connections:
            record_store = RecordStore(connections)
            await record_store.insert(create_test_record(feed.render([])))  # opens the connection
            for number in RESULTS:
                record = create_test_record(feed.render(papers[:number]))
                del papers[:number]
                for _ in range(2):  # the second time, all papers are known
                    proxy.reset()
                    await record_store.insert(copy_as_new_search(record))
                    trips.append(float(proxy.trips))
        proxied_settings = structs.replace(settings, database_url=url, database_ro_url=url)
        async with LocalContext(proxied_settings) as context:
            await context.search_service.search(Search(query=QUERY.format(number=0)))
            proxy.reset()
            await context.search_service.search(Search(query=QUERY.format(number=1)))
            whole = proxy.trips
    await asyncio.sleep(0.1)  # the proxy closes its connections
    return trips, whole
