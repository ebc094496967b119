"""Failover under load, with two of each component behind HAProxy as configured in deploy/.

Each test logs its counts (--log-cli-level=INFO).
"""

import asyncio
import itertools
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any

import httpx
import psycopg
import pytest
from msgspec.json import encode
from psycopg.conninfo import make_conninfo

from demo.arxiv import StandIn
from service.db.records import record_of
from tests.db.test_records import answer
from tests.support.broker import Broker, is_there
from tests.support.haproxy import Router, free_port, haproxy
from tests.support.process import Service, service
from tests.support.replica import Replica

logger = logging.getLogger(__name__)

TOKEN = "the token of the tests"  # noqa: S105
LAG, SETTLE = 0.5, 3
SEARCHERS, READERS = 4, 2
LOSS = 1.0
"""Seconds around the failure: searches acknowledged then may be missing on the standby."""
SET = ("synchronous_standby_names", "synchronous_commit", "recovery_min_apply_delay")
"""Server settings that tests change."""
NUMBERS = itertools.count()


class Pair:
    """A primary and its standby with fixed addresses."""

    def __init__(self, origin: str, folder: Path) -> None:
        self._folders = [folder / "one", folder / "two"]
        self.primary = Replica(origin, self._folders[0])
        self.primary.run("create database arxiv template template")
        self.primary.url = make_conninfo(self.primary.url, dbname="arxiv")
        self.standby = self._standby()

    def _standby(self) -> Replica:
        [folder] = [each for each in self._folders if each != self.primary.folder]
        shutil.rmtree(folder, ignore_errors=True)
        return Replica(self.primary.url, folder, "-R")

    def url(self, **options: str) -> str:
        hosts = ",".join(map(str, self._folders))
        return make_conninfo(self.primary.url, host=hosts, port="5432,5432", **options)

    def set(self, server: Replica, **settings: str) -> None:
        for name, value in settings.items():
            server.run(f"alter system set {name} = '{value}'")
        server.run("select pg_reload_conf()")

    def confirms_what_both_have(self) -> None:
        """Confirm commits only when they are visible on the standby."""
        self.set(self.primary, synchronous_commit="remote_apply")
        self.standby.follows(self.primary)

    def fail_over(self) -> None:
        """Kill the primary and promote the standby."""
        self.primary.kill()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def mend(self) -> None:
        """Create a new standby in place of the old primary, and reset the settings."""
        if not self.standby.runs:
            self.standby = self._standby()
        for server in (self.primary, self.standby):
            for name in SET:
                server.run(f"alter system reset {name}")
            server.run("select pg_reload_conf()")

    def stop(self) -> None:
        for server in (self.standby, self.primary):
            server.stop()


class Instances:
    """Two frontends, two backends and a queue worker, each with a fixed address."""

    def __init__(self, stack: ExitStack, environments: dict[str, dict[str, str]]) -> None:
        self._stack = stack
        self.environments = environments
        self.running: dict[str, Service] = {}
        for name in environments:
            self.start(name)

    def start(self, name: str) -> None:
        command = ("service", "writer" if name == "WRITER" else "serve")
        environment = self.environments[name]
        self.running[name] = self._stack.enter_context(service(environment, command))

    def kill(self, name: str) -> None:
        self.running[name].end(SIGKILL)

    def mend(self) -> None:
        for name, instance in self.running.items():
            if instance.process.poll() is not None:
                self.start(name)

    @property
    def output(self) -> str:
        """The last output of each instance."""
        return "\n".join(f"{name}:\n{each.output[-3000:]}" for name, each in self.running.items())

    def stop(self) -> None:
        for instance in self.running.values():  # stop them concurrently
            instance.process.terminate()


@dataclass(frozen=True)
class Stack:
    pair: Pair
    instances: Instances
    router: Router
    queue: Broker | None
    """None if RabbitMQ is not installed."""


