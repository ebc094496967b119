"""The cost of `/papers`: against bare tantivy with the same index, and against other engines.

The environment variable BENCH_PAPERS is the number of generated papers.
"""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import psycopg
import tantivy

from benchmarks.measuring import (
    Bench,
    Row,
    compute_ratios,
    measure_time,
    print_progress,
    run_service,
)
from benchmarks.paper_baselines import FormerSearch, SqliteSearch
from benchmarks.paper_corpus import Corpus, GeneratedPaper, copy_papers
from benchmarks.paper_queries import Search, create_searches
from benchmarks.paper_topics import Topic, compute_reciprocal_rank, create_topics
from service import sql
from service.context import create_pools
from service.db.records import build_insert_values
from service.models.arxiv import Outcome
from service.models.records import PaperInsert, Record, ResultInsert
from service.search_index import state
from service.search_index.indexer import Indexer
from service.search_index.queries import build_query
from service.search_index.schema import IndexedPaper, create_documents, create_index, open_index
from service.settings import Settings

PAPERS = int(os.environ.get("BENCH_PAPERS", "100000"))
MIN_COMPARED = 1_000_000
"""With fewer papers, HTTP and PostgreSQL take longer than tantivy: ratios have no target."""
BARE_PAPERS = 100_000
"""Of this many papers, bare tantivy has the documents in memory."""
WARM_ROUNDS = 3
SIMILAR = 20
CLIENTS, CLIENT_SECONDS, CLIENT_ROUNDS = 8, 4, 3
RECORDED, NEW_PAPERS = 60, 10
"""Recorded searches, and the new papers in each."""
BARE_WRITER_BYTES = 150_000_000
PATHS_SCRIPT = Path(__file__).with_name("paths.lua")
YEARS = range(1990, 2030)
AGGREGATIONS = {
    "total": {"value_count": {"field": "sort_key"}},
    "category": {"terms": {"field": "facet", "size": 1000}},
    "year": {
        "range": {
            "field": "published",
            "ranges": [
                {
                    "from": datetime(year, 1, 1, tzinfo=UTC).timestamp(),
                    "to": datetime(year + 1, 1, 1, tzinfo=UTC).timestamp(),
                }
                for year in YEARS
            ],
        }
    },
}


class Times(NamedTuple):
    """Milliseconds of each search."""

    http: list[float]
    bare: list[float]


def measure_paper_search(bench: Bench) -> Iterator[Row]:
    """Measure an index of generated papers: building it, searching, and what other engines take."""
    print_progress(f"generating {PAPERS:,} papers")
    corpus, settings = Corpus(), bench.create_database("papers")
    topics = create_topics(corpus)
    extra = [paper for topic in topics for paper in (*topic.answers, *topic.distractors)]
    with psycopg.connect(bench.get_owner_url("papers"), autocommit=True) as conn:
        copy_papers(conn, chain(corpus.generate(PAPERS), extra))
        conn.execute("vacuum (analyze) papers")
    folder = bench.folder / "index"
    yield from _measure_build(settings, folder, corpus, bench.folder / "bare")
    searches = create_searches(corpus)
    with run_service(settings, {"ARXIV_INDEX_DIR": str(folder)}) as (address, pid):
        with httpx.Client(base_url=address, timeout=60) as client:
            _wait_for_index(client)
            times = _measure_searches(client, folder, searches)
            yield from _compare_times(times)
            yield from _measure_similar(client, corpus)
            ranks = [_rank_topic(client, topic) for topic in topics]
        yield from _measure_clients(address, folder, searches, bench.folder)
        yield _measure_memory(pid)
    yield from _compare_engines(bench, settings, corpus, searches, times, (topics, ranks))


