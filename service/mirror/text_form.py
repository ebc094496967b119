r"""Brings the fields of arXiv's snapshot, OAI-PMH and RSS to the form that arXiv's API has.

The differences that remain are in docs/mirror.md.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple
from unicodedata import combining, normalize

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
from ..metadata import tex
from ..metadata.arxiv_ids import parse_arxiv_id
from ..metadata.dois import parse_dois
from ..metadata.person_names import Authors, has_letter, is_suffix, split_authors
from ..metadata.unicode_text import XML_FORBIDDEN
from ..models.mirror import VersionRecord

MAX_AUTHORS_CHARS = 1_000_000
"""Length of all authors and their affiliations in one text."""
MAX_VERSION = 9999
EARLIEST = 504_921_600
"""1986-01-01: arXiv has papers that are older than itself, the oldest of April 1986."""
FUTURE_SECONDS = 2 * 86_400
"""By which a date may lie after the clock: time zones and clocks differ."""

_SURROGATE = re.compile("[\0\ud800-\udfff]")
_CONTROL = re.compile(f"[{XML_FORBIDDEN}]")
_SYMBOLS = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_COMBINING + 1},}}")
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
_NOT_CONVERTED = {"varepsilon", "vartheta", "varpi", "varrho", "upsilon"}
"""Greek letters that the API leaves in TeX."""
_PARENTHESIS = re.compile(r"[()]")
_GLUED_STOP = re.compile(r"\.(?=[^\s.,)\]}'\"])")
_NOTE = re.compile(
    r"\\(?:thanks|footnote(?:mark|text)?) ?\{[^{}]*\}|\$ ?\^[^$]*\$|\^\{[^{}]*\}|\^[\d*,]+"
    r"|\\(?:d?dag|dagger|ddagger)\b|(?<![*\u2020\u2021\xa7\xb6])[*\u2020\u2021\xa7\xb6]++(?=[\s,]|$)"
)
"""A footnote, or the mark of one."""
_NAME_END = re.compile(r",? +(?:and|&|\\&) +|, *(?:and +)?")
_MARKS = re.compile(r"\W*(?:[a-z]|\d+)(?:[\s,;&]+(?:and\s+)?(?:[a-z]|\d+))*\W*", re.IGNORECASE)
"""Numbers or letters that refer to a list of affiliations: 1, 2 and 3."""
_MARK = re.compile(r"\d+|\b[a-z]\b", re.IGNORECASE)
_LIST_START = re.compile(r"\((?= *\(? *(?:\d+|[a-z])\b)", re.IGNORECASE)
_LIST_ITEM = re.compile(r"(?:^|[,;.]?\s)\(? *(\d+|[a-z])(?:\)|\.(?=\s)|\s)\s*", re.IGNORECASE)
_ET_AL = re.compile(r"et\.?\s+al\b.*", re.IGNORECASE | re.DOTALL)
_ESCAPED_LINE_END = re.compile(r"\\n(?=  |$)")
_ESCAPED_LETTER = re.compile(r"\\+(?=[^\W\d_a-zA-Z])")
"""What remains of an accent whose backslash was escaped, so that it is two."""
_SPECIAL_MARKS = ":", "\\", "  "
_ESCAPES = re.compile(r"\\(.)")


# what the API converts; its other form of phi is \u03c6
_CHARACTERS = (
    {name: tex.LETTERS[name] for name in tex.LETTERS if name != "j"}
    | {name: letter for name, letter in tex.GREEK.items() if name not in _NOT_CONVERTED}
    | {"epsilon": "\u03b5", "omicron": "\u03bf", "ETH": "\xd0", "eth": "\xf0"}
    | {"P": "\xb6", "S": "\xa7", "copyright": "\xa9", "pounds": "\xa3", "deg": "\xb0"}
    | {"dag": "\u2020", "ddag": "\u2021", "div": "\xf7"}
    | {"guillemotleft": "\xab", "guillemotright": "\xbb"}
)
_NAMES = "|".join(sorted(_CHARACTERS, key=len, reverse=True))
_COMMAND = re.compile(rf"\{{\\({_NAMES})\}}|\\({_NAMES})(?![^\W_])(?:\\(?= )| |\{{\}})?")
_DOUBLE_BRACES = re.compile(r"\{\{([^{}]*)\}\}")
_ACCENTS = {name: tex.ACCENTS[name] for name in ("'", "`", "^", '"', "~", "=", ".", *"Hckruv")}
_DOTLESS = {"\u0131": "i"}
_ACCENT = re.compile(
    r"""\\(['`^"~=.])(?:\{([a-zA-Z\u0131])\}|([a-zA-Z\u0131]))|\\([Hckruv])\{([a-zA-Z\u0131])\}"""
)


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
    plain = text.replace("\n", " ").strip(" ")
    # most texts end here, and splitting them takes three times as long; neither control characters
    # nor surrogates nor other white space are printable
    if plain.isascii() and plain.isprintable() and "  " not in plain and len(plain) <= limit:
        return plain
    text = " ".join(text.split())
    if len(text) > limit:
        raise InvalidRecord(f"{name} has {len(text)} characters, more than {limit}")
    return text if text.isascii() and text.isprintable() else _clean_unusual(text, name)


def _clean_unusual(text: str, name: str) -> str:
    if _SURROGATE.search(text):
        raise InvalidRecord(f"{name} contains a NUL or half of a surrogate pair")
    if any(map(_has_long_run, _SYMBOLS.finditer(text))):
        raise InvalidRecord(f"{name} has more than {MAX_COMBINING} combining characters in a row")
    return " ".join(_CONTROL.sub("", text).split())


def _has_long_run(match: re.Match[str]) -> bool:
    runs = groupby(match[0], key=lambda character: combining(character) > 0)
    return any(is_marks and len(list(run)) > MAX_COMBINING for is_marks, run in runs)


def clean_title(text: str | None) -> str:
    """Return a title. Raises InvalidRecord, also if it is empty."""
    if title := clean_text(text, MAX_TITLE_CHARS, "title"):
        return convert_tex(title)
    raise InvalidRecord("no title")


def clean_abstract(text: str | None) -> str:
    """Return an abstract. Raises InvalidRecord."""
    return convert_tex(clean_text(text, MAX_ABSTRACT_CHARS, "abstract"))


def clean_note(text: str | None, name: str) -> str | None:
    """Return a comment, a journal reference or another short text. Raises InvalidRecord."""
    return convert_tex(clean_text(text, MAX_NOTE_CHARS, name)) or None


def convert_tex(text: str) -> str:
    r"""Return a text with TeX accents, letters and Greek letters as characters, as in the API.

    The API converts them in formulas as well, swallows a space after a command, and keeps braces:
    `K{\"a}hler` becomes `K{ä}hler`. It leaves other commands as they are.
    """
    if "\\" not in text:
        return text
    text = _COMMAND.sub(lambda match: _CHARACTERS[match[1] or match[2]], text)
    text = _DOUBLE_BRACES.sub(r"{\1}", text)
    return _ACCENT.sub(_convert_accent, text)


def _convert_accent(match: re.Match[str]) -> str:
    accent, letter = match[1] or match[4], match[2] or match[3] or match[5]
    composed = normalize("NFC", _DOTLESS.get(letter, letter) + _ACCENTS[accent])
    if len(composed) == 1:
        return composed
    return match[0] if accent.isalpha() else letter


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


def clean_name(text: str | None, name: str) -> str:
    """Return the name of a person without TeX, empty if there is none. Raises InvalidRecord."""
    text = clean_text(text, MAX_NAME_CHARS, name)
    return _ESCAPED_LETTER.sub("", convert_tex(text)) if "\\" in text else text


def join_authors(persons: list[Person]) -> Authors:
    """Return the names in the form of the API: forenames, surname, suffix. Raises InvalidRecord."""
    if len(persons) > MAX_AUTHORS:
        raise InvalidRecord(f"{len(persons)} authors, more than {MAX_AUTHORS}")
    names = [f"{person[1]} {person[0]}" for person in persons if not (person[2] or person[3])]
    if len(names) == len(persons) and _are_plain_names(names):
        return Authors(names, [[] for _ in names], [])
    names = [_join_name(keyname, forenames, suffix) for keyname, forenames, suffix, _ in persons]
    affiliations = [_clean_affiliations(places) if places else [] for _, _, _, places in persons]
    return split_authors(names, affiliations)


def _are_plain_names(names: list[str]) -> bool:
    """Return whether nothing in these names needs a change; most do not."""
    joined = "|".join(names)
    return (
        joined.isascii()
        and joined.isprintable()
        and not any(mark in joined for mark in _SPECIAL_MARKS)
        and max(map(len, names), default=0) <= MAX_NAME_CHARS
        and all(name[0].isalpha() and name[-1].isalpha() for name in names)
    )


@lru_cache(2**15)
def _join_name(keyname: str, forenames: str, suffix: str) -> str:
    name = f"{forenames} {keyname} {suffix}" if suffix else f"{forenames} {keyname}"
    return clean_name(name, "author")


def _clean_affiliations(places: tuple[str, ...]) -> list[str]:
    if len(places) > MAX_ITEMS:
        raise InvalidRecord(f"{len(places)} affiliations of one author")
    cleaned = (clean_text(place, MAX_NAME_CHARS, "affiliation") for place in places)
    return [place for place in cleaned if place]


def split_raw_authors(text: str) -> Authors:
    """Return the authors of a text as authors write it, with TeX and affiliations in parentheses.

    Raises InvalidRecord.
    """
    text = _NOTE.sub("", clean_text(text, MAX_AUTHORS_CHARS, "authors"))
    persons: list[Person] = []
    places: dict[str, str] = {}
    for block in _split_parentheses(text):
        if not block.startswith("("):
            persons += map(Person, _split_names(block))
        elif found := _read_list(block):
            places |= found
        elif persons:
            persons[-1] = persons[-1]._replace(affiliations=(block[1:].removesuffix(")"),))
    return join_authors(_share_affiliations(persons, places))


def _split_parentheses(text: str) -> list[str]:
    """Return the parts of a text inside of parentheses and between them; the first may be empty."""
    if "(" not in text:
        return [text]
    blocks, start, depth = [], 0, 0
    for match in _PARENTHESIS.finditer(text):
        depth = max(0, depth + (1 if match[0] == "(" else -1))
        if match[0] == "(" and depth == 1:
            blocks.append(text[start : match.start()])
            start = match.start()
        elif depth == 0 and text.startswith("(", start):
            blocks.append(text[start : match.end()])
            start = match.end()
    return [*blocks, text[start:]]


def _split_names(text: str) -> list[str]:
    names: list[str] = []
    for piece in filter(None, _NAME_END.split(text)):
        name = _GLUED_STOP.sub(". ", convert_tex(piece).strip(" ;"))
        if names and is_suffix(name):
            names[-1] += f", {name}"
        elif has_letter(name) and not _ET_AL.fullmatch(name):
            names.append(name)
    return names


def _read_list(block: str) -> dict[str, str]:
    """Return the affiliations in `((1) Paris, (2) Rome)` by their marks; none in other text."""
    if not _LIST_START.match(block) or _MARKS.fullmatch(block):
        return {}
    text = block[1:].removesuffix(")")
    items = list(_LIST_ITEM.finditer(text))
    if not items or items[0].start():
        return {}
    items = list({item[1]: item for item in reversed(items)}.values())[::-1]
    ends = [item.start() for item in items[1:]]
    return {
        item[1]: text[item.end() : end].strip(" ,;.")
        for item, end in zip(items, [*ends, len(text)], strict=True)
    }


def _share_affiliations(persons: list[Person], places: dict[str, str]) -> list[Person]:
    """Replace marks by affiliations; authors without any have those of the next author."""
    shared: list[Person] = []
    latest: tuple[str, ...] = ()
    for person in reversed(persons):
        latest = _resolve_marks(person.affiliations, places) or latest
        is_group = ":" in person.keyname or "ollaboration" in person.keyname
        shared.append(person if is_group else person._replace(affiliations=latest))
    shared.reverse()
    return shared


def _resolve_marks(affiliations: tuple[str, ...], places: dict[str, str]) -> tuple[str, ...]:
    if not affiliations or not _MARKS.fullmatch(affiliations[0]):
        return tuple(map(convert_tex, affiliations))
    marks = _MARK.findall(affiliations[0])
    return tuple(convert_tex(places[mark]) for mark in marks if mark in places)


def parse_time(text: str, name: str, latest: float) -> int:
    """Return the Unix seconds of a time like `Fri, 17 Jul 2009 03:36:56 GMT`.

    Raises InvalidRecord if this time does not exist, or if it is after `latest`.
    """
    if match := _HTTP_DATE.fullmatch(text):
        day, month, year, hour, minute, second = match.groups()
        clock = int(hour), int(minute), int(second)
        parts = int(year), _MONTHS.get(month, 0), int(day), *clock
        return _bound_time(_compute_seconds(parts, text, name), text, name, latest)
    raise InvalidRecord(f"{name} is {text[:50]!r}, not a time like Fri, 17 Jul 2009 03:36:56 GMT")


def parse_day(text: str, name: str, latest: float) -> int:
    """Return the Unix seconds of the start of a day like `2009-07-17` in UTC.

    Raises InvalidRecord if this day does not exist, or if it is after `latest`.
    """
    return _bound_time(_read_day(text, name), text, name, latest)


@lru_cache(2**13)
def _read_day(text: str, name: str) -> int:
    if match := _DAY.fullmatch(text):
        year, month, day = match.groups()
        return _compute_seconds((int(year), int(month), int(day)), text, name)
    raise InvalidRecord(f"{name} is {text[:50]!r}, not a day like 2009-07-17")


def _compute_seconds(parts: tuple[int, ...], text: str, name: str) -> int:
    try:
        return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise InvalidRecord(f"{name} is {text!r}: {error}") from error


def _bound_time(seconds: int, text: str, name: str, latest: float) -> int:
    if EARLIEST <= seconds <= latest + FUTURE_SECONDS:
        return seconds
    raise InvalidRecord(f"{name} is {text!r}: arXiv had no papers then")


def parse_version(text: str) -> int:
    """Return the number in `v2`. Raises InvalidRecord."""
    if match := _VERSION.fullmatch(text):
        return int(match[1])
    raise InvalidRecord(f"version is {text[:50]!r}, not v1 to v{MAX_VERSION}")


def sort_versions(versions: Iterable[VersionRecord]) -> list[VersionRecord]:
    """Return the versions from the first to the latest, each once. Raises InvalidRecord if none."""
    by_number = {each.version: each for each in versions}
    if not by_number:
        raise InvalidRecord("no versions")
    return [by_number[number] for number in sorted(by_number)]


def parse_size(text: str) -> int | None:
    """Return the kilobytes in `1183kb`; None for other text."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) if match else None
