"""What `make bench` says is what was measured; how fast anything is, is not tested here."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from litestar import Litestar, get
from psycopg.conninfo import make_conninfo

from benchmarks import measuring, recording
from benchmarks.__main__ import MARKS, PARTS, keep, measured, table
from benchmarks.measuring import Bench, NotHere, Row, rate, served
from demo import feed
from demo.papers import generate
from service import arxiv_xml
from service.context import create_pools
from service.db.records import RecordStore, create_record
from service.models.arxiv import ArxivResponse
from service.models.records import Record
from service.problems import AnyRequest
from service.settings import Settings
from tests.support.process import ROOT

BENCH = Bench("", "", Path())


@pytest.mark.parametrize(
    ("seen", "bounds", "said"),
    [
        ([0.9, 0.5, 0.8], {"at_least": 0.8}, ">= 0.8 | 0.8, met | 0.5 to 0.9"),
        ([0.9, 0.5, 0.799], {"at_least": 0.8}, ">= 0.8 | 0.799, **missed** | 0.5 to 0.9"),
        ([1.0, 1.0, 1.0], {"at_most": 1}, "<= 1 | 1, met | 1 to 1"),
        ([1.0, 2.0, 2.0], {"at_most": 1}, "<= 1 | 2, **missed** | 1 to 2"),
        ([483.2], {}, " | 483 | 483 to 483"),
    ],
)
def test_the_median_is_held_against_the_target(
    seen: list[float], bounds: dict[str, float], said: str
) -> None:
    assert said in str(Row(measure="this", against="that", seen=seen, detail="", **bounds))


def test_a_part_that_fails_says_so_and_leaves_what_it_had_measured() -> None:
    def part(_: Bench) -> Iterator[Row]:
        yield Row(measure="the first", seen=[1.0], detail="")
        raise ValueError("no | luck")

    first, second = measured("part", part, BENCH)

    assert first.seen == [1.0]
    assert str(second) == "| part |  |  | - |  | failed: ValueError('no   luck') |"


def test_what_is_not_installed_is_named() -> None:
    def part(_: Bench) -> Iterator[Row]:
        raise NotHere("HAProxy is not installed")

    [row] = measured("readers", part, BENCH)

    assert str(row) == "| readers |  |  | - |  | not measured here: HAProxy is not installed |"


def test_a_new_table_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    document, (begin, end) = tmp_path / "performance.md", MARKS
    document.write_text(f"before\n{begin}\nold\n\n{end}after\n")

    keep(table([Row(measure="new", detail="")]), document)

    text = document.read_text()
    assert text.startswith(f"before\n{begin}")
    assert text.endswith(f"| new |  |  | - |  |  |\n\n{end}after\n")
    assert "old" not in text


def test_the_document_has_a_place_for_the_table_and_names_each_part() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()

    assert all(text.count(mark) == 1 for mark in MARKS)
    assert all(f"`{name}`" in text for name in PARTS)


def test_without_wrk_each_request_has_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    @get("/", sync_to_thread=False)
    def bare(request: AnyRequest) -> None:
        asked.append(request.url.query)

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(measuring, "SECONDS", 0.2)
    with served(Litestar([bare])) as address:
        assert rate(address + "/?n={number}&m={number%10}") > 0

    numbers = [int(query.split("&")[0].removeprefix("n=")) for query in asked]
    assert len(set(numbers)) == len(numbers)
    assert {f"n={number}&m={number % 10}" for number in numbers} == set(asked)


def test_pgbench_records_what_the_store_does(
    database: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    def rows() -> list[list[Any]]:
        columns = {
            "queries": "timestamp, status, num_results, num_entries, query, outcome",
            "results": "timestamp, result_number, author, title, journal, arxiv_id, version",
            "papers": "*",
        }
        return [
            db.execute(f"select {names} from {table} order by 1, 2".encode()).fetchall()
            for table, names in columns.items()
        ]

    found = arxiv_xml.parse(feed.render(generate(10)))
    response = ArxivResponse(
        timestamp=1_700_000_000,
        status=200,
        num_results=10,
        query="it's :this",
        entries=found.entries,
    )
    answer = create_record(response, uuid4())
    settings = Settings(database_url=make_conninfo(database, user="arxiv_rw"))
    asyncio.run(_saved(settings, answer))
    by_the_store = rows()
    db.execute("truncate queries, results, papers")

    command = recording.pgbench(settings, [answer], tmp_path)
    subprocess.run([*command, "--transactions=1", "--protocol=extended"], check=True)

    assert len(by_the_store[1]) == 10
    assert rows() == by_the_store


async def _saved(settings: Settings, answer: Record) -> None:
    async with create_pools(settings) as connections:
        await RecordStore(connections).insert(answer)
