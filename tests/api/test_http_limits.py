"""Limits on requests and connections, over real connections."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.response import Stream

from service import http_limits
from service.http_headers import SECURITY_HEADERS
from service.http_limits import LimitedHttpProtocol
from service.logging import NOTICE, request_id
from service.problems import EXCEPTION_HANDLERS
from service.server import create_config
from service.settings import Settings
from tests.conftest import make_app
from tests.support.measure import retry_async

LIMIT = 2**20


@get("/", sync_to_thread=False)
def hello() -> str:
    return "hello"


@post("/")
async def take(request: Request[Any, Any, Any]) -> int:
    return len(await request.body())


@post("/fields")
async def fields(request: Request[Any, Any, Any]) -> list[str]:
    await request.body()
    return [name.decode() for name, _ in request.scope["headers"]]


@get("/forever")
async def forever() -> Stream:
    async def rows() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**16
            await asyncio.sleep(0)

    return Stream(rows())


@get("/large", sync_to_thread=False)
def large() -> bytes:
    return b"x" * 2**23


@get("/stream")
async def stream() -> Stream:
    async def rows() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number * 40_000
            await asyncio.sleep(0)

    return Stream(rows())


@get("/page", sync_to_thread=False)
def page() -> bytes:
    return b"x" * 40_000


@get("/later")
async def later() -> str:
    await asyncio.sleep(0.5)
    return "later"


class LimitedServer(uvicorn.Server):
    """uvicorn with the protocol and a small application."""

    def __init__(self, whole: uvicorn.Config | None = None) -> None:
        app = Litestar(
            [hello, take, fields, forever, large, stream, page, later],
            exception_handlers=EXCEPTION_HANDLERS,
            request_max_body_size=LIMIT,
            logging_config=None,
            openapi_config=None,
        )
        config = uvicorn.Config(
            app, port=0, http=LimitedHttpProtocol, ws="none", log_config=None, lifespan="off"
        )
        super().__init__(whole or config)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        serving = asyncio.create_task(self.serve())
        while not self.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            self.should_exit = True
            self.force_exit = self.config.lifespan == "off"  # otherwise it would be cancelled
            await serving

    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        """Send the parts one by one, until the server closes the connection."""
        with suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
                await asyncio.sleep(0.002)

    async def read_response(self) -> tuple[int, dict[str, str], bytes]:
        """Read the next response: status, headers, body. 100 (Continue) precedes one."""
        head = (
            (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)).decode().split("\r\n")
        )
        if head[0].endswith(" 100 Continue"):
            return await self.read_response()
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, body

    async def read_rejection(self) -> int:
        """Read the last response, which must be a complete problem, and return its status."""
        status, fields, body = await self.read_response()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(self.reader.read(), 60) == b""
        assert fields["content-type"] == "application/problem+json"
        assert fields["connection"] == "close"
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["request_id"] == fields["x-request-id"]
        for name, value in SECURITY_HEADERS:
            assert fields[name.decode()] == value.decode()
        return status


@pytest.fixture
async def http_server() -> AsyncIterator[LimitedServer]:
    server = LimitedServer()
    async with server.running():
        yield server


ONE = b"GET / HTTP/1.1\r\nhost: x\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"hello there\r\n\r\n"], 400),
        ([b"GET / HTTP/1.1\r\nhost x\r\n\r\n"], 400),
        ([ONE + b"a: b\r\n c\r\n\r\n"], 400),  # obsolete line folding
        ([ONE + b"a : b\r\n\r\n"], 400),
        ([POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc"], 400),
        ([POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"], 400),
        ([POST + b"content-length: -1\r\n\r\n"], 400),
        ([CHUNKED + b"xyz\r\n"], 400),
        ([b"GET /" + b"x" * http_limits.MAX_TARGET_BYTES + b" HTTP/1.1\r\nhost: x\r\n\r\n"], 414),
        ([b"GET /", *[b"x" * 9_999] * 9], 414),
        ([ONE + b"a: b\r\n" * http_limits.MAX_HEADERS + b"\r\n"], 431),
        ([ONE + b"a: " + b"b" * http_limits.MAX_HEADER_BYTES + b"\r\n\r\n"], 431),
        ([ONE + b"a: ", *[b"b" * 9_999] * 9], 431),
        ([ONE, *[b"a" * 9_999] * 9], 431),
        ([CHUNKED + b"0\r\na: ", *[b"b" * 9_999] * 9], 431),  # after the body
        ([CHUNKED + b"1;a=", *[b"b" * 9_999] * 9], 431),  # a chunk extension
    ],
)
async def test_malformed_and_oversized_requests_are_rejected(
    http_server: LimitedServer, parts: list[bytes], status: int
) -> None:
    async with http_server.client() as client:
        await client.send(*parts)
        assert await client.read_rejection() == status
    async with http_server.client() as client:
        await client.send(ONE + b"\r\n")
        assert (await client.read_response())[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        POST + b"content-length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        CHUNKED + (b"10000\r\n" + b"x" * 2**16 + b"\r\n") * 17 + b"0\r\n\r\n",
    ],
)
async def test_large_bodies_are_rejected_with_and_without_content_length(
    http_server: LimitedServer, body: bytes
) -> None:
    async with http_server.client() as client:
        await client.send(body, ONE + b"\r\n")
        assert (await client.read_response())[0] == 413


async def test_requests_just_below_the_limits_are_served(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        for request in (
            b"GET /?" + b"x" * 45_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
            ONE + b"a: b\r\n" * 99 + b"\r\n",
            ONE + b"a: " + b"b" * 60_000 + b"\r\n\r\n",
            CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\na: b\r\n\r\n",
            POST + b"content-length: 300000\r\n\r\n" + b"x" * 300_000,
        ):
            await client.send(request)
            assert (await client.read_response())[0] in {200, 201}


async def test_pipelined_requests_are_answered_in_order(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send((ONE + b"\r\n") * 50 + POST + b"content-length: 3\r\n\r\nabc")
        statuses = [(await client.read_response())[0] for _ in range(51)]

    assert statuses == [200] * 50 + [201]


async def test_number_of_pipelined_requests_is_limited(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send((ONE + b"\r\n") * (http_limits.MAX_PIPELINED + 1))
        assert {
            (await client.read_response())[0] for _ in range(http_limits.MAX_PIPELINED + 1)
        } == {200}
        await client.send((ONE + b"\r\n") * 5000)
        connection: Any = next(iter(http_server.server_state.connections))
        assert len(connection.pipeline) <= http_limits.MAX_PIPELINED + 1
        assert await client.read_rejection() == 429


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"HTTP/2.0, h2c"])
async def test_upgrade_header_is_ignored(http_server: LimitedServer, protocol: bytes) -> None:
    upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %s\r\n" % protocol
    one, post = ONE + upgrade + b"\r\n", POST + upgrade + b"content-length: 3\r\n\r\nabc"
    async with http_server.client() as client:
        await client.send(post + one * 20 + post[:-2], post[-2:], post + ONE + b"\r\n")
        responses = [await client.read_response() for _ in range(24)]

    assert [(status, body) for status, _, body in responses] == [
        (201, b"3"),
        *[(200, b"hello")] * 20,
        *[(201, b"3")] * 2,
        (200, b"hello"),
    ]


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("connection", [b"Upgrade, close", b"close\r\nconnection: upgrade"])
async def test_upgrade_header_is_ignored_before_the_connection_is_closed(
    http_server: LimitedServer, connection: bytes, version: bytes
) -> None:
    upgrade = b"connection: %s\r\nupgrade: h2c\r\n" % connection
    for request_, status in (
        (ONE + upgrade + b"\r\n", 200),
        (POST + upgrade + b"content-length: 3\r\n\r\nabc", 201),
    ):
        async with http_server.client() as client:
            await client.send(request_.replace(b"HTTP/1.1", b"HTTP/" + version))
            assert (await client.read_response())[0] == status
            assert await client.reader.read() == b""


@pytest.mark.parametrize("headers", [b"", b"connection: close\r\n", b"connection: upgrade\r\n"])
async def test_connect_is_rejected(http_server: LimitedServer, headers: bytes) -> None:
    async with http_server.client() as client:
        await client.send(b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n" + headers + b"\r\n")
        assert await client.read_rejection() == 403


async def test_blanks_around_values_of_headers_are_ignored(whole: LimitedServer) -> None:
    headers = b"host: \t allowed.example \t \r\nx-request-id: one \t\r\nexpect:100-continue \r\n"
    async with whole.client() as client:
        await client.send(b"GET /results HTTP/1.1\r\n" + headers + b"\r\n")
        status, fields, _ = await client.read_response()

    assert (status, fields["x-request-id"]) == (200, "one")


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        (b"HTTP/2.0", b"", 505),
        (b"HTTP/0.9", b"", 505),
        (b"HTTP/1.0", b"transfer-encoding: chunked\r\n", 400),
        (b"HTTP/1.0", b"connection: keep-alive\r\ntransfer-encoding: chunked\r\n", 400),
        (b"HTTP/1.1", b"transfer-encoding: gzip, chunked\r\n", 501),
        (b"HTTP/1.1", b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 501),
        (b"HTTP/1.1", b"transfer-encoding: chunked, chunked\r\n", 400),
        (b"HTTP/1.1", b"transfer-encoding: Chunked \r\n", 201),
    ],
)
async def test_other_versions_and_transfer_codings_are_rejected(
    http_server: LimitedServer, version: bytes, headers: bytes, status: int
) -> None:
    async with http_server.client() as client:
        request_ = POST.replace(b"HTTP/1.1", version) + headers
        await client.send(request_ + b"\r\n3\r\nabc\r\n0\r\n\r\n")
        if status == 201:
            assert (await client.read_response())[0] == status
        else:
            assert await client.read_rejection() == status


async def test_request_without_a_version_is_rejected(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send(b"GET /\r\n\r\n")
        assert await client.read_rejection() == 505


async def test_rejection_is_logged_with_its_request_id(
    http_server: LimitedServer, caplog: pytest.LogCaptureFixture
) -> None:
    names = set()

    def record_id(_: logging.LogRecord) -> bool:
        names.add(request_id.get())
        return True

    caplog.set_level(NOTICE)
    caplog.handler.addFilter(record_id)
    async with http_server.client() as client:
        await client.send(b"hello there\r\n\r\n")
        _, fields, _ = await client.read_response()

    assert [record.getMessage() for record in caplog.records if record.levelno >= NOTICE] == [
        "rejected with 400: the request is not valid HTTP/1.1"
    ]
    assert fields["x-request-id"] in names


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEADER_TIMEOUT", 0.2)
    monkeypatch.setattr(http_limits, "BODY_TIMEOUT", 0.2)
    monkeypatch.setattr(http_limits, "READ_TIMEOUT", 400)


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b"\r\n"),
        (b"G", b""),
        (ONE, b"a"),
        (ONE + b"\r\n", b"\r\n"),
        (POST + b"content-length: 1000000\r\n\r\n", b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
    ],
)
async def test_slow_requests_are_rejected(
    http_server: LimitedServer, begin: bytes, drop: bytes
) -> None:
    async with http_server.client() as client:
        dropping = asyncio.create_task(client.send(begin, *[drop] * 1000))
        if begin == ONE + b"\r\n":
            assert (await client.read_response())[0] == 200
        assert await client.read_rejection() == 408
        dropping.cancel()
    await asyncio.sleep(0)
    assert not http_server.server_state.tasks


@pytest.mark.usefixtures("short_timeouts")
async def test_idle_connections_are_closed(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        assert await asyncio.wait_for(client.reader.read(), 60) == b""
    async with http_server.client() as client:
        await client.send(ONE + b"\r\n")
        assert (await client.read_response())[0] == 200
        assert await asyncio.wait_for(client.reader.read(), 60) == b""


@pytest.mark.usefixtures("short_timeouts")
async def test_connection_stays_open_while_it_is_used(http_server: LimitedServer) -> None:
    await retry_async(partial(use_connection, http_server))


async def use_connection(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        for _ in range(8):
            await client.send(ONE + b"\r\n")
            assert (await client.read_response())[0] == 200
            await asyncio.sleep(0.1)  # half of the timeout, which restarts with each request
        assert await asyncio.wait_for(client.reader.read(), 60) == b""


@pytest.mark.usefixtures("short_timeouts")
async def test_client_that_reads_nothing_is_disconnected(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n")
        end = asyncio.get_running_loop().time() + 60
        while http_server.server_state.connections or http_server.server_state.tasks:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.02)


def create_slow_socket() -> socket.socket:
    """Create a socket with a small receive buffer."""
    connecting = socket.socket()
    connecting.settimeout(0)
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connecting


@pytest.mark.usefixtures("short_timeouts")
@pytest.mark.parametrize("path", [b"/forever", b"/large"])
async def test_client_that_reads_slowly_is_served(http_server: LimitedServer, path: bytes) -> None:
    await retry_async(partial(read_slowly, http_server, path))


async def read_slowly(http_server: LimitedServer, path: bytes) -> None:
    loop = asyncio.get_running_loop()
    with create_slow_socket() as reading:
        await loop.sock_connect(reading, ("127.0.0.1", http_server.port))
        await loop.sock_sendall(reading, b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path)
        for _ in range(40):  # 1.2 seconds
            await asyncio.sleep(0.03)
            assert await loop.sock_recv(reading, 4096)
        assert http_server.server_state.connections


@pytest.mark.usefixtures("short_timeouts")
async def test_client_that_leaves_the_end_unread_is_disconnected(
    http_server: LimitedServer,
) -> None:
    loop = asyncio.get_running_loop()
    with create_slow_socket() as reading:
        await loop.sock_connect(reading, ("127.0.0.1", http_server.port))
        left = 0
        while not left:  # until the kernel accepts no more
            await loop.sock_sendall(reading, b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.01)
            [connection] = http_server.server_state.connections
            left = connection.transport.get_write_buffer_size()
        end = loop.time() + 60
        while http_server.server_state.connections:
            assert loop.time() < end
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("short_timeouts")
async def test_body_timeout_does_not_run_while_a_request_is_queued(
    http_server: LimitedServer,
) -> None:
    async with http_server.client() as client:
        await client.send(b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n", POST)
        await client.send(b"content-length: 3\r\n\r\n", b"abc")
        assert [(await client.read_response())[0] for _ in range(2)] == [200, 201]


async def test_disconnect_stops_the_running_of_several_pipelined_requests(
    http_server: LimitedServer,
) -> None:
    async with http_server.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n" + ONE + b"\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
    end = asyncio.get_running_loop().time() + 60
    while http_server.server_state.tasks:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


async def test_responses_have_no_time_limit(
    http_server: LimitedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "HEADER_TIMEOUT", 0.1)
    async with http_server.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert await client.reader.read(2**20)


async def test_number_of_connections_is_limited(
    http_server: LimitedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "MAX_CONNECTIONS", 1)
    async with http_server.client() as first:
        await first.send(ONE + b"\r\n")
        assert (await first.read_response())[0] == 200
        async with http_server.client() as second:
            assert await second.read_rejection() == 503
        await first.send(ONE + b"\r\n")
        assert (await first.read_response())[0] == 200


async def test_number_of_rejected_connections_is_limited(
    http_server: LimitedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(http_limits, "MAX_REJECTED_CONNECTIONS", 3)
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(http_server.client()) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert len(http_server.server_state.connections) <= 4
        await crowd[0].send(ONE + b"\r\n")
        assert (await crowd[0].read_response())[0] == 200


async def test_trailers_are_not_headers(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send(
            CHUNKED.replace(b"/", b"/fields", 1), b"1\r\na\r\n0\r\nauthorization: late\r\n\r\n"
        )
        status, _, body = await client.read_response()

    assert status == 201
    assert json.loads(body) == ["host", "content-type", "transfer-encoding"]


# Rules of HTTP that uvicorn lacks


EXPECTING = POST + b"expect: 100-continue\r\n"


@pytest.mark.parametrize(
    "value", [b"100-Continue", b"100-continue \t", b"100-continue,100-continue"]
)
async def test_expectation_of_100_is_met(http_server: LimitedServer, value: bytes) -> None:
    async with http_server.client() as client:
        await client.send(POST + b"expect: " + value + b"\r\ncontent-length: 3\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.read_response())[0] == 201


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, x", b"100", b""])
async def test_other_expectations_are_rejected(http_server: LimitedServer, value: bytes) -> None:
    async with http_server.client() as client:
        await client.send(POST + b"expect: %s\r\ncontent-length: 3\r\n\r\nabc" % value)
        assert await client.read_rejection() == 417


async def test_http_1_0_client_is_not_sent_100(http_server: LimitedServer) -> None:
    async with http_server.client() as client:
        await client.send(EXPECTING.replace(b"1.1", b"1.0") + b"content-length: 3\r\n\r\n")
        await asyncio.sleep(0.05)
        await client.send(b"abc")
        assert (await client.read_response())[0] == 201


@pytest.mark.parametrize("keep_alive", [b"", b"connection: keep-alive\r\n"])
async def test_http_1_0_body_of_unknown_length_ends_with_the_connection(
    http_server: LimitedServer, keep_alive: bytes
) -> None:
    async with http_server.client() as client:
        await client.send(b"GET /stream HTTP/1.0\r\nhost: x\r\n%s\r\n" % keep_alive)
        response = await asyncio.wait_for(client.reader.read(), 60)

    head, _, body = response.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert b"connection: close" in head
    assert body == b"".join(b"%d\n" % number * 40_000 for number in range(3))


async def test_http_1_0_responses_of_known_length_and_to_head_are_unchanged(
    http_server: LimitedServer,
) -> None:
    for request_, body in ((b"GET /", b"hello"), (b"GET /page", b"x" * 40_000)):
        async with http_server.client() as client:
            await client.send(request_ + b" HTTP/1.0\r\nhost: x\r\n\r\n")
            assert (await client.read_response())[2] == body
            assert await client.reader.read() == b""
    async with http_server.client() as client:
        await client.send(b"HEAD / HTTP/1.0\r\n\r\n")
        assert (await client.reader.read()).endswith(b"\r\n\r\n")


@pytest.fixture
async def whole(settings: Callable[..., Settings]) -> AsyncIterator[LimitedServer]:
    """The service as `serve` runs it, with allowed hosts."""
    made = settings(port=0, allowed_hosts="allowed.example", cors_origins=None)
    server = LimitedServer(create_config(make_app(made), made))
    async with server.running():
        yield server


LENGTH = b"content-length: 2\r\n\r\n{}"
CHUNKS = b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("expect", [b"expect: 100-continue\r\n", b""])
@pytest.mark.parametrize(
    "rest",
    [
        LENGTH + b"garbage\r\n\r\n",
        LENGTH + b"\0",
        LENGTH + ONE + b"no colon\r\n\r\n",
        CHUNKS + b"2\r\n{}\r\n0\r\n\r\ngarbage\r\n\r\n",
        CHUNKS + b"2\r\n{}\r\nxyz\r\n",
        CHUNKS + b"xyz\r\n",
        b"content-length: 9\r\ncontent-length: 8\r\n\r\n{}",
    ],
)
async def test_garbage_behind_a_request_is_rejected_and_not_logged_as_an_error(
    whole: LimitedServer, caplog: pytest.LogCaptureFixture, expect: bytes, rest: bytes
) -> None:
    caplog.set_level(NOTICE)
    head = b"POST /queries HTTP/1.1\r\nhost: allowed.example\r\ncontent-type: application/json\r\n"
    for first in (b"", b"GET /health/live HTTP/1.1\r\nhost: allowed.example\r\n\r\n"):
        async with whole.client() as client:
            await client.send(first + head + expect + rest)
            assert await client.read_rejection() == 400
        while whole.server_state.tasks:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    async with whole.client() as client:
        await client.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        metrics = await client.reader.read()

    assert not [record for record in caplog.records if record.levelno > NOTICE or record.exc_info]
    assert b'path="/queries",status_code="500"' not in metrics


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        (b"/results", b"host: allowed.example\r\n", 200),
        (b"/results", b"host: other.example\r\n", 400),
        (b"/results", b"", 400),
        (b"/health/live", b"", 400),
        (b"/results", b"host:\r\n", 400),
        (b"/results", b"host: allowed.example\r\nhost: allowed.example\r\n", 400),
        (b"http://allowed.example/results?page=0", b"host: other.example\r\n", 200),
        (b"HTTP://Allowed.Example:8000/results", b"host: other.example\r\n", 200),
        (b"http://other.example/results", b"host: allowed.example\r\n", 403),
        (b"http://allowed.example@other.example/results", b"host: allowed.example\r\n", 403),
        (b"http://user@allowed.example/results", b"host: allowed.example\r\n", 403),
        (b"http://other.example?/results", b"host: allowed.example\r\n", 403),
        (b"http:///results", b"host: allowed.example\r\n", 403),
        (b"http://allowed.example/results", b"", 400),
        (b"http://allowed.example/results", b"host: a\r\nhost: b\r\n", 400),
        (b"http://allowed.example/nowhere", b"host: allowed.example\r\n", 404),
        (b"http://allowed.example", b"host: allowed.example\r\n", 200),
        (b"*", b"host: allowed.example\r\n", 404),
        (b"//other.example/results", b"host: allowed.example\r\n", 404),
    ],
)
async def test_host_of_the_target_or_else_of_the_header_counts(
    whole: LimitedServer, target: bytes, fields: bytes, status: int
) -> None:
    async with whole.client() as client:
        await client.send(b"GET %s HTTP/1.1\r\n%s\r\n" % (target, fields))
        assert (await client.read_response())[0] == status


async def test_http_1_0_needs_no_host_where_any_is_allowed(
    settings: Callable[..., Settings],
) -> None:
    server = LimitedServer(create_config(make_app(settings()), settings(port=0)))
    async with server.running(), server.client() as client:
        await client.send(b"GET /results HTTP/1.0\r\n\r\n")
        assert (await client.read_response())[0] == 200


async def test_links_have_the_host_of_the_target(whole: LimitedServer) -> None:
    async with whole.client() as client:
        await client.send(
            b"GET http://allowed.example:81/results?format=atom HTTP/1.0\r\nhost: evil\r\n\r\n"
        )
        response = await client.reader.read()

    assert b"http://allowed.example:81/results" in response
    assert b"evil" not in response


async def test_export_to_http_1_0_is_not_chunked(
    whole: LimitedServer, db: psycopg.Connection
) -> None:
    db.execute(
        "insert into results (query_id, timestamp, result_number, author, title)"
        " select n, n, 0, 'x', repeat('y', 400) from generate_series(1, 3000) as n"
    )
    async with whole.client() as client:
        await client.send(b"GET /results?format=csv HTTP/1.0\r\nhost: allowed.example\r\n\r\n")
        head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    assert body.count(b"\n") == 3001
