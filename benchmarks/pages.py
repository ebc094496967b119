"""The cost of pages: against JSON of the same searches, and against pages of datasette.

The environment variable BENCH_PAPERS is the number of generated papers.
"""

import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import psycopg
from lxml import html

from benchmarks.measuring import (
    ROOT,
    Bench,
    NotAvailable,
    Row,
    compute_ratios,
    measure_rate,
    measure_time,
    print_progress,
    run_rounds,
    run_service,
)
from benchmarks.paper_corpus import Corpus, GeneratedPaper, copy_papers
from benchmarks.paper_queries import Search, create_searches
from benchmarks.paper_search import (
    MIN_COMPARED,
    PAPERS,
    VERSIONS,
    WARM_ROUNDS,
    wait_for_index,
)

DATASETTE = ROOT / ".venv-clients" / "datasette" / "bin" / "datasette"
ROWS = 20
MAX_REQUESTS, MAX_KILOBYTES = 4, 60
ACCEPT = {"accept": "text/html", "accept-encoding": "gzip"}
SQLITE_COLUMNS = (
    "arxiv_id",
    "version",
    "title",
    "authors",
    "abstract",
    "journal",
    "comment",
    "published",
    "updated",
    "primary_category",
    "categories",
)


def measure_pages(bench: Bench) -> Iterator[Row]:
    """Measure `/search` over generated papers, and datasette with the same papers."""
    print_progress(f"generating {PAPERS:,} papers")
    corpus, settings = Corpus(), bench.create_database("pages")
    with psycopg.connect(bench.get_owner_url("pages"), autocommit=True) as conn:
        copy_papers(conn, corpus.generate(PAPERS, VERSIONS))
        conn.execute("vacuum (analyze) papers")
    folder = bench.folder / "pages-index"
    with (
        run_service(settings, {"ARXIV_INDEX_DIR": str(folder)}) as (address, _),
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        wait_for_index(client)
        yield from compare_with_json(client, create_searches(corpus))
        yield from measure_first_visit(client, corpus)
        yield compare_with_datasette(address, corpus, bench.folder / "papers.db")


def compare_with_json(client: httpx.Client, searches: Sequence[Search]) -> Iterator[Row]:
    """Compare each search as a page with its JSON response, alternately."""
    pages, responses = [], []
    for number, search in enumerate(searches):
        if number % 20 == 0:
            print_progress(f"pages of searches: {number} of {len(searches)}")
        page, response = _measure_search(client, search)
        pages.append(page)
        responses.append(response)
    ratios = [page / response for page, response in zip(pages, responses, strict=True)]
    yield Row(
        measure=f"`/search`, {len(searches)} mixed searches of {PAPERS:,} papers: time of all",
        against="`/papers` as JSON, the same searches",
        seen=[sum(pages) / sum(responses)],
        at_most=1.5 if PAPERS >= MIN_COMPARED else None,
        detail=f"{sum(pages):,.0f} ms against {sum(responses):,.0f} ms",
    )
    yield Row(
        measure="the same: each search",
        against="`/papers` as JSON, the same search",
        seen=ratios,
        detail=f"median {median(pages):.1f} ms against {median(responses):.1f} ms",
    )


def _measure_search(client: httpx.Client, search: Search) -> tuple[float, float]:
    """Return the milliseconds of the page and of the JSON response, when both are warm."""
    calls = [partial(_get, client, path, search.params) for path in ("/search", "/papers")]
    for call in calls:
        call()
    rounds = [[measure_time(call) * 1000 for call in calls] for _ in range(WARM_ROUNDS)]
    page, response = (median(times) for times in zip(*rounds, strict=True))
    return page, response


def _get(client: httpx.Client, path: str, params: dict[str, str]) -> httpx.Response:
    headers = ACCEPT if path == "/search" else {"accept-encoding": "gzip"}
    return client.get(path, params=params, headers=headers).raise_for_status()


def measure_first_visit(client: httpx.Client, corpus: Corpus) -> Iterator[Row]:
    """Measure what a browser without a cache requests for a page of results."""
    search = next(each for each in create_searches(corpus) if each.is_plain)
    page = _get(client, "/search", search.params)
    links = html.document_fromstring(page.text).iterfind("head/*")
    loaded = [
        each.get("href" if each.tag == "link" else "src")
        for each in links
        if each.tag == "script" or each.get("rel") in {"stylesheet", "icon"}
    ]
    files = [path for path in loaded if path]
    responses = [page, *(client.get(path, headers=ACCEPT).raise_for_status() for path in files)]
    sizes = [response.num_bytes_downloaded / 1000 for response in responses]
    yield Row(
        measure="first visit of `/search`, kB with gzip",
        seen=[sum(sizes)],
        at_most=MAX_KILOBYTES,
        detail=", ".join(
            f"{response.url.path} {size:.1f}"
            for response, size in zip(responses, sizes, strict=True)
        ),
    )
    yield Row(
        measure="the same: requests",
        seen=[len(responses)],
        at_most=MAX_REQUESTS,
        detail="the page, the style sheet, the script and the icon",
    )


def compare_with_datasette(address: str, corpus: Corpus, path: Path) -> Row:
    """Compare the pages per second of the newest papers with those of datasette."""
    measure = f"`/search`, {ROWS} newest of {PAPERS:,} papers, pages per second"
    if not DATASETTE.exists():
        return Row(measure=measure, detail="not available: `make bench` installs datasette")
    print_progress("storing the papers for datasette")
    store_in_sqlite(path, corpus.generate(PAPERS))
    with run_datasette(path) as datasette:
        query = f"_size={ROWS}&_sort_desc=published&_facet=primary_category"
        ours, theirs = run_rounds(
            "pages",
            partial(measure_rate, f"{address}/search?order=newest&items_per_page={ROWS}"),
            partial(measure_rate, f"{datasette}/{path.stem}/papers?{query}"),
        )
    return Row(
        measure=measure,
        against="datasette, the same rows, one facet",
        seen=compute_ratios(ours, theirs),
        at_least=3,
        detail=f"{median(ours):,.0f} against {median(theirs):,.1f}; ours with facets and histogram",
    )


def store_in_sqlite(path: Path, papers: Iterable[GeneratedPaper]) -> None:
    """Store papers in a new SQLite database, with indexes for the order and the facet."""
    columns = ", ".join(SQLITE_COLUMNS)
    marks = ", ".join("?" * len(SQLITE_COLUMNS))
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(f"create table papers ({columns})")
        conn.executemany(f"insert into papers values ({marks})", map(_list_values, papers))  # noqa: S608 - our own columns
        conn.execute("create index newest on papers (published)")
        conn.execute("create index facet on papers (primary_category)")


def _list_values(paper: GeneratedPaper) -> list[object]:
    values = (getattr(paper, name) for name in SQLITE_COLUMNS)
    return [", ".join(value) if isinstance(value, list) else value for value in values]


@contextmanager
def run_datasette(path: Path) -> Iterator[str]:
    """Run datasette with a database that it may treat as immutable; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    # suggestions of other facets would take most of its time
    values = {"facet_time_limit_ms": 60_000, "sql_time_limit_ms": 60_000, "suggest_facets": "off"}
    settings = [text for name, value in values.items() for text in ("--setting", name, str(value))]
    command = [str(DATASETTE), "serve", "--immutable", str(path), "--port", str(port), *settings]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for_server(process, f"{address}/{path.stem}/papers?_size=1")
            yield address
        finally:
            process.terminate()


def _wait_for_server(process: subprocess.Popen[bytes], url: str) -> None:
    while True:
        try:
            httpx.get(url, timeout=60).raise_for_status()
        except httpx.TransportError:
            if process.poll() is not None:
                raise NotAvailable("datasette does not start") from None
            time.sleep(0.1)
        else:
            return
