"""Instances that only search papers, each with an index of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from time import monotonic, sleep

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from tests.support.indexing import wait_until_searchable
from tests.support.measure import retry
from tests.support.process import Service, service

TOKEN = "a token for the tests"  # noqa: S105
VISIBLE_SECONDS = 2.0
"""Within this time, a new paper can be searched on every machine."""
Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts instances with some settings, each on a machine of its own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            service({f"ARXIV_{name.upper()}": value for name, value in settings.items()})
        )


@pytest.fixture
def ro_url(database: str) -> str:
    return make_conninfo(database, user="arxiv_ro")


@pytest.fixture
def recording(start: Start, database: str, arxiv_server: tuple[StandIn, str]) -> Service:
    """An instance that records searches."""
    return start(
        database_url=make_conninfo(database, user="arxiv_rw"),
        endpoints="arxiv",
        api_url=arxiv_server[1],
        interval="0",
    )


def wait_until_ready(instance: Service) -> None:
    end = monotonic() + 60
    while (response := instance.get("/health/ready")).status_code != 200:
        assert monotonic() < end, response.text
        sleep(0.05)


def find_papers(instance: Service, q: str) -> list[str]:
    response = instance.get("/papers", q=q)
    assert response.status_code == 200, response.text
    return [paper["arxiv_id"] for paper in response.json()["papers"]]


def test_new_paper_can_be_searched_on_every_machine_within_two_seconds(
    start: Start, ro_url: str, recording: Service
) -> None:
    searching = [start(endpoints="papers", database_ro_url=ro_url) for _ in range(2)]
    for instance in searching:
        wait_until_ready(instance)
    numbers = count()

    def check() -> None:
        start_at = {"start": next(numbers), "max_results": 1}
        response = recording.get("/arxiv", title="testing", include="results", **start_at)
        [paper] = response.raise_for_status().json()["results"]
        recorded = monotonic()
        found: list[list[str]] = [[], []]
        while not all(found):
            assert monotonic() < recorded + VISIBLE_SECONDS
            found = [find_papers(instance, paper["arxiv_id"]) for instance in searching]

    retry(check)
    # it searches no papers
    assert recording.get("/health/ready").json()["index"] is None


def test_search_instance_serves_frontends(start: Start, ro_url: str, recording: Service) -> None:
    assert recording.get("/arxiv", title="testing").status_code == 200
    endpoints, token = "papers,read-archive", {"backend_token": TOKEN}
    searching = start(endpoints=endpoints, database_ro_url=ro_url, **token)
    frontend = start(endpoints="papers", backend_url=searching.url(), **token)
    wait_until_searchable(searching)

    found = find_papers(frontend, "title:testing")

    assert found
    assert found == find_papers(searching, "title:testing")


def test_only_a_search_instance_is_unready_until_its_index_is_complete(
    start: Start, ro_url: str, database: str
) -> None:
    with psycopg.connect(database) as conn:
        # nothing can be indexed meanwhile
        conn.execute("lock table papers in access exclusive mode")
        alone = start(endpoints="papers", database_ro_url=ro_url)
        several = start(endpoints="papers,results,queries", database_ro_url=ro_url)
        not_ready, ready = alone.get("/health/ready"), several.get("/health/ready")
        search = alone.get("/papers", q="testing")
        conn.rollback()
    wait_until_ready(alone)

    assert not_ready.status_code == 503
    assert not_ready.json()["index"]["state"] == "building"
    assert ready.status_code == 200
    assert ready.json()["index"]["state"] == "building"
    assert search.status_code == 503
    assert "the search index is being built" in search.json()["detail"]
