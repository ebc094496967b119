"""OpenTelemetry spans: one per request, without secrets."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from service import tracing
from service.errors import ConfigurationError
from tests.support.process import service

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECRETS = ("the-token-of-this-test", "what-was-searched", "sid=17")


class Collector(ThreadingHTTPServer):
    """Receives spans as the OpenTelemetry Collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def test_each_request_is_one_span_without_secrets(database: str) -> None:
    proto = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    collector = Collector()
    thread = Thread(target=collector.serve_forever)
    thread.start()
    environment = {
        "ARXIV_DATABASE_URL": database,
        "ARXIV_BACKEND_TOKEN": SECRETS[0],
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup",  # attributes under their old and new names
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST": ".*",
    }
    try:
        with service(environment) as running, httpx.Client(base_url=running.url()) as client:
            for path in ("/papers/2611.00001", "/read-results", "/nowhere", "/health/ready"):
                client.get(
                    path,
                    params={"q": SECRETS[1]} if path.startswith("/papers") else {},
                    headers={
                        "authorization": f"Bearer {SECRETS[0]}",
                        "cookie": SECRETS[2],
                        "x-request-id": "mine",
                        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
                    },
                )
            assert running.end(15) == 0
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()

    spans = [
        (resource.resource, span)
        for body in collector.bodies
        for resource in proto.ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(span.name for _, span in spans) == ["GET /papers/{arxiv_id}", "GET /read-results"]
    for resource, span in spans:
        attributes = {each.key: each.value.string_value for each in span.attributes}
        assert attributes["request_id"] == "mine"
        assert span.trace_id.hex() == TRACE
        assert "arxiv-gateway" in str(resource)
    for secret in SECRETS:
        assert all(secret.encode() not in body for body in collector.bodies)


def test_unavailable_collector_delays_neither_requests_nor_exit(database: str) -> None:
    pytest.importorskip("opentelemetry.sdk")
    environment = {
        "ARXIV_DATABASE_URL": database,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    with service(environment) as running:
        assert running.get("/results").status_code == 200
        assert running.end(15) == 0


def test_variables_without_the_extra_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    with pytest.raises(ConfigurationError, match="extra `opentelemetry`"):
        tracing.create_middleware()


def test_no_spans_without_the_variables() -> None:
    assert tracing.create_middleware() == []
