"""Answers that go out in one write are those that uvicorn makes, byte by byte."""

import asyncio
from typing import Any

import pytest
import uvicorn
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.http_limits import LimitedHttpProtocol
from service.joining import LARGE

GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
DATE = (b"date", b"Tue, 24 Nov 2026 20:15:00 GMT")


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        if data:
            self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 1)}.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def connected(
    protocol: type[HttpToolsProtocol], app: ASGIApp
) -> tuple[HttpToolsProtocol, ServerState, Wire]:
    """A connection to an application."""
    config = uvicorn.Config(app, http=protocol, log_config=None, lifespan="off")
    config.load()
    state, wire = ServerState(), Wire()
    state.default_headers = [DATE]
    connection = protocol(config=config, server_state=state, app_state={})
    connection.connection_made(wire)
    return connection, state, wire


async def answered(
    protocol: type[HttpToolsProtocol], messages: list[Message], request: bytes
) -> Wire:
    """What an application that sends these messages writes, until it ends."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in messages:
            await send(message.copy())

    connection, state, wire = connected(protocol, app)
    connection.data_received(request)
    while state.tasks:
        await asyncio.wait(state.tasks)
        await asyncio.sleep(0)
    connection.connection_lost(None)
    return wire


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sized(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


WHOLE: list[Message] = [start((b"content-type", b"text/plain"), sized(5)), body(b"hello")]
CASES: dict[str, tuple[list[Message], bytes]] = {
    "whole": (WHOLE, GET),
    "whole without content": ([start(sized(0), status=404), body(b"")], GET),
    "two requests at once": (WHOLE, GET + GET),
    "the last on its connection": (
        WHOLE,
        GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    ),
    "for HTTP/1.0": (WHOLE, GET.replace(b"1.1", b"1.0")),
    "for HEAD": (WHOLE, GET.replace(b"GET", b"HEAD")),
    "not modified": ([start((b"etag", b'"x"'), status=304), body(b"")], GET),
    "in pieces of a known length": ([start(sized(5)), body(b"he", more=True), body(b"llo")], GET),
    "in pieces of any length": ([start(), body(b"he", more=True), body(b"llo")], GET),
    "large": ([start(sized(LARGE + 1)), body(b"x" * (LARGE + 1))], GET),
    "that ends the connection": ([start(sized(5), (b"connection", b"close")), body(b"hello")], GET),
    "in chunks by itself": ([start(sized(5), (b"transfer-encoding", b"chunked")), body(b"x")], GET),
    "with odd but lawful values": ([start(sized(1), (b"x", b"\xe9\t ,")), body(b"x")], GET),
    "of one message too many": ([*WHOLE, body(b"again")], GET),
}


@pytest.mark.parametrize(("messages", "request_"), CASES.values(), ids=CASES)
async def test_an_answer_is_what_uvicorn_writes(messages: list[Message], request_: bytes) -> None:
    ours = await answered(LimitedHttpProtocol, messages, request_)
    theirs = await answered(HttpToolsProtocol, messages, request_)

    assert b"".join(ours.writes) == b"".join(theirs.writes)
    assert ours.closed == theirs.closed
    assert b"date: " in ours.writes[0]


async def test_a_whole_answer_is_one_write() -> None:
    wire = await answered(LimitedHttpProtocol, WHOLE, GET + GET)

    assert len(wire.writes) == 2
    assert all(write.endswith(b"\r\n\r\nhello") for write in wire.writes)


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\x7fb"])
async def test_a_header_cannot_be_made_two(value: bytes) -> None:
    wire = await answered(LimitedHttpProtocol, [start(sized(1), (b"x", value)), body(b"x")], GET)

    assert b"set-cookie" not in b"".join(wire.writes)
    assert value not in b"".join(wire.writes)
    assert not any(b" 200 " in write for write in wire.writes)


@pytest.mark.parametrize("content", [b"four", b"sixsix"])
async def test_an_answer_of_another_length_than_it_says_is_cut_off(content: bytes) -> None:
    wire = await answered(LimitedHttpProtocol, [start(sized(5)), body(content)], GET)

    assert wire.closed


async def test_a_head_without_a_body_is_an_error() -> None:
    wire = await answered(LimitedHttpProtocol, [start(sized(5))], GET)

    assert b"".join(wire.writes).startswith(b"HTTP/1.1 500 ")
    assert wire.closed


async def test_nothing_is_written_to_who_has_gone() -> None:
    async def leaving(_: Scope, __: Receive, send: Send) -> None:
        await asyncio.sleep(0.05)
        for message in WHOLE:
            await send(message.copy())

    connection, state, wire = connected(LimitedHttpProtocol, leaving)
    connection.data_received(GET)
    connection.connection_lost(None)
    await asyncio.wait(state.tasks)

    assert wire.writes == []