@pytest.fixture(scope="module")
def stack(
    server: str,
    template: str,  # noqa: ARG001 - the database that is copied
    quick_path: Path,
    arxiv_server: tuple[StandIn, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    ports = {name: str(free_port()) for name in ("FRONTEND1", "FRONTEND2", "BACKEND1", "BACKEND2")}
    pools = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    pools |= {"READ1": pools["FRONTEND1"], "READ2": pools["FRONTEND2"]}
    common = {"ARXIV_API_URL": arxiv_server[1], "ARXIV_INTERVAL": "0", "ARXIV_TIMEOUT": "1"}
    common |= {"ARXIV_BACKEND_TOKEN": TOKEN}
    with TemporaryDirectory(prefix="pair-", dir=quick_path) as name, ExitStack() as opened:
        folder = Path(name)
        folder.chmod(0o711)
        pair = Pair(server, folder)
        opened.callback(pair.stop)
        router = opened.enter_context(haproxy(tmp_path_factory.mktemp("haproxy"), pools))
        backend = common | {
            "ARXIV_ENDPOINTS": "backend",
            "ARXIV_DATABASE_URL": pair.url(user="arxiv_rw", target_session_attrs="read-write"),
            # from either: what one shows the other may not have yet
            "ARXIV_DATABASE_RO_URL": pair.url(user="arxiv_ro", load_balance_hosts="random"),
            "ARXIV_SETTLE": str(SETTLE),
        }
        frontend = common | {"ARXIV_BACKEND_URL": router.inside}
        environments = {
            name: (backend if name.startswith("BACKEND") else frontend) | {"ARXIV_PORT": port}
            for name, port in ports.items()
        }
        queue = None
        if is_there():
            queue = Broker(tmp_path_factory.mktemp("queue"))
            queue.start()
            opened.callback(queue.end)
            for each in ("BACKEND1", "BACKEND2", "WRITER"):
                environments[each] = backend | environments.get(each, {})
                environments[each]["ARXIV_QUEUE_URL"] = queue.url
        instances = Instances(opened, environments)
        if queue:
            queue.wait()
        yield Stack(pair, instances, router, queue)
        instances.stop()


def mend(stack: Stack) -> None:
    """Restart everything that a test has stopped, and wait until all components are connected."""
    stack.pair.mend()
    stack.instances.mend()
    end = monotonic() + 30
    while not is_whole(stack):
        assert monotonic() < end, stack.instances.output
        sleep(0.05)


def is_whole(stack: Stack) -> bool:
    """Whether HAProxy sees all instances, backends the queue, and the queue its worker."""
    up = httpx.get(f"{stack.router.inside}/metrics").text
    state = 'haproxy_backend_agg_server_status{proxy="%s",state="UP"} 2'
    if not all(state % pool in up for pool in ("frontends_search", "frontends_read", "backends")):
        return False
    return stack.queue is None or all(
        "\narxiv_gateway_queue_writers 1.0\n"
        in httpx.get(f"{stack.instances.running[name].url()}/metrics").text
        for name in ("BACKEND1", "BACKEND2")
    )


@pytest.fixture
def whole(stack: Stack, arxiv: StandIn) -> Stack:  # noqa: ARG001 - resets it
    mend(stack)
    return stack


@dataclass
class Load:
    """Searches that are repeated until acknowledged, and concurrent readers."""

    after: int
    """The highest query_id before the test."""
    begun: float = field(default_factory=monotonic)
    event: float = 0.0
    acknowledged: list[tuple[float, int]] = field(default_factory=list)
    refused: list[tuple[float, Any]] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    failed: list[tuple[float, Any]] = field(default_factory=list)
    whole: set[int] = field(default_factory=set)
    partial: set[int] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, client: httpx.AsyncClient) -> None:
        """Send different searches."""
        for number in NUMBERS:
            path = f"/arxiv?title=testing&start={number // 5}&max_results={number % 5 + 1}"
            while True:
                try:
                    answer = await client.get(path)
                except httpx.HTTPError as error:
                    self.refused.append((monotonic(), error))
                else:
                    if answer.status_code == 200:
                        self.acknowledged.append((monotonic(), answer.json()["query_id"]))
                        await asyncio.sleep(0.05)
                        break
                    self.refused.append((monotonic(), answer.text))
                if self.ended.is_set():
                    return
                await asyncio.sleep(0.05)
            if self.ended.is_set():
                return

    async def look(self, client: httpx.AsyncClient) -> None:
        """Read the newest searches and check that their results are complete."""
        while not self.ended.is_set():
            searches = await self.get(client, "/queries?order=newest&items_per_page=3")
            for search in searches or ():
                if (query_id := search["query_id"]) <= self.after:
                    continue
                rows = await self.get(client, f"/results?query_id={query_id}&items_per_page=100")
                if rows is not None:
                    right = len(rows) == search["num_entries"]
                    (self.whole if right else self.partial).add(query_id)

    async def get(self, client: httpx.AsyncClient, path: str) -> Any:
        try:
            answer = await client.get(path)
        except httpx.HTTPError as error:
            self.failed.append((monotonic(), error))
            return None
        if answer.status_code != 200:
            self.failed.append((monotonic(), answer.text))
            await asyncio.sleep(0.05)
            return None
        self.read.append(monotonic())
        await asyncio.sleep(0.05)  # leave capacity to the searches
        return answer.json()

    def gap(self, moments: list[float]) -> float:
        """The longest gap between these times since the event."""
        since = [self.event, *(each for each in moments if each > self.event)]
        return max(later - earlier for earlier, later in itertools.pairwise(since))

    def until_well(self) -> float:
        """Seconds from the event to the last error; 0 without errors."""
        last = [moment for moment, _ in self.refused + self.failed if moment > self.event]
        return max(last, default=self.event) - self.event


@asynccontextmanager
async def under_load(stack: Stack) -> AsyncIterator[Load]:
    """Run four searching and two reading clients during the block."""
    with psycopg.connect(stack.pair.primary.url) as conn:
        [[after]] = conn.execute("select coalesce(max(query_id), 0) from queries")
    load = Load(after)
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(
                httpx.AsyncClient(base_url=stack.router.outside, timeout=30)
            )
            for _ in range(2)
        ]
        tasks = [asyncio.create_task(load.write(clients[0])) for _ in range(SEARCHERS)]
        tasks += [asyncio.create_task(load.look(clients[1])) for _ in range(READERS)]
        try:
            await asyncio.sleep(0.5)
            load.event = monotonic()
            yield load
            await asyncio.sleep(0.5)
        finally:
            load.ended.set()
            await asyncio.gather(*tasks)


