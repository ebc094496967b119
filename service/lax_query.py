"""arXiv's query language as its server reads it: a lax text is rewritten, then parsed strictly.

The server adds the prefixes and operators that are missing, then combines terms from right to left,
without precedence. Feeds show both steps: the title has the rewritten text, the link the tree.
"""

import calendar
import itertools
import re
from typing import Literal, NamedTuple, cast
from urllib.parse import urlencode

from .arxiv_query_parser import (
    FIELDS,
    MAX_DEPTH,
    MAX_TERMS,
    BinaryOp,
    InvalidQuery,
    Node,
    Operator,
    Term,
)


class QuotedTerm(Term):
    """A term whose value was written in quotes."""

    __slots__ = ()


EVERYTHING = Term("all", "")
"""The tree of an empty query. `ANDNOT a` without a left side excludes from this."""


# Rewriting


_Kind = Literal["prefix", "(", ")", "operator", "text"]


class _Token(NamedTuple):
    kind: _Kind
    text: str


_END = _Token(")", "")
"""What follows the last token."""
_OPERATOR_NAMES = ("ANDNOT", "AND", "OR", "NOT")
_PREFIXES = {f"{name}:": f"{name}:" for name in FIELDS} | {"title:": "ti:"}
_PARENTHESES: dict[str, _Kind] = {"(": "(", ")": ")"}
_TOKEN = re.compile(
    r'"[^"]*"'  # quotes that are not closed belong to no token
    r"|[()]"
    rf"|\b(?:{'|'.join(_OPERATOR_NAMES)})\b(?=[()\s]|$)"
    rf"|{'|'.join(_PREFIXES)}"
    r'|[^"()\s]+'
)
_RANGE = re.compile(r"submittedDate:\[([\d-]{4,14}) TO ([\d-]{4,14})\]")
_MINUTE = len("YYYYMMDDHHMM")


def rewrite_query(text: str) -> str:
    """Return a query with all prefixes and operators, as the title of arXiv's feed shows it."""
    text = text.replace("\r", " ").replace("\n", " ")
    text = text.replace("lastUpdatedDate:", "submittedDate:")
    tokens = [_create_token(each) for each in _TOKEN.findall(_RANGE.sub(_quote_range, text))]
    tokens = _distribute_prefixes(_replace_not(tokens))
    tokens = _add_operators(_drop_repeated_operators(_add_prefixes(tokens)))
    return _join_tokens(_drop_unused_prefixes(_replace_underscores(tokens)))


def _quote_range(match: re.Match[str]) -> str:
    first, last = match.groups()
    dates = f"{_complete_date(first, is_end=False)} TO {_complete_date(last, is_end=True)}"
    return f'submittedDate:"{dates}"'


def _complete_date(date: str, *, is_end: bool) -> str:
    """Return the first or the last minute of a year, a month or a day; another text as it is."""
    if not date.isdigit():
        return date
    if len(date) == len("YYYY"):
        date += "12" if is_end else "01"
    if len(date) == len("YYYYMM"):
        try:
            date += f"{calendar.monthrange(int(date[:4]), int(date[4:]))[1]}" if is_end else "01"
        except ValueError:
            return date
    if len(date) == len("YYYYMMDD"):
        date += "2359" if is_end else "0000"
    return date[:_MINUTE]


def _create_token(text: str) -> _Token:
    if text in _OPERATOR_NAMES:
        return _Token("operator", text)
    if text in _PREFIXES:
        return _Token("prefix", _PREFIXES[text])
    return _Token(_PARENTHESES.get(text, "text"), text)


def _replace_not(tokens: list[_Token]) -> list[_Token]:
    """Replace NOT by ANDNOT. arXiv overlooks the token after `AND NOT`."""
    rewritten: list[_Token] = []
    remaining = iter(tokens)
    previous = ""
    for token in remaining:
        if token.text != "NOT":
            rewritten.append(token)
            previous = token.text
            continue
        rewritten.append(token._replace(text="ANDNOT"))
        if previous == "AND":
            rewritten += itertools.islice(remaining, 1)
        previous = "ANDNOT"
    return rewritten


