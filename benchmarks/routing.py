"""Pages per second of one, two and four readers behind HAProxy, with deploy/haproxy.cfg."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import httpx

from benchmarks.measuring import (
    Bench,
    NotAvailable,
    Row,
    compute_ratios,
    measure_rate,
    run_rounds,
    run_service,
)
from benchmarks.reading import PAGE

CONFIG = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
PAGES = PAGE + "&page={number%5000}"
"""A different page for each request, because an instance coalesces identical requests."""
SECOND_SERVER = '    server read2 "${READ2}"\n'


def measure_readers(bench: Bench) -> Iterator[Row]:
    """Compare one, two and four processes behind HAProxy with one process without HAProxy."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        raise NotAvailable("HAProxy is not installed")
    counts = (1, 2, 4)
    with ExitStack() as stack:
        addresses = [stack.enter_context(run_service(bench.million))[0] for _ in range(max(counts))]
        routed = [
            stack.enter_context(
                _run_haproxy(haproxy, addresses[:count], bench.folder / f"haproxy-{count}.cfg")
            )
            for count in counts
        ]
        for address in addresses:
            # the first request of an instance opens its connections
            httpx.get(f"{address}{PAGE}&page=5000").raise_for_status()
        alone, *behind_haproxy = run_rounds(
            "readers",
            *(partial(measure_rate, address + PAGES, 32) for address in (addresses[0], *routed)),
        )
    for count, rates in zip(counts, behind_haproxy, strict=True):
        yield Row(
            measure=f"`/results` pages of 10 from {count} behind HAProxy",
            against="one without HAProxy",
            seen=compute_ratios(rates, alone),
            detail=f"{median(rates):,.0f} against {median(alone):,.0f}, 32 connections,"
            f" {os.cpu_count()} cores",
        )


@contextmanager
def _run_haproxy(haproxy: str, addresses: Sequence[str], config: Path) -> Iterator[str]:
    """Run HAProxy in front of these instances, and yield its address."""
    hosts = [address.removeprefix("http://") for address in addresses]
    servers = "".join(f"    server read{n} {host}\n" for n, host in enumerate(hosts[1:], 2))
    config.write_text(CONFIG.read_text().replace(SECOND_SERVER, servers))
    with (
        socket.create_server(("127.0.0.1", 0)) as outside_server,
        socket.create_server(("127.0.0.1", 0)) as inside_server,
    ):
        outside, inside = (
            f"127.0.0.1:{server.getsockname()[1]}" for server in (outside_server, inside_server)
        )
    environment = os.environ | {"OUTSIDE": outside, "INSIDE": inside, "READ1": hosts[0]}
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [haproxy, "-f", str(config)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for_success(f"http://{outside}{PAGE}")
            yield f"http://{outside}"
        finally:
            process.kill()


def _wait_for_success(url: str) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return
