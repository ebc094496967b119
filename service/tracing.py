"""OpenTelemetry spans, one per request. They require the extra `opentelemetry`."""

import os
from collections.abc import Callable
from typing import Any

from litestar.types import ASGIApp, Scope

from .errors import ConfigurationError
from .logging import request_id

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""The address of the collector. Without them, no spans are sent and the extra is not required."""

_URL_ATTRIBUTES = ("http.url", "http.target", "url.full", "url.query")
"""Attributes with the query string, which must not be recorded."""
_SECRET_HEADERS = ["authorization", "proxy-authorization", "cookie", "x-api-key"]


def create_middleware() -> list[Callable[[ASGIApp], ASGIApp]]:
    """Return Litestar's instrumentation if the environment configures it.

    `OpenTelemetryConfig.middleware` is not used: Litestar calls that one before routing, when the
    path template, which names the span, is unknown. A function stays where `create_app` puts it.

    Raises ConfigurationError if spans are configured but the extra is not installed.
    """
    variables = [name for name in ENDPOINT_VARIABLES if os.environ.get(name)]
    if not variables:
        return []
    try:
        return [_create_instrumentation()]
    except ImportError as error:
        raise ConfigurationError(
            f"{variables[0]} is set, but the extra `opentelemetry` is not installed:"
            " install arxiv-gateway[opentelemetry] or unset the variable"
        ) from error


def _create_instrumentation() -> Callable[[ASGIApp], ASGIApp]:
    """Create the middleware. Raises ImportError without the extra."""
    from litestar.plugins import opentelemetry as plugin  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415
    from opentelemetry.sdk import resources, trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import export  # noqa: PLC0415

    name = os.environ.get("OTEL_SERVICE_NAME", "arxiv-gateway")
    resource = resources.Resource.create({"service.name": name})
    provider = trace.TracerProvider(resource=resource)
    provider.add_span_processor(export.BatchSpanProcessor(trace_exporter.OTLPSpanExporter()))
    config = plugin.OpenTelemetryConfig(
        tracer_provider=provider,
        scope_span_details_extractor=_describe_span,
        server_request_hook_handler=_set_attributes,
        http_capture_headers_sanitize_fields=_SECRET_HEADERS,
        exclude=["^/health/", "^/metrics"],
        exclude_spans=["receive", "send"],
    )
    return lambda app: plugin.OpenTelemetryInstrumentationMiddleware(app, config)


def _describe_span(scope: Scope) -> tuple[str, dict[str, Any]]:
    """Name the span after the path template: each identifier would be a name of its own."""
    path = str(scope.get("path_template", ""))
    return f"{scope.get('method', '')} {path}", {"http.route": path}


def _set_attributes(span: Any, _: dict[str, Any]) -> None:  # noqa: ANN401 - the extra is optional
    """Remove query strings, and add the request ID, by which log lines can be found."""
    if not span.is_recording():
        return
    for name in _URL_ATTRIBUTES:
        if name in span.attributes:
            path = str(span.attributes[name]).partition("?")[0]
            span.set_attribute(name, "" if name == "url.query" else path)
    span.set_attribute("request_id", request_id.get())