def _distribute_prefixes(tokens: list[_Token]) -> list[_Token]:
    """Rewrite `ti:(a b)` to `(ti:a ti:b)`, unless another prefix precedes this one."""
    rewritten: list[_Token] = []
    prefix: _Token | None = None
    depth = 0
    is_prefixed = False
    for token, following in itertools.pairwise([*tokens, _END]):
        if prefix is None:
            is_prefixed = token.kind == "prefix" and not is_prefixed
            if is_prefixed and following.kind == "(":
                prefix, is_prefixed = token, False
                continue
        elif token.kind in {"(", ")"}:
            depth += 1 if token.kind == "(" else -1
            prefix = prefix if depth else None
        elif token.kind == "text" and rewritten[-1].kind != "prefix":
            rewritten.append(prefix)
        rewritten.append(token)
    return rewritten


def _add_prefixes(tokens: list[_Token]) -> list[_Token]:
    """Rewrite `a` to `all:a`."""
    rewritten: list[_Token] = []
    for token in tokens:
        is_prefixed = bool(rewritten) and rewritten[-1].kind == "prefix"
        if token.kind == "text" and not is_prefixed:
            rewritten.append(_Token("prefix", "all:"))
        rewritten.append(token)
    return rewritten


def _drop_repeated_operators(tokens: list[_Token]) -> list[_Token]:
    """Rewrite `a AND OR b` to `a OR b`."""
    rewritten: list[_Token] = []
    for token in tokens:
        if token.kind == "operator" and rewritten and rewritten[-1].kind == "operator":
            rewritten.pop()
        rewritten.append(token)
    return rewritten


def _add_operators(tokens: list[_Token]) -> list[_Token]:
    """Rewrite `all:a all:b` to `all:a OR all:b`."""
    rewritten = tokens[:1]
    for previous, token in itertools.pairwise(tokens):
        if _lacks_operator(previous.kind, token.kind):
            rewritten.append(_Token("operator", "OR"))
        rewritten.append(token)
    return rewritten


def _lacks_operator(previous: _Kind, kind: _Kind) -> bool:
    if previous == "prefix":
        return kind == "prefix"
    is_end = previous in {"text", ")"}
    return is_end and kind in {"prefix", "(", "text"}


def _replace_underscores(tokens: list[_Token]) -> list[_Token]:
    """Rewrite `au:del_maestro` to `au:"del maestro"`.

    arXiv takes the name from the second token of the query, whichever tokens the authors are. If
    it is an author itself, its underscores are gone, so all others stay as they are.
    """
    if len(tokens) < len(["au:", "name"]) or "_" not in tokens[1].text:
        return tokens
    name = tokens[1].text.replace("_", " ")
    author = _Token("text", name if '"' in name else f'"{name}"')
    if tokens[0].text == "au:":
        return [tokens[0], author, *tokens[2:]]
    return tokens[:1] + [
        author if previous.text == "au:" and token.kind == "text" else token
        for previous, token in itertools.pairwise(tokens)
    ]


def _drop_unused_prefixes(tokens: list[_Token]) -> list[_Token]:
    """Remove prefixes that no text follows."""
    return [
        token
        for token, following in itertools.pairwise([*tokens, _END])
        if token.kind != "prefix" or following.kind == "text"
    ]


_WITHOUT_SPACE = {
    ("(", "prefix"),
    ("text", ")"),
    ("prefix", "text"),
}


def _join_tokens(tokens: list[_Token]) -> str:
    """Join tokens with the spaces that arXiv writes: `((a))` is `( (all:a) )`."""
    text = "".join(token.text for token in tokens[:1])
    for previous, token in itertools.pairwise(tokens):
        text += token.text if (previous.kind, token.kind) in _WITHOUT_SPACE else f" {token.text}"
    return text


