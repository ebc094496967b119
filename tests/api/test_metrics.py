"""What `/metrics` counts: each thing once, under labels that nobody outside can choose."""

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
from service.db.pool import DatabasePools
from service.db.rate_limiter import RateLimiter
from service.errors import ServiceError, UpstreamError
from service.settings import ENDPOINTS, Settings
from tests.conftest import Gateway, Serve

Series = dict[str, float]


async def series(client: Gateway, name: str = "arxiv_gateway_") -> Series:
    """The series of these names, as they are written, and their values."""
    text = (await client.get("/metrics")).raise_for_status().text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name) and not line.startswith("#")
    }


@asynccontextmanager
async def raising(client: Gateway, *names: str) -> AsyncIterator[Series]:
    """By how much series of these names rise inside the block: known at its end."""
    before = await series(client, "")
    risen: Series = {}
    yield risen
    for each, value in (await series(client, "")).items():
        if each.startswith(names) and value != before.get(each, 0.0):
            risen[each] = value - before.get(each, 0.0)


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


async def test_a_recorded_search_counts_once_everywhere(client: Gateway) -> None:
    async with raising(client, SEARCHES, UPSTREAM, ROWS, WAITS, DURATIONS) as risen:
        receipt = (await client.get("/arxiv?title=testing&max_results=7")).json()

    assert receipt["num_entries"] == 7
    assert risen == {
        searches("ok", "arxiv"): 1,
        upstream("ok", "200"): 1,
        DURATIONS: 1,
        WAITS: 1,
        rows("queries"): 1,
        rows("results"): 7,
        rows("papers"): 7,
    }


async def test_the_same_papers_again_are_no_new_rows(client: Gateway) -> None:
    await client.get("/arxiv?title=testing&max_results=7")
    async with raising(client, ROWS) as risen:
        await client.get(
            "/arxiv?title=testing&max_results=7", headers={"cache-control": "no-cache"}
        )

    assert risen == {rows("queries"): 1, rows("results"): 7}


async def test_what_the_process_remembers_is_a_hit_of_its_own(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    async with raising(client, SEARCHES, UPSTREAM, ROWS, WAITS) as risen:
        for _ in range(3):
            await client.get("/arxiv?title=testing")

    assert risen == {searches("ok", "process"): 3}


@pytest.mark.usefixtures("arxiv")
async def test_what_another_process_recorded_is_a_hit_of_the_database(gateway: Serve) -> None:
    async with gateway() as one, gateway() as other:
        await one.get("/arxiv?title=testing")
        async with raising(other, SEARCHES, UPSTREAM) as risen:
            await other.get("/arxiv?title=testing")

    assert risen == {searches("ok", "database"): 1}


async def test_who_joins_a_flight_is_answered_by_it(client: Gateway, arxiv: StandIn) -> None:
    arxiv.delay = 0.2
    async with raising(client, SEARCHES, UPSTREAM) as risen:
        await asyncio.gather(*(client.get("/arxiv?title=testing") for _ in range(4)))

    assert risen == {
        searches("ok", "arxiv"): 1,
        searches("ok", "flight"): 3,
        upstream("ok", "200"): 1,
    }


async def test_an_old_answer_counts_as_stale(
    gateway: Serve, client: Gateway, db: psycopg.Connection
) -> None:
    await client.get("/arxiv?title=testing")
    db.execute("update queries set recorded = recorded - 864000")
    async with gateway(answering(503)) as cut_off, raising(cut_off, SEARCHES, UPSTREAM) as risen:
        assert "stale" in (await cut_off.get("/arxiv?title=testing")).headers["cache-status"]

    assert risen == {searches("ok", "stale"): 1, upstream("busy", "503"): 1}


def answering(status: int, content: bytes = b"") -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, content=content))


