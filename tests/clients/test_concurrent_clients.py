"""Several clients at the same time: arXiv gets one request after the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from time import monotonic
from typing import Any

from demo.arxiv import StandIn
from demo.papers import generate
from tests.support.clients import Fetch, serve_gateway, use_papis, use_pubs, use_python

SECONDS = 60
INTERVAL = 0.5
RESPONSE_TIME = 0.1
IDENTIFIERS = [paper.arxiv_id for paper in generate(1000) if not paper.dois]

Search = Callable[[int], dict[str, Any]]
"""A search that finds papers and that no other number gives."""

CLIENTS: list[tuple[Fetch, Search]] = [
    (
        use_python("arxiv-2", "arxiv_py.py"),
        lambda n: {"query": f"all:testing OR all:word{n}", "max_results": 50},  # three pages
    ),
    (
        use_python("arxiv-4", "feedparser.py", "feedparser"),
        lambda n: {"search_query": f"ti:testing OR ti:word{n}"},
    ),
    (use_papis, lambda n: {"explore": ["--id-list", IDENTIFIERS[n]]}),
    (use_pubs, lambda n: {"arxiv_id": IDENTIFIERS[-1 - n]}),
]


def search_until(end: float, url: str, fetch: Fetch, search: Search) -> Iterator[dict[str, Any]]:
    """Repeat different searches until a time; the outcomes."""
    number = 0
    while monotonic() < end:
        yield fetch(url, {"search": search(number)})["search"]
        number += 1


def test_four_clients_at_a_time_respect_the_interval_and_do_not_fail(
    arxiv: StandIn, database: str, arxiv_url: str
) -> None:
    arxiv.delay = RESPONSE_TIME
    with (
        serve_gateway(database, arxiv_url, ARXIV_INTERVAL=str(INTERVAL)) as url,
        ThreadPoolExecutor() as threads,
    ):
        end = monotonic() + SECONDS
        running = [
            threads.submit(lambda client: list(search_until(end, url, *client)), client)
            for client in CLIENTS
        ]
        outcomes = [run.result() for run in running]
    assert min(map(len, outcomes)) > 1
    failed = [found for run in outcomes for found in run if not found["papers"]]
    assert failed == []
    requests = sorted(arxiv.requests, key=lambda request: request.started)
    pauses = [second.started - first.ended for first, second in pairwise(requests)]
    assert min(pauses) >= INTERVAL
    assert len(requests) > SECONDS / (INTERVAL + RESPONSE_TIME) / 2  # the clients kept it busy
    assert {request.status for request in requests} == {200}
