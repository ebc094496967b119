"""A span for each request, by the extra `opentelemetry` and the variables of OpenTelemetry."""

import os
from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, Scope

from .errors import ConfigurationError
from .logging import request_id

WHERETO = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Where spans go; without either there are none, and the extra is not needed."""

_WITH_QUERY = ("http.url", "http.target", "url.full", "url.query")
"""Attributes that hold what was searched for, which is in no log either."""
_SECRET = ["authorization", "cookie", "x-api-key"]


def middleware() -> list[Callable[[ASGIApp], ASGIApp]]:
    """Litestar's own instrumentation, where the environment asks for it.

    It is not given by its class, which Litestar would put before the routing: there no span can
    know what it is of. Raises NotConfigured where it does and the extra is not installed.
    """
    given = [name for name in WHERETO if os.environ.get(name)]
    if not given:
        return []
    try:
        from litestar.plugins.opentelemetry import (  # noqa: PLC0415
            OpenTelemetryConfig,
            OpenTelemetryInstrumentationMiddleware,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"{given[0]} is set and the extra `opentelemetry` is not installed"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "arxiv-gateway")
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    config = OpenTelemetryConfig(
        tracer_provider=provider,
        scope_span_details_extractor=_named,
        server_request_hook_handler=_without_query,
        http_capture_headers_sanitize_fields=_SECRET,
        exclude=["^/health/", "^/metrics"],
        exclude_spans=["receive", "send"],
    )
    return [lambda app: OpenTelemetryInstrumentationMiddleware(app, config)]


def _named(scope: Scope) -> tuple[str, dict[str, Any]]:
    """A span is named by the path as it is served: each that is sent would be another name."""
    path = str(scope.get("path_template", ""))
    return f"{scope.get('method', '')} {path}", {"http.route": path}


def _without_query(span: Any, _: dict[str, Any]) -> None:  # noqa: ANN401 - the extra may be absent
    """Leave out what was searched for, and add the id by which the log lines are found."""
    if not span.is_recording():
        return
    for name in _WITH_QUERY:
        if name in span.attributes:
            path = str(span.attributes[name]).partition("?")[0]
            span.set_attribute(name, "" if name == "url.query" else path)
    span.set_attribute("request_id", request_id.get())
