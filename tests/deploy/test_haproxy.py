"""HAProxy with deploy/haproxy.cfg in front of real instances: routing, failover and limits."""

import asyncio
import http.client
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from demo.arxiv import StandIn
from service.app import PAGE_SEGMENTS
from service.backend.client import READ_TIMEOUT
from service.pages.page import STATIC_PATH
from service.search import QUEUE_TIMEOUT, SAVE_RETRY_SECONDS
from service.settings import ENDPOINTS, Settings
from tests.api.test_exports import until
from tests.conftest import listening
from tests.support.haproxy import NOBODY, Router, free_port, haproxy, run_in_thread
from tests.support.indexing import wait_until_searchable
from tests.support.pages import BROWSER, read_form
from tests.support.process import ROOT, Service, service

ROWS = 20_000
ALL_UP = r"haproxy_backend_agg_server_status\{proxy=\"\w+\",state=\"UP\"\} 2"
TOKEN = "a token for the tests"  # noqa: S105
EXPORT = "/results?format=ndjson&until=1971-01-01"
PLAIN = {"accept-encoding": "identity"}
SEARCHING = {
    "ARXIV_ENDPOINTS": "frontend,backend",
    "ARXIV_BACKEND_TOKEN": TOKEN,
    "ARXIV_TIMEOUT": "1",
}
UNREADY = '{"status":"not ready","detail":"no backend is ready"}'
READING = {"ARXIV_ENDPOINTS": "queries,results,papers,announcements"}
SEARCHERS = ("SEARCH1", "SEARCH2")


class Instances:
    """Two instances that search and two that read, each with a fixed address."""

    def __init__(self, stack: ExitStack, common: dict[str, str]) -> None:
        self._stack = stack
        self._environments = {
            name: common
            | (self._reading(common) if name.startswith("READ") else SEARCHING)
            | {"ARXIV_PORT": str(free_port())}
            for name in ("FRONTEND1", "FRONTEND2", "READ1", "READ2")
        }
        self.running: dict[str, Service] = {}
        for name in self._environments:
            self.start(name)
        for name, instance in self.running.items():
            instance.url()
            if name.startswith("READ"):
                wait_until_searchable(instance)

    @staticmethod
    def _reading(common: dict[str, str]) -> dict[str, str]:
        """Use the read-only database role."""
        return READING | {"ARXIV_DATABASE_URL": common["ARXIV_DATABASE_RO_URL"]}

    def start(self, name: str) -> None:
        self.running[name] = self._stack.enter_context(service(self._environments[name]))

    def restart_stopped(self) -> None:
        """Restart stopped instances."""
        ended = [name for name, each in self.running.items() if each.process.poll() is not None]
        for name in ended:
            self.running[name].wait()
            self.start(name)
        for name in ended:
            self.running[name].url()

    @property
    def pools(self) -> dict[str, str]:
        pools = {
            name: f"127.0.0.1:{environment['ARXIV_PORT']}"
            for name, environment in self._environments.items()
        }
        return pools | {"BACKEND1": pools["FRONTEND1"], "BACKEND2": pools["FRONTEND2"]}

    def find_by_request_id(self, request_id: str, timeout: float = 60) -> set[str]:
        """Return the instances that log this request within the time."""
        end = monotonic() + timeout
        while monotonic() < end:
            seen = {name for name, each in self.running.items() if f"[{request_id}]" in each.output}
            if seen:
                return seen
            sleep(0.02)
        return set()


@pytest.fixture(scope="module")
def filled(server: str, template: str) -> Iterator[str]:
    """A database with ROWS results whose text does not compress."""
    name = f"routed_{uuid4().hex}"
    url = make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as admin:
        new = Identifier(name)
        admin.execute(SQL("create database {} template {}").format(new, Identifier(template)))
        with psycopg.connect(url) as conn:
            conn.execute(
                "insert into results (query_id, timestamp, result_number, author, title)"
                " select n, 1000000 + n, 0, 'A', (select string_agg(md5((n * m)::text), '')"
                " from generate_series(1, 12) as m) from generate_series(1, %s) as n",
                (ROWS,),
            )
            conn.execute("select setval('arxiv_sequence', %s)", (ROWS,))
        yield url
        admin.execute(SQL("drop database {} with (force)").format(new))