def fail(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("away")


@pytest.mark.parametrize(
    ("transport", "outcome", "status", "tries"),
    [
        (answering(400), "refused", "400", 1),
        (answering(429), "busy", "429", 1),
        (answering(404), "broken", "404", 1),
        (answering(299), "broken", "other", 1),
        (httpx.MockTransport(fail), "unreachable", "none", 1),
    ],
)
async def test_what_arxiv_does_wrong_is_counted_as_that(
    monkeypatch: pytest.MonkeyPatch,
    gateway: Serve,
    transport: httpx.MockTransport,
    outcome: str,
    status: str,
    tries: int,
) -> None:
    monkeypatch.setattr("service.search.PAUSES", (float("inf"),))
    async with gateway(transport) as client, raising(client, SEARCHES, UPSTREAM, ROWS) as risen:
        await client.get("/arxiv?title=testing")

    assert risen == {
        searches(outcome, "nobody"): 1,
        upstream(outcome, status): tries,
        rows("queries"): tries,
    }


async def test_what_is_no_search_is_not_counted(client: Gateway) -> None:
    async with raising(client, SEARCHES, UPSTREAM) as risen:
        for headers in ({}, {"cache-control": "no-cache"}):
            wrong = await client.get("/arxiv?query=nonsense:x", headers=headers)
            assert wrong.status_code == 400

    assert risen == {}


async def test_a_search_without_a_database_is_counted_as_that(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.2)
    away = "host=127.0.0.1 port=9"
    async with gateway(database_url=away) as client, raising(client, SEARCHES, UPSTREAM) as risen:
        await client.get("/arxiv?title=testing")

    assert risen == {searches("no_database", "nobody"): 1}


async def test_who_is_sent_away_waits_at_no_gate(gateway: Serve, db: psycopg.Connection) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '1 hour'")
    async with gateway() as client, raising(client, SEARCHES, WAITS, UPSTREAM) as risen:
        assert (await client.get("/arxiv?title=testing")).status_code == 503

    assert risen == {searches("turned_away", "nobody"): 1}


async def test_the_wait_at_the_gate_is_measured(gateway: Serve, db: psycopg.Connection) -> None:
    total = "arxiv_gateway_gate_wait_seconds_sum"
    async with gateway() as client, raising(client, WAITS, total) as risen:
        db.execute("update gate set free_at = clock_timestamp() + '0.4 s'")
        asking = asyncio.create_task(client.get("/arxiv?title=testing"))
        await asyncio.sleep(0.2)
        assert (await series(client))["arxiv_gateway_gate_waiting"] == 1
        await asking
        assert (await series(client))["arxiv_gateway_gate_waiting"] == 0

    assert risen[WAITS] == 1
    assert 0.3 < risen[total] < 5


async def test_a_search_that_is_given_up_is_abandoned(client: Gateway, arxiv: StandIn) -> None:
    arxiv.delay = 0.5
    async with raising(client, SEARCHES, UPSTREAM) as risen:
        asking = asyncio.create_task(client.get("/arxiv?title=testing"))
        await asyncio.sleep(0.2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.6)

    assert risen == {searches("abandoned", "nobody"): 1, upstream("ok", "200"): 1}


async def test_a_pause_of_arxivs_is_told_until_its_end(gateway: Serve) -> None:
    async with gateway(answering(429), cooldown=700.0) as client:
        await client.get("/arxiv?title=testing")
        until = (await series(client))["arxiv_gateway_gate_closed_until_timestamp_seconds"]

    assert 690 < until - time() < 710


async def test_a_pause_that_an_operator_ends_is_not_told_any_more(
    gateway: Serve, db: psycopg.Connection
) -> None:
    async with gateway(answering(429), cooldown=700.0) as client:
        await client.get("/arxiv?title=testing")
        db.execute("update gate set closed_until = '-infinity', refusals = 0")
        await client.get("/health/ready")
        until = (await series(client))["arxiv_gateway_gate_closed_until_timestamp_seconds"]

    assert until == 0


async def test_what_is_refused_is_counted_with_what_it_got(client: Gateway) -> None:
    names = ("http_requests_total", "arxiv_gateway_refused_total")
    async with raising(client, *names) as risen:
        for path in ("/results?x=1", "/arxiv?title=%00", "/health/live?x=1"):
            assert (await client.get(path)).status_code == 400
        text = {"content-type": "text/plain"}
        assert (await client.post("/queries", content="{}", headers=text)).status_code == 415
        late = await client.get("/papers", headers={"request-timeout": "0"})
        assert late.status_code == 504

    assert not [name for name in risen if name.startswith("arxiv_gateway_refused_total")]
    told = re.findall(r'path="([^"]+)".*?status_code="(\d+)"', " ".join(risen))
    assert sorted(pair for pair in told if pair[0] != "/metrics") == [
        ("/arxiv", "400"),
        ("/health/live", "400"),
        ("/papers", "504"),
        ("/queries", "415"),
        ("/results", "400"),
    ]


async def test_who_does_not_wait_any_more_is_counted_with_what_he_got(client: Gateway) -> None:
    async with raising(client, "http_requests_total") as risen:
        late = await client.get("/results", headers={"request-timeout": "0"})
        wrong = await client.get("/results", headers={"request-timeout": "soon"})

    assert (late.status_code, wrong.status_code) == (504, 400)
    told = [re.findall(r'path="([^"]+)".*status_code="(\d+)"', name) for name in risen]
    assert sorted(pair for pairs in told for pair in pairs if "/results" in pair) == [
        ("/results", "400"),
        ("/results", "504"),
    ]


async def test_rows_that_operators_write_are_counted_once(client: Gateway) -> None:
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
    async with raising(client, ROWS) as risen:
        for _ in range(2):
            await client.post("/write-queries", json=query)
            await client.post("/write-results", json=results)

    assert risen == {rows("queries"): 1, rows("results"): 1, rows("papers"): 1}


# Pools


def pool(name: str, **labels: str) -> str:
    shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"arxiv_gateway_pool_{name}{{{shown}}}"


async def test_connections_that_are_lent_are_in_use(
    settings: Callable[..., Settings], client: Gateway
) -> None:
    async with DatabasePools(settings().database_url or "") as pools:
        used = pool("connections", pool="queries", state="in_use")
        while (await series(client))[used]:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)  # they are still being opened
        async with pools.writer():
            lent = await series(client)
        idle = await series(client)

    assert lent[used] == 1
    assert idle[used] == 0
    assert idle[pool("connections", pool="queries", state="idle")] == 2
    assert idle[pool("connections_max", pool="queries")] == 20
    assert idle[pool("connections_max", pool="queries, readers")] == 10