async def until_acknowledged(load: Load, more: int = 20) -> None:
    """Wait until this number of further searches is acknowledged."""
    before = len(load.acknowledged)
    async with asyncio.timeout(60):
        while len(load.acknowledged) < before + more:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.05)


async def until_seen(load: Load, number: int) -> None:
    """Wait until readers have seen this number of new searches, which takes SETTLE seconds."""
    async with asyncio.timeout(60):
        while len(load.whole) < number:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Counted:
    """The state of the database after a test."""

    acknowledged: int
    lost: list[float]
    """Seconds after the event at which lost searches were acknowledged."""
    doubled: int
    """Numbers acknowledged for two searches."""
    again: int
    """Searches recorded more than once."""
    partial: int
    parked: list[tuple[bytes, Any]]


async def counted(stack: Stack, load: Load, what: str) -> Counted:
    """Wait until the queue is empty, then count and log the results."""
    began = monotonic()
    parked = await drained(stack)
    waited = monotonic() - began
    with psycopg.connect(stack.pair.primary.url) as conn:
        rows = conn.execute("select query_id from queries where query_id > %s", (load.after,))
        kept = {number for (number,) in rows}
        again = conn.execute(
            "select from queries where query_id > %s and outcome = 'ok'"
            " group by search_key having count(*) > 1",
            (load.after,),
        ).rowcount
        partial = conn.execute(
            "select from queries as q where query_id > %s and num_entries <>"
            " (select count(*) from results as r where r.query_id = q.query_id)",
            (load.after,),
        ).rowcount
    numbers = [number for _, number in load.acknowledged]
    found = Counted(
        acknowledged=len(numbers),
        lost=[moment - load.event for moment, number in load.acknowledged if number not in kept],
        doubled=len(numbers) - len({*numbers}),
        again=again,
        partial=partial + len(load.partial),
        parked=parked,
    )
    logger.info("all recorded %.1f s after the last search", waited)
    logger.info(
        "%s: %s; %d reads; searches: %d refused, longest gap %.1f s; reads: %d failed, longest gap"
        " %.1f s; well after %.1f s",
        what,
        found,
        len(load.read),
        len(load.refused),
        load.gap([moment for moment, _ in load.acknowledged]),
        len(load.failed),
        load.gap(load.read),
        load.until_well(),
    )
    for moment, error in sorted(load.refused + load.failed, key=lambda each: each[0]):
        logger.info("after %.2f s: %r", moment - load.event, error)
    return found


