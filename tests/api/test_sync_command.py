"""The command `sync`: output, exit status, and how it is interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from time import sleep, time

import psycopg
import pytest

from demo.arxiv import StandIn
from service.arxiv_schedule import find_feed_day
from service.cli.sync import run_sync
from service.errors import QueueTooLong
from service.mirror.sync import FORMATS, Selection
from service.settings import Settings
from tests.support.process import ROOT, run_command

SINCE = date(2025, 9, 1)
"""The stand-in changed the last papers in January 2026."""
PAPERS = "select count(*) from paper_details"
"""Papers of OAI-PMH; the command also stores those of the feeds."""


@pytest.fixture
def environment(
    database: str, arxiv: StandIn, arxiv_server: tuple[StandIn, str]
) -> Iterator[dict[str, str]]:
    """The stand-in sends pages of five records."""
    arxiv.oai.max_records = 5
    url = arxiv_server[1]
    yield os.environ | {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_API_URL": url,
        "ARXIV_OAI_URL": url.replace("/api/query", "/oai"),
        "ARXIV_RSS_URL": url.removesuffix("/api/query"),
        "ARXIV_INTERVAL": "0",
    }
    arxiv.oai.max_records = 2500


def count_changed(stand_in: StandIn, since: date = SINCE) -> int:
    return sum(paper.datestamp >= since for paper in stand_in.papers)


def count_papers(db: psycopg.Connection) -> int:
    [number] = db.execute(PAPERS).fetchone() or [0]
    return int(number)


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "service", "sync", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sync_reports_what_it_has_received(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection
) -> None:
    ran = run_command(environment, "sync", "--from", SINCE.isoformat(), "--format", "arXivRaw")

    assert ran.returncode == 0, ran.stderr
    assert f"{count_changed(arxiv)} records received" in ran.stdout
    assert f"the mirror has all changes from {SINCE} to " in ran.stdout
    assert count_papers(db) == count_changed(arxiv) > 20


@pytest.mark.parametrize("is_whole", [True, False])
def test_sync_of_all_papers_up_to_now_reads_the_announcements_of_today(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection, *, is_whole: bool
) -> None:
    day = find_feed_day(time())
    arguments = () if is_whole else ("--set", "cs")

    ran = run_command(environment, "sync", "--from", SINCE.isoformat(), *arguments)

    assert ran.returncode == 0, ran.stderr
    [number] = db.execute("select count(*) from announcements").fetchone() or [None]
    is_read = is_whole and day is not None
    assert (f"{number} announcements of {day} in 4 feeds" in ran.stdout) == is_read
    assert bool(number) == is_read
    assert len([each for each in arxiv.requests if each.path.startswith("/rss/")]) == 4 * is_read


async def test_result_is_printed_although_the_feeds_cannot_be_requested(
    settings: Callable[..., Settings],
    arxiv: StandIn,
    arxiv_server: tuple[StandIn, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(*_: object) -> None:
        raise QueueTooLong("a cooldown", retry_after=1)

    module = sys.modules[run_sync.__module__]
    monkeypatch.setattr(module, "read_announcements", fail)
    monkeypatch.setattr(module, "find_feed_day", lambda _: SINCE)
    url = arxiv_server[1].replace("/api/query", "/oai")
    selection = Selection(datetime.now(UTC).date(), formats=FORMATS[:1])
    with pytest.raises(QueueTooLong):
        await run_sync(selection, settings(oai_url=url, interval=0))

    assert "0 records received in 1 responses" in capsys.readouterr().out
    assert len(arxiv.requests) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_same_command_continues_after_an_interruption(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection, how: signal.Signals
) -> None:
    arguments = "--from", SINCE.isoformat(), "--format", "arXivRaw"
    arxiv.delay = 0.2
    with start(environment, *arguments) as process:
        while count_papers(db) < 5 and process.poll() is None:
            sleep(0.02)
        process.send_signal(how)
        output = process.communicate(timeout=30)
    arxiv.delay = 0
    arxiv.requests.clear()
    stored = count_papers(db)
    assert stored < count_changed(arxiv), output
    if how == signal.SIGINT:
        assert "the same command resumes" in output[1]
        assert process.returncode == 130

    ran = run_command(environment, "sync", *arguments)

    assert ran.returncode == 0, ran.stderr
    assert count_papers(db) == count_changed(arxiv)
    received = int(ran.stdout.split()[0])
    assert received <= count_changed(arxiv) - stored + 5


def test_missing_days_are_named_and_end_with_1(
    environment: dict[str, str], arxiv: StandIn, db: psycopg.Connection
) -> None:
    missing = sorted({paper.datestamp for paper in arxiv.papers})[-3]
    arxiv.oai.unavailable_dates = {missing}
    code = (
        "from service.mirror import sync; sync.RETRY_PAUSE = 0.001\n"
        "from service.cli import main; main()"
    )
    since = (missing - timedelta(days=3)).isoformat()
    ran = subprocess.run(
        [sys.executable, "-c", code, "sync", "--from", since, "--format", "arXivRaw"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 1
    assert f"arXiv sent no usable records of {missing}. Run the same command again" in ran.stderr
    assert count_papers(db) < count_changed(arxiv, missing - timedelta(days=3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "yesterday"], "is not a date such as 2026-11-30"),
        (["--until", "2026-02-30"], "is not a date such as 2026-11-30"),
        (["--from", "2999-01-01"], "it is in the future"),
        (["--from", "2026-01-02", "--until", "2026-01-01"], "it is before --from"),
        (["--format", "oai_dc"], "is not"),
        (["--set", "x" * 101], "it is longer than 100 characters"),
    ],
)
def test_invalid_options_are_rejected_without_a_request(
    environment: dict[str, str], arxiv: StandIn, arguments: list[str], message: str
) -> None:
    ran = run_command(environment, "sync", *arguments)

    assert ran.returncode == 2
    assert message in " ".join(ran.stderr.replace("│", " ").split())
    assert not arxiv.requests


def test_unknown_set_is_a_clear_error(environment: dict[str, str]) -> None:
    ran = run_command(environment, "sync", "--set", "moo")

    assert ran.returncode == 1
    assert "Set does not exist" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_interval_of_arxiv_is_kept(environment: dict[str, str], arxiv: StandIn) -> None:
    ran = run_command(environment | {"ARXIV_OAI_URL": "https://oaipmh.arxiv.org/oai"}, "sync")

    assert ran.returncode == 2
    assert "ARXIV_INTERVAL: arXiv requires 3 seconds between requests" in ran.stderr
    assert not arxiv.requests