@pytest.fixture(scope="module")
def instances(filled: str, arxiv_server: tuple[StandIn, str]) -> Iterator[Instances]:
    common = {
        "ARXIV_DATABASE_URL": make_conninfo(filled, user="arxiv_rw"),
        "ARXIV_DATABASE_RO_URL": make_conninfo(filled, user="arxiv_ro"),
        "ARXIV_API_URL": arxiv_server[1],
        "ARXIV_INTERVAL": "0",
    }
    with ExitStack() as stack:
        running = Instances(stack, common)
        yield running
        for instance in running.running.values():  # stop them concurrently
            instance.process.terminate()


@pytest.fixture(scope="module")
def router(instances: Instances, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with haproxy(tmp_path_factory.mktemp("haproxy"), instances.pools) as running:
        yield running


@pytest.fixture
def single(instances: Instances, tmp_path: Path) -> Iterator[Router]:
    """HAProxy with a single instance for reading."""
    with haproxy(tmp_path, instances.pools | {"READ2": instances.pools["READ1"]}) as running:
        yield running


@pytest.fixture(autouse=True)
def _restart_instances(instances: Instances, router: Router) -> Iterator[None]:
    """Restart stopped instances after each test, and wait until HAProxy detects them.

    Three of the seven pools have no health checks.
    """
    yield
    instances.restart_stopped()
    end = monotonic() + 60
    while len(re.findall(ALL_UP, httpx.get(f"{router.inside}/metrics").text)) < 7:
        assert monotonic() < end
        sleep(0.05)


@asynccontextmanager
async def client_of(router: Router) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=router.outside, headers=PLAIN, timeout=20) as client:
        yield client


