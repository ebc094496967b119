"""The cost of building the index of papers, and of recording searches with new papers."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import tantivy

from benchmarks.measuring import Row, measure_time, print_progress
from benchmarks.paper_corpus import GeneratedPaper
from service import sql
from service.context import create_pools
from service.db.records import build_insert_values
from service.models.arxiv import Outcome
from service.models.records import PaperInsert, Record, ResultInsert
from service.search_index.indexer import Indexer
from service.search_index.schema import IndexedPaper, create_documents, create_index
from service.settings import Settings

MAX_DOCUMENTS = 100_000
"""Documents that bare tantivy has in memory."""
BARE_BYTES = 150_000_000
"""What its writer may use."""
SEARCHES, NEW_PAPERS = 60, 10
"""Recorded searches, and the new papers in each."""


def measure_build(
    settings: Settings, folder: Path, papers: Iterable[GeneratedPaper], bare_folder: Path
) -> Row:
    """Compare building the index with tantivy adding documents that are in memory already."""
    print_progress("building the index")
    seconds = measure_time(lambda: asyncio.run(_build(settings, folder)))
    total = _count_papers(settings)
    documents = list(islice(_create_documents(papers), MAX_DOCUMENTS))
    print_progress(f"adding {len(documents):,} documents to bare tantivy")
    bare_seconds = measure_time(lambda: _build_bare(bare_folder, documents))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Row(
        measure=f"building the index of {total:,} versions of papers from PostgreSQL, per version",
        against=f"bare tantivy, {len(documents):,} documents in memory",
        seen=[seconds / total / (bare_seconds / len(documents))],
        at_most=2.5,
        detail=f"{seconds:.1f} s, {size / 2**20:,.0f} MiB; bare {bare_seconds:.1f} s",
    )


async def _build(settings: Settings, folder: Path) -> None:
    async with create_pools(settings) as pools:
        await Indexer(pools, folder).update()


def _count_papers(settings: Settings) -> int:
    with psycopg.connect(str(settings.database_url)) as conn:
        [(count,)] = conn.execute("select count(*) from papers").fetchall()
        return int(count)


def _create_documents(papers: Iterable[GeneratedPaper]) -> Iterator[tantivy.Document]:
    for _, versions in groupby(papers, key=lambda paper: paper.arxiv_id):
        yield from create_documents([IndexedPaper(**_list_fields(paper)) for paper in versions])


def _build_bare(folder: Path, documents: Sequence[tantivy.Document]) -> None:
    folder.mkdir()
    writer = create_index(folder).writer(BARE_BYTES)
    for document in documents:
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _list_fields(paper: GeneratedPaper) -> dict[str, Any]:
    values = paper._asdict() | {"affiliations": None, "links": None, "withdrawn": False}
    del values["first_timestamp"]
    return values


class RecordingTimes(NamedTuple):
    """Median milliseconds of statements that record a search with new papers."""

    papers: float
    """Of the statement that stores the papers."""
    everything: float
    """Of all statements, without the commit, which waits for the disk."""


def measure_recording(
    settings: Settings, papers: Iterator[GeneratedPaper], prefix: str
) -> RecordingTimes:
    """Measure recording searches. The ids of their papers begin with `prefix`."""
    times = []
    with psycopg.connect(str(settings.database_url), autocommit=True) as conn:
        for number in range(SEARCHES):
            record = create_record([*islice(papers, NEW_PAPERS)], f"{prefix}{number}")
            times.append(_record(conn, build_insert_values(record)))
    everything = median(map(sum, times))
    return RecordingTimes(median(measured[-1] for measured in times), everything)


def _record(conn: psycopg.Connection, values: dict[str, object]) -> list[float]:
    """Return the milliseconds of each statement."""
    with conn.transaction():
        return [
            measure_time(partial(conn.execute, statement, values, prepare=True)) * 1000
            for statement in (sql.INSERT_QUERY, sql.INSERT_RESULTS, sql.UPSERT_PAPERS)
        ]


def compare_recording(times: RecordingTimes, former: RecordingTimes) -> Iterator[Row]:
    """Compare recording searches with the same when PostgreSQL had the index of papers."""
    for name, ours, before in (
        (f"storing {NEW_PAPERS} new papers", times.papers, former.papers),
        (
            f"recording a search with {NEW_PAPERS} new papers, without the commit",
            times.everything,
            former.everything,
        ),
    ):
        yield Row(
            measure=f"{name}, time of PostgreSQL",
            against="the same with the former column and indexes",
            seen=[ours / before],
            at_most=0.25,
            detail=f"{ours:.2f} ms against {before:.2f} ms, medians of {SEARCHES}",
        )


def create_record(papers: Sequence[GeneratedPaper], name: str) -> Record:
    """Create the record of a search that found papers with new ids, which begin with `name`."""
    moment = int(time.time())
    inserts = [
        PaperInsert(**_list_fields(paper._replace(timestamp=moment, arxiv_id=f"{name}.{number}")))
        for number, paper in enumerate(papers)
    ]
    results = [
        ResultInsert(", ".join(paper.authors), paper.title, paper.journal, paper.arxiv_id, 1)
        for paper in inserts
    ]
    return Record(
        query_id=0,
        timestamp=moment,
        status=200,
        num_results=len(papers),
        num_entries=len(papers),
        query=name,
        outcome=Outcome.OK,
        write_key=uuid4(),
        search_key=uuid4(),
        remarks=None,
        acknowledged=moment,
        results=results,
        papers=inserts,
    )
