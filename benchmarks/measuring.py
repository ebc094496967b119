"""How things are measured: side by side, several rounds, the median of their ratios."""

import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

ROUNDS = 5
SECONDS = 2


class Row(Struct):
    """One line of the table: a ratio, its spread over the rounds, and what it compares."""

    measure: str
    against: str
    ratio: str
    spread: str
    detail: str


@contextmanager
def served(app: object) -> Iterator[str]:
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


def bare_handler(content: bytes) -> HTTPRouteHandler:
    """A handler that answers these bytes, and does nothing else."""

    @get("/bare", sync_to_thread=False)
    def bare() -> Response[bytes]:
        return Response(content, media_type="application/json")

    return bare


def rate(url: str, *options: str) -> float:
    """Requests a second over 8 connections; `options` are those of wrk."""
    if wrk := shutil.which("wrk"):
        ran = subprocess.run(  # noqa: S603 - our own arguments
            [wrk, "-t1", "-c8", f"-d{SECONDS}s", *options, url],
            capture_output=True,
            text=True,
            check=True,
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


def load_name() -> str:
    """What makes the load of `rate`."""
    return "wrk" if shutil.which("wrk") else "the bundled client (wrk is not installed)"


def row(measure: str, against: str, ratios: list[float], detail: str) -> Row:
    """A line of the table, of the ratios of all rounds."""
    spread = f"{min(ratios):.3g} to {max(ratios):.3g}"
    return Row(measure, against, f"{statistics.median(ratios):.3g}", spread, detail)


def progress(what: str, round_number: int) -> None:
    """Tell what is being measured."""
    sys.stderr.write(f"{what}: round {round_number + 1} of {ROUNDS}\n")