def _measure_build(
    settings: Settings, folder: Path, corpus: Corpus, bare_folder: Path
) -> Iterator[Row]:
    print_progress("building the index")
    seconds = measure_time(lambda: asyncio.run(_build(settings, folder)))
    count = min(PAPERS, BARE_PAPERS)
    print_progress(f"building an index of {count:,} documents with bare tantivy")
    documents = [
        document
        for paper in corpus.generate(count)
        for document in create_documents([_convert_paper(paper)])
    ]
    bare = measure_time(lambda: _build_bare(bare_folder, documents))
    yield Row(
        measure=f"building the index of {PAPERS:,} papers from PostgreSQL, per paper",
        against=f"bare tantivy, {count:,} documents in memory",
        seen=[seconds / PAPERS / (bare / count)],
        at_most=2.5,
        detail=f"{seconds:.1f} s, {_get_size(folder) / 2**20:,.0f} MiB; bare {bare:.1f} s",
    )


async def _build(settings: Settings, folder: Path) -> None:
    async with create_pools(settings) as pools:
        await Indexer(pools, folder).update()


def _convert_paper(paper: GeneratedPaper) -> IndexedPaper:
    return IndexedPaper(**_list_fields(paper))


def _list_fields(paper: GeneratedPaper) -> dict[str, Any]:
    values = paper._asdict() | {"affiliations": None, "links": None, "withdrawn": False}
    del values["first_timestamp"]
    return values


def _build_bare(folder: Path, documents: Sequence[tantivy.Document]) -> None:
    folder.mkdir()
    writer = create_index(folder).writer(BARE_WRITER_BYTES)
    for document in documents:
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


def _get_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _wait_for_index(client: httpx.Client) -> None:
    while client.get("/papers?q=the").status_code != httpx.codes.OK:
        time.sleep(0.1)


def open_searcher(folder: Path) -> tantivy.Searcher:
    """Open the index of the service."""
    current = state.read_state(folder)
    assert current  # noqa: S101 - it was built
    return open_index(folder / current.directory).searcher()


def search_bare(searcher: tantivy.Searcher, query: tantivy.Query) -> None:
    """Find the keys of the first ten papers; count matches, categories and years."""
    for _, address in searcher.search(query, 10, count=False).hits:
        searcher.doc(address)
    searcher.aggregate(query, AGGREGATIONS)


def _measure_searches(client: httpx.Client, folder: Path, searches: Sequence[Search]) -> Times:
    """Measure each search alternately through HTTP and in this process, when both are warm."""
    searcher = open_searcher(folder)
    times = Times([], [])
    for number, search in enumerate(searches):
        if number % 20 == 0:
            print_progress(f"searches of papers: {number} of {len(searches)}")
        calls = (
            partial(_get, client, search.params),
            partial(search_bare, searcher, build_query(search.filters)),
        )
        for call in calls:
            call()
        rounds = [[measure_time(call) * 1000 for call in calls] for _ in range(WARM_ROUNDS)]
        for values, measured in zip(times, zip(*rounds, strict=True), strict=True):
            values.append(median(measured))
    return times


def _get(client: httpx.Client, params: dict[str, str]) -> httpx.Response:
    return client.get("/papers", params=params | {"items_per_page": "10"}).raise_for_status()


def _compare_times(times: Times) -> Iterator[Row]:
    http, bare = times
    name = f"`/papers`, {len(http)} mixed searches of {PAPERS:,} papers, whole response"
    for statistic, compute, target in STATISTICS:
        yield Row(
            measure=f"{name}: {statistic}, ms",
            seen=[compute(http)],
            at_most=target,
            detail=f"bare tantivy {compute(bare):.2f} ms",
        )
    yield Row(
        measure="the same: time of all of them",
        against="bare tantivy: the same searches and aggregations",
        seen=[sum(http) / sum(bare)],
        at_most=2 if PAPERS >= MIN_COMPARED else None,
        detail=f"{sum(http):,.0f} ms against {sum(bare):,.0f} ms",
    )


def _compute_95th_percentile(values: Sequence[float]) -> float:
    return quantiles(values, n=20)[-1]


