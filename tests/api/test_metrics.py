"""`/metrics`: each event is counted once, under labels that clients cannot choose."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import time

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.arxiv import StandIn
from service import metrics
from service.db import rate_limiter
from service.db.pool import DatabasePools
from service.db.rate_limiter import RateLimiter
from service.errors import ServiceError, UpstreamError
from service.settings import ENDPOINTS, Settings
from tests.conftest import Gateway, Serve

Series = dict[str, float]


async def read_series(client: Gateway, name: str = "arxiv_gateway_") -> Series:
    """Return the series whose names begin with `name`, and their values."""
    text = (await client.get("/metrics")).raise_for_status().text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name) and not line.startswith("#")
    }


@asynccontextmanager
async def measure_increases(client: Gateway, *names: str) -> AsyncIterator[Series]:
    """Collect by how much series with these names increase inside the block."""
    before = await read_series(client, "")
    increases: Series = {}
    yield increases
    for each, value in (await read_series(client, "")).items():
        if each.startswith(names) and value != before.get(each, 0.0):
            increases[each] = value - before.get(each, 0.0)


async def becomes(client: Gateway, name: str, value: float) -> None:
    async with asyncio.timeout(60):
        while (await read_series(client, "")).get(name) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def searches(outcome: str, answered_by: str) -> str:
    return f'arxiv_gateway_searches_total{{answered_by="{answered_by}",outcome="{outcome}"}}'


def rows(table: str) -> str:
    return f'arxiv_gateway_rows_written_total{{table="{table}"}}'


def upstream(outcome: str, status: str) -> str:
    return f'arxiv_gateway_upstream_requests_total{{outcome="{outcome}",status="{status}"}}'


SEARCHES = "arxiv_gateway_searches_total"
UPSTREAM = "arxiv_gateway_upstream_requests_total"
ROWS = "arxiv_gateway_rows_written_total"
WAITS = "arxiv_gateway_gate_wait_seconds_count"
DURATIONS = "arxiv_gateway_upstream_request_duration_seconds_count"


async def test_recorded_search_is_counted_once(client: Gateway) -> None:
    async with measure_increases(client, SEARCHES, UPSTREAM, ROWS, WAITS, DURATIONS) as increases:
        summary = (await client.get("/arxiv?title=testing&max_results=7")).json()

    assert summary["num_entries"] == 7
    assert increases == {
        searches("ok", "arxiv"): 1,
        upstream("ok", "200"): 1,
        DURATIONS: 1,
        WAITS: 1,
        rows("queries"): 1,
        rows("results"): 7,
        rows("papers"): 7,
    }


async def test_known_papers_are_not_counted_as_new_rows(client: Gateway) -> None:
    await client.get("/arxiv?title=testing&max_results=7")
    async with measure_increases(client, ROWS) as increases:
        await client.get(
            "/arxiv?title=testing&max_results=7", headers={"cache-control": "no-cache"}
        )

    assert increases == {rows("queries"): 1, rows("results"): 7}


async def test_hit_in_memory_is_counted_separately(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    async with measure_increases(client, SEARCHES, UPSTREAM, ROWS, WAITS) as increases:
        for _ in range(3):
            await client.get("/arxiv?title=testing")

    assert increases == {searches("ok", "process"): 3}


@pytest.mark.usefixtures("arxiv")
async def test_record_of_another_process_is_counted_as_a_hit_in_the_database(
    gateway: Serve,
) -> None:
    async with gateway() as one, gateway() as other:
        await one.get("/arxiv?title=testing")
        async with measure_increases(other, SEARCHES, UPSTREAM) as increases:
            await other.get("/arxiv?title=testing")

    assert increases == {searches("ok", "database"): 1}


async def test_coalesced_searches_are_counted_separately(client: Gateway, arxiv: StandIn) -> None:
    arxiv.delay = 0.2
    async with measure_increases(client, SEARCHES, UPSTREAM) as increases:
        await asyncio.gather(*(client.get("/arxiv?title=testing") for _ in range(4)))

    assert increases == {
        searches("ok", "arxiv"): 1,
        searches("ok", "flight"): 3,
        upstream("ok", "200"): 1,
    }


async def test_expired_response_is_counted_as_stale(
    gateway: Serve, client: Gateway, db: psycopg.Connection
) -> None:
    await client.get("/arxiv?title=testing")
    db.execute("update queries set recorded = recorded - 864000")
    async with (
        gateway(respond_with(503)) as cut_off,
        measure_increases(cut_off, SEARCHES, UPSTREAM) as increases,
    ):
        assert "stale" in (await cut_off.get("/arxiv?title=testing")).headers["cache-status"]

    assert increases == {searches("ok", "stale"): 1, upstream("busy", "503"): 1}


def respond_with(status: int, content: bytes = b"") -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, content=content))


def fail(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("unreachable")


@pytest.mark.parametrize(
    ("transport", "outcome", "status", "tries"),
    [
        (respond_with(400), "refused", "400", 1),
        (respond_with(429), "busy", "429", 1),
        (respond_with(404), "broken", "404", 1),
        (respond_with(299), "broken", "other", 1),
        (httpx.MockTransport(fail), "unreachable", "none", 1),
    ],
)
async def test_failures_of_arxiv_are_counted_by_outcome(
    monkeypatch: pytest.MonkeyPatch,
    gateway: Serve,
    transport: httpx.MockTransport,
    outcome: str,
    status: str,
    tries: int,
) -> None:
    monkeypatch.setattr("service.search.MAX_ATTEMPTS", 1)
    async with (
        gateway(transport) as client,
        measure_increases(client, SEARCHES, UPSTREAM, ROWS) as increases,
    ):
        await client.get("/arxiv?title=testing")

    assert increases == {
        searches(outcome, "nobody"): 1,
        upstream(outcome, status): tries,
        rows("queries"): tries,
    }


async def test_invalid_searches_are_not_counted(client: Gateway) -> None:
    async with measure_increases(client, SEARCHES, UPSTREAM) as increases:
        for headers in ({}, {"cache-control": "no-cache"}):
            wrong = await client.get("/arxiv?query=nonsense:x", headers=headers)
            assert wrong.status_code == 400

    assert increases == {}


async def test_search_without_a_database_is_counted(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
    dead_url = "host=127.0.0.1 port=9"
    async with (
        gateway(database_url=dead_url) as client,
        measure_increases(client, SEARCHES, UPSTREAM) as increases,
    ):
        await client.get("/arxiv?title=testing")

    assert increases == {searches("no_database", "nobody"): 1}


async def test_rejected_search_has_no_wait(gateway: Serve, db: psycopg.Connection) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '1 hour'")
    async with (
        gateway() as client,
        measure_increases(client, SEARCHES, WAITS, UPSTREAM) as increases,
    ):
        assert (await client.get("/arxiv?title=testing")).status_code == 503

    assert increases == {searches("turned_away", "nobody"): 1}


async def test_wait_for_the_rate_limiter_is_measured(
    gateway: Serve, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limiter, "RENEW_SECONDS", 0.1)
    total = "arxiv_gateway_gate_wait_seconds_sum"
    async with gateway() as client, measure_increases(client, WAITS, total) as increases:
        db.execute("update gate set free_at = clock_timestamp() + '20 s'")
        searching = asyncio.create_task(client.get("/arxiv?title=testing"))
        await becomes(client, "arxiv_gateway_gate_waiting", 1)
        await asyncio.sleep(0.4)
        db.execute("update gate set free_at = clock_timestamp()")
        await searching
        assert (await read_series(client))["arxiv_gateway_gate_waiting"] == 0

    assert increases[WAITS] == 1
    assert increases[total] > 0.3


async def test_search_without_clients_is_counted_as_abandoned(
    client: Gateway, arxiv: StandIn
) -> None:
    arxiv.delay = 2
    before = (await read_series(client, "")).get(upstream("ok", "200"), 0)
    async with measure_increases(client, SEARCHES, UPSTREAM) as increases:
        searching = asyncio.create_task(client.get("/arxiv?title=testing"))
        while not arxiv.requests:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.01)
        searching.cancel()
        await asyncio.gather(searching, return_exceptions=True)
        await becomes(client, upstream("ok", "200"), before + 1)

    assert increases == {searches("abandoned", "nobody"): 1, upstream("ok", "200"): 1}


async def test_end_of_the_cooldown_is_exposed(gateway: Serve) -> None:
    async with gateway(respond_with(429), cooldown=700.0) as client:
        await client.get("/arxiv?title=testing")
        until = (await read_series(client))["arxiv_gateway_gate_closed_until_timestamp_seconds"]

    assert 690 < until - time() < 710


async def test_cooldown_that_an_operator_ended_is_not_exposed(
    gateway: Serve, db: psycopg.Connection
) -> None:
    async with gateway(respond_with(429), cooldown=700.0) as client:
        await client.get("/arxiv?title=testing")
        db.execute("update gate set closed_until = '-infinity', refusals = 0")
        await client.get("/health/ready")
        until = (await read_series(client))["arxiv_gateway_gate_closed_until_timestamp_seconds"]

    assert until == 0


async def test_rejected_requests_are_counted_by_status(client: Gateway) -> None:
    names = ("http_requests_total", "arxiv_gateway_refused_total")
    async with measure_increases(client, *names) as increases:
        for path in ("/results?x=1", "/arxiv?title=%00", "/health/live?x=1"):
            assert (await client.get(path)).status_code == 400
        text = {"content-type": "text/plain"}
        assert (await client.post("/queries", content="{}", headers=text)).status_code == 415
        late = await client.get("/papers", headers={"request-timeout": "0"})
        assert late.status_code == 504

    assert not [name for name in increases if name.startswith("arxiv_gateway_refused_total")]
    labels = re.findall(r'path="([^"]+)".*?status_code="(\d+)"', " ".join(increases))
    assert sorted(pair for pair in labels if pair[0] != "/metrics") == [
        ("/arxiv", "400"),
        ("/health/live", "400"),
        ("/papers", "504"),
        ("/queries", "415"),
        ("/results", "400"),
    ]


async def test_expired_and_invalid_request_timeouts_are_counted(client: Gateway) -> None:
    names = ("http_requests_total", "arxiv_gateway_refused_total")
    async with measure_increases(client, *names) as increases:
        late = await client.get("/results", headers={"request-timeout": "0"})
        wrong = await client.get("/results", headers={"request-timeout": "soon"})

    assert (late.status_code, wrong.status_code) == (504, 400)
    assert increases['arxiv_gateway_refused_total{status="400"}'] == 1
    labels = [re.findall(r'path="([^"]+)".*status_code="(\d+)"', name) for name in increases]
    assert [pair for pairs in labels for pair in pairs if "/results" in pair] == [
        ("/results", "504")
    ]


async def test_rows_written_by_operators_are_counted_once(client: Gateway) -> None:
    query = {
        "query_id": (await client.get("/get-sequence")).json()["sequence"],
        "timestamp": 1_795_464_900,
        "status": 200,
        "num_results": 1,
        "num_entries": 1,
        "query": "ArXiv Query: search_query=x",
    }
    result = {"authors": ["Emmy Noether"], "title": "Invariants", "arxiv_id": "2611.00001"}
    results = {name: query[name] for name in ("query_id", "timestamp")} | {"results": [result]}
    async with measure_increases(client, ROWS) as increases:
        for _ in range(2):
            await client.post("/write-queries", json=query)
            await client.post("/write-results", json=results)

    assert increases == {rows("queries"): 1, rows("results"): 1, rows("papers"): 1}


# Pools


def pool(name: str, **labels: str) -> str:
    label_text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"arxiv_gateway_pool_{name}{{{label_text}}}"


async def test_acquired_connections_are_in_use(
    settings: Callable[..., Settings], client: Gateway
) -> None:
    async with DatabasePools(settings().database_url or "") as pools:
        used = pool("connections", pool="queries", state="in_use")
        while (await read_series(client))[used]:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)  # the connections are still being opened
        async with pools.writer():
            acquired = await read_series(client)
        idle = await read_series(client)

    assert acquired[used] == 1
    assert idle[used] == 0
    assert idle[pool("connections", pool="queries", state="idle")] == 2
    assert idle[pool("connections_max", pool="queries")] == 20
    assert idle[pool("connections_max", pool="queries, readers")] == 10


async def test_calls_that_get_no_connection_are_counted(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, client: Gateway
) -> None:
    monkeypatch.setattr("service.db.pool.POOL_SIZE", 1)
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 3.0)
    async with DatabasePools(settings().database_url or "") as pools:
        limiter = RateLimiter(pools, interval=0, lease=5)
        async with (
            pools.writer(),
            measure_increases(client, pool("refusals_total")[:-2]) as increases,
        ):
            call = asyncio.create_task(limiter.fetch_status())
            await becomes(client, pool("waiting", pool="queries"), 1)
            with pytest.raises(ServiceError):
                await call

    assert increases == {pool("refusals_total", pool="queries"): 1}


async def test_closed_pools_are_not_exposed(client: Gateway, gateway: Serve) -> None:
    before = await read_series(client, "arxiv_gateway_pool_connections_max")
    async with gateway() as other:
        await other.get("/results")
    assert await read_series(client, "arxiv_gateway_pool_connections_max") == before


async def test_requests_rejected_before_routing_are_counted(gateway: Serve) -> None:
    async with (
        gateway(api_keys="required") as client,
        measure_increases(
            client, "arxiv_gateway_refused_total", "http_requests_total"
        ) as increases,
    ):
        await client.get("/results")
        await client.get("/results", headers={"host": "a b"})

    early = {name: times for name, times in increases.items() if "/metrics" not in name}
    assert early == {
        'arxiv_gateway_refused_total{status="400"}': 1,
        'arxiv_gateway_refused_total{status="401"}': 1,
    }


# Names and labels


async def test_clients_cannot_create_series(client: Gateway) -> None:
    others = set(await read_series(client, ""))  # paths of other tests in this process
    await client.get("/queries/1")
    odd = ["/nowhere", "/results/x", "/papers/9901.00001", "/queries/2", "/queries/3/feed"]
    for path in odd:
        await client.get(path)
    await client.get("/arxiv?title=testing")
    before = set(await read_series(client, ""))

    for number in range(3):
        for path in odd:
            await client.get(f"{path}{number}?x={number}")
        await client.request(f"VERB{number}", "/results")
        await client.get("/arxiv", params={"title": f"x{number}"})
        await client.get("/results", headers={"x-request-id": f"me-{number}"})
        await client.get("/arxiv", params={"title": "testing", "max_results": number + 1})

    after = set(await read_series(client, ""))
    new = {name for name in after - before if not name.startswith("http_")}
    assert new == set()
    own = after - others
    paths = {path for name in own for path in re.findall(r'path="([^"]+)"', name)}
    methods = {method for name in own for method in re.findall(r'method="(\w+)"', name)}
    assert {path.split("/")[1] for path in paths} <= {*SEGMENTS}
    assert methods <= {"GET", "POST"}
    assert not any(character.isdigit() for path in paths for character in path)


SEGMENTS = (
    *ENDPOINTS["frontend"],
    *ENDPOINTS["backend"],
    *("health", "metrics", "schema", "schema-assets"),
)


async def test_names_follow_the_conventions_of_prometheus(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    text = (await client.get("/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    own = {name: each for name, each in families.items() if name.startswith("arxiv_gateway_")}

    assert len(own) >= 10
    for name, family in own.items():
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|millis|minutes|kb)\b", name)
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples), (
                name
            )
        if "wait" in name or "duration" in name:
            assert "seconds" in name or family.type == "gauge"


def test_every_failure_of_arxiv_has_its_own_label() -> None:
    assert set(UpstreamError.__subclasses__()) <= set(metrics.FAILURE_OUTCOMES)
    assert len(set(metrics.FAILURE_OUTCOMES.values())) == len(metrics.FAILURE_OUTCOMES)
