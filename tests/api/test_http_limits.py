"""What a client may send and how long it may take, over real connections."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.response import Stream

from service import http_limits
from service.http_limits import LimitedHttpProtocol
from service.logging import NOTICE, request_id
from service.middleware.security_headers import HEADERS
from service.problems import EXCEPTION_HANDLERS

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


@get("/page", sync_to_thread=False)
def page() -> bytes:
    return b"x" * 40_000


@get("/later")
async def later() -> str:
    await asyncio.sleep(0.5)
    return "later"


class Listening(uvicorn.Server):
    """The protocol before a small application."""

    def __init__(self) -> None:
        app = Litestar(
            [hello, take, fields, forever, large, page, later],
            exception_handlers=EXCEPTION_HANDLERS,
            request_max_body_size=LIMIT,
            logging_config=None,
            openapi_config=None,
        )
        config = uvicorn.Config(
            app, port=0, http=LimitedHttpProtocol, ws="none", log_config=None, lifespan="off"
        )
        super().__init__(config)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        serving = asyncio.create_task(self.serve())
        while not self.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            self.should_exit = True
            self.force_exit = True
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
        """Send the parts one by one, as far as they are taken."""
        with suppress(ConnectionError):
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
                await asyncio.sleep(0.002)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer."""
        head = (
            (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        )
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, body

    async def refusal(self) -> int:
        """The status of the last answer, a problem with all that belongs to it."""
        status, fields, body = await self.answer()
        with suppress(ConnectionError):
            assert await asyncio.wait_for(self.reader.read(), 5) == b""
        assert fields["content-type"] == "application/problem+json"
        assert fields["connection"] == "close"
        problem = json.loads(body)
        assert problem["status"] == status
        assert problem["request_id"] == fields["x-request-id"]
        for name, value in HEADERS:
            assert fields[name.decode()] == value.decode()
        return status


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    server = Listening()
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
        ([ONE + b"a: b\r\n c\r\n\r\n"], 400),  # folded, as nobody reads in the same way
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
        ([CHUNKED + b"1;a=", *[b"b" * 9_999] * 9], 431),  # beside the size of a chunk
    ],
)
async def test_what_is_no_request_or_too_much_is_answered_and_ended(
    listening: Listening, parts: list[bytes], status: int
) -> None:
    async with listening.client() as client:
        await client.send(*parts)
        assert await client.refusal() == status
    async with listening.client() as client:
        await client.send(ONE + b"\r\n")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        POST + b"content-length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        CHUNKED + (b"10000\r\n" + b"x" * 2**16 + b"\r\n") * 17 + b"0\r\n\r\n",
    ],
)
async def test_a_body_that_is_too_large_is_refused_with_or_without_its_length(
    listening: Listening, body: bytes
) -> None:
    async with listening.client() as client:
        await client.send(body, ONE + b"\r\n")
        assert (await client.answer())[0] == 413


async def test_large_requests_within_the_bounds_are_served(listening: Listening) -> None:
    async with listening.client() as client:
        for request in (
            b"GET /?" + b"x" * 45_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
            ONE + b"a: b\r\n" * 99 + b"\r\n",
            ONE + b"a: " + b"b" * 60_000 + b"\r\n\r\n",
            CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\na: b\r\n\r\n",
            POST + b"content-length: 300000\r\n\r\n" + b"x" * 300_000,
        ):
            await client.send(request)
            assert (await client.answer())[0] in {200, 201}


async def test_requests_in_a_row_are_answered_in_their_order(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send((ONE + b"\r\n") * 50 + POST + b"content-length: 3\r\n\r\nabc")
        statuses = [(await client.answer())[0] for _ in range(51)]

    assert statuses == [200] * 50 + [201]


async def test_who_asks_for_thousands_of_answers_ahead_is_refused(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send((ONE + b"\r\n") * (http_limits.MAX_PIPELINED + 1))
        assert {(await client.answer())[0] for _ in range(http_limits.MAX_PIPELINED + 1)} == {200}
        await client.send((ONE + b"\r\n") * 5000)
        connection: Any = next(iter(listening.server_state.connections))
        assert len(connection.pipeline) <= http_limits.MAX_PIPELINED + 1
        assert await client.refusal() == 429


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"HTTP/2.0, h2c"])
async def test_who_wants_another_protocol_is_served_with_this_one(
    listening: Listening, protocol: bytes
) -> None:
    wish = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: %s\r\n" % protocol
    one, post = ONE + wish + b"\r\n", POST + wish + b"content-length: 3\r\n\r\nabc"
    async with listening.client() as client:
        await client.send(post + one * 20 + post[:-2], post[-2:], post + ONE + b"\r\n")
        told = [await client.answer() for _ in range(24)]

    assert [(status, body) for status, _, body in told] == [
        (201, b"3"),
        *[(200, b"hello")] * 20,
        *[(201, b"3")] * 2,
        (200, b"hello"),
    ]


