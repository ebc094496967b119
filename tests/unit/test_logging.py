"""Log lines: format, request IDs, and consoles that are slow, blocked or closed."""

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

from service.errors import InvalidParameter
from service.escaping import escape_hidden, escape_hidden_in_json
from service.logging import MAX_QUEUED_LINES, NOTICE, request_id, start_logging
from service.middleware.request_log import RequestLogMiddleware
from service.problems import create_rejection

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<logger>\S+)"
    r" \[(?P<request_id>\S+)\] (?P<message>.*)"
)
KEYS = {"time", "level", "logger", "request_id", "message"}
GENERATED_ID = re.compile(r"[0-9a-f]{32}")

logger = logging.getLogger("tests.logging")
Lines = Callable[[], list[dict[str, str]]]


@pytest.fixture(autouse=True)
def _keep_levels() -> Iterator[None]:
    """Restore the levels of the loggers of libraries."""
    names = ("httpx", "httpcore", "asyncio", "uvicorn", "uvicorn.error")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def read_lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    """Return a function that returns the lines in text format so far, each as its parts."""

    def lines() -> list[dict[str, str]]:
        matches = [LINE.fullmatch(line) for line in capfd.readouterr().out.splitlines()]
        assert None not in matches
        return [line.groupdict() for line in matches if line]

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
def test_notice_is_between_info_and_warning(read_lines: Lines, level: str, seen: list[str]) -> None:
    with start_logging(level, "text"):
        for severity in (logging.ERROR, logging.WARNING, NOTICE, logging.INFO, logging.DEBUG):
            logger.log(severity, "x")

    assert [line["level"] for line in read_lines()] == seen[::-1]


# Formats


def test_text_line_has_all_parts_in_order(read_lines: Lines) -> None:
    before = datetime.now(UTC)
    with start_logging("NOTICE", "text"):
        logger.log(NOTICE, "%d papers of %s", 3, "Noether")

    [line] = read_lines()
    assert line | {"time": ""} == {
        "time": "",
        "level": "NOTICE",
        "logger": "tests.logging",
        "request_id": "-",
        "message": "3 papers of Noether",
    }
    moment = datetime.fromisoformat(line["time"])
    assert -1 < (moment - before).total_seconds() < 600


def test_json_line_has_the_same_parts(capfd: pytest.CaptureFixture[str]) -> None:
    with start_logging("NOTICE", "json"):
        logger.log(NOTICE, "%d papers of %s", 3, 'N\u00f6ther\n"\u2028"')

    [text] = capfd.readouterr().out.split("\n")[:-1]
    line = json.loads(text)
    assert set(line) == KEYS
    assert line["message"] == '3 papers of N\u00f6ther\n"\u2028"'
    assert (line["level"], line["logger"], line["request_id"]) == ("NOTICE", "tests.logging", "-")
    assert datetime.fromisoformat(line["time"]).tzinfo == UTC


def test_line_breaks_in_messages_are_escaped(capfd: pytest.CaptureFixture[str]) -> None:
    forged = "2026-11-23T20:15:00.000Z ERROR service [-] all is lost"
    with start_logging("NOTICE", "text"):
        logger.warning("a\n%s\r\n%s\rb", forged, forged)

    out = capfd.readouterr().out
    assert out.count("\n") == 1
    assert "\r" not in out
    assert out.endswith(f"a\\n{forged}\\r\\n{forged}\\rb\n")


@pytest.mark.parametrize("style", ["text", "json"])
def test_exception_is_logged_with_traceback(capfd: pytest.CaptureFixture[str], style: Any) -> None:
    with start_logging("NOTICE", style):
        try:
            raise RuntimeError("out of paper")  # noqa: TRY301
        except RuntimeError:
            logger.exception("it failed")

    out = capfd.readouterr().out
    exception = json.loads(out)["exception"] if style == "json" else out
    assert "RuntimeError: out of paper" in exception
    assert "Traceback" in exception
    assert "test_logging.py" in exception
    assert "it failed" in out


