"""arXiv's search language: how the server rewrites a query, then reads it as a tree."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, Literal


class InvalidQueryError(ValueError):
    """The query cannot be read even after it was rewritten."""


@dataclass(frozen=True, slots=True)
class Term:
    """A value looked for in one field; quotes are gone from it."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    """An ANDNOT with nothing before it."""

    operand: Tree


@dataclass(frozen=True, slots=True)
class Pair:
    """Two queries joined by an operator."""

    left: Tree
    operator: Literal["AND", "OR", "ANDNOT"]
    right: Tree


Tree = Term | Not | Pair


def shown(tree: Tree, *, outermost: bool = True) -> str:
    """Write a tree out with parentheses, as the link of a feed does."""
    match tree:
        case Term(field, value):
            return f'{field}:"{value}"' if re.search(r"\s", value) else f"{field}:{value}"
        case Not(operand):
            text = f"ANDNOT {shown(operand, outermost=False)}"
        case Pair(left, operator, right):
            text = f"{shown(left, outermost=False)} {operator} {shown(right, outermost=False)}"
    return text if outermost else f"({text})"


# Rewriting. The server mends a query before it reads it, and means well.


class Kind(Enum):
    """What a word of a query is."""

    PREFIX = "ti:"
    OPEN = "("
    CLOSE = ")"
    OPERATOR = "AND"
    TEXT = "anything else"


@dataclass(slots=True)
class Word:
    """One word of a query; its text may still be mended."""

    kind: Kind
    text: str


_OPERATORS: Final = ("ANDNOT", "AND", "OR", "NOT")
_PREFIXES: Final = ("abs:", "all:", "au:", "cat:", "co:", "doi:", "id:", "jr:", "rn:",
                    "submittedDate:", "ti:", "title:")  # fmt: skip
_WORD: Final = re.compile(
    r'"[^"]*"'  # a phrase; a quote without a partner is skipped
    r"|[()]"
    rf"|\b(?:{'|'.join(_OPERATORS)})\b(?=[()\s]|$)"
    rf"|{'|'.join(_PREFIXES)}"
    r'|[^"()\s]+'
)
_RANGE: Final = re.compile(r"submittedDate:\[([\d-]{4,14}) TO ([\d-]{4,14})\]")


def rewrite(query: str) -> str:
    """Mend a query as the server does before it reads it; the title of a feed shows this."""
    query = query.replace("lastUpdatedDate:", "submittedDate:")
    query = _RANGE.sub(_quoted_range, query)
    words = [_word(text) for text in _WORD.findall(query)]
    words = _spread_prefixes(words)
    words = _add_prefixes(words)
    words = _keep_last_operators(words)
    words = _add_operators(words)
    _spoil_authors(words)
    return _joined(_drop_idle_prefixes(words))


def _quoted_range(found: re.Match[str]) -> str:
    first, last = found.groups()
    return f'submittedDate:"{_filled(first, last=False)} TO {_filled(last, last=True)}"'


def _filled(date: str, *, last: bool) -> str:
    """Fill a partial date out to its first or last minute; leave alone what is no date."""
    if not date.isdigit():
        return date
    date = date[:12]
    if len(date) == len("YYYY"):
        date += "12" if last else "01"
    if len(date) == len("YYYYMM"):
        year, month = int(date[:4]), int(date[4:])
        if not (year and 1 <= month <= 12):  # noqa: PLR2004 - months of a year
            return date
        date += f"{calendar.monthrange(year, month)[1]}" if last else "01"
    if len(date) == len("YYYYMMDD"):
        date += "2359" if last else "0000"
    return date


def _word(text: str) -> Word:
    if text in _OPERATORS:
        return Word(Kind.OPERATOR, "ANDNOT" if text == "NOT" else text)
    if text in _PREFIXES:
        return Word(Kind.PREFIX, "ti:" if text == "title:" else text)
    if text in ("(", ")"):
        return Word(Kind(text), text)
    return Word(Kind.TEXT, text)


def _spread_prefixes(words: list[Word]) -> list[Word]:
    """Make `ti:(a b)` into `(ti:a ti:b)`."""
    spread: list[Word] = []
    prefix: Word | None = None
    depth = 0
    for word, following in zip(words, [*words, None][1:], strict=True):
        if prefix is None:
            if word.kind is Kind.PREFIX and following and following.kind is Kind.OPEN:
                prefix = word
                continue
        elif word.kind is Kind.OPEN:
            depth += 1
        elif word.kind is Kind.CLOSE:
            depth -= 1
            prefix = prefix if depth else None
        elif word.kind is Kind.TEXT and spread[-1].kind is not Kind.PREFIX:
            spread.append(Word(Kind.PREFIX, prefix.text))
        spread.append(word)
    return spread


def _add_prefixes(words: list[Word]) -> list[Word]:
    """Make `a` into `all:a`."""
    prefixed: list[Word] = []
    for word in words:
        if word.kind is Kind.TEXT and not (prefixed and prefixed[-1].kind is Kind.PREFIX):
            prefixed.append(Word(Kind.PREFIX, "all:"))
        prefixed.append(word)
    return prefixed


def _keep_last_operators(words: list[Word]) -> list[Word]:
    """Make `a AND OR b` into `a OR b`."""
    kept: list[Word] = []
    for word in words:
        if word.kind is Kind.OPERATOR and kept and kept[-1].kind is Kind.OPERATOR:
            kept.pop()
        kept.append(word)
    return kept


def _add_operators(words: list[Word]) -> list[Word]:
    """Make `all:a all:b` into `all:a OR all:b`."""
    ends = (Kind.TEXT, Kind.CLOSE)
    begins = (Kind.PREFIX, Kind.OPEN, Kind.TEXT)
    joined: list[Word] = []
    for word in words:
        if joined:
            before = joined[-1].kind
            idle = before is Kind.PREFIX and word.kind is Kind.PREFIX
            if idle or (before in ends and word.kind in begins):
                joined.append(Word(Kind.OPERATOR, "OR"))
        joined.append(word)
    return joined


def _spoil_authors(words: list[Word]) -> None:
    """Replace underscores in authors, with the server's bug: it looks at the second word.

    `au:del_maestro` becomes `au:"del maestro"`, but in `ti:a_b AND au:bob` Bob is replaced
    by "a b", and in `ti:x AND au:del_maestro` nothing happens.
    """
    for before, word in pairwise(words):
        if before.text == "au:" and word.kind is Kind.TEXT and "_" in words[1].text:
            name = words[1].text.replace("_", " ")
            word.text = name if '"' in name else f'"{name}"'


def _drop_idle_prefixes(words: list[Word]) -> list[Word]:
    """Leave out a prefix that no text follows."""
    return [
        word
        for word, following in zip(words, [*words, None][1:], strict=True)
        if word.kind is not Kind.PREFIX or (following and following.kind is Kind.TEXT)
    ]


_TIGHT: Final = {
    (Kind.OPEN, Kind.PREFIX),
    (Kind.TEXT, Kind.CLOSE),
    (Kind.PREFIX, Kind.TEXT),
}


def _joined(words: list[Word]) -> str:
    """Write words in one line; `((a))` comes out as `( (all:a) )`, as on the server."""
    line = ""
    before: Kind | None = None
    for word in words:
        line += word.text if before is None or (before, word.kind) in _TIGHT else f" {word.text}"
        before = word.kind
    return line


# Reading. The grammar is strict, and knows no precedence.

_START: Final = re.compile(
    r"\s*(?:(?P<open>\()|(?P<not>ANDNOT)"
    r"|(?P<field>ti|au|abs|co|jr|cat|rn|id|all|doi|submittedDate)\s*:\s*"
    r'(?:"(?P<phrase>(?:[^"\\\n]|\\.)*)"|(?P<text>[^\s"()]+)))'
)
_NEXT: Final = re.compile(r"\s*(?:(?P<operator>ANDNOT|AND|OR)|(?P<close>\))|(?P<end>\Z))")


def parse(query: str) -> Tree:
    """Read a rewritten query; operators have no precedence and bind to the right."""
    try:
        tree, place = _expression(query, 0)
        if (after := _NEXT.match(query, place)) and after["end"] is not None:
            return tree
    except InvalidQueryError:
        pass
    message = f"Invalid query string: '{query}'"
    raise InvalidQueryError(message)


def _expression(query: str, place: int) -> tuple[Tree, int]:
    """Read from a place to the end, or to the parenthesis that closes the group."""
    found = _START.match(query, place)
    if found is None:
        raise InvalidQueryError
    tree: Tree
    place = found.end()
    if found["not"]:
        operand, place = _expression(query, place)
        return Not(operand), place
    if found["open"]:
        tree, place = _expression(query, place)
        closing = _NEXT.match(query, place)
        if closing is None or not closing["close"]:
            raise InvalidQueryError
        place = closing.end()
    else:
        value = found["text"] if found["phrase"] is None else found["phrase"].strip()
        tree = Term(found["field"], value)
    following = _NEXT.match(query, place)
    if following is None:
        raise InvalidQueryError
    match following["operator"]:
        case "AND" | "OR" | "ANDNOT" as operator:
            right, place = _expression(query, following.end())
            return Pair(tree, operator, right), place
    return tree, place