async def test_a_tunnel_is_refused(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send(b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n")
        assert await client.refusal() == 400


async def test_the_log_has_what_was_refused_by_the_id_of_the_answer(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    names = set()

    def note(_: logging.LogRecord) -> bool:
        names.add(request_id.get())
        return True

    caplog.set_level(NOTICE)
    caplog.handler.addFilter(note)
    async with listening.client() as client:
        await client.send(b"hello there\r\n\r\n")
        _, fields, _ = await client.answer()

    assert [record.getMessage() for record in caplog.records if record.levelno >= NOTICE] == [
        "rejected with 400: the request is not valid HTTP/1.1"
    ]
    assert fields["x-request-id"] in names


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEADER_TIMEOUT", 0.2)
    monkeypatch.setattr(http_limits, "BODY_TIMEOUT", 0.2)
    monkeypatch.setattr(http_limits, "READ_TIMEOUT", 400)


@pytest.mark.usefixtures("hasty")
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
async def test_who_sends_a_request_byte_by_byte_is_sent_away(
    listening: Listening, begin: bytes, drop: bytes
) -> None:
    async with listening.client() as client:
        dropping = asyncio.create_task(client.send(begin, *[drop] * 1000))
        if begin == ONE + b"\r\n":
            assert (await client.answer())[0] == 200
        assert await client.refusal() == 408
        dropping.cancel()
    await asyncio.sleep(0)
    assert not listening.server_state.tasks


@pytest.mark.usefixtures("hasty")
async def test_who_says_nothing_is_left_without_a_word(listening: Listening) -> None:
    async with listening.client() as client:
        assert await asyncio.wait_for(client.reader.read(), 2) == b""
    async with listening.client() as client:
        await client.send(ONE + b"\r\n")
        assert (await client.answer())[0] == 200
        assert await asyncio.wait_for(client.reader.read(), 2) == b""


@pytest.mark.usefixtures("hasty")
async def test_who_asks_again_in_time_is_answered_as_often_as_he_asks(listening: Listening) -> None:
    async with listening.client() as client:
        for _ in range(8):
            await client.send(ONE + b"\r\n")
            assert (await client.answer())[0] == 200
            await asyncio.sleep(0.1)  # half of the patience, which begins anew
        assert await asyncio.wait_for(client.reader.read(), 2) == b""


@pytest.mark.usefixtures("hasty")
async def test_who_takes_nothing_of_an_answer_is_left(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n")
        end = asyncio.get_running_loop().time() + 5
        while listening.server_state.connections or listening.server_state.tasks:
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.02)


def slow_socket() -> socket.socket:
    """One whose system takes little that nobody reads."""
    connecting = socket.socket()
    connecting.settimeout(0)
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return connecting


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("path", [b"/forever", b"/large"])
async def test_who_reads_slowly_and_steadily_is_served(listening: Listening, path: bytes) -> None:
    loop = asyncio.get_running_loop()
    with slow_socket() as reading:
        await loop.sock_connect(reading, ("127.0.0.1", listening.port))
        await loop.sock_sendall(reading, b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path)
        for _ in range(40):  # 1.2 seconds
            await asyncio.sleep(0.03)
            assert await loop.sock_recv(reading, 4096)
        assert listening.server_state.connections


@pytest.mark.usefixtures("hasty")
async def test_nor_may_a_client_leave_the_end_of_an_answer(listening: Listening) -> None:
    loop = asyncio.get_running_loop()
    with slow_socket() as reading:
        await loop.sock_connect(reading, ("127.0.0.1", listening.port))
        left = 0
        while not left:  # as much as the system takes, and a little that never fills the buffer
            await loop.sock_sendall(reading, b"GET /page HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.01)
            [connection] = listening.server_state.connections
            left = connection.transport.get_write_buffer_size()
        end = loop.time() + 5
        while listening.server_state.connections:
            assert loop.time() < end
            await asyncio.sleep(0.02)


@pytest.mark.usefixtures("hasty")
async def test_a_request_that_waits_for_the_one_before_it_may_take_its_time(
    listening: Listening,
) -> None:
    async with listening.client() as client:
        await client.send(b"GET /later HTTP/1.1\r\nhost: x\r\n\r\n", POST)
        await client.send(b"content-length: 3\r\n\r\n", b"abc")
        assert [(await client.answer())[0] for _ in range(2)] == [200, 201]


async def test_who_has_gone_needs_no_answer_though_more_was_asked(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n" + ONE + b"\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
    end = asyncio.get_running_loop().time() + 5
    while listening.server_state.tasks:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


async def test_an_answer_may_take_longer_than_a_request(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "HEADER_TIMEOUT", 0.1)
    async with listening.client() as client:
        await client.send(b"GET /forever HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            assert await client.reader.read(2**20)


async def test_one_connection_too_many_is_refused(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "MAX_CONNECTIONS", 1)
    async with listening.client() as first:
        await first.send(ONE + b"\r\n")
        assert (await first.answer())[0] == 200
        async with listening.client() as second:
            assert await second.refusal() == 503
        await first.send(ONE + b"\r\n")
        assert (await first.answer())[0] == 200


async def test_a_crowd_of_refused_connections_takes_few_files(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_limits, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(http_limits, "MAX_REJECTED_CONNECTIONS", 3)
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(listening.client()) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert len(listening.server_state.connections) <= 4
        await crowd[0].send(ONE + b"\r\n")
        assert (await crowd[0].answer())[0] == 200


async def test_what_stands_behind_a_body_is_no_header(listening: Listening) -> None:
    async with listening.client() as client:
        await client.send(
            CHUNKED.replace(b"/", b"/fields", 1), b"1\r\na\r\n0\r\nauthorization: late\r\n\r\n"
        )
        status, _, body = await client.answer()

    assert status == 201
    assert json.loads(body) == ["host", "content-type", "transfer-encoding"]
