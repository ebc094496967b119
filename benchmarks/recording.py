"""What recording a search costs, against pgbench sending the same statements to the same server."""

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

from benchmarks.measuring import SECONDS, Bench, Row, process, rate, ratios, rounds
from demo import feed
from demo.papers import generate
from service import arxiv_xml, embedded_postgres, sql
from service.context import LocalContext, create_pools
from service.db.pool import DatabasePools
from service.db.records import RecordStore, create_record, write_parameters
from service.models.arxiv import ArxivResponse, Search
from service.models.records import Record
from service.settings import Settings
from tests.support.proxy import proxied

CLIENTS = 8
RESULTS = (1, 10, 2000)
PAGES = 24
"""So many searches differ in their papers: as many as the stand-in has pages of this query."""
QUERY = "all:testing OR all:w{number}"
"""The second word is in no paper, and makes each search a new one."""
STATEMENTS = (sql.BEGIN, sql.INSERT_QUERY, sql.INSERT_RESULTS, sql.UPSERT_PAPERS, sql.COMMIT)
"""What the store sends for a search, in one pipeline."""


def searches(bench: Bench) -> Iterator[Row]:
    """Searches of ten known papers recorded a second: by the store, and through HTTP."""
    settings = bench.database("recording")
    answers = _answers(settings.api_url)
    command = pgbench(settings, answers, bench.folder)
    with process(settings) as (address, _):
        path = f"/arxiv?query={quote(QUERY, safe='{}:')}&start={{number%{(PAGES - 1) * 10}}}"
        ours, through, extended, prepared = rounds(
            "recorded searches",
            lambda: uvloop.run(_saved(settings, answers)),
            partial(rate, address + path),
            partial(_transactions, command, "extended"),
            partial(_transactions, command, "prepared"),
        )
    against = "pgbench, the same statements in a pipeline, same server"
    for what, rates, target in (
        ("the store alone", ours, 0.8),
        ("through HTTP and a stand-in for arXiv", through, 0.25),
    ):
        yield Row(
            measure=f"recorded searches a second, {CLIENTS} connections, 10 results: {what}",
            against=against,
            seen=ratios(rates, prepared),
            at_least=target,
            detail=f"{median(rates):,.0f} against {median(prepared):,.0f}"
            f" ({median(extended):,.0f} where pgbench does not prepare them)",
        )


def _answers(api_url: str) -> list[Record]:
    """What the stand-in for arXiv answers to the first pages of a search."""
    answers = []
    for page in range(PAGES):
        query = QUERY.format(number=page)
        sent = {"search_query": query, "start": f"{page * 10}", "max_results": "10"}
        content = httpx.get(api_url, params=sent, timeout=30).raise_for_status().content
        answers.append(answer_of(content))
    return answers


def answer_of(content: bytes) -> Record:
    """What is recorded of a feed."""
    found = arxiv_xml.parse(content)
    response = ArxivResponse(
        timestamp=int(time.time()),
        status=200,
        num_results=found.total,
        query=found.query or "",
        entries=found.entries,
    )
    return create_record(response, uuid4())


def anew(record: Record) -> Record:
    """The same, of another search."""
    return structs.replace(record, query_id=0, write_key=uuid4(), search_key=uuid4())


async def _saved(settings: Settings, answers: list[Record]) -> float:
    """Searches a second that eight tasks record through the pool."""
    count = 0
    async with create_pools(settings) as connections:
        store = RecordStore(connections)
        for answer in answers:
            await store.insert(anew(answer))
        began = time.perf_counter()

        async def client() -> None:
            nonlocal count
            while time.perf_counter() < began + SECONDS:
                count += 1
                await store.insert(anew(answers[count % len(answers)]))

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return count / (time.perf_counter() - began)


def pgbench(settings: Settings, answers: list[Record], folder: Path) -> list[str]:
    """The command that records these searches as the store does, with a script for each of them.

    What the store sends as parameters, pgbench does too, but null and UUIDs, which it has not:
    those stand in the statements.
    """
    address = conninfo_to_dict(str(settings.database_url))
    where = {"host": "host", "port": "port", "username": "user", "dbname": "dbname"}
    command = [str(embedded_postgres.program("pgbench")), "--no-vacuum"]
    command += [f"--{option}={address[key]}" for option, key in where.items()]
    for number, answer in enumerate(answers):
        texts = {}
        for name, value in write_parameters(answer).items():
            if value is None or isinstance(value, UUID):
                texts[name] = "null" if value is None else "gen_random_uuid()"
            else:
                texts[name] = f":{name}{number}"
                command.append(f"--define={name}{number}={value}")
        lines = [
            re.sub(r"%\((\w+)\)s", lambda found: texts[found[1]], statement.decode()) + ";\n"  # noqa: B023
            for statement in STATEMENTS
        ]
        script = folder / f"search-{number}.sql"
        script.write_text("".join(["\\startpipeline\n", *lines, "\\endpipeline\n"]))
        command.append(f"--file={script}")
    return command


def _transactions(pgbench: list[str], protocol: str) -> float:
    """Transactions a second."""
    options = [f"--client={CLIENTS}", f"--time={SECONDS}", f"--protocol={protocol}"]
    ran = subprocess.run([*pgbench, *options], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert "number of failed transactions: 0 " in ran.stdout, ran.stderr  # noqa: S101
    return float(re.findall(r"^tps = ([\d.]+)", ran.stdout, re.MULTILINE)[0])


def round_trips(bench: Bench) -> Iterator[Row]:
    """How often the store waits for the server to record a search, whatever it holds."""
    settings = bench.database("trips")
    trips, whole = asyncio.run(_trips(settings))
    yield Row(
        measure=f"round trips of a recorded search on the wire, {', '.join(map(str, RESULTS))}"
        " results",
        against="1",
        seen=[max(trips)],  # each is another case
        at_most=1,
        detail="the most of six cases, papers new and known; a whole miss, with the look into"
        f" memory and its turn at the gate, takes {whole}",
    )


async def _trips(settings: Settings) -> tuple[list[float], int]:
    """Of the write, for every number of results; of a whole miss."""
    papers, trips = generate(sum(RESULTS)), []
    async with proxied(str(settings.database_url)) as (proxy, url):
        async with DatabasePools(url) as connections:
            store = RecordStore(connections)
            await store.insert(answer_of(feed.render([])))  # now there is a connection
            for number in RESULTS:
                answer = answer_of(feed.render(papers[:number]))
                del papers[:number]
                for _ in range(2):  # the second time nothing of the papers is new
                    proxy.forget()
                    await store.insert(anew(answer))
                    trips.append(float(proxy.trips))
        behind = structs.replace(settings, database_url=url, database_ro_url=url)
        async with LocalContext(behind) as context:
            await context.search_service.search(Search(query=QUERY.format(number=0)))
            proxy.forget()
            await context.search_service.search(Search(query=QUERY.format(number=1)))
            whole = proxy.trips
    await asyncio.sleep(0.1)  # the proxy's last words
    return trips, whole
