"""The import of a snapshot with generated lines, against COPY of the same rows.

The environment variable BENCH_PAPERS is the number of lines.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg

from benchmarks.measuring import (
    ROOT,
    Bench,
    Row,
    compute_ratios,
    copy_environment,
    measure_time,
    print_progress,
    run_rounds,
)
from benchmarks.paper_corpus import Corpus, GeneratedPaper
from service.context import create_pools
from service.search_index.indexer import Indexer
from service.settings import Settings

LINES = int(os.environ.get("BENCH_PAPERS", "60000"))
TABLES = {
    "papers": "arxiv_id, version, timestamp, title, authors, affiliations, abstract, journal,"
    " comment, published, updated, dois, primary_category, categories, withdrawn, group_authors,"
    " source, other_sources",
    "paper_details": "arxiv_id, version, datestamp, submitter, license, report_number, msc_class,"
    " acm_class, versions, source, other_sources",
}
"""The columns that an import fills."""


def measure_import(bench: Bench) -> Iterator[Row]:
    """Measure the command `import`, and plain COPY into the same tables."""
    print_progress(f"generating a snapshot of {LINES:,} lines")
    path = bench.folder / "snapshot.json"
    write_snapshot(path, Corpus(), LINES)
    settings, url = bench.create_database("import"), bench.get_owner_url("import")
    memory: list[float] = []
    with psycopg.connect(url, autocommit=True) as conn:
        measure_command(conn, settings, path)
        rows = _save_rows(conn, bench.folder)
        imports, copies = run_rounds(
            "import",
            lambda: measure_command(conn, settings, path, memory),
            lambda: measure_copy(conn, rows),
        )
        yield Row(
            measure=f"import of {LINES:,} lines, rate",
            against="psycopg, COPY of the same rows as text into the same tables",
            seen=compute_ratios(copies, imports),
            at_least=0.8,
            detail=f"{median(imports):.1f} s against {median(copies):.1f} s, without the start of"
            " the command",
        )
        yield Row(
            measure="memory of the import with its worker processes, MiB",
            seen=memory,
            at_most=400,
            detail="RssAnon of all its processes, the maximum of each round",
        )
        measure_command(conn, settings, path)
        yield _measure_disk(conn, settings, bench.folder / "import-index")


def write_snapshot(path: Path, corpus: Corpus, count: int) -> None:
    """Write a snapshot of generated papers, oldest first."""
    with path.open("wb") as file:
        for paper in corpus.generate(count):
            file.write(create_line(paper))


def create_line(paper: GeneratedPaper) -> bytes:
    """Return the line of a paper, as in the snapshot of Kaggle."""
    first = datetime.fromtimestamp(paper.published, UTC)
    names = [name.rpartition(" ")[::2] for name in paper.authors]
    fields = {
        "id": paper.arxiv_id,
        "submitter": paper.authors[0],
        "authors": ", ".join(paper.authors),
        "title": paper.title,
        "comments": paper.comment,
        "journal-ref": paper.journal,
        "doi": paper.dois[0] if paper.dois else None,
        "report-no": None,
        "categories": " ".join(paper.categories),
        "license": "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "abstract": f"  {_break_lines(paper.abstract)}\n",
        "versions": [{"version": "v1", "created": first.strftime("%a, %d %b %Y %H:%M:%S GMT")}],
        "update_date": first.strftime("%Y-%m-%d"),
        "authors_parsed": [[family, given, ""] for given, family in names],
    }
    return json.dumps(fields).encode() + b"\n"


def _break_lines(text: str, words: int = 11) -> str:
    pieces = text.split(" ")
    lines = (" ".join(pieces[start : start + words]) for start in range(0, len(pieces), words))
    return "\n".join(lines)


def measure_command(
    conn: psycopg.Connection, settings: Settings, path: Path, memory: list[float] | None = None
) -> float:
    """Return the seconds that the command reports, with empty tables; append its memory in MiB."""
    _clear(conn)
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "service", "import", str(path)],
        cwd=ROOT,
        env=copy_environment() | {"ARXIV_DATABASE_URL": str(settings.database_url)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _read_memory(process.pid))
            time.sleep(0.05)
        summary = process.stdout.read() if process.stdout else ""
    if memory is not None:
        memory.append(peak)
    rate = re.findall(r"([\d,]+) lines/s", summary)[0].replace(",", "")
    return LINES / float(rate)


def _read_memory(pid: int) -> float:
    """Return the resident MiB of a process and its children, without shared pages."""
    total = 0
    try:
        for each in (str(pid), *_list_children(pid)):
            status = Path(f"/proc/{each}/status").read_text()
            total += int(status.partition("RssAnon:")[2].split()[0])
    except (OSError, IndexError):
        return 0
    return total / 1024


def _list_children(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _save_rows(conn: psycopg.Connection, folder: Path) -> dict[str, Path]:
    """Write what the import has stored as files for COPY."""
    paths = {table: folder / f"{table}.copy" for table in TABLES}
    for table, path in paths.items():
        statement = f"copy (select {TABLES[table]} from {table}) to stdout"  # noqa: S608
        with path.open("wb") as file, conn.cursor().copy(statement.encode()) as copy:
            for block in copy:
                file.write(block)
    return paths


def measure_copy(conn: psycopg.Connection, paths: dict[str, Path]) -> float:
    """Return the seconds of COPY of files into empty tables."""
    _clear(conn)
    return measure_time(lambda: _copy(conn, paths))


def _copy(conn: psycopg.Connection, paths: dict[str, Path]) -> None:
    with conn.transaction():
        for table, path in paths.items():
            statement = f"copy {table} ({TABLES[table]}) from stdin".encode()
            with path.open("rb") as file, conn.cursor().copy(statement) as copy:
                while block := file.read(2**18):
                    copy.write(block)


def _clear(conn: psycopg.Connection) -> None:
    conn.execute("truncate papers, paper_details, mirror_imports")
    conn.execute("checkpoint")


def _measure_disk(conn: psycopg.Connection, settings: Settings, folder: Path) -> Row:
    """Build the search index, and measure its size and that of the tables."""
    print_progress("building the search index")
    seconds = measure_time(lambda: asyncio.run(_build_index(settings, folder)))
    index = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sizes = conn.execute(
        "select pg_total_relation_size('papers'), pg_total_relation_size('paper_details')"
    ).fetchone()
    papers, details = sizes or (0, 0)
    shutil.rmtree(folder)
    return Row(
        measure=f"disk of {LINES:,} imported papers, bytes per paper",
        seen=[(papers + details + index) / LINES],
        detail=f"papers {papers / 2**20:,.0f} MiB, paper_details {details / 2**20:,.0f} MiB, search"
        f" index {index / 2**20:,.0f} MiB, which was built in {seconds:.1f} s",
    )


async def _build_index(settings: Settings, folder: Path) -> None:
    async with create_pools(settings) as pools:
        await Indexer(pools, folder).update()