async def test_calls_that_wait_for_a_connection_and_get_none_are_counted(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, client: Gateway
) -> None:
    monkeypatch.setattr("service.db.pool.POOL_SIZE", 1)
    monkeypatch.setattr("service.db.pool.CHECKOUT_TIMEOUT", 0.3)
    async with DatabasePools(settings().database_url or "") as pools:
        rate_limiter = RateLimiter(pools, interval=0, lease=5)
        async with pools.writer(), raising(client, pool("refusals_total")[:-2]) as risen:
            call = asyncio.create_task(rate_limiter.state())
            await asyncio.sleep(0.1)
            assert (await series(client))[pool("waiting", pool="queries")] == 1
            with pytest.raises(ServiceError):
                await call

    assert risen == {pool("refusals_total", pool="queries"): 1}


async def test_a_service_that_has_ended_shows_no_pool(client: Gateway, gateway: Serve) -> None:
    before = await series(client, "arxiv_gateway_pool_connections_max")
    async with gateway() as other:
        await other.get("/results")
    assert await series(client, "arxiv_gateway_pool_connections_max") == before


async def test_who_is_refused_at_the_door_is_counted_there(gateway: Serve) -> None:
    async with (
        gateway(api_keys="required") as client,
        raising(client, "arxiv_gateway_refused_total", "http_requests_total") as risen,
    ):
        await client.get("/results")
        await client.get("/results", headers={"host": "a b"})

    door = {name: times for name, times in risen.items() if "/metrics" not in name}
    assert door == {
        'arxiv_gateway_refused_total{status="400"}': 1,
        'arxiv_gateway_refused_total{status="401"}': 1,
    }


# Names and labels


async def test_nothing_a_client_chooses_makes_a_series(client: Gateway) -> None:
    others = set(await series(client, ""))  # made-up paths of other tests in this process
    await client.get("/queries/1")
    odd = ["/nowhere", "/results/x", "/papers/9901.00001", "/queries/2", "/queries/3/feed"]
    for path in odd:
        await client.get(path)
    await client.get("/arxiv?title=testing")
    before = set(await series(client, ""))

    for number in range(3):
        for path in odd:
            await client.get(f"{path}{number}?x={number}")
        await client.request(f"VERB{number}", "/results")
        await client.get("/arxiv", params={"title": f"x{number}"})
        await client.get("/results", headers={"x-request-id": f"me-{number}"})
        await client.get("/arxiv", params={"title": "testing", "max_results": number + 1})

    after = set(await series(client, ""))
    new = {name for name in after - before if not name.startswith("http_")}
    assert new == set()
    ours = after - others
    paths = {path for name in ours for path in re.findall(r'path="([^"]+)"', name)}
    methods = {method for name in ours for method in re.findall(r'method="(\w+)"', name)}
    assert {path.split("/")[1] for path in paths} <= {*SEGMENTS}
    assert methods <= {"GET", "POST"}
    assert not any(character.isdigit() for path in paths for character in path)


SEGMENTS = (
    *ENDPOINTS["frontend"],
    *ENDPOINTS["backend"],
    *("health", "metrics", "schema", "schema-assets"),
)


async def test_names_follow_the_rules_of_prometheus(client: Gateway) -> None:
    await client.get("/arxiv?title=testing")
    text = (await client.get("/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    ours = {name: each for name, each in families.items() if name.startswith("arxiv_gateway_")}

    assert len(ours) >= 10
    for name, family in ours.items():
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|millis|minutes|kb)\b", name)
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples), (
                name
            )
        if "wait" in name or "duration" in name:
            assert "seconds" in name or family.type == "gauge"


def test_every_failure_of_arxivs_has_a_name_of_its_own() -> None:
    assert set(UpstreamError.__subclasses__()) <= set(metrics.ENDS)
    assert len(set(metrics.ENDS.values())) == len(metrics.ENDS)
