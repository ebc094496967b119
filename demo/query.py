"""arXiv's query language: how the server rewrites a query and then parses it into a tree."""

from __future__ import annotations

import calendar
import dataclasses
import re
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, Literal


class InvalidQueryError(ValueError):
    """The rewritten query cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Term:
    """A search for a value, without its quotes, in one field."""

    field: str
    value: str
    quoted: bool = dataclasses.field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """An ANDNOT without a left operand."""

    operand: Node


@dataclass(frozen=True, slots=True)
class BinaryOp:
    """A binary operator with its operands."""

    left: Node
    operator: Literal["AND", "OR", "ANDNOT"]
    right: Node


Node = Term | Not | BinaryOp


def format_tree(tree: Node, *, outermost: bool = True) -> str:
    """Format a tree with parentheses, as in the link of a feed."""
    match tree:
        case Term(name, value, quoted):
            return f'{name}:"{value}"' if quoted and value else f"{name}:{value}"
        case Not(operand):
            text = f"ANDNOT {format_tree(operand, outermost=False)}"
        case BinaryOp(left, operator, right):
            first = format_tree(left, outermost=False)
            text = f"{first} {operator} {format_tree(right, outermost=False)}"
    return text if outermost else f"({text})"


# Rewriting: the server corrects a query before it parses it.


class Kind(Enum):
    """The kind of a token."""

    PREFIX = "ti:"
    OPEN = "("
    CLOSE = ")"
    OPERATOR = "AND"
    TEXT = "anything else"


@dataclass(slots=True)
class Token:
    """One token of a query. Its text may be rewritten."""

    kind: Kind
    text: str


_OPERATORS: Final = ("ANDNOT", "AND", "OR", "NOT")
_PREFIXES: Final = ("abs:", "all:", "au:", "cat:", "co:", "doi:", "id:", "jr:", "rn:",
                    "submittedDate:", "ti:", "title:")  # fmt: skip
_TOKEN: Final = re.compile(
    r'"[^"]*"'  # a phrase; an unmatched quote is skipped
    r"|[()]"
    rf"|\b(?:{'|'.join(_OPERATORS)})\b(?=[()\s]|$)"
    rf"|{'|'.join(_PREFIXES)}"
    r'|[^"()\s]+'
)
_RANGE: Final = re.compile(r"submittedDate:\[([\d-]{4,14}) TO ([\d-]{4,14})\]")


def rewrite(query: str) -> str:
    """Rewrite a query as the server does; the title of a feed contains the result."""
    query = query.replace("\r", " ").replace("\n", " ")
    query = query.replace("lastUpdatedDate:", "submittedDate:")
    query = _RANGE.sub(_quote_range, query)
    tokens = [_create_token(text) for text in _TOKEN.findall(query)]
    _replace_not(tokens)
    tokens = _distribute_prefixes(tokens)
    tokens = _add_prefixes(tokens)
    tokens = _drop_repeated_operators(tokens)
    tokens = _add_operators(tokens)
    _replace_underscores(tokens)
    return _join_tokens(_drop_unused_prefixes(tokens))


def _quote_range(match: re.Match[str]) -> str:
    first, last = match.groups()
    dates = f"{_complete_date(first, last=False)} TO {_complete_date(last, last=True)}"
    return f'submittedDate:"{dates}"'


def _complete_date(date: str, *, last: bool) -> str:
    """Complete a partial date to its first or last minute; other texts are unchanged."""
    if not date.isdigit():
        return date
    date = date[:12]
    if len(date) == len("YYYY"):
        date += "12" if last else "01"
    if len(date) == len("YYYYMM"):
        try:
            date += f"{calendar.monthrange(int(date[:4]), int(date[4:]))[1]}" if last else "01"
        except ValueError:
            return date
    if len(date) == len("YYYYMMDD"):
        date += "2359" if last else "0000"
    return date


def _create_token(text: str) -> Token:
    if text in _OPERATORS:
        return Token(Kind.OPERATOR, text)
    if text in _PREFIXES:
        return Token(Kind.PREFIX, "ti:" if text == "title:" else text)
    if text in ("(", ")"):
        return Token(Kind(text), text)
    return Token(Kind.TEXT, text)


def _replace_not(tokens: list[Token]) -> None:
    """Rewrite NOT as ANDNOT, with a bug of the server: it skips the token after `AND NOT`."""
    previous = ""
    remaining = iter(tokens)
    for token in remaining:
        if token.text == "NOT":
            token.text = "ANDNOT"
            if previous == "AND":
                next(remaining, None)
        previous = token.text


def _distribute_prefixes(tokens: list[Token]) -> list[Token]:
    """Rewrite `ti:(a b)` as `(ti:a ti:b)`.

    In `ti: au:(a b)`, no prefix is distributed: the server ignores the token after a prefix.
    """
    rewritten: list[Token] = []
    prefix: Token | None = None
    depth = 0
    follows_prefix = False
    for token, following in zip(tokens, [*tokens, None][1:], strict=True):
        if prefix is None:
            follows_prefix = token.kind is Kind.PREFIX and not follows_prefix
            if follows_prefix and following and following.kind is Kind.OPEN:
                prefix = token
                follows_prefix = False
                continue
        elif token.kind is Kind.OPEN:
            depth += 1
        elif token.kind is Kind.CLOSE:
            depth -= 1
            prefix = prefix if depth else None
        elif token.kind is Kind.TEXT and rewritten[-1].kind is not Kind.PREFIX:
            rewritten.append(Token(Kind.PREFIX, prefix.text))
        rewritten.append(token)
    return rewritten


def _add_prefixes(tokens: list[Token]) -> list[Token]:
    """Rewrite `a` as `all:a`."""
    rewritten: list[Token] = []
    for token in tokens:
        if token.kind is Kind.TEXT and not (rewritten and rewritten[-1].kind is Kind.PREFIX):
            rewritten.append(Token(Kind.PREFIX, "all:"))
        rewritten.append(token)
    return rewritten


def _drop_repeated_operators(tokens: list[Token]) -> list[Token]:
    """Rewrite `a AND OR b` as `a OR b`."""
    rewritten: list[Token] = []
    for token in tokens:
        if token.kind is Kind.OPERATOR and rewritten and rewritten[-1].kind is Kind.OPERATOR:
            rewritten.pop()
        rewritten.append(token)
    return rewritten


def _add_operators(tokens: list[Token]) -> list[Token]:
    """Rewrite `all:a all:b` as `all:a OR all:b`."""
    ends = (Kind.TEXT, Kind.CLOSE)
    begins = (Kind.PREFIX, Kind.OPEN, Kind.TEXT)
    rewritten: list[Token] = []
    for token in tokens:
        if rewritten:
            previous = rewritten[-1].kind
            is_unused_prefix = previous is Kind.PREFIX and token.kind is Kind.PREFIX
            if is_unused_prefix or (previous in ends and token.kind in begins):
                rewritten.append(Token(Kind.OPERATOR, "OR"))
        rewritten.append(token)
    return rewritten


def _replace_underscores(tokens: list[Token]) -> None:
    """Replace underscores in authors, with a bug of the server: it uses the second token.

    `au:del_maestro` becomes `au:"del maestro"`. But in `ti:a_b AND au:bob`, `bob` is replaced by
    `"a b"`, and `ti:x AND au:del_maestro` is unchanged.
    """
    for previous, token in pairwise(tokens):
        if previous.text == "au:" and token.kind is Kind.TEXT and "_" in tokens[1].text:
            name = tokens[1].text.replace("_", " ")
            token.text = name if '"' in name else f'"{name}"'


def _drop_unused_prefixes(tokens: list[Token]) -> list[Token]:
    """Remove prefixes that are not followed by text."""
    return [
        token
        for token, following in zip(tokens, [*tokens, None][1:], strict=True)
        if token.kind is not Kind.PREFIX or (following and following.kind is Kind.TEXT)
    ]


_WITHOUT_SPACE: Final = {
    (Kind.OPEN, Kind.PREFIX),
    (Kind.TEXT, Kind.CLOSE),
    (Kind.PREFIX, Kind.TEXT),
}


def _join_tokens(tokens: list[Token]) -> str:
    """Join tokens with the spaces of the server, which writes `((a))` as `( (all:a) )`."""
    text = ""
    previous: Kind | None = None
    for token in tokens:
        has_space = previous is not None and (previous, token.kind) not in _WITHOUT_SPACE
        text += f" {token.text}" if has_space else token.text
        previous = token.kind
    return text


# Parsing: the grammar is strict, and all operators have the same precedence.

_SPACE: Final = r"[ \t\f\r\n]*"
_START: Final = re.compile(
    rf"{_SPACE}(?:(?P<open>\()|(?P<not>ANDNOT)"
    rf"|(?P<field>ti|au|abs|co|jr|cat|rn|id|all|doi|submittedDate){_SPACE}:{_SPACE}"
    r'(?:"(?P<phrase>(?:[^"\\\n]|\\.)*)"|(?P<text>[^\s"()]+)))'
)
_NEXT: Final = re.compile(rf"{_SPACE}(?:(?P<operator>ANDNOT|AND|OR)|(?P<close>\))|(?P<end>\Z))")


def parse(query: str) -> Node:
    """Parse a rewritten query. Operators are right-associative and have the same precedence.

    An empty query is parsed as a term without a value. Raises InvalidQueryError.
    """
    if re.fullmatch(_SPACE, query):
        return Term("all", "")
    try:
        tree, position = _parse_expression(query, 0)
        if (match := _NEXT.match(query, position)) and match["end"] is not None:
            return tree
    except InvalidQueryError:
        pass
    message = f"Invalid query string: '{query}'"
    raise InvalidQueryError(message)


def _parse_expression(query: str, position: int) -> tuple[Node, int]:
    """Parse from a position to the end or to the parenthesis that closes the group."""
    match = _START.match(query, position)
    if match is None:
        raise InvalidQueryError
    tree: Node
    position = match.end()
    if match["not"]:
        operand, position = _parse_expression(query, position)
        return Not(operand), position
    if match["open"]:
        tree, position = _parse_expression(query, position)
        closing = _NEXT.match(query, position)
        if closing is None or not closing["close"]:
            raise InvalidQueryError
        position = closing.end()
    else:
        phrase = match["phrase"]
        value = match["text"] if phrase is None else phrase.strip()
        tree = Term(match["field"], value, quoted=phrase is not None)
    following = _NEXT.match(query, position)
    if following is None:
        raise InvalidQueryError
    match following["operator"]:
        case "AND" | "OR" | "ANDNOT" as operator:
            right, position = _parse_expression(query, following.end())
            return BinaryOp(tree, operator, right), position
    return tree, position
