"""Filters of the templates: texts, dates and categories as HTML."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from ..metadata import categories
from ..metadata.tex import tex_to_text
from .formulas import render_math, render_plain


def date(iso: str) -> Markup:
    """Return the day of a time in ISO 8601 as an element."""
    return _create_time_element(iso, iso[:10])


def time(iso: str) -> Markup:
    """Return a time in ISO 8601 as an element, with a space before the hours."""
    return _create_time_element(iso, iso.replace("T", " "))


def _create_time_element(iso: str, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(iso, text)


_ISOLATES = re.compile("[\u2066-\u2069]")
_END_OF_ISOLATE = "\u2069"


def isolate(text: str) -> Markup:
    """Return a text as an element that does not change the direction of what follows it.

    To browsers, <bdi> is a pair of control characters, so those in the text must be in pairs too.
    """
    depth = 0

    def pair(match: re.Match[str]) -> str:
        nonlocal depth
        depth += -1 if match[0] == _END_OF_ISOLATE else 1
        if depth < 0:
            depth = 0
            return ""
        return match[0]

    paired = _ISOLATES.sub(pair, escape(text))
    return Markup(f"<bdi>{paired}{_END_OF_ISOLATE * depth}</bdi>")  # noqa: S704 - it is escaped


def category_name(category: str) -> str:
    """Return the name of a category in plain words, or the category itself if it is unknown."""
    return categories.get_title(category) or category


_CREATIVE_COMMONS = re.compile(
    r"https?://creativecommons\.org/(?:licenses|publicdomain)/([a-z-]{2,12})(?:/([0-9.]{1,5}))?/?"
)
_ARXIV_LICENSES = re.compile(
    r"https?://arxiv\.org/licenses/(nonexclusive-distrib/1\.0|assumed-1991-2003)/?"
)


def license_name(url: str) -> str:
    """Return the name of a license, or its URL if it is unknown."""
    if match := _CREATIVE_COMMONS.fullmatch(url):
        name, version = match.groups()
        name = {"zero": "CC0", "publicdomain": "Public domain"}.get(name, f"CC {name.upper()}")
        return f"{name} {version or ''}".strip()
    if match := _ARXIV_LICENSES.fullmatch(url):
        assumed = "assumed, 1991 to 2003" if match[1].startswith("assumed") else "1.0"
        return f"arXiv.org non-exclusive license to distribute ({assumed})"
    return url


def web_url(text: str) -> str | None:
    """Return a text if it is a URL of the web, to which a link is safe."""
    return text if re.match("https?://", text) else None


def author_url(name: str) -> str:
    """Return the path of the papers of an author."""
    words = tex_to_text(name).replace('"', " ")
    return f"/search?q=author:%22{quote(words)}%22"


def doi_url(doi: str) -> str:
    """Return the URL of a DOI."""
    return f"https://doi.org/{quote(doi)}"


FILTERS: dict[str, Callable[..., Any]] = {
    "math": render_math,
    "plain": render_plain,
    "date": date,
    "time": time,
    "isolate": isolate,
    "category_name": category_name,
    "is_category": categories.is_known,
    "license_name": license_name,
    "web_url": web_url,
    "author_url": author_url,
    "doi_url": doi_url,
}
