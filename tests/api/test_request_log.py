"""The log line of each request: status, cache status, disconnects."""

import asyncio
import fcntl
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from time import monotonic, sleep
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from demo.arxiv import StandIn
from service.settings import Settings
from tests.conftest import Gateway, served
from tests.db.test_records import answer, stored
from tests.support.haproxy import free_port
from tests.support.process import ROOT

LINE = re.compile(r"(\w+) (\S+) (\d+) in [\d.]+ ms(?:, (.*))?")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, ...]]:
    """Return method, path, status and cache status of each line so far."""
    messages = [each.getMessage() for each in caplog.records if "request_log" in each.name]
    matches = [LINE.fullmatch(message) for message in messages]
    assert None not in matches, messages
    return [line.groups() for line in matches if line]


async def test_line_of_a_search_has_its_cache_status(
    client: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.middleware.request_log")
    for headers in ({}, {}, {"cache-control": "no-cache"}):
        await client.get("/arxiv?title=testing", headers=headers)
    await client.get("/results")

    statuses = [line[3] and re.sub(r"\d{4,}", "N", line[3]) for line in lines(caplog)]
    assert statuses == [
        "fwd=uri-miss; fwd-status=200; stored",
        "hit; ttl=N",
        "fwd=request; fwd-status=200; stored",
        None,
    ]


def disconnect(url: str, request: bytes, *, after: int = 0) -> None:
    """Send the request, read at least `after` bytes, and close the connection."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as wire:
        wire.sendall(request)
        received = 0
        while received < after:
            received += len(wire.recv(4096))
        sleep(0.2)


HEAD = b"Host: x\r\nContent-Type: application/json\r\n"


async def test_disconnect_before_the_response_is_logged_as_499(
    settings: Callable[..., Settings], arxiv: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.middleware.request_log")
    arxiv.delay = 1.0
    with served(settings()) as url:
        for request in (
            b"GET /arxiv?title=testing HTTP/1.1\r\n" + HEAD + b"\r\n",
            b"POST /queries HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\n{",
        ):
            await asyncio.to_thread(disconnect, url, request)
        text = (await asyncio.to_thread(httpx.get, f"{url}/metrics")).text

    assert [line[:3] for line in lines(caplog)][:2] == [
        ("GET", "/arxiv", "499"),
        ("POST", "/queries", "499"),
    ]
    assert 'method="POST",path="/queries",status_code="499"' in text
    assert 'method="POST",path="/queries",status_code="500"' not in text


async def test_disconnect_during_an_export_is_logged_as_499(
    settings: Callable[..., Settings],
    database: str,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "service.middleware.request_log")
    async with stored(database) as store:
        await store.insert(answer(1000))
    db.execute(
        "insert into results (query_id, timestamp, result_number, author, title)"
        " select 10 + n, n, 0, 'x', repeat('y', 400) from generate_series(1, 20000) as n"
    )
    with served(settings()) as url:
        request = b"GET /results?format=ndjson HTTP/1.1\r\n" + HEAD + b"\r\n"
        await asyncio.to_thread(disconnect, url, request, after=10_000)
        whole = await asyncio.to_thread(httpx.get, f"{url}/results?items_per_page=2")

    assert whole.status_code == 200
    assert sorted(line[:3] for line in lines(caplog)) == [
        ("GET", "/results", "200"),
        ("GET", "/results", "499"),
    ]


def test_blocked_log_pipe_delays_neither_responses_nor_exit(database: str) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    port = free_port()
    environment = {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_PORT": str(port),
        "ARXIV_LOG_LEVEL": "DEBUG",
    }
    command = [sys.executable, "-m", "service", "serve"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=writer, stderr=writer
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until_up(client)
                for _ in range(400):
                    assert client.get("/health/live", timeout=60).status_code == 200
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(writer)
            left = os.read(reader, 2**20)
            os.close(reader)

    assert left.count(b"/health/live") < 100  # the pipe was full from then on


def wait_until_up(client: httpx.Client) -> None:
    end = monotonic() + 60
    while monotonic() < end:
        try:
            client.get("/health/live")
        except httpx.ConnectError:
            sleep(0.05)
        else:
            return
    raise AssertionError("the service does not listen")