def test_exception_message_cannot_imitate_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"):
        try:
            raise RuntimeError("\n2026-11-23T20:15:00.000Z ERROR x [-] forged")  # noqa: TRY301
        except RuntimeError:
            logger.exception("it failed")

    lines = capfd.readouterr().out.split("\n")
    assert len([line for line in lines if LINE.match(line)]) == 1


HIDDEN = "".join(
    map(chr, [*range(32), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029])
) + "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xE0001, 0xD800]))


@pytest.mark.parametrize("style", ["text", "json"])
def test_hidden_characters_are_escaped_in_messages_and_tracebacks(
    capfd: pytest.CaptureFixture[str], style: Any
) -> None:
    with start_logging("NOTICE", style):
        logger.warning("arXiv: %s", f"N\u00f6ther {HIDDEN}")
        try:
            raise RuntimeError(f"client: {HIDDEN}")  # noqa: TRY301
        except RuntimeError:
            logger.exception("it failed: %s", HIDDEN)

    out = capfd.readouterr().out
    assert not set(HIDDEN) & set(out.replace("\n", ""))
    assert len([line for line in out.split("\n") if "arXiv: " in line]) == 1
    assert "N\u00f6ther" in out
    assert out.count("202e") == 3
    lines = out.split("\n")
    if style == "json":
        first, second, _ = map(json.loads, [*lines[:2], "0"])
        assert first["message"] == f"arXiv: N\u00f6ther {HIDDEN[:-1]}\\ud800"
        assert f"client: {HIDDEN[:-1]}" in second["exception"]
    else:
        start = next(number for number, line in enumerate(lines) if "Traceback" in line)
        assert all(line.startswith("  ") for line in lines[start:-1])


def test_hidden_characters_are_escaped_in_problems() -> None:
    error = InvalidParameter(f"a{HIDDEN}", f"{HIDDEN} is hidden")
    problem = json.loads(create_rejection(error, []).split(b"\r\n\r\n")[1])

    assert not set(HIDDEN) & set(problem["detail"] + problem["parameter"])
    assert problem["detail"].count(r"\u202e") == 2


def test_escapes_are_those_of_python_and_of_json() -> None:
    text = "caf\u00e9 \x1b[1m\x9b\u202e\n\U000e0001"
    assert escape_hidden(text) == r"caf\u00e9 \x1b[1m\x9b\u202e\n\U000e0001".replace(
        r"\u00e9", "\u00e9"
    )
    assert escape_hidden("plain text, \u00e9\u4e2d") == "plain text, \u00e9\u4e2d"
    document = json.dumps({"a": text}, ensure_ascii=False, indent=1)
    escaped = escape_hidden_in_json(document)
    assert json.loads(escaped) == {"a": text}
    assert escaped.count("\n") == document.count("\n")
    assert not set("\x9b\u202e\U000e0001") & set(escaped)


@pytest.mark.parametrize("style", ["text", "json"])
def test_lone_surrogates_are_escaped(capfd: pytest.CaptureFixture[str], style: Any) -> None:
    with start_logging("NOTICE", style):
        logger.warning("folder %s", os.fsdecode(b"\xff"))
        logger.warning("the next")

    out, err = capfd.readouterr()
    assert "udcff" in out
    assert "the next" in out
    assert err == ""


def test_invalid_logging_call_does_not_affect_other_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"):
        logger.warning("%d", "no number")  # noqa: PLE1206, RUF100
        logger.warning("the next")

    out, err = capfd.readouterr()
    assert "the next" in out
    assert "no number" in err


def test_all_lines_are_written_before_the_end(read_lines: Lines) -> None:
    with start_logging("INFO", "text"):
        for number in range(2000):
            logger.info("%d", number)

    assert [line["message"] for line in read_lines()] == [str(number) for number in range(2000)]


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


