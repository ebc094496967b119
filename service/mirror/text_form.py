r"""Brings the fields of arXiv's snapshot, OAI-PMH and RSS to the form that arXiv's API has.

The differences that remain are in docs/mirror.md.
"""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from ..arxiv_xml import (
    MAX_ABSTRACT_CHARS,
    MAX_AUTHORS,
    MAX_COMBINING,
    MAX_ITEMS,
    MAX_NAME_CHARS,
    MAX_NOTE_CHARS,
    MAX_TITLE_CHARS,
    MAX_WORD_CHARS,
)
from ..metadata.arxiv_ids import parse_arxiv_id
from ..metadata.dois import parse_dois
from ..metadata.person_names import Authors, split_authors
from ..metadata.tex import tex_to_text
from ..metadata.unicode_text import XML_FORBIDDEN

MAX_VERSION = 9999
EARLIEST = 504_921_600
"""1986-01-01: arXiv has papers that are older than itself, the oldest of April 1986."""
FUTURE_SECONDS = 2 * 86_400
"""By which a date may lie after the clock: time zones and clocks differ."""

_SURROGATE = re.compile("[\0\ud800-\udfff]")
_CONTROL = re.compile(f"[{XML_FORBIDDEN}]")
_COMBINING = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_COMBINING + 1},}}")
_PLAIN_ID = re.compile(r"(?:0[7-9]|[1-8]\d)(?:0[1-9]|1[0-2])\.\d{4,5}", re.ASCII)
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_HTTP_DATE = re.compile(
    r"(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) "
    r"(?:GMT|UTC|\+0000)",
    re.ASCII,
)
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_VERSION = re.compile(r"v?([1-9]\d{0,3})", re.ASCII)
_SIZE = re.compile(r"(\d{1,9}) ?kb?", re.ASCII | re.IGNORECASE)
_GLUED_STOP = re.compile(r"\.(?=[^\s.,)\]}'\"])")
_ESCAPED_LINE_END = re.compile(r"\\n(?=  |$)")
_ESCAPES = re.compile(r"\\(.)")


class InvalidRecord(ValueError):
    """The metadata of one paper cannot be used; the message is the reason."""


class Person(NamedTuple):
    """An author in the parts that arXiv has."""

    keyname: str
    forenames: str = ""
    suffix: str = ""
    affiliations: tuple[str, ...] = ()


def parse_id(text: str) -> str:
    """Return an identifier as the API writes it. Raises InvalidRecord."""
    if _PLAIN_ID.fullmatch(text) and text >= "0704":
        return text
    if found := parse_arxiv_id(text):
        return found.name
    raise InvalidRecord(f"id is {text[:100]!r}, not an identifier of arXiv")


def clean_text(text: str | None, limit: int, name: str) -> str:
    """Return a text with normal white space, empty if there is none.

    Raises InvalidRecord if it is longer than `limit`, or has characters that cannot be stored.
    """
    if not text:
        return ""
    text = " ".join(text.split())
    if len(text) > limit:
        raise InvalidRecord(f"{name} has {len(text)} characters, more than {limit}")
    # most texts end here: neither control characters nor surrogates are printable
    return text if text.isascii() and text.isprintable() else _clean_unusual(text, name)


def _clean_unusual(text: str, name: str) -> str:
    if _SURROGATE.search(text):
        raise InvalidRecord(f"{name} contains a NUL or half of a surrogate pair")
    if _COMBINING.search(text):
        raise InvalidRecord(f"{name} contains a long run of combining characters")
    return " ".join(_CONTROL.sub("", text).split())


def clean_title(text: str | None) -> str:
    """Return a title. Raises InvalidRecord, also if it is empty."""
    if title := clean_text(text, MAX_TITLE_CHARS, "title"):
        return title
    raise InvalidRecord("no title")


def clean_abstract(text: str | None) -> str:
    """Return an abstract. Raises InvalidRecord."""
    return clean_text(text, MAX_ABSTRACT_CHARS, "abstract")


def clean_note(text: str | None, name: str) -> str | None:
    """Return a comment, a journal reference or another short text. Raises InvalidRecord."""
    return clean_text(text, MAX_NOTE_CHARS, name) or None


