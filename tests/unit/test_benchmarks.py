"""The table of `python -m benchmarks` and its measurements; their values are not tested."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from litestar import Litestar, get
from psycopg.conninfo import make_conninfo

from benchmarks import measuring, proxying, recording, workers
from benchmarks.__main__ import MARKS, PARTS, format_table, main, run_part, save_table
from benchmarks.measuring import Bench, NotAvailable, Row, ServiceExited, measure_rate, serve_app
from demo import feed
from demo.arxiv import Request
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
    ("seen", "target", "cells"),
    [
        ([0.9, 0.5, 0.8], {"at_least": 0.8}, ">= 0.8 | 0.8, met | 0.5 to 0.9"),
        ([0.9, 0.5, 0.799], {"at_least": 0.8}, ">= 0.8 | 0.799, **missed** | 0.5 to 0.9"),
        ([1.0, 1.0, 1.0], {"at_most": 1}, "<= 1 | 1, met | 1 to 1"),
        ([1.0, 2.0, 2.0], {"at_most": 1}, "<= 1 | 2, **missed** | 1 to 2"),
        ([483.2], {}, " | 483 | 483 to 483"),
    ],
)
def test_median_is_compared_with_target(
    seen: list[float], target: dict[str, float], cells: str
) -> None:
    assert cells in str(Row(measure="this", against="that", seen=seen, detail="", **target))


def test_part_that_fails_keeps_its_rows_and_adds_the_reason() -> None:
    def part(_: Bench) -> Iterator[Row]:
        yield Row(measure="the first", seen=[1.0], detail="")
        raise ValueError("no | luck")

    first, second = run_part("part", part, BENCH)

    assert first.seen == [1.0]
    assert str(second) == "| part |  |  | - |  | failed: ValueError('no   luck') |"


def test_row_names_missing_program() -> None:
    def part(_: Bench) -> Iterator[Row]:
        raise NotAvailable("HAProxy is not installed")

    [row] = run_part("readers", part, BENCH)

    assert str(row) == "| readers |  |  | - |  | not available: HAProxy is not installed |"


def test_table_is_saved_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(_: Bench) -> Iterator[Row]:
        yield Row(measure="this", seen=[1.0], detail="")

    monkeypatch.setitem(PARTS, "record", part)
    monkeypatch.chdir(tmp_path)
    document = ROOT / "docs" / "performance.md"
    before = document.read_bytes()

    main(["record"])
    printed = capsys.readouterr().out
    assert "| this |  |  | 1 | 1 to 1 |  |" in printed
    assert list(tmp_path.iterdir()) == []
    assert document.read_bytes() == before

    main(["record", "--save", "a table.md"])
    assert (tmp_path / "a table.md").read_text() == capsys.readouterr().out


def test_unknown_part_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["record", "nothing"])

    assert "unknown part: nothing" in capsys.readouterr().err


def test_saved_table_replaces_the_table_of_a_document(tmp_path: Path) -> None:
    document, (begin, end) = tmp_path / "performance.md", MARKS
    document.write_text(f"before\n{begin}\nold\n\n{end}after\n")

    save_table(format_table([Row(measure="new", detail="")]), document)

    text = document.read_text()
    assert text.startswith(f"before\n{begin}")
    assert text.endswith(f"| new |  |  | - |  |  |\n\n{end}after\n")
    assert "old" not in text


def test_document_has_place_for_table_and_describes_each_part() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()

    assert all(text.count(mark) == 1 for mark in MARKS)
    assert all(f"`{name}`" in text for name in PARTS)


def test_bundled_client_numbers_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[str] = []

    @get("/", sync_to_thread=False)
    def bare(request: AnyRequest) -> None:
        queries.append(request.url.query)

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(measuring, "ROUND_SECONDS", 0.2)
    with serve_app(Litestar([bare])) as address:
        assert measure_rate(address + "/?n={number}&m={number%10}") > 0

    numbers = [int(query.split("&")[0].removeprefix("n=")) for query in queries]
    assert len(set(numbers)) == len(numbers)
    assert {f"n={number}&m={number % 10}" for number in numbers} == set(queries)


def test_service_that_exits_reports_its_output(database: str) -> None:
    settings = Settings(database_url=database, database_ro_url=database)
    service = measuring.run_service(settings, {"ARXIV_NO_SETTING": "1"})

    with pytest.raises(ServiceExited, match="ARXIV_NO_SETTING"), service:
        pass


def test_workers_are_not_available_without_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def run_service(_: Settings, settings: dict[str, str]) -> Iterator[tuple[str, int]]:
        raise ServiceExited(f"{next(iter(settings))}: there is no such setting")
        yield "", 0

    monkeypatch.setattr(workers, "run_service", run_service)
    monkeypatch.setitem(BENCH.__dict__, "million", Settings())

    [row] = run_part("workers", workers.measure_workers, BENCH)

    assert row.detail == "not available: ARXIV_WORKERS: there is no such setting"


def test_pgbench_writes_the_same_rows_as_the_store(
    database: str, db: psycopg.Connection, tmp_path: Path
) -> None:
    def fetch_rows() -> list[list[Any]]:
        columns = {
            "queries": "timestamp, status, num_results, num_entries, query, outcome",
            "results": "timestamp, result_number, author, title, journal, arxiv_id, version",
            "papers": "arxiv_id, version, to_jsonb(papers) - 'changed'",  # by another transaction
        }
        return [
            db.execute(f"select {names} from {table} order by 1, 2".encode()).fetchall()
            for table, names in columns.items()
        ]

    parsed = arxiv_xml.parse_feed(feed.render(generate(10)))
    response = ArxivResponse(
        timestamp=1_700_000_000,
        status=200,
        num_results=10,
        query="it's :this",
        entries=parsed.entries,
    )
    record = create_record(response, uuid4())
    settings = Settings(database_url=make_conninfo(database, user="arxiv_rw"))
    asyncio.run(_save(settings, record))
    rows_of_store = fetch_rows()
    db.execute("truncate queries, results, papers")

    command = recording.create_pgbench_command(settings, [record], tmp_path)
    subprocess.run([*command, "--transactions=1", "--protocol=extended"], check=True)

    assert len(rows_of_store[1]) == 10
    assert fetch_rows() == rows_of_store


async def _save(settings: Settings, record: Record) -> None:
    async with create_pools(settings) as pools:
        await RecordStore(pools).insert(record)


def test_half_of_the_proxied_searches_are_repeats_in_a_fixed_order() -> None:
    queries = proxying.create_queries(1)

    assert len(queries) == 2 * len(set(queries)) == proxying.SEARCHES
    assert queries == proxying.create_queries(1)
    assert not set(queries) & set(proxying.create_queries(2))


def test_request_is_early_within_the_interval_after_any_earlier_one() -> None:
    interval = proxying.INTERVAL
    times = [(0, 10), (1, 2), (3, 4), (10 + interval / 2, 11), (11 + interval, 12)]
    requests = [
        Request("GET", "", b"", {}, started=started, ended=ended) for started, ended in times
    ]

    assert proxying.count_early(requests) == 3
