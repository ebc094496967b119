"""Pages a second of one, two and four readers behind HAProxy, as deploy/ sets it up."""

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

from benchmarks.measuring import Bench, NotHere, Row, process, rate, ratios, rounds
from benchmarks.reading import PAGE

CONFIG = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
PAGES = PAGE + "&page={number%5000}"
"""A different page each time, since equal ones at the same time are read once by an instance."""
SECOND = '    server read2 "${READ2}"\n'


def readers(bench: Bench) -> Iterator[Row]:
    """Through HAProxy to one, two and four processes, against one process without HAProxy."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None:
        raise NotHere("HAProxy is not installed")
    with ExitStack() as stack:
        addresses = [stack.enter_context(process(bench.million))[0] for _ in range(4)]
        ways = {
            f"{count} behind HAProxy": stack.enter_context(
                _routed(haproxy, addresses[:count], bench.folder / f"haproxy-{count}.cfg")
            )
            for count in (1, 2, 4)
        }
        for address in addresses:
            httpx.get(f"{address}{PAGE}&page=5000").raise_for_status()  # what is made once
        alone, *behind = rounds(
            "readers",
            *(partial(rate, address + PAGES, 32) for address in (addresses[0], *ways.values())),
        )
    for name, rates in zip(ways, behind, strict=True):
        yield Row(
            measure=f"`/results` pages of 10 from {name}",
            against="one without HAProxy",
            seen=ratios(rates, alone),
            detail=f"{median(rates):,.0f} against {median(alone):,.0f}, 32 connections,"
            f" {os.cpu_count()} cores",
        )


@contextmanager
def _routed(haproxy: str, addresses: Sequence[str], config: Path) -> Iterator[str]:
    """HAProxy before these instances; its address."""
    hosts = [address.removeprefix("http://") for address in addresses]
    more = "".join(f"    server read{n} {host}\n" for n, host in enumerate(hosts[1:], 2))
    config.write_text(CONFIG.read_text().replace(SECOND, more))
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        outside, inside = (f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two))
    environment = os.environ | {"OUTSIDE": outside, "INSIDE": inside, "READ1": hosts[0]}
    with subprocess.Popen(  # noqa: S603 - our own arguments
        [haproxy, "-f", str(config)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            _wait_for(f"http://{outside}{PAGE}")
            yield f"http://{outside}"
        finally:
            running.kill()


def _wait_for(url: str) -> None:
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