def raw(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Send the path unchanged; the status and the body of the response."""
    conn = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    conn.putrequest(method, path, skip_host="host" in headers)
    for name, value in headers.items():
        conn.putheader(name, value)
    conn.endheaders()
    response = conn.getresponse()
    text = response.read().decode()
    conn.close()
    return response.status, text


# Routing


def test_haproxy_routes_every_endpoint() -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    opened = {
        path.strip("/")
        for acl in re.findall(r"acl (?:read|search|page)_path path(?:_beg)? (.*)", text)
        for path in acl.split()
    }
    backing = re.findall(r"acl backend_path path (.*)", text)

    pages = PAGE_SEGMENTS | {STATIC_PATH.strip("/")}
    assert opened == {*ENDPOINTS["frontend"], "schema", "schema-assets", *pages}
    assert sorted(" ".join(backing).split()) == sorted(f"/{name}" for name in ENDPOINTS["backend"])


@pytest.mark.usefixtures("arxiv")
@pytest.mark.parametrize(
    ("path", "pool", "status"),
    [
        ("/arxiv?title=testing", "FRONTEND", 200),
        ("/api/query?search_query=ti:testing", "FRONTEND", 200),
        ("/api/query", "FRONTEND", 400),
        ("/queries", "READ", 200),
        ("/queries/1", "READ", 404),
        ("/results?items_per_page=1", "READ", 200),
        ("/papers?q=testing", "READ", 200),
        ("/papers/hep-th/9901001v1", "READ", 404),
        ("/announcements", "READ", 200),
        ("/announcements/feed", "READ", 200),
        ("/schema", "READ", 200),
        ("/schema/openapi.json", "READ", 200),
        ("/", "FRONTEND", 200),
        ("/search", "FRONTEND", 200),
        ("/search/?order=newest", "FRONTEND", 200),
        ("/abs/hep-th/9901001v1", "FRONTEND", 404),
        ("/new", "FRONTEND", 200),
        ("/searches?items_per_page=1", "FRONTEND", 200),
        ("/searches/1", "FRONTEND", 404),
        ("/status", "FRONTEND", 200),
        ("/sign-in", "FRONTEND", 404),
        ("/static/style.css", "FRONTEND", 200),
    ],
)
def test_path_is_routed_to_its_pool(
    router: Router, instances: Instances, path: str, pool: str, status: int
) -> None:
    request_id = uuid4().hex
    response = httpx.get(router.outside + path, headers={"x-request-id": request_id}, timeout=20)

    assert response.status_code == status
    assert response.headers["x-request-id"] == request_id
    assert {name[:-1] for name in instances.find_by_request_id(request_id)} == {pool}


def test_papers_go_to_the_search_instances_if_there_are_any(
    instances: Instances, tmp_path: Path
) -> None:
    pools = instances.pools | {"READ1": instances.pools["READ2"]}
    found: dict[str, set[str]] = {}
    with haproxy(tmp_path, pools | {"SEARCH1": instances.pools["READ1"]}) as running:
        for path in ("/papers", "/papers/0704.0001", "/results", "/queries/1", "/schema"):
            request_id = uuid4().hex
            httpx.get(running.outside + path, headers={"x-request-id": request_id}, timeout=20)
            found.setdefault("".join(instances.find_by_request_id(request_id)), set()).add(path)

    assert found == {
        "READ1": {"/papers", "/papers/0704.0001"},
        "READ2": {"/results", "/queries/1", "/schema"},
    }


class Building(BaseHTTPRequestHandler):
    """An instance whose index is being built."""

    def do_GET(self) -> None:
        is_list = self.path == "/papers"
        self.send_response(200 if is_list else 503)
        self.send_header("Content-Length", "0")
        self.send_header("X-Reason", "" if is_list else "building")
        self.end_headers()


def test_search_instance_without_an_index_reports_its_progress(
    instances: Instances, tmp_path: Path
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Building)
    pools = instances.pools | dict.fromkeys(SEARCHERS, f"127.0.0.1:{server.server_port}")
    with run_in_thread(server), haproxy(tmp_path, pools) as running:
        _wait_until_unready(running, "paper_search")
        search = httpx.get(f"{running.outside}/papers?q=testing", timeout=20)
        papers = httpx.get(f"{running.outside}/papers", timeout=20)
        results = httpx.get(f"{running.outside}/results?items_per_page=1", timeout=20)

    assert (search.status_code, search.headers.get("x-reason")) == (503, "building")
    assert papers.status_code == 200
    assert results.status_code == 200


def _wait_until_unready(router: Router, pool: str) -> None:
    state = rf'haproxy_backend_active_servers\{{proxy="{pool}"\}} 0'
    end = monotonic() + 60
    while not re.search(state, httpx.get(f"{router.inside}/metrics").text):
        assert monotonic() < end
        sleep(0.05)


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/metrics/", "//metrics", "/%6detrics", "/./metrics", "/health/live"),
        *("/api", "/api/queries", "/api/query/metrics", "/api/query/../metrics", "/find-entries"),
        *("/queries/../metrics", "/queries/%2e%2e/metrics", "/papers/.%2E/get-sequence"),
        *("/abs/../metrics", "/static/%2e./metrics", "/searching", "/new/x", "//"),
        *("/get-sequence", "/GET-SEQUENCE", "/write-queries", "/read-results?page=1"),
    ],
)
def test_internal_paths_are_not_found_outside(
    router: Router, instances: Instances, path: str
) -> None:
    request_id = uuid4().hex
    status, text = raw(router.outside, path, **{"x-request-id": request_id})

    assert status == 404
    assert json.loads(text) == {
        "title": "Not Found",
        "status": 404,
        "detail": "no such path: /schema lists all paths",
        "request_id": request_id,
    }
    assert instances.find_by_request_id(request_id, 0.05) == set()


def test_internal_port_serves_only_backend_paths(router: Router) -> None:
    token = {"authorization": f"Bearer {TOKEN}"}

    assert httpx.get(f"{router.inside}/get-sequence", headers=token).json()["sequence"] > 0
    assert httpx.get(f"{router.inside}/get-sequence").status_code == 401
    for path in ("/results", "/health/live", "/health/ready/", "/%6detrics"):
        assert raw(router.inside, path)[0] == 404
    assert httpx.get(f"{router.inside}/health/ready").json()["status"] == "ready"
    assert "haproxy_backend_active_servers" in httpx.get(f"{router.inside}/metrics").text


FORM = {"content-type": "application/x-www-form-urlencoded"}


async def find_frontend(router: Router, instances: Instances, request: httpx.Request) -> str:
    request.headers["x-request-id"] = request_id = uuid4().hex
    async with client_of(router) as client:
        response = await client.send(request)
    assert response.status_code == 200, response.text
    [name] = await asyncio.to_thread(instances.find_by_request_id, request_id)
    return name


async def test_identical_searches_go_to_the_same_instance(
    router: Router, instances: Instances, arxiv: StandIn
) -> None:
    names = set()
    for number in range(8):
        query = f"search_query=ti:same{number}&max_results=5"
        url = f"{router.outside}/api/query"
        requests = [
            *(httpx.Request("GET", f"{url}?{query}") for _ in range(3)),
            *(httpx.Request("POST", url, content=query, headers=FORM) for _ in range(3)),
        ]
        found = {await find_frontend(router, instances, request) for request in requests}
        assert len(found) == 1, number
        names |= found

    assert names == {"FRONTEND1", "FRONTEND2"}
    assert len(arxiv.requests) == 8


@pytest.mark.parametrize("order", [1, -1])
async def test_endpoints_share_a_cache_entry_whichever_comes_first(
    router: Router, arxiv: StandIn, order: int
) -> None:
    word = f"shared{order + 1}"
    paths = [f"/arxiv?title={word}", f"/api/query?search_query=ti:%22{word}%22"][::order]
    async with client_of(router) as client:
        first, second = [await client.get(path) for path in paths]

    assert len(arxiv.requests) == 1
    assert (first.status_code, second.status_code) == (200, 200)
    assert "fwd=uri-miss" in first.headers["cache-status"]
    assert "; hit; ttl=" in second.headers["cache-status"]


async def test_list_of_2000_identifiers_is_accepted_by_post(router: Router, arxiv: StandIn) -> None:
    ids = ",".join(f"astro-ph/{9_900_000 + number}v1" for number in range(1, 2001))
    form = {"id_list": ids, "max_results": "2000"}
    async with client_of(router) as client:
        response = await client.post("/api/query", data=form)
        in_url = await client.get("/api/query", params=form)

    assert (response.status_code, in_url.status_code) == (200, 400)
    assert [request.params["id_list"] for request in arxiv.requests] == [ids]


@pytest.mark.usefixtures("arxiv")
async def test_search_by_a_form_leads_to_its_results(router: Router) -> None:
    async with client_of(router) as client:
        form = read_form(await client.get("/"), "/") | {"q": "testing", "mode": "arxiv"}
        found = await client.post("/", data=form, headers=BROWSER)
        page = await client.get(found.headers["location"])

    assert (found.status_code, page.status_code) == (303, 200)


async def test_haproxy_can_be_the_http_proxy_for_the_api(
    router: Router, instances: Instances, arxiv: StandIn
) -> None:
    query = "search_query=ti:proxied"
    request = httpx.Request("GET", f"{router.outside}/api/query?{query}")
    direct = await find_frontend(router, instances, request)
    url, request_id = f"http://export.arxiv.org/api/query?{query}", uuid4().hex
    async with httpx.AsyncClient(proxy=router.outside, timeout=20) as client:
        response = await client.get(url, headers={"x-request-id": request_id})
        with pytest.raises(httpx.ProxyError):
            await client.get(url.replace("http:", "https:"))
    proxied = await asyncio.to_thread(instances.find_by_request_id, request_id)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/atom+xml")
    assert "hit" in response.headers["cache-status"]
    assert proxied == {direct}
    assert len(arxiv.requests) == 1


async def test_haproxy_is_no_open_proxy(router: Router) -> None:
    """Nothing but arXiv's API can be reached with HAProxy as an HTTP proxy."""
    connections = 0

    async def count(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()

    async with listening(count) as canary:
        host = urlsplit(canary).netloc
        paths = ("/results", "/other", "/metrics", "", "/api/query?search_query=ti:testing")
        targets = [f"http://{host}{path}" for path in paths]
        statuses = [
            (await asyncio.to_thread(raw, router.outside, target, "GET", host=host))[0]
            for target in targets
        ]
        connects = [
            await asyncio.to_thread(raw, router.outside, target, "CONNECT", host=target)
            for target in (host, "export.arxiv.org:443")
        ]

    assert connections == 0
    assert statuses == [403, 404, 404, 404, 403]
    assert [status for status, _ in connects] == [404] * 2


async def test_missing_request_id_is_generated_and_logged(router: Router) -> None:
    async with client_of(router) as client:
        request_ids = [
            (await client.get(path, headers=headers)).headers["x-request-id"]
            for path in ("/results?items_per_page=1&title=secret", "/no-such-path")
            for headers in ({}, {"x-request-id": 'no" id'})
        ]

    assert len({*request_ids}) == 4
    logged = await until(lambda: _logged(router, request_ids))
    assert [logged[name]["path"] for name in request_ids] == ["/results"] * 2 + [
        "/no-such-path"
    ] * 2
    assert "secret" not in router.log.read_text()


def _logged(router: Router, names: list[str]) -> dict[str, Any]:
    """Return the log lines of these requests, or nothing until all of them are written."""
    lines = [line for line in router.log.read_text().splitlines() if line.startswith("{")]
    logged = {line["request_id"]: line for line in map(json.loads, lines)}
    return logged if logged.keys() >= {*names} else {}


# Failover


@dataclass
class Load:
    """Readers that send requests continuously until cancelled."""

    statuses: list[int] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)

    async def read(self, client: httpx.AsyncClient) -> None:
        number = 0
        while True:
            number += 1
            path = ("/results?page=%d", "/queries?items_per_page=%d", "/papers?items_per_page=%d")
            request = client.build_request("GET", path[number % 3] % (number % 50 + 1))
            if number % 7 == 0:
                request = client.build_request(
                    "POST", "/queries", json={"start_timestamp": "2026-01-01"}
                )
            try:
                response = await client.send(request)
            except httpx.HTTPError as error:
                self.errors.append(error)
            else:
                self.statuses.append(response.status_code)
                if response.status_code != 200:
                    self.errors.append((request.url, response.status_code, response.text))


@asynccontextmanager
async def under_load(router: Router) -> AsyncIterator[Load]:
    load = Load()
    async with client_of(router) as client:
        readers = [asyncio.create_task(load.read(client)) for _ in range(4)]
        try:
            await asyncio.sleep(0.3)
            yield load
            await asyncio.sleep(0.3)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_readers_do_not_notice_stopped_instance(
    router: Router, instances: Instances, how: signal.Signals
) -> None:
    async with under_load(router) as load:
        await asyncio.to_thread(instances.running["READ1"].end, how)
        before = len(load.statuses)
        await until(lambda: len(load.statuses) > before)
        await asyncio.to_thread(instances.restart_stopped)

    truncated = [error for error in load.errors if isinstance(error, httpx.RemoteProtocolError)]
    # whose headers had been sent: at most one for each of the four readers, and none after SIGTERM
    assert len(truncated) <= (4 if how == signal.SIGKILL else 0)
    assert len(load.errors) == len(truncated), load.errors


async def test_export_completes_after_sigterm_of_instance(
    single: Router, instances: Instances
) -> None:
    reader = instances.running["READ1"]
    async with client_of(single) as client, client.stream("GET", EXPORT) as response:
        pieces = response.aiter_raw()
        first = await anext(pieces)
        reader.process.send_signal(signal.SIGTERM)
        rest = b"".join([piece async for piece in pieces])
    status = await asyncio.to_thread(reader.wait)

    assert (first + rest).count(b"\n") == ROWS
    assert status == 0


@pytest.mark.parametrize("path", ["/arxiv?title=survival", "/api/query?search_query=ti:survival"])
async def test_search_is_retried_on_other_instance(
    router: Router, instances: Instances, arxiv: StandIn, path: str
) -> None:
    arxiv.delay = 0.5
    request_id = uuid4().hex
    async with client_of(router) as client:
        pending = asyncio.create_task(client.get(path, headers={"x-request-id": request_id}))
        await until(lambda: arxiv.requests)
        victim = await asyncio.to_thread(find_searching_instance, router)
        await asyncio.to_thread(instances.running[victim].end, signal.SIGKILL)
        response = await pending

    assert response.status_code == 200, response.text
    [other] = instances.find_by_request_id(request_id)
    assert {victim, other} == {"FRONTEND1", "FRONTEND2"}
    assert len(arxiv.requests) >= 2


def test_timeouts_increase_towards_the_client() -> None:
    text = (ROOT / "deploy" / "haproxy.cfg").read_text()
    pools = dict(re.findall(r"\nbackend (\w+)\n(?:    .*\n)*?    timeout server (\d+)s", text))
    [end] = re.findall(r"hard-stop-after (\d+)s", text)
    ingress = (ROOT / "deploy" / "kubernetes" / "ingress.yaml").read_text()
    settings = Settings.from_env({})
    frontend = settings.max_wait + settings.timeout + SAVE_RETRY_SECONDS + READ_TIMEOUT
    frontend_with_results = frontend + READ_TIMEOUT + QUEUE_TIMEOUT

    assert float(pools["backends"]) == float(pools["backends_unready"]) > frontend
    assert (
        float(pools["frontends_search"])
        == float(pools["frontends_unready"])
        > frontend_with_results
    )
    assert float(end) > float(pools["frontends_search"])
    assert f'proxy-read-timeout: "{pools["frontends_search"]}"' in ingress


@pytest.mark.parametrize(
    ("side", "path", "headers"),
    [
        ("outside", "/arxiv", {"cache-control": "max-age=0, No-Cache"}),
        ("inside", "/arxiv-api", {"authorization": f"Bearer {TOKEN}"}),
    ],
)
async def test_search_that_bypasses_cache_is_not_retried(
    router: Router, instances: Instances, arxiv: StandIn, side: str, path: str, headers: Any
) -> None:
    arxiv.delay = 0.5
    pool = "frontends_search" if side == "outside" else "backends"
    base_url = getattr(router, side)
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as client:
        pending = asyncio.create_task(client.get(f"{path}?title=repeat"))
        await until(lambda: arxiv.requests)
        victim = await asyncio.to_thread(find_searching_instance, router, pool)
        await asyncio.to_thread(instances.running[victim].end, signal.SIGKILL)
        lost, sent = await pending, len(arxiv.requests)
        # the timeout for clients that read nothing is tested elsewhere
        responses = [await client.get(f"{path}?title=repeat+{number}") for number in range(2)]

    assert (lost.status_code, sent) == (502, 1)
    assert [response.status_code for response in responses] == [200, 200]


def find_searching_instance(router: Router, pool: str = "frontends_search") -> str:
    """Return the instance to which HAProxy has sent the current search."""
    sessions = rf'haproxy_server_current_sessions\{{proxy="{pool}",server="\w+(\d)"\}} 1'
    [number] = re.findall(sessions, httpx.get(f"{router.inside}/metrics").text)
    return f"FRONTEND{number}"


# Exports


async def test_export_is_streamed(single: Router, instances: Instances) -> None:
    reader = instances.running["READ1"].process
    async with client_of(single) as client, client.stream("GET", EXPORT) as response:
        reader.send_signal(signal.SIGSTOP)
        try:
            pieces = response.aiter_raw()
            first = await asyncio.wait_for(anext(pieces), 60)
        finally:
            reader.send_signal(signal.SIGCONT)
        rest = b"".join([piece async for piece in pieces])

    assert first.startswith(b'{"author":')
    assert (first + rest).count(b"\n") == ROWS


async def test_truncated_export_is_detectable(single: Router, instances: Instances) -> None:
    reader = instances.running["READ1"]

    async def read(coding: str, first: asyncio.Barrier) -> None:
        headers = {"accept-encoding": coding}
        async with client.stream("GET", EXPORT, headers=headers) as response:
            pieces = response.aiter_raw()
            await anext(pieces)
            await first.wait()
            reader.process.kill()
            async for _ in pieces:
                pass

    async with client_of(single) as client:
        first = asyncio.Barrier(2)
        ends = await asyncio.gather(
            read("identity", first), read("gzip", first), return_exceptions=True
        )
    reader.wait()

    assert [type(end) for end in ends] == [httpx.RemoteProtocolError] * 2


async def test_haproxy_finishes_exports_when_stopped(instances: Instances, tmp_path: Path) -> None:
    with haproxy(tmp_path, instances.pools) as stopping:
        async with client_of(stopping) as client, client.stream("GET", EXPORT) as response:
            stopping.process.send_signal(signal.SIGUSR1)
            whole = b"".join([piece async for piece in response.aiter_raw()])
        status = await asyncio.to_thread(stopping.process.wait, 5)
        with pytest.raises(httpx.ConnectError):
            await asyncio.to_thread(httpx.get, stopping.outside)

    assert whole.count(b"\n") == ROWS
    assert status == 0


# Limits


async def test_excess_requests_are_rejected_immediately(
    instances: Instances, filled: str, tmp_path: Path
) -> None:
    narrow = {
        "maxconn 100": "maxconn 2",
        "queue(frontends_read) gt 200": "queue(frontends_read) gt 3",
    }
    with haproxy(tmp_path, instances.pools, narrow) as router, psycopg.connect(filled) as db:
        async with client_of(router) as client:
            db.execute("lock table results in access exclusive mode")
            tasks = [asyncio.create_task(client.get(f"/results?page={n}")) for n in range(20)]
            await until(lambda: sum(each.done() for each in tasks) >= 8)
            await asyncio.sleep(0.5)
            rejected = [each.result() for each in tasks if each.done()]
            db.rollback()
            responses = await asyncio.gather(*tasks)

    assert 8 <= len(rejected) <= 14
    for response in rejected:
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]
    assert [each.status_code for each in responses].count(200) == 20 - len(rejected)


