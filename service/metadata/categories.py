"""arXiv's groups, archives and categories; `categories.toml` has the data and names its source.

A category is an archive (`hep-th`) or a subject class of an archive (`cs.AI`). Some have two names
(`math-ph` and `math.MP`), and records of arXiv may have either of them or both. A closed archive
(`alg-geom`) is a category of its own: arXiv filed its papers under a present category as well.
"""

import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .unicode_text import remove_invisible

MAX_SUGGESTIONS = 5
MAX_COMPARED = 60
"""Characters of a text that are compared with the names of categories."""
MIN_SIMILARITY = 0.61
"""0 to 1; at 0.6, cs.XX would be similar to most of cs.*."""
MIN_WORD = 4
"""Characters of a text that is looked up in the titles of categories."""

_SEPARATOR = re.compile(r"[^a-z.-]+")
_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_SUBJECTS: dict[str, str] = _DATA["categories"]
_DIVIDED = {name.partition(".")[0] for name in _SUBJECTS}
"""The archives that have subject classes."""
_TITLES: dict[str, str] = _SUBJECTS | {
    name: data["name"] for name, data in _DATA["archives"].items()
}
"""The name in plain words of each category and archive."""
_CANONICAL: dict[str, str] = _DATA["aliases"]
_ALIASES = _CANONICAL | {canonical: alias for alias, canonical in _CANONICAL.items()}
_SPELLINGS = {name.lower(): name for name in _TITLES}

CATEGORIES = {
    name: _CANONICAL.get(name, name)
    for name in _TITLES
    if name not in _DIVIDED or "is_category" in _DATA["archives"][name]
}
"""The categories that a paper may have, each with the name that arXiv shows for it."""


class UnknownCategory(ValueError):
    """A text that is not a category or an archive; the message names similar ones."""


class CategorySelection(NamedTuple):
    """Papers match with one of the names, or with any name in one of the archives."""

    names: list[str]
    archives: list[str]


def select_categories(texts: Iterable[str]) -> CategorySelection:
    """Return what categories (`cs.AI`) and archives (`cs`, `cs.*`) in any case stand for.

    Equal meanings give equal results; empty texts are ignored. Raises UnknownCategory.
    """
    names: set[str] = set()
    archives: set[str] = set()
    for text in filter(None, map(str.strip, map(remove_invisible, texts))):
        name = _parse_category(text)
        if name in _DIVIDED:
            archives.add(name)
        if name in CATEGORIES:
            names |= {name, _ALIASES.get(name, name)}
    # the bare name stays, because cs.* does not match it
    names = {name for name in names if "." not in name or get_archive(name) not in archives}
    return CategorySelection(sorted(names), sorted(archives))


def find_unknown(texts: Iterable[str]) -> int | None:
    """Return the position of the first text that `select_categories` rejects."""
    for position, text in enumerate(texts):
        try:
            select_categories([text])
        except UnknownCategory:
            return position
    return None


def _parse_category(text: str) -> str:
    name = text.lower()
    if name in _SPELLINGS:
        return _SPELLINGS[name]
    archive = name.removesuffix(".*")
    if archive in _DATA["archives"]:
        return archive
    raise UnknownCategory(f"{text[:100]!r} is not a category; {describe_alternatives(text)}")


def spell_category(text: str) -> str:
    """Return a category, or the beginning of one with `*`, in arXiv's spelling.

    Other texts are returned unchanged.
    """
    if not text.endswith("*"):
        return _SPELLINGS.get(text.lower(), text)
    start = text[:-1].lower()
    names = (name for spelling, name in _SPELLINGS.items() if spelling.startswith(start))
    return next((f"{name[: len(start)]}*" for name in names), text)


def is_known(text: str) -> bool:
    """Whether a text in arXiv's spelling is a category, or the beginning of one with `*`."""
    start = text.removesuffix("*")
    return text in CATEGORIES or (
        start != text and any(name.startswith(start) for name in CATEGORIES)
    )


def get_archive(category: str) -> str:
    """Return the archive of a category."""
    return category.partition(".")[0]


def get_other_name(category: str) -> str | None:
    """Return the second name of a category (`math.MP` of `math-ph`); None if it has one name."""
    return _ALIASES.get(category)


def list_archives() -> list[str]:
    """Return the archives that accept papers."""
    return [name for name, data in _DATA["archives"].items() if "successor" not in data]


def list_subject_classes(archive: str) -> list[str]:
    """Return the categories of an archive (`cs.AI`); none if it has no subject classes."""
    return [name for name in _SUBJECTS if get_archive(name) == archive]


def get_set_spec(category: str) -> str:
    """Return the set of a category in arXiv's OAI-PMH: `cs:cs:AI`, `physics:hep-th`."""
    archive, _, subject = category.partition(".")
    group = _DATA["archives"].get(archive, {}).get("group", "").removeprefix("grp_")
    return ":".join(filter(None, (group, archive, subject)))


def get_title(category: str) -> str | None:
    """Return the name of a category or archive in plain words; None if it is unknown."""
    return _TITLES.get(category)


def has_subject_classes(archive: str) -> bool:
    """Whether papers of an archive are filed under its subject classes."""
    return archive in _DIVIDED


def describe_alternatives(text: str) -> str:
    """Return a clause that names the categories most similar to a text, if there are any."""
    if names := suggest_categories(text[:MAX_COMPARED]):
        return f"closest: {', '.join(names)}"
    return "use for example cs.AI, hep-th or cs.*; https://arxiv.org/category_taxonomy lists all"


@lru_cache(maxsize=256)
def suggest_categories(text: str) -> tuple[str, ...]:
    """Return categories and archives similar to a text, the most similar first."""
    text = text.lower().strip()
    if text in _DATA["groups"]:
        members = (name for name, data in _DATA["archives"].items() if data["group"] == text)
        return tuple(name for name in members if "successor" not in _DATA["archives"][name])
    parts = (part.strip(".") for part in _SEPARATOR.split(text))
    letters, subject = _keep_letters(text), text.rpartition(".")[2]
    similar = _find_similar(text)
    names = [
        *(name for name in _TITLES if _keep_letters(name.lower()) == letters),
        *(name for name, title in _TITLES.items() if title.lower() == text),
        *(_SPELLINGS[part] for part in parts if part in _SPELLINGS),
        *similar[:2],
        *(name for name in _SUBJECTS if name.lower().endswith(f".{subject}")),
        *(name for name in _TITLES if name.startswith(f"{text}-")),
        *similar,
        *(name for name, title in _TITLES.items() if _has_word(title.lower(), text)),
    ]
    if has_subject_classes(archive := get_archive(text)):
        names.append(f"{archive}.*")
    return tuple(dict.fromkeys(names))[:MAX_SUGGESTIONS]


def _has_word(title: str, text: str) -> bool:
    return len(text) >= MIN_WORD and re.search(rf"\b{re.escape(text)}", title) is not None


def _find_similar(text: str) -> list[str]:
    """Return names that are spelled like the text, the most similar first."""
    spellings = get_close_matches(text, _SPELLINGS, n=len(_SPELLINGS), cutoff=MIN_SIMILARITY)
    spellings.sort(key=lambda other: not other.startswith(text[:-1]))  # the last one is wrong
    spellings.sort(key=lambda other: sorted(text) != sorted(other))  # two letters were swapped
    return [_SPELLINGS[spelling] for spelling in spellings]


def _keep_letters(text: str) -> str:
    return "".join(filter(str.isalpha, text))
