"""The filters of the templates."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from markupsafe import Markup

from ..metadata.categories import get_title
from .formulas import render_math, render_plain


def format_date(time: str | None) -> Markup:
    """Return the day of a time in ISO 8601 for readers and programs, or nothing without one."""
    if not time:
        return Markup()
    day = datetime.fromisoformat(time)
    shown = f"{day.day} {day:%B} {day.year}"
    return Markup('<time datetime="{}">{}</time>').format(time, shown)


def name_category(category: str) -> str:
    """Return the name of a category in words, or the category if it is unknown."""
    return get_title(category) or category


FILTERS: dict[str, Callable[..., Any]] = {
    "math": render_math,
    "plain": render_plain,
    "date": format_date,
    "category_name": name_category,
}