async def drained(stack: Stack) -> list[tuple[bytes, Any]]:
    """Wait until all queued messages are recorded; the parked messages.

    The last message is published here.
    """
    if stack.queue is None:
        return []
    with psycopg.connect(stack.pair.primary.url, autocommit=True) as conn:
        [[number]] = conn.execute("select nextval('arxiv_sequence')")
        await stack.queue.publish(encode(record_of(answer(1, "the last"), number)))
        end = monotonic() + 30
        while not conn.execute("select from queries where query_id = %s", (number,)).rowcount:
            waiting = await stack.queue.waiting()
            assert monotonic() < end, f"{waiting} wait\n{stack.instances.output}"
            await asyncio.sleep(0.05)
    return await stack.queue.parked()


async def test_messages_survive_killed_broker(whole: Stack) -> None:
    if whole.queue is None:
        pytest.skip("not installed: rabbitmq-server")
    # RabbitMQ 3.10 saves its list of queues with a delay: a queue created just before a kill never
    # gets a leader again
    await asyncio.sleep(2)
    async with under_load(whole) as load:
        await asyncio.to_thread(whole.queue.kill)
        await until_acknowledged(load)
        whole.queue.start()
        await asyncio.to_thread(whole.queue.wait)
        await until_acknowledged(load)
    found = await counted(whole, load, "the queue dies")
    assert (found.lost, found.doubled, found.partial, found.parked) == ([], 0, 0, [])
    # unconfirmed messages were written with the same number, so no search was repeated
    assert found.again == 0
    assert load.refused + load.failed == []


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "asynchronous"])
async def test_replicated_records_survive_killed_primary(
    whole: Stack, *, synchronous: bool
) -> None:
    if synchronous:
        whole.pair.confirms_what_both_have()
    async with under_load(whole) as load:
        await asyncio.to_thread(whole.pair.fail_over)
        await until_acknowledged(load)
        await until_seen(load, 1)

    found = await counted(
        whole, load, "the primary dies" + (", synchronous" if synchronous else "")
    )
    # commits confirmed only by the primary are lost with it
    assert all(not synchronous and abs(moment) < LOSS for moment in found.lost)
    assert (found.doubled, found.partial, found.parked) == (0, 0, [])
    # clients repeat failed searches, which may have been recorded already
    assert found.again <= len(load.refused)
    assert load.until_well() < 30


async def test_lagging_standby_shows_no_search_without_results(whole: Stack) -> None:
    async with under_load(whole) as load:
        whole.pair.set(whole.pair.standby, recovery_min_apply_delay=f"{LAG}s")
        await until_seen(load, 10)

    found = await counted(whole, load, f"the standby lags by {LAG} s")
    assert (found.lost, found.doubled, found.partial, found.parked) == ([], 0, 0, [])
    assert found.again == 0
    assert load.refused + load.failed == []


async def test_killed_backend_and_frontend_cause_at_most_one_error(whole: Stack) -> None:
    async with under_load(whole) as load:
        for name in ("BACKEND1", "FRONTEND1"):
            await asyncio.to_thread(whole.instances.kill, name)
            await until_acknowledged(load)

    found = await counted(whole, load, "a backend dies, then a frontend")
    assert (found.lost, found.doubled, found.partial, found.parked) == ([], 0, 0, [])
    # HAProxy retries the requests of killed instances. On a busy machine, one of twenty runs got a
    # 504 instead, for an unknown reason
    assert found.again <= 2 * SEARCHERS
    assert len(load.refused + load.failed) <= 1
