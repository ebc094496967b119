"""Filters of the templates: texts, dates and categories as HTML."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from ..metadata import categories


def math(text: str, highlighted: str | None = None) -> Markup:
    """Return a text as HTML; `highlighted` is the same text as HTML with <mark>."""
    return Markup(highlighted) if highlighted else escape(text)  # noqa: S704 - of `highlight`


def date(time: str) -> str:
    """Return the day of a time in ISO 8601."""
    return time[:10]


def category_name(category: str) -> str:
    """Return the name of a category in plain words, or the category itself if it is unknown."""
    return categories.get_title(category) or category


FILTERS: dict[str, Callable[..., Any]] = {
    "math": math,
    "date": date,
    "category_name": category_name,
}
