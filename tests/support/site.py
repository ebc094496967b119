"""A running service with papers, announcements and recorded searches, as a browser sees it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from time import monotonic, sleep
from uuid import uuid4

import httpx
import psycopg

from service.models.arxiv import Entry
from tests.conftest import copied
from tests.support.clients import serve_gateway
from tests.support.papers import create_paper, store_papers
from tests.support.runs import Runs

TIMEOUT = 60.0
DAYS = date(2026, 11, 24), date(2026, 11, 23)
KINDS = ("new", "new", "new", "cross", "replace", "replace-cross")
HOSTILE_TITLE = (
    '</a><img src=x onerror="alert(1)"><script>alert(2)</script> \u2069\u202etxt.exe\u2066 {{7*7}}'
)
HOSTILE_ABSTRACT = (
    "</p><style>body{display:none}</style><svg onload=alert(3)> $\\href{javascript:alert(4)}{x}$"
    " $\\frac{$ $\\undefinedmacro{x}$ $x^{$ "
)
HOSTILE_ID = "2611.09001"
LONG_ID = "2611.09002"
FAILED_RUN, HOSTILE_RUN = 101, 103


@contextmanager
def run_site(server: str, template: str, arxiv_url: str, **settings: str) -> Iterator[str]:
    """Run a service that has generated and hostile papers; its URL."""
    with (
        copied(server, template) as database,
        serve_gateway(database, arxiv_url, ARXIV_CACHE="off", **settings) as url,
    ):
        _record_searches(url)
        _run_apart(database, *create_hostile_papers())
        with psycopg.connect(database, autocommit=True) as db:
            announce_papers(db)
            record_other_searches(db)
            _wait_until_searchable(url, db)
        yield url


def _record_searches(url: str) -> None:
    for query in ("all:testing", "cat:math.*", "all:testing"):
        params = {"search_query": query, "max_results": "120"}
        httpx.get(f"{url}/api/query", params=params, timeout=60).raise_for_status()


def _run_apart(database: str, *papers: Entry) -> None:
    """Store papers. The thread has no event loop; a browser keeps one in this thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, store_papers(database, *papers)).result()


def create_hostile_papers() -> list[Entry]:
    """Papers whose texts would do harm if they were read as HTML, or are very long."""
    hostile = create_paper(
        int(HOSTILE_ID[-5:]),
        f"hostile {HOSTILE_TITLE}",
        f"hostile {HOSTILE_ABSTRACT}",
        authors=[HOSTILE_TITLE, "\u202eEvil Author\u2066"],
        comment=HOSTILE_TITLE,
        journal=HOSTILE_ABSTRACT,
    )
    long = create_paper(
        int(LONG_ID[-5:]),
        "hostile " + "W" * 100_000,
        "hostile " + "$x^{" * 25_000,
        authors=["N" * 100_000, *(f"Author {number}" for number in range(300))],
    )
    return [hostile, long]


def announce_papers(db: psycopg.Connection) -> None:
    """Store announcements of two days, of papers that are stored."""
    rows = db.execute(
        "select arxiv_id, version, primary_category from papers order by arxiv_id limit 60"
    ).fetchall()
    rows.append((HOSTILE_ID, 1, "cs.SE"))
    for number, (arxiv_id, version, category) in enumerate(rows):
        db.execute(
            "insert into announcements (date, arxiv_id, version, type, primary_category,"
            " cross_categories) values (%s, %s, %s, %s, %s, '{cs.LG}')",
            [DAYS[number % 2], arxiv_id, version, KINDS[number % len(KINDS)], category],
        )


def record_other_searches(db: psycopg.Connection) -> None:
    """Store a failed search, and two runs of one with hostile texts and every kind of change."""
    runs = Runs(db)
    runs.add(outcome="timeout", query="search_query=ti:late&id_list=", key=uuid4())
    query = f"search_query=ti:{HOSTILE_TITLE}&id_list="
    first = runs.add("2611.09003v1", "2611.09004v1", "removed", query=query)
    second = runs.add("added", "2611.09004v1", "2611.09003v2", query=query)
    db.execute(
        "update results set title = %s || title where query_id in (%s, %s)",
        [HOSTILE_TITLE, first, second],
    )


def _wait_until_searchable(url: str, db: psycopg.Connection) -> None:
    counted = db.execute("select count(*) from papers").fetchone()
    deadline = monotonic() + TIMEOUT
    while _count_searchable(url) != counted:
        assert monotonic() < deadline
        sleep(0.1)


def _count_searchable(url: str) -> tuple[int | None]:
    index = httpx.get(f"{url}/health/ready", timeout=60).json().get("index") or {}
    return (index.get("papers"),)