async def failing_application(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    logger.info("about to fall: %s", scope["type"])
    raise RuntimeError("no response at all")


@contextmanager
def run_server(app: ASGIApp) -> Iterator[str]:
    """Serve an application on loopback; yield its URL."""
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


def test_every_line_of_a_request_has_its_request_id(
    application: ASGIApp, read_lines: Lines
) -> None:
    with start_logging("INFO", "text"), run_server(application) as url:
        response = httpx.get(f"{url}/plain", headers={"x-request-id": "mine.1"})

    assert response.text == response.headers["x-request-id"] == "mine.1"
    lines = [line for line in read_lines() if line["request_id"] == "mine.1"]
    assert [line["message"] for line in lines[:-1]] == [
        "in the handler",
        "in a thread",
        "in a task",
    ]
    assert lines[-1]["logger"] == "service.middleware.request_log"


async def test_concurrent_requests_keep_their_own_ids(
    application: ASGIApp, read_lines: Lines
) -> None:
    names = [f"n{number}" for number in range(10)]
    with start_logging("INFO", "text"), run_server(application) as url:
        async with httpx.AsyncClient() as client:
            responses = await asyncio.gather(
                *(client.get(f"{url}/slow", headers={"x-request-id": name}) for name in names)
            )

    assert [response.text for response in responses] == names
    lines = read_lines()
    for name in names:
        messages = [line["message"] for line in lines if line["request_id"] == name]
        assert messages[:2] == ["before", "after"]
        assert len(messages) == 3


def test_request_line_has_method_path_status_and_duration(
    application: ASGIApp, read_lines: Lines
) -> None:
    with start_logging("NOTICE", "text"), run_server(application) as url:
        httpx.get(f"{url}/slow?title=secret")
        httpx.post(f"{url}/slow")
        httpx.get(f"{url}/no%0Asuch%20path")

    lines = read_lines()
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
def test_valid_request_id_is_kept(application: ASGIApp, name: str) -> None:
    with run_server(application) as url:
        response = httpx.get(f"{url}/plain", headers={"X-Request-ID": name})

    assert response.headers.get_list("x-request-id") == [name]
    assert response.text == name


def test_invalid_request_id_is_replaced(application: ASGIApp) -> None:
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
    with run_server(application) as url, httpx.Client() as client:
        responses = [
            client.get(f"{url}/plain", headers=[(b"x-request-id", name.encode())]) for name in odd
        ]

    names = [response.headers["x-request-id"] for response in responses]
    assert [response.text for response in responses] == names
    assert all(GENERATED_ID.fullmatch(name) for name in names)


def test_generated_ids_are_unique(application: ASGIApp) -> None:
    with run_server(application) as url, httpx.Client() as client:
        names = {client.get(f"{url}/plain").headers["x-request-id"] for _ in range(20)}

    assert len(names) == 20


def test_failed_request_is_logged_with_its_id(application: ASGIApp, read_lines: Lines) -> None:
    with start_logging("NOTICE", "text"), run_server(application) as url:
        response = httpx.get(f"{url}/broken")

    name = response.headers["x-request-id"]
    [line] = [line for line in read_lines() if line["logger"] == "service.middleware.request_log"]
    assert line["request_id"] == name
    assert line["message"].startswith("GET /broken 500 in ")


def test_request_without_a_response_is_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with start_logging("NOTICE", "text"), run_server(failing_application) as url:
        httpx.get(f"{url}/x", headers={"x-request-id": "fell"})

    lines = [match for line in capfd.readouterr().out.split("\n") if (match := LINE.match(line))]
    assert [line["message"].split(" in ")[0] for line in lines if line["request_id"] == "fell"] == [
        "GET /x 0"
    ]
    assert [line["logger"] for line in lines if line["level"] == "ERROR"] == ["uvicorn.error"]


def test_lines_of_uvicorn_have_the_same_format(application: ASGIApp, read_lines: Lines) -> None:
    with start_logging("INFO", "text"), run_server(application):
        pass

    lines = [line for line in read_lines() if line["logger"].startswith("uvicorn")]
    assert any("Uvicorn running on http://127.0.0.1:" in line["message"] for line in lines)
    assert {line["level"] for line in lines} == {"INFO"}


def test_lines_of_uvicorn_are_json_too(
    application: ASGIApp, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_logging("INFO", "json"), run_server(application) as url:
        httpx.get(f"{url}/plain")

    lines = [json.loads(line) for line in capfd.readouterr().out.split("\n")[:-1]]
    assert all(set(line) == KEYS for line in lines)
    assert {"uvicorn.error", "tests.logging", "service.middleware.request_log"} <= {
        line["logger"] for line in lines
    }


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_urls_of_outgoing_requests_are_not_logged(
    application: ASGIApp, read_lines: Lines, level: str
) -> None:
    with start_logging(level, "text"), run_server(application) as url:
        httpx.get(f"{url}/plain", params={"title": "whatever was typed"})

    lines = read_lines()
    assert not [line for line in lines if line["logger"].startswith(("httpx", "httpcore"))]
    assert not [line for line in lines if "whatever" in line["message"]]


# Slow, blocked and closed consoles

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


# the first line after a gap reports how many were dropped
_LAST_LINE = """
    print("logged", file=sys.stderr, flush=True)
    while logging.getLogger().handlers[0].queue.qsize():
        time.sleep(0.01)
    logging.getLogger("x").info("next")
    logging.getLogger("x").info("last")
"""


def log_many_lines(
    stdout: int, count: int, then: str = "", style: str = "text"
) -> subprocess.Popen[str]:
    """Start a process that logs lines and prints how long logging took, and the whole."""
    return subprocess.Popen(
        [sys.executable, "-c", _MANY_LINES.format(style=style, count=count, then=then)],
        cwd=REPOSITORY,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("style", ["text", "json"])
def test_blocked_console_delays_neither_logging_nor_exit(style: str) -> None:
    reader, writer = os.pipe()
    try:
        process = log_many_lines(writer, 2 * MAX_QUEUED_LINES, style=style)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
        os.close(reader)
        os.close(writer)

    assert process.returncode == 0
    logged, ended = map(float, err.split())
    assert logged < 60
    assert ended < logged + 60


def test_dropped_lines_are_counted() -> None:
    count = 3 * MAX_QUEUED_LINES
    reader, writer = os.pipe()
    process = log_many_lines(writer, count, _LAST_LINE)
    os.close(writer)
    assert process.stderr
    assert process.stderr.readline() == "logged\n"  # nothing was read until here
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a file descriptor
        lines = pipe.read().splitlines()
    _, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    written = [line for line in lines if " line " in line]
    dropped = [
        int(match[1]) for line in lines if (match := re.search(r"(\d+) lines were dropped", line))
    ]
    assert "WARNING service.logging" in lines[-3]
    assert lines[-2].endswith("[-] next")
    assert lines[-1].endswith("[-] last")
    assert len(written) >= MAX_QUEUED_LINES
    assert sum(dropped) == count - len(written) > 0


@pytest.mark.parametrize("closed", ["reader", "stdout"])
def test_closed_console_does_no_harm(closed: str) -> None:
    code = _MANY_LINES.format(style="text", count=100, then="time.sleep(0.1)")
    command = {"reader": ' "$0" -c "$1" | true', "stdout": '"$0" -c "$1" >&-'}[closed]
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable, code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0
    assert ended.stdout == ""
    logged, _ = map(float, ended.stderr.split())
    assert logged < 60


def test_lines_of_many_threads_are_complete(read_lines: Lines) -> None:
    def log(name: int) -> None:
        for number in range(200):
            logger.info("%d:%d", name, number)

    with start_logging("INFO", "text"):
        threads = [threading.Thread(target=log, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    messages = [line["message"] for line in read_lines()]
    assert sorted(messages) == sorted(f"{name}:{n}" for name in range(8) for n in range(200))