# Parsing

_SPACE = r"[ \t\f\r\n]*"
_START = re.compile(
    rf"{_SPACE}(?:(?P<open>\()|(?P<not>ANDNOT)"
    rf"|(?P<field>{'|'.join(FIELDS)}){_SPACE}:{_SPACE}"
    r'(?:"(?P<phrase>(?:[^"\\\n]|\\.)*)"|(?P<text>[^\s"()]+)))'
)
_NEXT = re.compile(rf"{_SPACE}(?:(?P<operator>ANDNOT|AND|OR)|(?P<close>\))|(?P<end>\Z))")


def parse_rewritten_query(text: str) -> Node:
    """Return the tree of a rewritten query. Raises InvalidQuery, with arXiv's message.

    The message is another one if the query is longer or deeper than those that are executed here.
    """
    if not text.strip(" \t\f\r\n"):
        return EVERYTHING
    parser = _Parser(text)
    node = parser.parse_expression()
    if parser.match_next()["end"] is None:
        raise parser.create_error()
    return node


class _Parser:
    """Recursive descent parser: operators take everything to their right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.depth = 0
        self.terms = 0

    def create_error(self) -> InvalidQuery:
        return InvalidQuery(f"Invalid query string: '{self.text}'")

    def match_next(self) -> re.Match[str]:
        if match := _NEXT.match(self.text, self.position):
            return match
        raise self.create_error()

    def parse_expression(self) -> Node:
        """Parse up to the end, or to the parenthesis that closes the group."""
        match = _START.match(self.text, self.position)
        if match is None:
            raise self.create_error()
        self.position = match.end()
        if match["not"]:
            return BinaryOp(EVERYTHING, "ANDNOT", self.parse_nested())
        node = self.parse_group() if match["open"] else self.create_term(match)
        following = self.match_next()
        if following["operator"] is None:
            return node
        self.position = following.end()
        return BinaryOp(node, cast("Operator", following["operator"]), self.parse_expression())

    def parse_group(self) -> Node:
        node = self.parse_nested()
        closing = self.match_next()
        if closing["close"] is None:
            raise self.create_error()
        self.position = closing.end()
        return node

    def parse_nested(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidQuery(f"parentheses are nested deeper than {MAX_DEPTH}")
        node = self.parse_expression()
        self.depth -= 1
        return node

    def create_term(self, match: re.Match[str]) -> Term:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise InvalidQuery(f"the query has more than {MAX_TERMS} terms")
        if match["phrase"] is None:
            return Term(match["field"], match["text"])
        return QuotedTerm(match["field"], match["phrase"].strip())


# Formatting


def format_tree(node: Node) -> str:
    """Return a tree as the link of arXiv's feed shows it, with parentheses around operations."""
    if isinstance(node, Term):
        is_quoted = isinstance(node, QuotedTerm) and node.value
        return f'{node.field}:"{node.value}"' if is_quoted else f"{node.field}:{node.value}"
    right = f"{node.operator} {_format_operand(node.right)}"
    return right if node.left is EVERYTHING else f"{_format_operand(node.left)} {right}"


def _format_operand(node: Node) -> str:
    return format_tree(node) if isinstance(node, Term) else f"({format_tree(node)})"


def format_feed_query(query: str, id_list: str, start: int, max_results: int) -> str:
    """Return what follows `arXiv Query: ` in the title of a feed; `query` is rewritten."""
    return f"search_query={query}&id_list={id_list}&start={start}&max_results={max_results}"


def format_feed_link(tree: Node | None, id_list: str, start: int, max_results: int) -> str:
    """Return the link of a feed. The tree is None if the request has no query."""
    parameters = {
        "search_query": format_tree(tree) if tree else "",
        "start": start,
        "max_results": max_results,
        "id_list": id_list,
    }
    query = urlencode(parameters, safe="!$'()*,/:;?@")
    return f"https://arxiv.org/api/query?{query}"
