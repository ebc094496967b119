"""Searching and harvesting from a terminal: readable, polite, and it goes on where it stopped."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import httpx
import psycopg
import pytest

from demo import feed
from demo.arxiv import StandIn
from demo.papers import Author, Paper, generate
from service import harvest as harvest_module
from service.context import LocalContext
from service.errors import InvalidParameter, UpstreamError
from service.harvest import Harvester
from service.settings import Settings
from tests.support.process import ROOT

Settle = Callable[..., Settings]


@pytest.fixture
def environment(database: str, arxiv_server: tuple[StandIn, str]) -> dict[str, str]:
    return os.environ | {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
        "ARXIV_TIMEOUT": "3",
        "COLUMNS": "160",
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("arxiv")
def test_a_search_prints_a_table(environment: dict[str, str]) -> None:
    done = run(environment, "search", "--title", "testing", "--max-results", "3")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "authors" in lines[0]
    assert any("esting" in line for line in lines)
    assert "3 of " in lines[-1]
    assert "from arXiv" in lines[-1]
    assert (
        "from the cache"
        in run(environment, "search", "--title", "testing", "--max-results", "3").stdout
    )


@pytest.mark.usefixtures("arxiv")
def test_a_search_prints_json_when_asked_to(environment: dict[str, str]) -> None:
    done = run(environment, "search", "--any", "testing", "--category", "cs.*", "--json")

    answer = json.loads(done.stdout)
    assert answer["num_entries"] == len(answer["results"]) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search"], "give at least one"),
        (["search", "--query", "ti:(a"], "query"),
        (["search", "--title", "x", "--max-results", "5000"], "--max-results"),
        (["search", "--title", "x", "--submitted-from", "soon"], "submitted_from"),
        (["harvest", "ti:(a"], "query"),
        (["harvest", "ti:a", "--max", "0"], "--max"),
        (["search", "--title", "a\udcff"], "UTF-8"),
        (["search", "--title", "x" * 600], "title"),
    ],
)
def test_a_wrong_word_is_named(
    environment: dict[str, str], arguments: list[str], words: str
) -> None:
    done = run(environment, *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def shelf(number: int, *, minutes: int = 1) -> list[Paper]:
    """Papers of one category, one in so many minutes; the first two of the same minute."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    return [
        Paper(
            arxiv_id=f"{2001 + n // 9000:04}.{n % 9000 + 1:05}",
            title=f"Paper {n}",
            abstract="x",
            authors=(Author("A"),),
            categories=("cs.SE",),
            versions=(begin + timedelta(minutes=minutes * (n // 2)),),
        )
        for n in range(number)
    ]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of 10 papers, and a limit of 40, so that windows are needed soon."""
    monkeypatch.setattr(harvest_module, "PAGE", 10)
    monkeypatch.setattr(harvest_module, "LIMIT", 40)


async def harvested(settings: Settings, stand_in: StandIn, most: int | None = None) -> list[int]:
    async with LocalContext(settings, httpx.ASGITransport(stand_in)) as context:
        harvester = Harvester("cat:cs.SE", most, context.search_service, context.store)
        return [progress.stored async for progress in harvester.run()]


def stored(db: psycopg.Connection) -> tuple[int, int]:
    """How many results there are, and how many papers."""
    counts = db.execute("select count(*), count(distinct arxiv_id) from results").fetchone()
    assert counts
    return counts


@pytest.mark.usefixtures("small_pages")
async def test_a_harvest_goes_past_the_limit_in_windows_and_stores_nothing_twice(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(shelf(205))
    progress = await harvested(settings(), stand_in)

    assert stored(db) == (205, 205)
    assert progress[0] == 0
    assert progress == sorted(progress)
    assert progress[-1] == 205
    assert max(int(request.params["start"]) for request in stand_in.requests) <= 30
    assert len(stand_in.requests) < 35
    mismatched = "select count(*) from queries q where num_entries <>"
    mismatched += " (select count(*) from results r where r.query_id = q.query_id)"
    assert db.execute(mismatched).fetchone() == (0,)


@pytest.mark.usefixtures("small_pages")
async def test_a_harvest_stops_at_its_maximum_and_goes_on_from_there(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(shelf(100))
    await harvested(settings(), stand_in, 25)
    assert stored(db) == (25, 25)
    await harvested(settings(), stand_in, 60)
    assert stored(db) == (60, 60)
    await harvested(settings(), stand_in)
    assert stored(db) == (100, 100)


@pytest.mark.usefixtures("small_pages")
async def test_a_harvest_that_is_cut_off_anywhere_goes_on(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(shelf(120), delay=0.01)
    for n in range(12):
        task = asyncio.create_task(harvested(settings(), stand_in))
        await asyncio.sleep(0.06 + n / 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await harvested(settings(), stand_in)

    assert stored(db) == (120, 120)


@pytest.mark.usefixtures("small_pages")
async def test_a_finished_harvest_asks_only_for_what_is_new(
    settings: Settle, db: psycopg.Connection
) -> None:
    papers = shelf(60)
    await harvested(settings(), StandIn(papers))
    new = datetime.now(UTC) - timedelta(days=1)
    papers.append(Paper("2611.99999", "New", "x", (Author("A"),), ("cs.SE",), (new,)))
    again = StandIn(papers)
    progress = await harvested(settings(), again)

    assert progress == [60, 61]
    assert len(again.requests) == 1
    assert stored(db) == (61, 61)


@pytest.mark.usefixtures("small_pages")
async def test_two_harvests_at_once_share_the_work(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(shelf(100))
    await asyncio.gather(harvested(settings(), stand_in), harvested(settings(), stand_in))

    assert stored(db) == (100, 100)


@pytest.mark.usefixtures("small_pages", "quick")
@pytest.mark.parametrize("lie", ["no papers at all", "half a page"])
async def test_a_page_that_lies_is_asked_for_again_and_nothing_stored_twice(
    settings: Settle, db: psycopg.Connection, lie: str
) -> None:
    stand_in = StandIn(shelf(100))
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent = dict(request.url.params)
        status, body = stand_in.answer(sent)
        if sent["start"] == "20":
            asked.append(sent)
            if len(asked) < 3:
                nothing = lie == "no papers at all"
                status, body = stand_in.answer(sent | {"max_results": "1" if nothing else "5"})
                body = body.replace(b"<opensearch:itemsPerPage>5<", b"<opensearch:itemsPerPage>10<")
            if len(asked) < 3 and lie == "no papers at all":
                body = feed.render([], total=0)
        return httpx.Response(status, content=body)

    async with LocalContext(settings(), httpx.MockTransport(answer)) as context:
        harvester = Harvester("cat:cs.SE", None, context.search_service, context.store)
        progress = [each.stored async for each in harvester.run()]

    assert progress[-1] == 100
    assert stored(db) == (100, 100)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries."""

    async def no_rest(_: object, __: object, ___: object) -> None:
        return

    monkeypatch.setattr(Harvester, "_rest", no_rest)
    monkeypatch.setattr("service.search.PAUSES", (0.0,))


@pytest.mark.usefixtures("small_pages", "quick")
async def test_a_harvest_perseveres_and_then_says_why_it_ends(
    settings: Settle, db: psycopg.Connection
) -> None:
    with pytest.raises(UpstreamError):
        await harvested(settings(api_url="http://127.0.0.1:9/wrong"), StandIn([]))

    failed = db.execute("select count(*) from queries where outcome <> 'ok'").fetchone()
    assert failed == (harvest_module.PERSEVERANCE + 1,)


async def test_a_query_that_is_none_is_no_harvest(settings: Settle) -> None:
    async with LocalContext(settings()) as context:
        with pytest.raises(InvalidParameter):
            Harvester("ti:(a", None, context.search_service, context.store)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_harvest_goes_on_at_the_next_start(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection, how: int
) -> None:
    arxiv.delay = 0.5
    command = [sys.executable, "-m", "service", "harvest", "cat:cs.*"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        end = monotonic() + 20
        while not arxiv.requests:
            assert monotonic() < end
            sleep(0.05)
        running.send_signal(how)
        _, errors = running.communicate(timeout=20)
    assert b"Traceback" not in errors
    arxiv.delay = 0.0
    done = run(environment, "harvest", "cat:cs.*")

    assert done.returncode == 0, done.stderr
    papers = sum(any(c.startswith("cs.") for c in p.categories) for p in generate(1000))
    assert f"{papers} papers are stored" in done.stdout
    assert stored(db) == (papers, papers)