STATISTICS: tuple[tuple[str, Callable[[Sequence[float]], float], float], ...] = (
    ("median", median, 60),
    ("95th percentile", _compute_95th_percentile, 150),
    ("maximum", max, 500),
)


def _measure_similar(client: httpx.Client, corpus: Corpus) -> Iterator[Row]:
    papers = islice(corpus.generate(PAPERS), 0, None, max(1, PAPERS // SIMILAR))
    paths = [f"/papers/{paper.arxiv_id}/similar" for paper in islice(papers, SIMILAR)]
    if not client.get(paths[0]).is_success:
        return
    times = [
        measure_time(lambda: client.get(path).raise_for_status()) * 1000  # noqa: B023 - called here
        for path in [*paths, *paths]
    ]
    yield Row(
        measure=f"`/papers/{{arxiv_id}}/similar` among {PAPERS:,} papers, ms",
        seen=times[SIMILAR:],
        at_most=50,
        detail=f"{SIMILAR} papers, the second time",
    )


def _measure_clients(
    address: str, folder: Path, searches: Sequence[Search], temporary: Path
) -> Iterator[Row]:
    """Compare the searches per second of several clients with two threads of bare tantivy."""
    name = f"searches per second of {CLIENTS} clients, {PAPERS:,} papers"
    if not (wrk := shutil.which("wrk")):
        yield Row(measure=name, detail="not available: wrk is not installed")
        return
    paths = temporary / "paths"
    paths.write_text("".join(f"/papers?{urlencode(each.params)}\n" for each in searches))
    searcher = open_searcher(folder)
    queries = [build_query(each.filters) for each in searches]
    rates = []
    for number in range(CLIENT_ROUNDS):
        print_progress(f"{CLIENTS} clients: round {number + 1} of {CLIENT_ROUNDS}")
        rates.append((_measure_wrk(wrk, address, paths), _measure_bare_threads(searcher, queries)))
    ours, bare = zip(*rates, strict=True)
    yield Row(
        measure=name,
        against="bare tantivy, two threads",
        seen=compute_ratios(ours, bare),
        at_least=0.5 if PAPERS >= MIN_COMPARED else None,
        detail=f"{median(ours):,.0f} against {median(bare):,.0f}",
    )


def _measure_wrk(wrk: str, address: str, paths: Path) -> float:
    options = [f"-t1 -c{CLIENTS} -d{CLIENT_SECONDS}s --timeout 30s -s"]
    command = [wrk, *" ".join(options).split(), str(PATHS_SCRIPT), address, "--", str(paths)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own arguments
    assert "Non-2xx" not in output, output  # noqa: S101
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0])


def _measure_bare_threads(
    searcher: tantivy.Searcher, queries: Sequence[tantivy.Query], threads: int = 2
) -> float:
    deadline = time.perf_counter() + CLIENT_SECONDS
    remaining = cycle(queries)

    def search_repeatedly() -> int:
        count = 0
        while time.perf_counter() < deadline:
            search_bare(searcher, next(remaining))
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        counts = [pool.submit(search_repeatedly) for _ in range(threads)]
        return sum(count.result() for count in counts) / CLIENT_SECONDS


def _measure_memory(pid: int) -> Row:
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = dict(re.findall(r"(Rss\w+):\s+(\d+) kB", status))
    anonymous, files = (int(sizes[name]) / 1024 for name in ("RssAnon", "RssFile"))
    return Row(
        measure="memory of the service with the index open, beyond the page cache, MiB",
        seen=[anonymous],
        at_most=300,
        detail=f"after all searches; {files:,.0f} MiB of its files are mapped",
    )


def _compare_engines(
    bench: Bench,
    settings: Settings,
    corpus: Corpus,
    searches: Sequence[Search],
    times: Times,
    ranking: tuple[list[Topic], list[float]],
) -> Iterator[Row]:
    """Measure SQLite, and the former search after its column and its indexes are restored."""
    print_progress("recording searches without full-text search in PostgreSQL")
    recorded = _measure_recording(settings, corpus, "a")
    print_progress("restoring the former search")
    with (
        closing(FormerSearch(bench.get_owner_url("papers"))) as former,
        closing(SqliteSearch(bench.folder / "sqlite", corpus.generate(PAPERS))) as sqlite,
    ):
        former.restore()
        before = _measure_recording(settings, corpus, "b")
        yield Row(
            measure=f"recording a search with {NEW_PAPERS} new papers, database time",
            against="with the former column and indexes",
            seen=[recorded / before],
            at_most=0.25,
            detail=f"{recorded:.2f} ms against {before:.2f} ms; median of {RECORDED}",
        )
        compared = [
            (search, milliseconds)
            for search, milliseconds in zip(searches, times.http, strict=True)
            if search.fts5
        ]
        ours = [milliseconds for _, milliseconds in compared]
        for name, measured in (
            (
                "SQLite FTS5, bm25 and total",
                [_measure(sqlite.search, each.fts5) for each, _ in compared],
            ),
            (
                "the former search in PostgreSQL (newest 20,000 ranked, 100,000 counted)",
                [_measure(former.search, s.tsquery) for s, _ in compared],
            ),
        ):
            yield Row(
                measure=f"the {len(ours)} of these searches without filters: time of all of them",
                against=name,
                seen=[sum(ours) / sum(measured)],
                detail=_describe(ours) + " against " + _describe(measured),
            )
        yield _compare_rankings(former, *ranking)


def _describe(values: Sequence[float]) -> str:
    computed = (compute(values) for _, compute, _ in STATISTICS)
    return " / ".join(f"{value:,.1f}" for value in computed) + " ms"


def _measure(search: Callable[[str], object], query: str | None) -> float:
    """Return the milliseconds of a search when it is warm."""
    assert query  # noqa: S101 - searches with filters are not compared
    search(query)
    return measure_time(lambda: search(query)) * 1000


def _measure_recording(settings: Settings, corpus: Corpus, prefix: str) -> float:
    """Return the median milliseconds of the transaction that records a search with new papers."""
    papers = corpus.generate(RECORDED * NEW_PAPERS)
    times = []
    with psycopg.connect(str(settings.database_url), autocommit=True) as conn:
        for number in range(RECORDED):
            record = _create_record([*islice(papers, NEW_PAPERS)], f"{prefix}{number}")
            values = build_insert_values(record)
            times.append(measure_time(partial(_record, conn, values)) * 1000)
    return median(times)


def _record(conn: psycopg.Connection, values: dict[str, object]) -> None:
    statements = (sql.INSERT_QUERY, sql.INSERT_RESULTS, sql.UPSERT_PAPERS)
    with conn.transaction():
        for statement in statements:
            conn.execute(statement, values, prepare=True)


def _create_record(papers: Sequence[GeneratedPaper], name: str) -> Record:
    """Create the record of a search that found papers with new ids."""
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


def _rank_topic(client: httpx.Client, topic: Topic) -> float:
    papers = _get(client, {"q": " ".join(topic.words)}).json()["papers"]
    return compute_reciprocal_rank(topic, [paper["arxiv_id"] for paper in papers])


def _compare_rankings(former: FormerSearch, topics: Sequence[Topic], ranks: list[float]) -> Row:
    former_ranks = [
        compute_reciprocal_rank(topic, former.search(" & ".join(topic.words))) for topic in topics
    ]
    return Row(
        measure=f"mean reciprocal rank of known answers among the first ten, {len(topics)} topics",
        against="the former ranking (ts_rank_cd)",
        seen=[fmean(ranks) / fmean(former_ranks)],
        at_least=1,
        detail=f"{fmean(ranks):.2f} against {fmean(former_ranks):.2f}",
    )
