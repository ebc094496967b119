"""The cost of `/papers`: against bare tantivy with the same index, and against other engines.

The environment variable BENCH_PAPERS is the number of generated papers.
"""

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
from typing import NamedTuple
from urllib.parse import urlencode

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
from benchmarks.paper_corpus import Corpus, copy_papers
from benchmarks.paper_queries import Search, create_searches, match_all
from benchmarks.paper_topics import Topic, compute_reciprocal_rank, create_topics
from benchmarks.paper_writing import compare_recording, measure_build, measure_recording
from service.search_index import state
from service.search_index.queries import build_query
from service.search_index.schema import open_index

PAPERS = int(os.environ.get("BENCH_PAPERS", "50000"))
VERSIONS = 1.1
"""Stored versions of each paper."""
MIN_COMPARED = 1_000_000
"""With fewer papers, HTTP and PostgreSQL take longer than tantivy: ratios have no target."""
WARM_ROUNDS = 3
SIMILAR = 20
CLIENTS, CLIENT_SECONDS, CLIENT_ROUNDS = 8, 3, 3
FORMER_SEARCH = "the former search in PostgreSQL, newest 20,000 ranked, newest 100,000 counted"
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
    _store_papers(bench.get_owner_url("papers"), corpus, topics)
    folder, searches = bench.folder / "index", create_searches(corpus)
    papers = corpus.generate(PAPERS, VERSIONS)
    yield measure_build(settings, folder, papers, bench.folder / "bare")
    with (
        run_service(settings, {"ARXIV_INDEX_DIR": str(folder)}) as (address, pid),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        wait_for_index(client)
        times = _measure_searches(client, folder, searches)
        yield from _compare_times(times)
        yield _measure_similar(client, corpus)
        ranks = [_rank_topic(client, topic) for topic in topics]
        yield _measure_clients(address, folder, searches, bench.folder)
        yield _measure_memory(pid)
    print_progress("searching with SQLite")
    with closing(SqliteSearch(bench.folder / "sqlite", corpus.generate(PAPERS))) as sqlite:
        yield _compare_engine("SQLite FTS5, bm25 and total", sqlite.search, searches, times)
    recorded = measure_recording(settings, corpus.generate(PAPERS), "a")
    print_progress("restoring the former search")
    with closing(FormerSearch(bench.get_owner_url("papers"))) as former:
        former.restore()
        before = measure_recording(settings, corpus.generate(PAPERS), "b")
        yield from compare_recording(recorded, before)
        yield _compare_engine(FORMER_SEARCH, former.search, searches, times)
        yield _compare_rankings(former, topics, ranks)


def _store_papers(url: str, corpus: Corpus, topics: Sequence[Topic]) -> None:
    of_topics = [paper for topic in topics for paper in (*topic.answers, *topic.distractors)]
    with psycopg.connect(url, autocommit=True) as conn:
        copy_papers(conn, chain(corpus.generate(PAPERS, VERSIONS), of_topics))
        conn.execute("vacuum (analyze) papers")


def wait_for_index(client: httpx.Client) -> None:
    """Return when papers can be searched."""
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


def _measure_similar(client: httpx.Client, corpus: Corpus) -> Row:
    papers = islice(corpus.generate(PAPERS), 0, None, max(1, PAPERS // SIMILAR))
    paths = [f"/papers/{paper.arxiv_id}/similar" for paper in islice(papers, SIMILAR)]
    times = [
        measure_time(lambda: client.get(path).raise_for_status()) * 1000  # noqa: B023 - called here
        for path in [*paths, *paths]
    ]
    return Row(
        measure=f"`/papers/{{arxiv_id}}/similar` among {PAPERS:,} papers, ms",
        seen=times[SIMILAR:],
        at_most=50,
        detail=f"{SIMILAR} papers, the second time",
    )


def _measure_clients(
    address: str, folder: Path, searches: Sequence[Search], temporary: Path
) -> Row:
    """Compare the searches per second of several clients with two threads of bare tantivy."""
    name = f"searches per second of {CLIENTS} clients, {PAPERS:,} papers"
    if not (wrk := shutil.which("wrk")):
        return Row(measure=name, detail="not available: wrk is not installed")
    paths = temporary / "paths"
    paths.write_text("".join(f"/papers?{urlencode(each.params)}\n" for each in searches))
    searcher = open_searcher(folder)
    queries = [build_query(each.filters) for each in searches]
    rates = []
    for number in range(CLIENT_ROUNDS):
        print_progress(f"{CLIENTS} clients: round {number + 1} of {CLIENT_ROUNDS}")
        rates.append((_measure_wrk(wrk, address, paths), _measure_bare_threads(searcher, queries)))
    ours, bare = zip(*rates, strict=True)
    return Row(
        measure=name,
        against="bare tantivy, two threads",
        seen=compute_ratios(ours, bare),
        at_least=0.5 if PAPERS >= MIN_COMPARED else None,
        detail=f"{median(ours):,.0f} against {median(bare):,.0f}",
    )


def _measure_wrk(wrk: str, address: str, paths: Path) -> float:
    options = ["-t1", f"-c{CLIENTS}", f"-d{CLIENT_SECONDS}s", "--timeout", "30s"]
    command = [wrk, *options, "-s", str(PATHS_SCRIPT), address, "--", str(paths)]
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


def _compare_engine(
    name: str, search: Callable[[Search], object], searches: Sequence[Search], times: Times
) -> Row:
    pairs = zip(searches, times.http, strict=True)
    compared = [(each, milliseconds) for each, milliseconds in pairs if each.is_plain]
    ours = [milliseconds for _, milliseconds in compared]
    theirs = []
    for each, _ in compared:
        search(each)
        theirs.append(measure_time(partial(search, each)) * 1000)
    return Row(
        measure=f"the {len(compared)} of these searches without filters: time of all of them",
        against=name,
        seen=[sum(ours) / sum(theirs)],
        detail=f"median / 95th percentile / maximum: {_describe(ours)} against {_describe(theirs)}",
    )


def _describe(values: Sequence[float]) -> str:
    computed = (compute(values) for _, compute, _ in STATISTICS)
    return " / ".join(f"{value:,.1f}" for value in computed) + " ms"


def _rank_topic(client: httpx.Client, topic: Topic) -> float:
    papers = _get(client, {"q": " ".join(topic.words)}).json()["papers"]
    return compute_reciprocal_rank(topic, [paper["arxiv_id"] for paper in papers])


def _compare_rankings(former: FormerSearch, topics: Sequence[Topic], ranks: list[float]) -> Row:
    found = [former.search(match_all("topic", *topic.words)) for topic in topics]
    former_ranks = list(map(compute_reciprocal_rank, topics, found))
    return Row(
        measure=f"mean reciprocal rank of known answers among the first ten, {len(topics)} topics",
        against="the former ranking (ts_rank_cd)",
        seen=[fmean(ranks) / fmean(former_ranks)],
        at_least=1,
        detail=f"{fmean(ranks):.2f} against {fmean(former_ranks):.2f}",
    )
