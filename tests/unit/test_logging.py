"""Log lines: their shape, the request they belong to, and that they hold nobody up."""

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from litestar import Litestar, get
from litestar.types import ASGIApp, Receive, Scope, Send

from service.logging import MAX_QUEUED_LINES, NOTICE, request_id, start_logging
from service.middleware.request_log import RequestLogMiddleware

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<logger>\S+)"
    r" \[(?P<request_id>\S+)\] (?P<message>.*)"
)
KEYS = {"time", "level", "logger", "request_id", "message"}
MADE_UP = re.compile(r"[0-9a-f]{32}")

logger = logging.getLogger("tests.logging")
Lines = Callable[[], list[dict[str, str]]]


@pytest.fixture(autouse=True)
def _keep_levels() -> Iterator[None]:
    """What a test does to the loggers of libraries ends with it."""
    names = ("httpx", "httpcore", "asyncio", "uvicorn", "uvicorn.error")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Lines:
    """What was written in the text format, each line in its parts."""

    def lines() -> list[dict[str, str]]:
        found = [LINE.fullmatch(line) for line in capfd.readouterr().out.splitlines()]
        assert None not in found
        return [line.groupdict() for line in found if line]

    return lines


# Levels


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("DEBUG", ["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "NOTICE", "WARNING", "ERROR"]),
        ("NOTICE", ["NOTICE", "WARNING", "ERROR"]),
        ("WARNING", ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"]),
    ],
)
def test_notice_stands_between_info_and_warning(
    written: Lines, level: str, seen: list[str]
) -> None:
    with start_logging(level, "text"):
        for severity in (logging.ERROR, logging.WARNING, NOTICE, logging.INFO, logging.DEBUG):
            logger.log(severity, "x")

    assert [line["level"] for line in written()] == seen[::-1]


# Shapes


def test_a_line_of_text_has_its_parts_in_order(written: Lines) -> None:
    before = datetime.now(UTC)
    with start_logging("NOTICE", "text"):
        logger.log(NOTICE, "%d papers of %s", 3, "Noether")

    [line] = written()
    assert line | {"time": ""} == {
        "time": "",
        "level": "NOTICE",
        "logger": "tests.logging",
        "request_id": "-",
        "message": "3 papers of Noether",
    }
    moment = datetime.fromisoformat(line["time"])
    assert -1 < (moment - before).total_seconds() < 10


def test_a_line_of_json_has_the_same_parts(capfd: pytest.CaptureFixture[str]) -> None:
    with start_logging("NOTICE", "json"):
        logger.log(NOTICE, "%d papers of %s", 3, 'N\u00f6ther\n"\u2028"')

    [text] = capfd.readouterr().out.split("\n")[:-1]
    line = json.loads(text)
    assert set(line) == KEYS
    assert line["message"] == '3 papers of N\u00f6ther\n"\u2028"'
    assert (line["level"], line["logger"], line["request_id"]) == ("NOTICE", "tests.logging", "-")
    assert datetime.fromisoformat(line["time"]).tzinfo == UTC


def test_a_message_cannot_begin_a_line_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    forged = "2026-11-23T20:15:00.000Z ERROR service [-] all is lost"
    with start_logging("NOTICE", "text"):
        logger.warning("a\n%s\r\n%s\rb", forged, forged)

    out = capfd.readouterr().out
    assert out.count("\n") == 1
    assert "\r" not in out
    assert out.endswith(f"a\\n{forged}\\r\\n{forged}\\rb\n")


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exception_is_shown_with_its_place(
    capfd: pytest.CaptureFixture[str], style: Any
) -> None:
    with start_logging("NOTICE", style):
        try:
            raise RuntimeError("out of paper")  # noqa: TRY301
        except RuntimeError:
            logger.exception("it failed")

    out = capfd.readouterr().out
    shown = json.loads(out)["exception"] if style == "json" else out
    assert "RuntimeError: out of paper" in shown
    assert "Traceback" in shown
    assert "test_logging.py" in shown
    assert "it failed" in out


def test_the_message_of_an_exception_cannot_pass_for_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"):
        try:
            raise RuntimeError("\n2026-11-23T20:15:00.000Z ERROR x [-] forged")  # noqa: TRY301
        except RuntimeError:
            logger.exception("it failed")

    lines = capfd.readouterr().out.split("\n")
    assert len([line for line in lines if LINE.match(line)]) == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_line_that_utf8_cannot_hold_is_written_all_the_same(
    capfd: pytest.CaptureFixture[str], style: Any
) -> None:
    with start_logging("NOTICE", style):
        logger.warning("folder %s", os.fsdecode(b"\xff"))
        logger.warning("the next")

    out, err = capfd.readouterr()
    assert "udcff" in out
    assert "the next" in out
    assert err == ""


def test_a_wrong_call_of_the_logger_harms_no_other_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"):
        logger.warning("%d", "no number")  # noqa: PLE1206, RUF100
        logger.warning("the next")

    out, err = capfd.readouterr()
    assert "the next" in out
    assert "no number" in err


def test_what_is_logged_before_the_end_is_written_before_the_end(written: Lines) -> None:
    with start_logging("INFO", "text"):
        for number in range(2000):
            logger.info("%d", number)

    assert [line["message"] for line in written()] == [str(number) for number in range(2000)]


# Requests


@get("/plain")
async def plain() -> str:
    logger.info("in the handler")
    await asyncio.to_thread(logger.info, "in a thread")
    await asyncio.create_task(_log_in_task())
    return request_id.get()


async def _log_in_task() -> None:
    logger.info("in a task")


@get("/slow")
async def slow() -> str:
    logger.info("before")
    await asyncio.sleep(0.05)
    logger.info("after")
    return request_id.get()


@get("/broken")
async def broken() -> None:
    raise RuntimeError("out of paper")


async def falling(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    logger.info("about to fall: %s", scope["type"])
    raise RuntimeError("no response at all")


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """A real server on loopback around an application; its URL."""
    config = uvicorn.Config(
        RequestLogMiddleware()(app),
        port=0,
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def application() -> ASGIApp:
    return Litestar([plain, slow, broken], logging_config=None, openapi_config=None)


def test_every_line_of_a_request_has_its_id(application: ASGIApp, written: Lines) -> None:
    with start_logging("INFO", "text"), serving(application) as url:
        response = httpx.get(f"{url}/plain", headers={"x-request-id": "mine.1"})

    assert response.text == response.headers["x-request-id"] == "mine.1"
    lines = [line for line in written() if line["request_id"] == "mine.1"]
    assert [line["message"] for line in lines[:-1]] == [
        "in the handler",
        "in a thread",
        "in a task",
    ]
    assert lines[-1]["logger"] == "service.middleware.request_log"


async def test_requests_at_the_same_time_keep_their_own_ids(
    application: ASGIApp, written: Lines
) -> None:
    names = [f"n{number}" for number in range(10)]
    with start_logging("INFO", "text"), serving(application) as url:
        async with httpx.AsyncClient() as client:
            responses = await asyncio.gather(
                *(client.get(f"{url}/slow", headers={"x-request-id": name}) for name in names)
            )

    assert [response.text for response in responses] == names
    lines = written()
    for name in names:
        messages = [line["message"] for line in lines if line["request_id"] == name]
        assert messages[:2] == ["before", "after"]
        assert len(messages) == 3


def test_the_last_line_has_method_path_status_and_duration(
    application: ASGIApp, written: Lines
) -> None:
    with start_logging("NOTICE", "text"), serving(application) as url:
        httpx.get(f"{url}/slow?title=secret")
        httpx.post(f"{url}/slow")
        httpx.get(f"{url}/no%0Asuch%20path")

    lines = written()
    assert {line["level"] for line in lines} == {"NOTICE"}
    parts = [re.fullmatch(r"(\S+) (\S+) (\d+) in (\d+\.\d) ms", line["message"]) for line in lines]
    assert [part.groups()[:3] for part in parts if part] == [
        ("GET", "/slow", "200"),
        ("POST", "/slow", "405"),
        ("GET", "/no%0Asuch%20path", "404"),
    ]
    assert parts[0]
    assert 50 <= float(parts[0][4]) < 5000


@pytest.mark.parametrize("name", ["x", "A-z_0.9", "a" * 64, "00000000-0000-0000-0000-000000000000"])
def test_a_plain_id_of_the_client_is_taken(application: ASGIApp, name: str) -> None:
    with serving(application) as url:
        response = httpx.get(f"{url}/plain", headers={"X-Request-ID": name})

    assert response.headers.get_list("x-request-id") == [name]
    assert response.text == name


def test_any_other_id_is_replaced(application: ASGIApp) -> None:
    odd = [
        "",
        "a" * 65,
        "a b",
        "a/b",
        "a;b",
        "[x]",
        "<script>",
        "%0a",
        "\u00e9",
        "a\tb",
    ]
    with serving(application) as url, httpx.Client() as client:
        given = [
            client.get(f"{url}/plain", headers=[(b"x-request-id", name.encode())]) for name in odd
        ]

    names = [response.headers["x-request-id"] for response in given]
    assert [response.text for response in given] == names
    assert all(MADE_UP.fullmatch(name) for name in names)


def test_ids_made_up_are_all_different(application: ASGIApp) -> None:
    with serving(application) as url, httpx.Client() as client:
        names = {client.get(f"{url}/plain").headers["x-request-id"] for _ in range(20)}

    assert len(names) == 20


def test_a_failed_request_has_its_line_and_its_id(application: ASGIApp, written: Lines) -> None:
    with start_logging("NOTICE", "text"), serving(application) as url:
        response = httpx.get(f"{url}/broken")

    name = response.headers["x-request-id"]
    [line] = [line for line in written() if line["logger"] == "service.middleware.request_log"]
    assert line["request_id"] == name
    assert line["message"].startswith("GET /broken 500 in ")


def test_a_request_without_an_answer_of_ours_has_its_line_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"), serving(falling) as url:
        httpx.get(f"{url}/x", headers={"x-request-id": "fell"})

    lines = [found for line in capfd.readouterr().out.split("\n") if (found := LINE.match(line))]
    assert [line["message"].split(" in ")[0] for line in lines if line["request_id"] == "fell"] == [
        "GET /x 0"
    ]
    assert [line["logger"] for line in lines if line["level"] == "ERROR"] == ["uvicorn.error"]


def test_uvicorns_lines_have_the_same_shape(application: ASGIApp, written: Lines) -> None:
    with start_logging("INFO", "text"), serving(application):
        pass

    lines = [line for line in written() if line["logger"].startswith("uvicorn")]
    assert any("Uvicorn running on http://127.0.0.1:" in line["message"] for line in lines)
    assert {line["level"] for line in lines} == {"INFO"}


def test_uvicorns_lines_are_json_with_the_others(
    application: ASGIApp, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_logging("INFO", "json"), serving(application) as url:
        httpx.get(f"{url}/plain")

    lines = [json.loads(line) for line in capfd.readouterr().out.split("\n")[:-1]]
    assert all(set(line) == KEYS for line in lines)
    assert {"uvicorn.error", "tests.logging", "service.middleware.request_log"} <= {
        line["logger"] for line in lines
    }


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_the_urls_of_our_own_requests_are_not_logged(
    application: ASGIApp, written: Lines, level: str
) -> None:
    with start_logging(level, "text"), serving(application) as url:
        httpx.get(f"{url}/plain", params={"title": "whatever was typed"})

    lines = written()
    assert not [line for line in lines if line["logger"].startswith(("httpx", "httpcore"))]
    assert not [line for line in lines if "whatever" in line["message"]]


# A console that is slow, blocked or gone

_MANY_LINES = """
import logging, sys, time
from service.logging import start_logging

began = time.monotonic()
with start_logging("INFO", "{style}"):
    for number in range({count}):
        logging.getLogger("x").info("line %d", number)
    logged = time.monotonic() - began
    {then}
print(logged, time.monotonic() - began, file=sys.stderr)
"""


# when there is room again, the next line brings the number of those that were dropped before it
_LAST_LINE = """
    print("logged", file=sys.stderr, flush=True)
    while logging.getLogger().handlers[0].queue.qsize():
        time.sleep(0.01)
    logging.getLogger("x").info("next")
    logging.getLogger("x").info("last")
"""


def many_lines(
    stdout: int, count: int, then: str = "", style: str = "text"
) -> subprocess.Popen[str]:
    """A process that logs so many lines, then tells how long it took it, and in all."""
    return subprocess.Popen(
        [sys.executable, "-c", _MANY_LINES.format(style=style, count=count, then=then)],
        cwd=REPOSITORY,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_pipe_that_nobody_reads_holds_up_neither_the_caller_nor_the_end(style: str) -> None:
    reader, writer = os.pipe()
    try:
        process = many_lines(writer, 2 * MAX_QUEUED_LINES, style=style)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        os.close(reader)
        os.close(writer)

    assert process.returncode == 0
    logged, ended = map(float, err.split())
    assert logged < 5
    assert ended < logged + 5


def test_lines_that_are_dropped_are_counted() -> None:
    count = 3 * MAX_QUEUED_LINES
    reader, writer = os.pipe()
    process = many_lines(writer, count, _LAST_LINE)
    os.close(writer)
    assert process.stderr
    assert process.stderr.readline() == "logged\n"  # nobody read while the lines came
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a file descriptor
        lines = pipe.read().splitlines()
    _, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    kept = [line for line in lines if " line " in line]
    lost = [
        int(found[1]) for line in lines if (found := re.search(r"(\d+) lines were dropped", line))
    ]
    assert "WARNING service.logging" in lines[-3]
    assert lines[-2].endswith("[-] next")
    assert lines[-1].endswith("[-] last")
    assert len(kept) >= MAX_QUEUED_LINES
    assert sum(lost) == count - len(kept) > 0


@pytest.mark.parametrize("closed", ["reader", "stdout"])
def test_a_console_that_is_gone_does_no_harm(closed: str) -> None:
    code = _MANY_LINES.format(style="text", count=100, then="time.sleep(0.1)")
    command = {"reader": ' "$0" -c "$1" | true', "stdout": '"$0" -c "$1" >&-'}[closed]
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == 0
    assert ended.stdout == ""
    logged, _ = map(float, ended.stderr.split())
    assert logged < 5


def test_lines_from_many_threads_are_all_whole(written: Lines) -> None:
    def log(name: int) -> None:
        for number in range(200):
            logger.info("%d:%d", name, number)

    with start_logging("INFO", "text"):
        threads = [threading.Thread(target=log, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    messages = [line["message"] for line in written()]
    assert sorted(messages) == sorted(f"{name}:{n}" for name in range(8) for n in range(200))