def unescape(text: str) -> str:
    r"""Return a text without the escapes of a database dump: `\\` and `\n` at the end of a line.

    Some abstracts of the format `arXivRaw` have them. A text in which every backslash is such an
    escape is changed, and no other: in TeX, `\nu` is a letter.
    """
    if "\\" not in text:
        return text
    escapes = _ESCAPES.findall(text)
    is_dump = all(each in "\\n'\"" for each in escapes) and (
        _ESCAPED_LINE_END.search(text) is not None
    )
    return _ESCAPES.sub(_unescape_one, text) if is_dump else text


def _unescape_one(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def split_categories(text: str | None) -> list[str]:
    """Return the categories, of which the first is the primary one. Raises InvalidRecord."""
    categories = list(dict.fromkeys((text or "").split()))
    if not categories:
        raise InvalidRecord("no categories")
    if len(categories) > MAX_ITEMS or max(map(len, categories)) > MAX_WORD_CHARS:
        raise InvalidRecord("too many categories, or too long ones")
    return [clean_text(category, MAX_WORD_CHARS, "category") for category in categories]


def clean_dois(text: str | None) -> list[str]:
    """Return the DOIs in a text, which may be several. Raises InvalidRecord."""
    if not text:
        return []
    return parse_dois([clean_text(text, MAX_NOTE_CHARS, "doi")])[:MAX_ITEMS]


def join_authors(persons: list[Person]) -> Authors:
    """Return the names in the form of the API: forenames, surname, suffix. Raises InvalidRecord."""
    if len(persons) > MAX_AUTHORS:
        raise InvalidRecord(f"{len(persons)} authors, more than {MAX_AUTHORS}")
    names, affiliations = [], []
    for keyname, forenames, suffix, places in persons:
        name = f"{forenames} {keyname} {suffix}" if suffix else f"{forenames} {keyname}"
        names.append(clean_text(name, MAX_NAME_CHARS, "author"))
        affiliations.append(_clean_affiliations(places) if places else [])
    return split_authors(names, affiliations)


def _clean_affiliations(places: tuple[str, ...]) -> list[str]:
    if len(places) > MAX_ITEMS:
        raise InvalidRecord(f"{len(places)} affiliations of one author")
    cleaned = (clean_text(place, MAX_NAME_CHARS, "affiliation") for place in places)
    return [place for place in cleaned if place]


def split_raw_authors(text: str) -> Authors:
    """Return the authors of a text as authors write it, with TeX and affiliations in parentheses.

    Raises InvalidRecord.
    """
    names = re.split(r", and |, | and ", clean_text(text, MAX_ABSTRACT_CHARS * 10, "authors"))
    return join_authors([Person(_GLUED_STOP.sub(". ", tex_to_text(name))) for name in names])


def parse_time(text: str, name: str, latest: float) -> int:
    """Return the Unix seconds of a time like `Fri, 17 Jul 2009 03:36:56 GMT`.

    Raises InvalidRecord if there is no such time, or if it is after `latest`.
    """
    if match := _HTTP_DATE.fullmatch(text):
        day, month, year, hour, minute, second = match.groups()
        clock = int(hour), int(minute), int(second)
        return _bound_time((int(year), _MONTHS.get(month, 0), int(day), *clock), text, name, latest)
    raise InvalidRecord(f"{name} is {text[:50]!r}, not a time like Fri, 17 Jul 2009 03:36:56 GMT")


def parse_day(text: str, name: str, latest: float) -> int:
    """Return the Unix seconds of the start of a day like `2009-07-17` in UTC.

    Raises InvalidRecord if there is no such day, or if it is after `latest`.
    """
    if match := _DAY.fullmatch(text):
        year, month, day = match.groups()
        return _bound_time((int(year), int(month), int(day)), text, name, latest)
    raise InvalidRecord(f"{name} is {text[:50]!r}, not a day like 2009-07-17")


def _bound_time(parts: tuple[int, ...], text: str, name: str, latest: float) -> int:
    try:
        seconds = int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise InvalidRecord(f"{name} is {text!r}: {error}") from error
    if EARLIEST <= seconds <= latest + FUTURE_SECONDS:
        return seconds
    raise InvalidRecord(f"{name} is {text!r}: arXiv had no papers then")


def parse_version(text: str) -> int:
    """Return the number in `v2`. Raises InvalidRecord."""
    if match := _VERSION.fullmatch(text):
        return int(match[1])
    raise InvalidRecord(f"version is {text[:50]!r}, not v1 to v{MAX_VERSION}")


def parse_size(text: str) -> int | None:
    """Return the kilobytes in `1183kb`; None for other text."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) if match else None
