"""Requests to arXiv from the service, and from nginx as a caching proxy, for the same searches."""

import asyncio
import getpass
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median

import httpx
from msgspec import structs

from benchmarks.measuring import (
    Bench,
    NotAvailable,
    Row,
    print_progress,
    run_service,
    serve_app,
)
from demo.arxiv import Request, StandIn
from demo.papers import generate

SEARCHES = 200
CLIENTS = 4
INTERVAL = 0.05
"""Seconds from the end of a request to arXiv to the next one."""
RESPONSE_TIME = 0.01
"""Seconds that the stand-in for arXiv takes."""
REPETITIONS = 3
CONFIG = """
user {user};
worker_processes 2;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=feeds:10m;
    proxy_http_version 1.1;
    limit_req_zone arxiv zone=arxiv:1m rate={rate}r/s;
    server {{
        listen unix:{folder}/cache.sock;
        location / {{
            proxy_pass http://unix:{folder}/limit.sock;
            proxy_cache feeds;
            proxy_cache_valid 200 10m;
            proxy_cache_lock on;
        }}
    }}
    server {{
        listen unix:{folder}/limit.sock;
        location / {{
            {limit}
            proxy_pass {arxiv};
        }}
    }}
}}
"""
LIMIT = f"limit_req zone=arxiv burst={SEARCHES};"


def measure_proxies(bench: Bench) -> Iterator[Row]:
    """Send the same searches, half of them repeats, to the service and to nginx."""
    stand_in = StandIn(generate(2000), delay=RESPONSE_TIME)
    with serve_app(stand_in) as arxiv:
        settings = structs.replace(
            bench.create_database("proxying"), api_url=f"{arxiv}/api/query", interval=INTERVAL
        )
        with run_service(settings) as (address, _):
            send = partial(send_searches, f"{address}/api/query", None)
            yield _measure("the service", stand_in, send, at_most=0)
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if nginx is None:
            raise NotAvailable("nginx is not installed")
        for name, limit in ("nginx, cache", ""), ("nginx, cache and limit_req", LIMIT):
            folder = bench.folder / name.replace(", ", "-").replace(" ", "-")
            with _run_nginx(nginx, folder, arxiv, limit) as socket:
                send = partial(send_searches, "http://nginx/api/query", socket)
                yield _measure(name, stand_in, send)


def _measure(
    name: str, stand_in: StandIn, send: Callable[[list[str]], float], at_most: float | None = None
) -> Row:
    early, times, counts = [], [], []
    for number in range(REPETITIONS):
        print_progress(f"proxy: {name}, repetition {number + 1} of {REPETITIONS}")
        stand_in.requests.clear()
        times.append(send(create_queries(number)))
        counts.append(len(stand_in.requests))
        early.append(float(count_early(stand_in.requests)))
    return Row(
        measure=f"requests to arXiv within {INTERVAL} s of the end of another: {name}",
        seen=early,
        at_most=at_most,
        detail=f"of {median(counts):.0f} requests to arXiv for {SEARCHES} searches of {CLIENTS}"
        f" clients, {SEARCHES // 2} of them repeats, in {median(times):.2f} s",
    )


def create_queries(number: int) -> list[str]:
    """Return the queries of a repetition, each of them twice, in a random but fixed order."""
    queries = [f"all:testing OR all:r{number}n{n}" for n in range(SEARCHES // 2)] * 2
    random.Random(number).shuffle(queries)  # noqa: S311 - no secret
    return queries


def send_searches(url: str, socket: str | None, queries: list[str]) -> float:
    """Send the queries from all clients together, and return the time that it takes."""
    started = time.perf_counter()
    asyncio.run(_send_searches(url, socket, iter(queries)))
    return time.perf_counter() - started


async def _send_searches(url: str, socket: str | None, queries: Iterator[str]) -> None:
    async def run_client(client: httpx.AsyncClient) -> None:
        for query in queries:  # all clients share the iterator
            response = await client.get(url, params={"search_query": query}, timeout=60)
            response.raise_for_status()

    transport = httpx.AsyncHTTPTransport(uds=socket)
    async with httpx.AsyncClient(transport=transport) as client, asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(run_client(client))


def count_early(requests: list[Request]) -> int:
    """Count the requests that began before the interval after all earlier ones had passed."""
    requests = sorted(requests, key=lambda request: request.started)
    ends = accumulate((request.ended for request in requests), max)
    pairs = zip(requests[1:], ends, strict=False)
    return sum(request.started < end + INTERVAL for request, end in pairs)


@contextmanager
def _run_nginx(nginx: str, folder: Path, arxiv: str, limit: str) -> Iterator[str]:
    """Run nginx on a Unix socket, and yield the path of the socket."""
    folder.mkdir()
    config = folder / "nginx.conf"
    rate = round(1 / INTERVAL)
    config.write_text(
        CONFIG.format(user=getpass.getuser(), folder=folder, arxiv=arxiv, limit=limit, rate=rate)
    )
    socket = folder / "cache.sock"
    command = [nginx, "-p", str(folder), "-c", str(config)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            while not socket.exists():
                if process.poll() is not None:
                    raise NotAvailable(f"nginx: {(folder / 'error.log').read_text().strip()}")
                time.sleep(0.02)
            yield str(socket)
        finally:
            process.terminate()
