"""The cache: records are served until arXiv publishes new papers, or while it is unavailable."""

import asyncio
from collections.abc import Callable
from functools import partial
from time import time

import httpx
import psycopg
import pytest
from cachetools import TTLCache

from demo import feed
from demo.arxiv import StandIn
from demo.papers import generate
from service import arxiv_schedule
from service import search as search_module
from service.arxiv_schedule import next_publication
from service.context import LocalContext
from service.models.arxiv import Search
from service.models.records import RecordedSearch
from service.search import SearchReply
from service.settings import Settings
from tests.conftest import Gateway, Serve

TITLE = {"title": "testing"}
PAPERS = generate(30)


class Upstream:
    """A transport that returns the given responses in order, and repeats the last one."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses = list(responses)
        self.requests = 0

    def __call__(self, _: httpx.Request) -> httpx.Response:
        response = self.responses[min(self.requests, len(self.responses) - 1)]
        self.requests += 1
        if isinstance(response, Exception):
            raise response
        content, headers = response.content, response.headers
        return httpx.Response(response.status_code, content=content, headers=headers)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)


def good(entries: int = 3, total: int | None = None) -> httpx.Response:
    return httpx.Response(200, content=feed.render(PAPERS[:entries], total=total or entries))


BUSY = httpx.Response(429, content=b"Rate exceeded.")
BROKEN = httpx.Response(500, content=b"oops")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "RETRY_PAUSE", 0.01)


def status_of(response: httpx.Response) -> list[str]:
    return [part.strip() for part in response.headers["cache-status"].split(";")]


async def test_same_search_is_sent_once(client: Gateway, arxiv: StandIn) -> None:
    first = await client.get("/arxiv", params=TITLE)
    second = await client.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 1
    assert second.json() == first.json()
    assert status_of(first)[:2] == ["arxiv-gateway", "fwd=uri-miss"]
    assert status_of(second)[:2] == ["arxiv-gateway", "hit"]


async def test_record_is_served_by_another_process(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway() as one, gateway() as other:
        first = await one.get("/arxiv", params=TITLE)
        second = await other.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 1
    assert second.json() == first.json()
    assert status_of(second)[1] == "hit"


async def test_response_is_fresh_until_arxiv_publishes_new_papers(client: Gateway) -> None:
    await client.get("/arxiv", params=TITLE)
    response = await client.get("/arxiv", params=TITLE)

    left = next_publication(time()) - time()
    name, _, seconds = response.headers["cache-control"].partition("=")
    assert name == "max-age"
    assert abs(int(seconds) - left) < 5
    # max-age is the whole lifetime, from which caches subtract the age; ttl is the rest of it
    assert status_of(response)[2] == f"ttl={int(seconds) - int(response.headers['age'])}"
    assert 0 <= int(response.headers["age"]) < 5


@pytest.mark.parametrize(
    ("age", "max_age"), [(0, 31_500), (1000, 32_500), (80_000, 0), (700_000, 0)]
)
def test_max_age_is_the_whole_lifetime_of_which_caches_subtract_the_age(
    monkeypatch: pytest.MonkeyPatch, age: int, max_age: int
) -> None:
    """RFC 9111, 4.2. arXiv publishes 31,500 seconds after this moment."""
    now = 1_795_464_900
    monkeypatch.setattr(search_module, "time", lambda: now)
    recorded = RecordedSearch(1, now - age, 200, 1, 1, "x", "ok", recorded_at=now - age)
    reply = SearchReply(recorded, "hit")

    assert (reply.age, reply.max_age) == (age, max_age)


async def test_expired_record_is_not_served(
    gateway: Serve, arxiv: StandIn, age: Callable[[], None]
) -> None:
    async with gateway() as client:
        first = await client.get("/arxiv", params=TITLE)
    age()
    async with gateway() as client:
        second = await client.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 2
    assert second.json()["query_id"] > first.json()["query_id"]
    assert status_of(second)[1] == "fwd=stale"


@pytest.mark.parametrize(
    "other",
    [
        {"title": "tested"},
        {"any": "testing"},
        TITLE | {"max_results": 5},
        TITLE | {"start": 1},
        TITLE | {"sort_by": "submittedDate"},
        TITLE | {"sort_order": "ascending"},
        TITLE | {"category": "cs.SE"},
    ],
)
async def test_search_with_any_other_parameter_is_sent(
    client: Gateway, arxiv: StandIn, other: dict[str, str | int]
) -> None:
    await client.get("/arxiv", params=TITLE)
    await client.get("/arxiv", params=other)

    assert len(arxiv.requests) == 2


@pytest.mark.parametrize("value", ["no-cache", "max-age=0, No-Cache"])
async def test_no_cache_sends_the_search_again(client: Gateway, arxiv: StandIn, value: str) -> None:
    first = await client.get("/arxiv", params=TITLE)
    second = await client.get("/arxiv", params=TITLE, headers={"cache-control": value})
    third = await client.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 2
    assert status_of(second)[1] == "fwd=request"
    assert second.json()["query_id"] > first.json()["query_id"]
    assert third.json()["query_id"] == second.json()["query_id"]


async def test_cache_can_be_switched_off(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway(cache="off") as client:
        for _ in range(2):
            await client.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 2


async def test_concurrent_identical_searches_are_coalesced(gateway: Serve, arxiv: StandIn) -> None:
    arxiv.delay = 0.2
    async with gateway() as one, gateway() as other:
        responses = await asyncio.gather(
            *(client.get("/arxiv", params=TITLE) for client in [one, other] * 20)
        )

    assert len(arxiv.requests) == 1
    assert len({response.json()["query_id"] for response in responses}) == 1
    assert sum("collapsed" in response.headers["cache-status"] for response in responses) == 39


async def test_search_after_a_shared_failure_is_sent(gateway: Serve) -> None:
    upstream = Upstream(BROKEN, BROKEN, BROKEN, good())
    async with gateway(upstream.transport) as client:
        failed = await asyncio.gather(*(client.get("/arxiv", params=TITLE) for _ in range(5)))
        later = await client.get("/arxiv", params=TITLE)

    assert {response.status_code for response in failed} == {502}
    assert upstream.requests == 4
    assert later.status_code == 200


async def test_search_after_all_clients_disconnected_is_sent(
    settings: Callable[..., Settings], db: psycopg.Connection, arxiv: StandIn
) -> None:
    db.execute("update gate set free_at = clock_timestamp() + '20 s'")
    async with LocalContext(settings()) as context:
        searches = [
            asyncio.create_task(context.search_service.search(Search(title="x"))) for _ in range(2)
        ]
        await asyncio.sleep(0.3)
        for search in searches:
            search.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*searches, return_exceptions=True)
        db.execute("update gate set free_at = clock_timestamp()")
        found = await context.search_service.search(Search(title="x"))
        left = context.search_service._joinable  # noqa: SLF001

    assert found.cache_status.startswith("fwd=uri-miss")
    assert len(arxiv.requests) == 1
    assert left == {}


async def test_coalesced_response_expires(
    gateway: Serve, arxiv: StandIn, age: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "CACHE_SECONDS", 0.0)
    async with gateway() as client:
        await asyncio.gather(*(client.get("/arxiv", params=TITLE) for _ in range(5)))
        age()
        await client.get("/arxiv", params=TITLE)

    assert len(arxiv.requests) == 2


async def test_records_of_another_api_url_are_not_served(gateway: Serve, arxiv: StandIn) -> None:
    async with gateway() as client:
        await client.get("/arxiv", params=TITLE)
    upstream = Upstream(good())
    async with gateway(upstream.transport, api_url="http://127.0.0.1:9/api/query") as client:
        await client.get("/arxiv", params=TITLE)

    assert (len(arxiv.requests), upstream.requests) == (1, 1)


async def test_newer_record_of_another_process_is_served_soon(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch, arxiv: StandIn
) -> None:
    monkeypatch.setattr(search_module, "CACHE_SECONDS", 0.2)
    async with gateway() as one, gateway() as other:
        await one.get("/arxiv", params=TITLE)
        newer = await other.get("/arxiv", params=TITLE, headers={"cache-control": "no-cache"})
        await asyncio.sleep(0.3)
        seen = await one.get("/arxiv", params=TITLE)

    assert seen.json()["query_id"] == newer.json()["query_id"]
    assert len(arxiv.requests) == 2


@pytest.mark.parametrize(
    "failure", [BUSY, BROKEN, httpx.ConnectError("no route"), httpx.ReadTimeout("late")]
)
async def test_stale_response_is_served_while_arxiv_is_unavailable(
    gateway: Serve, age: Callable[[], None], failure: httpx.Response | Exception
) -> None:
    upstream = Upstream(good(), failure)
    async with gateway(upstream.transport) as client:
        first = await client.get("/arxiv", params=TITLE)
    age()
    async with gateway(upstream.transport) as client:
        second = await client.get("/arxiv", params=TITLE)

    assert second.status_code == 200
    assert second.json()["query_id"] == first.json()["query_id"]
    assert "detail=stale" in status_of(second)
    assert "warning" not in second.headers
    assert second.headers["cache-control"] == "max-age=0"
    assert int(second.headers["age"]) > 6 * 86400


async def test_stale_response_is_served_at_once_during_a_cooldown(
    gateway: Serve, age: Callable[[], None], db: psycopg.Connection, arxiv: StandIn
) -> None:
    async with gateway() as client:
        await client.get("/arxiv", params=TITLE)
    age()
    db.execute("update gate set closed_until = clock_timestamp() + '20 s'")
    async with gateway() as client:
        response = await asyncio.wait_for(client.get("/arxiv", params=TITLE), 60)

    assert "detail=stale" in status_of(response)
    assert len(arxiv.requests) == 1


async def test_no_cache_is_not_answered_with_a_stale_response(gateway: Serve) -> None:
    upstream = Upstream(good(), BUSY)
    async with gateway(upstream.transport) as client:
        await client.get("/arxiv", params=TITLE)
        forced = await client.get("/arxiv", params=TITLE, headers={"cache-control": "no-cache"})

    assert forced.status_code == 503


async def test_cooldown_applies_to_all_processes(
    gateway: Serve,
) -> None:
    upstream = Upstream(httpx.Response(429, headers={"retry-after": "120"}), good())
    async with gateway(upstream.transport) as one, gateway(upstream.transport) as other:
        first = await one.get("/arxiv", params=TITLE)
        second = await other.get("/arxiv", params={"title": "else"})

    assert (first.status_code, second.status_code) == (503, 503)
    assert first.headers["retry-after"] == "120"
    assert 110 < int(second.headers["retry-after"]) <= 120
    assert upstream.requests == 1


@pytest.mark.parametrize(
    ("failure", "requests"), [(BROKEN, 3), (httpx.ConnectError("no"), 3), (BUSY, 1)]
)
async def test_temporary_failures_are_retried_and_each_attempt_is_recorded(
    gateway: Serve, db: psycopg.Connection, failure: httpx.Response | Exception, requests: int
) -> None:
    upstream = Upstream(failure)
    async with gateway(upstream.transport) as client:
        response = await client.get("/arxiv", params=TITLE)

    assert response.status_code in {502, 503}
    assert upstream.requests == requests
    recorded = db.execute("select query_id from queries order by query_id").fetchall()
    assert len(recorded) == requests
    assert response.json()["query_id"] == recorded[-1][0]


async def test_rejected_query_is_not_retried(gateway: Serve) -> None:
    upstream = Upstream(httpx.Response(400, content=feed.error("incorrect id format for x")))
    async with gateway(upstream.transport) as client:
        response = await client.get("/arxiv", params=TITLE)

    assert response.status_code == 400
    assert upstream.requests == 1


async def test_successful_second_attempt_is_served(gateway: Serve, db: psycopg.Connection) -> None:
    upstream = Upstream(BROKEN, good())
    async with gateway(upstream.transport) as client:
        response = await client.get("/arxiv", params=TITLE)
        again = await client.get("/arxiv", params=TITLE)

    assert response.status_code == 200
    assert again.json() == response.json()
    assert upstream.requests == 2
    outcomes = db.execute("select outcome from queries order by query_id").fetchall()
    assert outcomes == [("broken",), ("ok",)]


@pytest.mark.parametrize("suspect", [good(0, total=50), good(3, total=50)])
async def test_incomplete_response_is_retried_and_not_cached(
    gateway: Serve, db: psycopg.Connection, suspect: httpx.Response
) -> None:
    content = suspect.content.replace(b">3</opensearch:items", b">10</opensearch:items")
    content = content.replace(b">0</opensearch:items", b">10</opensearch:items")
    upstream = Upstream(httpx.Response(200, content=content))
    async with gateway(upstream.transport) as client:
        first = await client.get("/arxiv", params=TITLE)
        await client.get("/arxiv", params=TITLE)

    assert first.status_code == 200
    assert "fewer papers" in first.json()["warnings"][-1]
    assert upstream.requests == 6
    assert set(db.execute("select outcome from queries").fetchall()) == {("suspect",)}
    assert "stored" not in status_of(first)
    assert first.headers["cache-control"] == "max-age=0"


async def test_short_last_page_is_complete(gateway: Serve) -> None:
    upstream = Upstream(good(3, total=23))
    async with gateway(upstream.transport) as client:
        response = await client.get("/arxiv", params=TITLE | {"start": 20})

    assert "fewer" not in response.text
    assert upstream.requests == 1


async def test_include_results_adds_the_papers(client: Gateway, arxiv: StandIn) -> None:
    first = (await client.get("/arxiv", params=TITLE | {"include": "results"})).json()
    second = (await client.get("/arxiv", params=TITLE | {"include": "results"})).json()

    assert len(arxiv.requests) == 1
    assert second == first
    assert [row["result_number"] for row in first["results"]] == list(range(10))
    assert {row["query_id"] for row in first["results"]} == {first["query_id"]}
    assert all(row["arxiv_id"] and row["version"] for row in first["results"])


async def test_include_results_changes_nothing_else(client: Gateway, arxiv: StandIn) -> None:
    plain, full = TITLE, TITLE | {"include": "results"}
    summaries = [(await client.get("/arxiv", params=each)).json() for each in (plain, full) * 3]

    assert len(arxiv.requests) == 1
    assert [len(each.pop("results", ())) for each in summaries] == [0, 10] * 3
    assert all(each == summaries[0] for each in summaries)


async def test_size_of_cached_searches_is_bounded(
    gateway: Serve, monkeypatch: pytest.MonkeyPatch, arxiv: StandIn
) -> None:
    monkeypatch.setattr(search_module, "MAX_CACHED_BYTES", 2500)
    async with gateway() as client:
        for word in ("a1", "b2", "c3", "d4", "e5", "f6", "a1"):
            response = await client.get("/arxiv", params={"title": word})

    assert len(arxiv.requests) == 6  # evicted searches are read from PostgreSQL
    assert response.status_code == 200


async def test_long_titles_of_feeds_are_not_kept_in_memory(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0
    monkeypatch.setattr(search_module, "TTLCache", partial(TTLCache, timer=lambda: now))
    content = good().content.replace(b"</title>", b"x" * 15_000 + b"</title>", 1)
    transport = Upstream(httpx.Response(200, content=content)).transport
    async with LocalContext(settings(), transport) as context:
        service = context.search_service
        for number in range(3):
            await service.search(Search(title=f"x{number}"))
        cached = service._cache.currsize  # noqa: SLF001
        now = 1000
        await service.search(Search(title="x0"))
        left = service._cache.currsize  # noqa: SLF001

    assert 45_000 < cached < 60_000
    assert left < 20_000  # the expired ones are gone


ZERO = httpx.Response(200, content=feed.render([], total=0))


@pytest.mark.parametrize("no_cache", [False, True])
@pytest.mark.parametrize("search", [TITLE, {"id_list": "2101.00001"}])
async def test_zero_after_results_is_suspect(
    gateway: Serve,
    db: psycopg.Connection,
    age: Callable[[], None],
    search: dict[str, str],
    no_cache: bool,  # noqa: FBT001
) -> None:
    upstream = Upstream(good(), ZERO, ZERO, ZERO, ZERO, good())
    async with gateway(upstream.transport) as client:
        first = await client.get("/arxiv", params=search)
    if not no_cache:
        age()
    headers = {"cache-control": "no-cache"} if no_cache else {}
    async with gateway(upstream.transport) as client:  # another process
        second = await client.get("/arxiv", params=search, headers=headers)
        third = await client.get("/arxiv", params=search, headers=headers)

    assert second.status_code == 200
    assert second.json()["num_results"] == 0
    assert (
        f"no papers, but 3 before (search {first.json()['query_id']})"
        in (second.json()["warnings"][-1])
    )
    assert second.headers["cache-control"] == "max-age=0"
    assert upstream.requests == 6
    assert third.json()["num_results"] == 3
    assert "no papers" not in third.text
    outcomes = db.execute("select outcome from queries order by query_id").fetchall()
    assert [outcome for (outcome,) in outcomes] == ["ok", *["suspect"] * 4, "ok"]


async def test_first_zero_is_fresh_for_an_hour(
    gateway: Serve, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "CACHE_SECONDS", 0.0)
    # otherwise the record would be older than arXiv's publication at some times of day
    monkeypatch.setattr(arxiv_schedule, "next_publication", lambda seconds: int(seconds) + 86_400)
    upstream = Upstream(ZERO)
    async with gateway(upstream.transport) as client:
        first = await client.get("/arxiv", params=TITLE)
        db.execute("update queries set recorded = recorded - 3000")
        second = await client.get("/arxiv", params=TITLE)
        requests = upstream.requests
        db.execute("update queries set recorded = recorded - 700")
        third = await client.get("/arxiv", params=TITLE)

    assert 0 < int(first.headers["cache-control"].removeprefix("max-age=")) <= 3600
    lifetime = int(second.headers["cache-control"].removeprefix("max-age="))
    assert lifetime - int(second.headers["age"]) <= 605
    assert (requests, upstream.requests) == (1, 2)
    assert status_of(third)[1] == "fwd=stale"
    assert "no papers" not in third.text


async def test_zero_for_a_page_beyond_the_end_is_not_suspect(
    gateway: Serve, db: psycopg.Connection
) -> None:
    upstream = Upstream(good(0, total=3), ZERO)
    beyond = TITLE | {"start": 20}
    async with gateway(upstream.transport) as client:
        await client.get("/arxiv", params=beyond)
        await client.get("/arxiv", params=beyond, headers={"cache-control": "no-cache"})

    assert upstream.requests == 2
    assert db.execute("select distinct outcome from queries").fetchall() == [("ok",)]


async def test_recording_is_retried_while_the_database_is_unavailable(
    gateway: Serve, db: psycopg.Connection
) -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        db.execute(
            "alter table results rename to hidden" if upstream["requests"] == 0 else "select 1"
        )
        upstream["requests"] += 1
        return good()

    upstream = {"requests": 0}
    async with gateway(httpx.MockTransport(respond)) as client:
        request = asyncio.create_task(client.get("/arxiv", params=TITLE))
        await asyncio.sleep(1)
        db.execute("alter table hidden rename to results")
        response = await request

    assert response.status_code == 200
    assert upstream["requests"] == 1
    assert db.execute("select count(*) from results").fetchone() == (3,)


@pytest.mark.parametrize("year", ["2100", "2001"])
async def test_freshness_does_not_depend_on_the_date_header(gateway: Serve, year: str) -> None:
    far = httpx.Response(
        200, content=feed.render(PAPERS[:1]), headers={"date": f"Fri, 01 Jan {year} 00:00:00 GMT"}
    )
    upstream = Upstream(far)
    async with gateway(upstream.transport) as client:
        await client.get("/arxiv", params=TITLE)
        response = await client.get("/arxiv", params=TITLE)

    assert upstream.requests == 1
    assert int(response.headers["cache-control"].partition("=")[2]) <= 3.2 * 86400
    assert int(response.headers["age"]) < 5
