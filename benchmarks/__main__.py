"""`make bench`: measure, print a table, keep it in benchmarks/latest.md."""

import asyncio
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct, structs

from demo.arxiv import StandIn
from demo.papers import generate
from service import embedded, migrations
from service.app import create_app
from service.models import Search
from service.parts import Parts
from service.settings import Settings

ROUNDS = 5
SECONDS = 2
SEARCHES = 300


class Row(Struct):
    """One line of the table: a ratio, its spread over the rounds, and what it compares."""

    measure: str
    against: str
    ratio: float
    spread: str
    detail: str


def main() -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory() as folder, embedded.server(Path(folder) / "data") as url:
        migrations.apply(url)
        with _served(StandIn(generate(2000))) as arxiv:
            settings = Settings(
                database_url=f"{url} user=arxiv_rw",
                database_ro_url=f"{url} user=arxiv_ro",
                api_url=f"{arxiv}/api/query",
                interval=0,
            )
            rows = [_memory_hits(settings), _cost_of_a_miss(settings)]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [
        f"{python}, {os.cpu_count()} cores, load from {_load_name()}; median of {ROUNDS} rounds",
        "",
        "| measure | against | ratio | spread | |",
        "|---|---|---|---|---|",
        *(" | ".join(["", *map(str, structs.astuple(row)), ""]).strip() for row in rows),
        "",
    ]
    text = "\n".join(lines)
    Path(__file__).with_name("latest.md").write_text(text)
    sys.stdout.write(text)


@contextmanager
def _served(app: object) -> Iterator[str]:
    """An application behind uvicorn, in a thread; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _memory_hits(settings: Settings) -> Row:
    """Answers from memory, against a handler that does nothing but answer the same bytes."""
    app = create_app(settings)
    with _served(app) as address:
        path = "/arxiv?title=testing"
        content = httpx.get(address + path, timeout=30).raise_for_status().content
        app.register(_bare(content))
        ratios, rates = [], []
        for round_number in range(ROUNDS):
            _progress("memory hits", round_number)
            hits, bare = _rate(address + path), _rate(address + "/bare")
            ratios.append(hits / bare)
            rates.append((hits, bare))
    hits, bare = (statistics.median(rate) for rate in zip(*rates, strict=True))
    return _row(
        "memory hit of `/arxiv`, requests a second",
        "bare Litestar handler, same bytes, same process",
        ratios,
        f"{hits:,.0f} against {bare:,.0f}",
    )


def _bare(content: bytes) -> HTTPRouteHandler:
    @get("/bare", sync_to_thread=False)
    def bare() -> Response[bytes]:
        return Response(content, media_type="application/json")

    return bare


def _rate(url: str) -> float:
    """Requests a second over 8 connections."""
    if wrk := shutil.which("wrk"):
        ran = subprocess.run(  # noqa: S603 - our own arguments
            [wrk, "-t1", "-c8", f"-d{SECONDS}s", url], capture_output=True, text=True, check=True
        )
        assert "Non-2xx" not in ran.stdout, ran.stdout  # noqa: S101
        return float(re.findall(r"Requests/sec:\s+([\d.]+)", ran.stdout)[0])
    ran = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-c", LOAD, url, str(SECONDS)], capture_output=True, text=True, check=True
    )
    return float(ran.stdout)


LOAD = """
import asyncio, sys, time
from urllib.parse import urlsplit
url, seconds = urlsplit(sys.argv[1]), float(sys.argv[2])
line = f"GET {url.path}?{url.query} HTTP/1.1\\r\\nhost: {url.netloc}\\r\\n\\r\\n".encode()
end, count = time.monotonic() + seconds, 0
async def client():
    global count
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    while time.monotonic() < end:
        writer.write(line)
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
        await reader.readexactly(length)
        count += 1
async def main():
    await asyncio.gather(*(client() for _ in range(8)))
asyncio.run(main())
print(count / seconds)
"""


def _load_name() -> str:
    return "wrk" if shutil.which("wrk") else "the bundled client (wrk is not installed)"


def _cost_of_a_miss(settings: Settings) -> Row:
    """CPU of a recorded search of ten papers, against httpx fetching and reading the same."""
    ratios, costs = [], []
    for round_number in range(ROUNDS):
        _progress("cost of a miss", round_number)
        words = [f"{round_number}x{number}" for number in range(SEARCHES)]
        ours = asyncio.run(_searches(settings, words))
        bare = asyncio.run(_fetches(settings.api_url, words))
        ratios.append(ours / bare)
        costs.append((ours, bare))
    ours, bare = (statistics.median(cost) for cost in zip(*costs, strict=True))
    return _row(
        "CPU of a miss: gate, request, parse, record",
        "httpx fetching and reading the same answers",
        ratios,
        f"{ours:.2f} ms against {bare:.2f} ms, {ours - bare:.2f} ms beyond",
    )


async def _searches(settings: Settings, words: list[str]) -> float:
    async with Parts(settings) as parts:

        async def search(word: str) -> None:
            await parts.searcher.find(Search(query=f"all:testing OR all:{word}"))

        return await _cpu(search, words)


async def _fetches(url: str, words: list[str]) -> float:
    async with httpx.AsyncClient() as client:

        async def fetch(word: str) -> None:
            query = f"all:testing OR all:{word}"
            sent = {"search_query": query, "id_list": "", "start": "0", "max_results": "10"}
            async with client.stream("GET", url, params=sent) as response:
                await response.aread()

        return await _cpu(fetch, words)


async def _cpu(call: Callable[[str], Awaitable[None]], words: list[str]) -> float:
    """Milliseconds of CPU that this thread spends on each call; the servers are other threads."""
    await call(words[0])
    before = time.thread_time()
    for word in words[1:]:
        await call(word)
    return (time.thread_time() - before) * 1000 / (len(words) - 1)


def _row(measure: str, against: str, ratios: list[float], detail: str) -> Row:
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return Row(measure, against, round(statistics.median(ratios), 2), spread, detail)


def _progress(what: str, round_number: int) -> None:
    sys.stderr.write(f"{what}: round {round_number + 1} of {ROUNDS}\n")


if __name__ == "__main__":
    main()
