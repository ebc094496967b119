"""Limits on requests and connections, which uvicorn's httptools protocol lacks.

tests/unit/test_library_internals.py lists what this relies on: uvicorn does not document it.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .errors import LimitExceeded
from .http_conformance import check_expect, check_framing, create_unchunked_send
from .models.responses import Problem
from .problems import Headers, create_rejection
from .request_target import ABSOLUTE_TARGET, NOT_A_PROXY, begins_for_proxy, resolve_target

MAX_HEADER_BYTES = 64 * 2**10  # with the request line; six terms of 500 characters have 30 KiB
MAX_TARGET_BYTES = 48 * 2**10
MAX_HEADERS = MAX_PIPELINED = 100
MAX_CONNECTIONS = 800  # by default, a process can open 1,024 files
MAX_REJECTED_CONNECTIONS = 64  # above MAX_CONNECTIONS, with a response; others are only closed
HEADER_TIMEOUT = 10.0  # from the connection or the previous response to the end of the headers
BODY_TIMEOUT = 60.0
READ_TIMEOUT = 120_000  # milliseconds, for clients that read nothing
LINGER_TIMEOUT = 1.0  # after a rejection, data is discarded: unread, it would reset the connection
MALFORMED = LimitExceeded(400, "the request is not valid HTTP/1.1")
CreatePage = Callable[[bytes, Headers, Problem], tuple[Headers, bytes] | None]
"""Takes the target and the headers of a request, as far as they are known, and the problem."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. A request that exceeds one gets a problem response."""

    _running: RequestResponseCycle | None = None
    _is_rejected = _is_in_body = False
    _unparsed_bytes = 0  # received since the headers or a chunk of the body were complete
    url = b""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - those of uvicorn's class
        own_hosts: frozenset[str] = frozenset(),
        create_page: CreatePage | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Extends uvicorn's. Absolute targets can have `own_hosts`, and arXiv's for its API.

        `create_page` returns the headers and the body of an error for browsers.
        """
        super().__init__(*args, **kwargs)
        self._own_hosts = own_hosts
        self._create_page = create_page

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Extends uvicorn's, which sets `transport` and `flow`, and counts in `connections`."""
        super().connection_made(transport)
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux then closes the connection
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, READ_TIMEOUT)
        self._timer = self.loop.call_later(HEADER_TIMEOUT, self._handle_timeout)
        if len(self.connections) > MAX_CONNECTIONS:
            self._reject(LimitExceeded(503, "too many connections: retry later", retry_after=5))
        if len(self.connections) > MAX_CONNECTIONS + MAX_REJECTED_CONNECTIONS:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Extends uvicorn's, which notifies the latest request only, and discards the parser."""
        self._timer.cancel()
        super().connection_lost(exc)
        self._disconnect_running()

    def data_received(self, data: bytes) -> None:
        """Replaces uvicorn's, whose own response to malformed requests is plain text."""
        if self._is_rejected:
            return
        self._unparsed_bytes += len(data)
        try:
            self._parse(data)
            self._check_size(self._unparsed_bytes)
        except (LimitExceeded, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            limit = error.__context__ or error  # httptools wraps the exceptions of its callbacks
            is_target = isinstance(error, httptools.HttpParserInvalidURLError)
            if is_target and begins_for_proxy(data):
                limit = LimitExceeded(403, NOT_A_PROXY)
            self._reject(limit if isinstance(limit, LimitExceeded) else MALFORMED)

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            return self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # httptools then ignores the body
            rest = memoryview(data)[upgrade.args[0] :]
        # Upgrade is ignored (RFC 9110, 7.8). Java sends `Upgrade: h2c` with its first request
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        # after `Connection: close`, the old parser ignores all data
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        return self._parse(rest)

    def _check_size(self, header_bytes: int) -> None:
        if len(self.url) > MAX_TARGET_BYTES:
            raise LimitExceeded(414, f"the target is longer than {MAX_TARGET_BYTES:,} bytes")
        if header_bytes > MAX_HEADER_BYTES:
            raise LimitExceeded(431, f"the headers are larger than {MAX_HEADER_BYTES:,} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Extends uvicorn's, which appends the field to `headers`, with its name in lower case."""
        if not self._is_in_body:  # trailers are not headers (RFC 9110, 6.5.1)
            super().on_header(name, value.strip(b" \t"))  # RFC 9112, 5.1

    def on_headers_complete(self) -> None:
        """Extends uvicorn's, which sets `cycle`, and runs it or adds it to `pipeline`."""
        header_bytes = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        self._check_size(len(self.url) + header_bytes)
        if len(self.headers) > MAX_HEADERS:
            raise LimitExceeded(431, f"the request has more than {MAX_HEADERS} headers")
        if self.parser.get_method() == b"CONNECT":
            raise LimitExceeded(403, NOT_A_PROXY)
        if self.parser.should_upgrade():
            return
        self._is_in_body, self._unparsed_bytes = True, 0
        self._apply_absolute_target()
        version = self.parser.get_http_version()
        check_framing(version, self.headers)
        is_current = version == "1.1"
        self.expect_100_continue = is_current and check_expect(self.headers)
        super().on_headers_complete()
        if not is_current:
            self.cycle.send = create_unchunked_send(self.cycle)  # type: ignore[assignment, method-assign]
        self._running = self._running if self.pipeline else self.cycle
        self._restart_timer()
        if len(self.pipeline) > MAX_PIPELINED:
            raise LimitExceeded(429, f"more than {MAX_PIPELINED} pipelined requests", retry_after=1)

    def _apply_absolute_target(self) -> None:
        """Replace the Host header by the host of an absolute target (RFC 9112, 3.2.2)."""
        if resolved := resolve_target(self.url, self._own_hosts):
            host, self.url = resolved
            fields = [(name, host if name == b"host" else value) for name, value in self.headers]
            self.headers[:] = fields
            self.scope["state"][ABSOLUTE_TARGET] = True

    def on_body(self, body: bytes) -> None:
        """Extends uvicorn's, which adds the data to `cycle`, and may pause reading."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Extends uvicorn's, which marks the body of `cycle` as complete."""
        if not self.parser.should_upgrade():
            self._is_in_body, self._unparsed_bytes = False, 0
            super().on_message_complete()
            self._restart_timer()

    def on_response_complete(self) -> None:
        """Extends uvicorn's, which runs the last of `pipeline` or starts a keep-alive timer."""
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()
        self._unset_keepalive_if_required()  # HEADER_TIMEOUT covers idle connections
        self._restart_timer()

    def _restart_timer(self) -> None:
        seconds = None
        if self._is_rejected:
            seconds = LINGER_TIMEOUT
        elif self._is_in_body:
            seconds = None if self.pipeline else BODY_TIMEOUT  # nothing is read while requests wait
        elif self.cycle is None or self.cycle.response_complete:
            seconds = HEADER_TIMEOUT
        self._timer.cancel()
        if seconds:
            self._timer = self.loop.call_later(seconds, self._handle_timeout)

    def _handle_timeout(self) -> None:
        if not self._is_rejected and (self._is_in_body or self._unparsed_bytes):
            limits = f"{HEADER_TIMEOUT:g} seconds for headers, {BODY_TIMEOUT:g} for the body"
            self._reject(LimitExceeded(408, f"the request is too slow: {limits} are allowed"))
        else:
            self.transport.close()

    def _reject(self, error: LimitExceeded) -> None:
        if self._is_rejected or self.transport.is_closing():
            return
        self._is_rejected = True
        response = create_rejection(error, self.server_state.default_headers, self._render)
        running = self._running
        if running is None or running.response_complete or not running.response_started:
            self.transport.write(response)
        self._disconnect_running()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._restart_timer()

    def _render(self, problem: Problem) -> tuple[Headers, bytes] | None:
        if self._create_page is None:
            return None
        return self._create_page(self.url, self.headers or [], problem)

    def _disconnect_running(self) -> None:
        """Notify the running request; uvicorn notifies the latest one, which may be pipelined."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.waiting_for_100_continue = False  # nothing can be written any more
            self._running.message_event.set()
