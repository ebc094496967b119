"""The command line: help, completion, `search`, and harvests that resume."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep

import httpx
import psycopg
import pytest
import rich_click as click
from click.testing import CliRunner

from demo import feed
from demo.arxiv import StandIn
from demo.papers import Author, Paper, generate
from service import __version__
from service import harvest as harvest_module
from service.cli import COMPLETE_VARIABLE, commands
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


def find_commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Return all commands by name, including those of nested groups."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[prefix + name] = command
        if isinstance(command, click.Group):
            found |= find_commands(command, f"{prefix}{name} ")
    return found


COMMANDS = find_commands(commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_options_and_has_examples(name: str) -> None:
    command = COMMANDS[name]
    result = CliRunner().invoke(commands, [*name.split(), "--help"])

    assert result.exit_code == 0
    assert command.help
    assert command.epilog
    assert re.search(r"Examples?:", command.epilog)
    assert f"arxiv-gateway {name}" in command.epilog
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert re.search(r"\.(  \[default: .*\])?$", parameter.help)


def test_help_has_examples_and_explains_settings_and_shell_completion() -> None:
    output = CliRunner().invoke(commands, ["--help"]).stdout

    assert "Examples:" in output
    assert "arxiv-gateway search --title testing" in output
    assert "docs/configuration.md" in output
    lines = [line.strip() for line in output.splitlines()]
    for shell in ("bash", "zsh"):
        assert f'eval "$({COMPLETE_VARIABLE}={shell}_source arxiv-gateway)"' in lines
    assert f"{COMPLETE_VARIABLE}=fish_source arxiv-gateway | source" in lines


def test_version_is_printed(environment: dict[str, str]) -> None:
    assert run(environment, "--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("arxiv-gateway ha", ["harvest"]),
        ("arxiv-gateway keys re", ["revoke"]),
        ("arxiv-gateway search --sort-by s", ["submittedDate"]),
        ("arxiv-gateway search --sub", ["--submitted-from", "--submitted-to"]),
    ],
)
def test_shell_completion(environment: dict[str, str], words: str, completions: list[str]) -> None:
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    completed = run(environment | variables | {COMPLETE_VARIABLE: "bash_complete"})

    assert completed.stdout.split() == [f"plain,{each}" for each in completions]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(environment: dict[str, str], shell: str) -> None:
    completed = run(environment | {COMPLETE_VARIABLE: f"{shell}_source"})

    assert completed.returncode == 0
    assert COMPLETE_VARIABLE in completed.stdout


@pytest.mark.usefixtures("arxiv")
def test_search_prints_a_table(environment: dict[str, str]) -> None:
    finished = run(environment, "search", "--title", "testing", "--max-results", "3")

    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert "authors" in lines[0]
    assert any("esting" in line for line in lines)
    assert "3 of " in lines[-1]
    assert "from arXiv" in lines[-1]
    assert (
        "from the cache"
        in run(environment, "search", "--title", "testing", "--max-results", "3").stdout
    )


@pytest.mark.usefixtures("arxiv")
def test_search_prints_json(environment: dict[str, str]) -> None:
    finished = run(environment, "search", "--any", "testing", "--category", "cs.*", "--json")

    response = json.loads(finished.stdout)
    assert response["num_entries"] == len(response["results"]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_option_is_named(
    environment: dict[str, str], arguments: list[str], message: str
) -> None:
    finished = run(environment, *arguments)

    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def generate_papers(number: int, *, minutes: int = 1) -> list[Paper]:
    """Papers of one category, two in each interval of `minutes`."""
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
    """Pages of 10 papers and a limit of 40, so that small harvests need several date ranges."""
    monkeypatch.setattr(harvest_module, "PAGE_SIZE", 10)
    monkeypatch.setattr(harvest_module, "MAX_RESULT", 40)


async def run_harvest(settings: Settings, stand_in: StandIn, most: int | None = None) -> list[int]:
    async with LocalContext(settings, httpx.ASGITransport(stand_in)) as context:
        harvester = Harvester("cat:cs.SE", most, context.search_service, context.records)
        return [progress.stored async for progress in harvester.run()]


def count_stored(db: psycopg.Connection) -> tuple[int, int]:
    """The numbers of results and of different papers."""
    counts = db.execute("select count(*), count(distinct arxiv_id) from results").fetchone()
    assert counts
    return counts


@pytest.mark.usefixtures("small_pages")
async def test_harvest_passes_the_limit_and_stores_nothing_twice(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(generate_papers(205))
    progress = await run_harvest(settings(), stand_in)

    assert count_stored(db) == (205, 205)
    assert progress[0] == 0
    assert progress == sorted(progress)
    assert progress[-1] == 205
    assert max(int(request.params["start"]) for request in stand_in.requests) <= 30
    assert len(stand_in.requests) < 35
    mismatched = "select count(*) from queries q where num_entries <>"
    mismatched += " (select count(*) from results r where r.query_id = q.query_id)"
    assert db.execute(mismatched).fetchone() == (0,)


@pytest.mark.usefixtures("small_pages")
async def test_harvest_stops_at_its_maximum_and_resumes_there(
    settings: Settle, db: psycopg.Connection
) -> None:
    stand_in = StandIn(generate_papers(100))
    await run_harvest(settings(), stand_in, 25)
    assert count_stored(db) == (25, 25)
    await run_harvest(settings(), stand_in, 60)
    assert count_stored(db) == (60, 60)
    await run_harvest(settings(), stand_in)
    assert count_stored(db) == (100, 100)


@pytest.mark.usefixtures("small_pages")
async def test_interrupted_harvest_resumes(settings: Settle, db: psycopg.Connection) -> None:
    stand_in = StandIn(generate_papers(120), delay=0.01)
    for n in range(12):
        task = asyncio.create_task(run_harvest(settings(), stand_in))
        await asyncio.sleep(0.06 + n / 100)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await run_harvest(settings(), stand_in)

    assert count_stored(db) == (120, 120)


@pytest.mark.usefixtures("small_pages")
async def test_completed_harvest_retrieves_only_new_papers(
    settings: Settle, db: psycopg.Connection
) -> None:
    papers = generate_papers(60)
    await run_harvest(settings(), StandIn(papers))
    new = datetime.now(UTC) - timedelta(days=1)
    papers.append(Paper("2611.99999", "New", "x", (Author("A"),), ("cs.SE",), (new,)))
    again = StandIn(papers)
    progress = await run_harvest(settings(), again)

    assert progress == [60, 61]
    assert len(again.requests) == 1
    assert count_stored(db) == (61, 61)


@pytest.mark.usefixtures("small_pages")
async def test_concurrent_harvests_share_the_work(settings: Settle, db: psycopg.Connection) -> None:
    stand_in = StandIn(generate_papers(100))
    await asyncio.gather(run_harvest(settings(), stand_in), run_harvest(settings(), stand_in))

    assert count_stored(db) == (100, 100)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("damage", [b"\x01", b"&#x1;", b"\xff"])
async def test_harvest_continues_after_a_page_with_forbidden_characters(
    settings: Settle, db: psycopg.Connection, damage: bytes
) -> None:
    stand_in = StandIn(generate_papers(30))
    requests = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        status, body = stand_in.answer(dict(request.url.params))
        return httpx.Response(status, content=body.replace(b"Paper 1", b"Paper 1" + damage))

    async with LocalContext(settings(), httpx.MockTransport(respond)) as context:
        harvester = Harvester("cat:cs.SE", None, context.search_service, context.records)
        progress = [each.stored async for each in harvester.run()]

    assert progress[-1] == 30
    assert count_stored(db) == (30, 30)
    assert len(requests) == 3


@pytest.mark.usefixtures("small_pages", "quick")
@pytest.mark.parametrize("lie", ["no papers at all", "half a page"])
async def test_incomplete_page_is_requested_again(
    settings: Settle, db: psycopg.Connection, lie: str
) -> None:
    stand_in = StandIn(generate_papers(100))
    requests = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent = dict(request.url.params)
        status, body = stand_in.answer(sent)
        if sent["start"] == "20":
            requests.append(sent)
            if len(requests) < 3:
                nothing = lie == "no papers at all"
                status, body = stand_in.answer(sent | {"max_results": "1" if nothing else "5"})
                body = body.replace(b"<opensearch:itemsPerPage>5<", b"<opensearch:itemsPerPage>10<")
            if len(requests) < 3 and lie == "no papers at all":
                body = feed.render([], total=0)
        return httpx.Response(status, content=body)

    async with LocalContext(settings(), httpx.MockTransport(respond)) as context:
        harvester = Harvester("cat:cs.SE", None, context.search_service, context.records)
        progress = [each.stored async for each in harvester.run()]

    assert progress[-1] == 100
    assert count_stored(db) == (100, 100)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts."""

    async def no_rest(_: object, __: object, ___: object) -> None:
        return

    monkeypatch.setattr(Harvester, "_pause", no_rest)
    monkeypatch.setattr("service.search.MAX_ATTEMPTS", 1)


@pytest.mark.usefixtures("small_pages", "quick")
async def test_harvest_retries_and_then_reports_the_failure(
    settings: Settle, db: psycopg.Connection
) -> None:
    with pytest.raises(UpstreamError):
        await run_harvest(settings(api_url="http://127.0.0.1:9/wrong"), StandIn([]))

    failed = db.execute("select count(*) from queries where outcome <> 'ok'").fetchone()
    assert failed == (harvest_module.MAX_FAILURES + 1,)


async def test_invalid_query_is_rejected(settings: Settle) -> None:
    async with LocalContext(settings()) as context:
        with pytest.raises(InvalidParameter):
            Harvester("ti:(a", None, context.search_service, context.records)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_harvest_resumes(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection, how: signal.Signals
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
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(how, -how)
    arxiv.delay = 0.0
    finished = run(environment, "harvest", "cat:cs.*")

    assert finished.returncode == 0, finished.stderr
    papers = sum(any(c.startswith("cs.") for c in p.categories) for p in generate(1000))
    assert f"{papers} papers are stored" in finished.stdout
    assert count_stored(db) == (papers, papers)
