"""Structs that the modules exchange; field names are those of the tables and of the JSON."""

from typing import Any

from msgspec import Meta


def describe(description: str, *examples: object, **bounds: Any) -> Meta:  # noqa: ANN401 - see Meta
    """Describe a field in OpenAPI."""
    return Meta(description=description, examples=[*examples] or None, **bounds)
