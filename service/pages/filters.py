"""Filters of the templates: texts, dates and categories as HTML."""

from collections.abc import Callable
from typing import Any

from ..metadata import categories
from .formulas import render_math, render_plain


def date(time: str) -> str:
    """Return the day of a time in ISO 8601."""
    return time[:10]


def category_name(category: str) -> str:
    """Return the name of a category in plain words, or the category itself if it is unknown."""
    return categories.get_title(category) or category


FILTERS: dict[str, Callable[..., Any]] = {
    "math": render_math,
    "plain": render_plain,
    "date": date,
    "category_name": category_name,
}
