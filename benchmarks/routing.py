"""Pages a second of one, two and four readers behind HAProxy, as deploy/ sets it up."""

import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.measuring import ROUNDS, Row, progress, rate, row
from benchmarks.reading import PAGE, process
from service.settings import Settings

CONFIG = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"
PAGES = Path(__file__).with_name("pages.lua")
SECOND = '    server read2 "${READ2}"\n'


def readers(settings: Settings, folder: Path) -> Iterator[Row]:
    """Through HAProxy to one, two and four processes, against one process without HAProxy."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if haproxy is None or shutil.which("wrk") is None:
        return
    with ExitStack() as stack:
        addresses = [stack.enter_context(process(settings))[0] for _ in range(4)]
        ways = {
            f"{count} behind HAProxy": stack.enter_context(
                _routed(haproxy, addresses[:count], folder / f"haproxy-{count}.cfg")
            )
            for count in (1, 2, 4)
        }
        ways = {"one alone": addresses[0], **ways}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for address in addresses:
            httpx.get(f"{address}{PAGE}&page=5000").raise_for_status()  # what is made once
        for round_number in range(ROUNDS):
            progress("readers", round_number)
            for name, address in ways.items():
                rates[name].append(rate(address, "-c32", "-s", str(PAGES)))
    for name in list(ways)[1:]:
        ratios = [one / alone for one, alone in zip(rates[name], rates["one alone"], strict=True)]
        this, alone = statistics.median(rates[name]), statistics.median(rates["one alone"])
        detail = f"{this:,.0f} against {alone:,.0f}, 32 connections, {os.cpu_count()} cores"
        yield row(f"`/results` pages of 10 from {name}", "one without HAProxy", ratios, detail)


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