def test_header_and_body_sizes_are_limited(router: Router) -> None:
    assert raw(router.outside, "/results?items_per_page=1", a="b" * 12_000)[0] == 200
    assert raw(router.outside, "/results?items_per_page=1", a="b" * 17_000)[0] == 400
    assert httpx.post(f"{router.outside}/queries", content=b" " * 70_000).status_code == 413
    unbounded = httpx.post(f"{router.outside}/queries", content=iter([b" " * 10]))
    assert (unbounded.status_code, unbounded.json()["status"]) == (411, 411)


def test_no_ready_instance_is_reported(tmp_path: Path, instances: Instances) -> None:
    unreachable = dict.fromkeys(("READ1", "READ2", "BACKEND1", "BACKEND2"), NOBODY)
    with haproxy(tmp_path, instances.pools | unreachable) as router:
        response = httpx.get(f"{router.outside}/results", timeout=10)
        end = monotonic() + 60
        while (health := raw(router.outside, "/health/ready")[0]) != 503 and monotonic() < end:
            sleep(0.05)
        while (found := raw(router.inside, "/health/ready"))[1] != UNREADY and monotonic() < end:
            sleep(0.05)

    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["title"] == "Service Unavailable"
    assert health == 503
    assert found == (503, UNREADY)


def test_load_balancer_can_check_health(router: Router) -> None:
    assert raw(router.outside, "/health/ready")[0] == 200


def test_idle_connections_are_closed(instances: Instances, tmp_path: Path) -> None:
    hasty = {"timeout http-request 10s": "timeout http-request 300ms"}
    with haproxy(tmp_path, instances.pools, hasty) as router:
        address = urlsplit(router.outside)
        with socket.create_connection((address.hostname, address.port), timeout=60) as conn:
            conn.sendall(b"GET /results HTTP/1.1\r\nhost: x\r\n")
            assert conn.recv(100).startswith(b"HTTP/1.1 408")
