"""Pages per second of one service with two workers, against one worker."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

import httpx

from benchmarks.measuring import (
    Bench,
    NotAvailable,
    Row,
    ServiceExited,
    compute_ratios,
    measure_rate,
    run_rounds,
    run_service,
)
from benchmarks.reading import PAGE

CONNECTIONS = 32
"""Enough for both workers to accept about half of them."""


def measure_workers(bench: Bench) -> Iterator[Row]:
    """Measure two services on the same database, which differ in the number of workers."""
    with ExitStack() as stack:
        addresses = []
        for count in ("1", "2"):
            try:
                service = run_service(bench.million, {"ARXIV_WORKERS": count})
                address, _ = stack.enter_context(service)
            except ServiceExited as error:
                if "ARXIV_WORKERS" in str(error):
                    raise NotAvailable(str(error)) from error
                raise
            httpx.get(address + PAGE).raise_for_status()
            addresses.append(address)
        one, two = run_rounds(
            "workers",
            *(partial(measure_rate, address + PAGE, CONNECTIONS) for address in addresses),
        )
    yield Row(
        measure="`/results` pages of 10 with `ARXIV_WORKERS=2`",
        against="`ARXIV_WORKERS=1`",
        seen=compute_ratios(two, one),
        detail=f"{median(two):,.0f} against {median(one):,.0f}, {CONNECTIONS} connections,"
        f" {os.cpu_count()} cores",
    )
