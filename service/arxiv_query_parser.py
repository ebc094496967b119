"""Parser and formatter for arXiv's query language.

The language has no precedence (an operator takes everything to its right), reads OR where an
operator is missing, and `all:` where a field is missing or unknown. `parse_query` therefore rejects
queries that arXiv would silently interpret in its own way, and `format_query` writes unambiguous
ones: one field per term, quotes around every value, parentheses where operators differ.
https://info.arxiv.org/help/api/user-manual.html#query_details
"""

import re
import unicodedata
from calendar import monthrange
from datetime import datetime
from typing import Literal, NamedTuple

from .metadata.arxiv_ids import ArxivId, find_paper_reference
from .metadata.categories import spell_category
from .metadata.tex import convert_markup
from .metadata.unicode_text import remove_invisible, straighten_quotes
from .query_spelling import find_misspelling, shorten

Operator = Literal["AND", "OR", "ANDNOT"]

MAX_DEPTH = 50  # nested parentheses
MAX_TERMS = 200  # terms per query: arXiv's server recurses for every one

FIELDS = {
    "ti": "title",
    "au": "author",
    "abs": "abstract",
    "co": "comment",
    "jr": "journal reference",
    "cat": "category",
    "rn": "report number",
    "id": "identifier",
    "doi": "DOI",
    "all": "all fields",
    "submittedDate": "date range",
}


class InvalidQuery(ValueError):
    """A query that arXiv would reject or misinterpret; the message is the reason."""


class Term(NamedTuple):
    """A field and its value; for submittedDate, `YYYYMMDDHHMM TO YYYYMMDDHHMM`."""

    field: str
    value: str


class BinaryOp(NamedTuple):
    """Two nodes combined by an operator."""

    left: "Node"
    operator: Operator
    right: "Node"


Node = Term | BinaryOp


# Values

# A quote or a backslash would end the value. In some fields arXiv replaces the value if it contains
# an underscore. It rewrites submittedDate:[...] even inside quotes and adds quotes of its own.
# Control characters have no meaning.
_UNSAFE = re.compile(r'(?:["\\_\x00-\x1f\x7f-\x9f\s]|(?<=Date):)+')
_BLANK = "\u2800"
"""A symbol of Unicode that is displayed as a space: an empty Braille pattern."""


def clean_value(text: str, *, strip_wildcards: bool = False) -> str:
    """Remove characters that could change the structure of the query; the result may be empty.

    With `strip_wildcards`, also remove leading wildcards, which arXiv rejects.
    """
    value = _UNSAFE.sub(" ", remove_invisible(text)).strip()
    if strip_wildcards:
        value = value.lstrip("*? ")
    # of the other categories, marks need a letter, and separators and controls are invisible
    is_visible = any(unicodedata.category(c)[0] in "LNPS" and c != _BLANK for c in value)
    return value if is_visible else ""


# Formatting


def format_query(node: Node) -> str:
    """Return query text that arXiv parses to the same tree, whatever the precedence."""
    return _format(node)[0]


def _format(node: Node) -> tuple[str, int]:
    """Return the text, and how deep its parentheses are nested."""
    if isinstance(node, Term):
        return _format_term(node), 0
    left, left_depth = _format(node.left)
    if isinstance(node.left, BinaryOp):
        left, left_depth = f"({left})", left_depth + 1
    right, right_depth = _format(node.right)
    if isinstance(node.right, BinaryOp) and not _is_associative(node.operator, node.right.operator):
        right, right_depth = f"({right})", right_depth + 1
    return f"{left} {node.operator} {right}", max(left_depth, right_depth)


def _is_associative(operator: Operator, next_operator: Operator) -> bool:
    """Whether `a operator (b next_operator c)` needs no parentheses."""
    return operator == next_operator != "ANDNOT"


_CATEGORY = re.compile(r"[a-z]+(?:[.-][A-Za-z]+)*[.-]?\*?(?<![.-])")
"""A category, or the beginning of one with `*`; anything else is written in quotes."""


def _format_term(term: Term) -> str:
    if term.field == "submittedDate":
        return f"submittedDate:[{term.value}]"
    if term.field == "cat" and _CATEGORY.fullmatch(term.value):
        return f"cat:{term.value}"
    return f'{term.field}:"{term.value}"'


_OPERATORS: dict[str, Operator] = {"AND": "AND", "OR": "OR", "ANDNOT": "ANDNOT", "NOT": "ANDNOT"}
"""Accepted spellings."""


def join_nodes(nodes: list[Node], operators: list[Operator]) -> Node:
    """Combine nodes from right to left, as arXiv does."""
    *left_nodes, node = nodes
    for left, operator in zip(reversed(left_nodes), reversed(operators), strict=True):
        node = BinaryOp(left, operator, node)
    return node


# Parsing the queries that arXiv reports

MAX_COLONS = 500  # and thus terms of a reported query; queries that are sent have fewer
_FIELDED_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[()])|(?P<operator>ANDNOT|AND|OR)(?=[\s()]|$)"
    r'|(?P<field>\w+):(?:"(?P<phrase>[^"]*)"|\[(?P<range>[0-9]+ TO [0-9]+)\]'
    r'|(?P<word>(?:[^\s"()]|\([^\s"()]*\))+)))'
)


def parse_fielded_query(text: str, *, unambiguous: bool = False) -> Node | None:
    """Parse a query in which every term has a field, as arXiv does; None for any other text.

    With `unambiguous`, None also if the result depends on the precedence of operators.
    """
    # at most one pair of parentheses around each term and each operator
    if text.count(":") > MAX_COLONS or text.count("(") > 2 * MAX_COLONS:
        return None
    groups: list[list[Node | Operator]] = [[]]
    position, end = 0, len(text.rstrip())
    while position < end:
        if not (match := _FIELDED_TOKEN.match(text, position)):
            return None
        position = match.end()
        if match["mark"] == "(":
            groups.append([])
        elif match["mark"]:
            node = _build_group(groups.pop(), unambiguous=unambiguous)
            if node is None or not groups:
                return None
            groups[-1].append(node)
        elif match["operator"]:
            groups[-1].append(_OPERATORS[match["operator"]])
        else:
            value = match["phrase"] or match["range"] or match["word"] or ""
            groups[-1].append(Term(match["field"], " ".join(value.split())))
    return _build_group(groups[0], unambiguous=unambiguous) if len(groups) == 1 else None


def _build_group(items: list[Node | Operator], *, unambiguous: bool) -> Node | None:
    """Combine alternating nodes and operators; None if they do not alternate."""
    nodes = [item for item in items[::2] if not isinstance(item, str)]
    operators = [item for item in items[1::2] if isinstance(item, str)]
    if len(nodes) + len(operators) != len(items) or len(nodes) != len(operators) + 1:
        return None
    if unambiguous and not all(map(_is_associative, operators, operators[1:])):
        return None
    return join_nodes(nodes, operators)


# Parsing the queries of users

# without white space before the tokens: at each blank, it would be scanned to its end again
_TOKEN = re.compile(
    r"[()]"
    r'|"[^"]*"?'  # a phrase; the closing quote may be missing
    r"|submittedDate:\s*\[\s*(?P<first>[0-9]+)\s+TO\s+(?P<last>[0-9]+)\s*\]"
    r'|(?P<word>[^\s"()]+)'
)
_FIELD_NAMES = {"title", *map(str.lower, FIELDS)}
_SIMILAR_NAMES = {
    name.lower(): field for field, meaning in FIELDS.items() for name in (field, meaning.split()[0])
}
_FIELD = re.compile(r"([A-Za-z]\w*):(.*)")
_PLUS_TERM = re.compile(r'\+(?!(?:ANDNOT|AND|OR|NOT)\b)(?=[^\W_]|["(])')
_DOTTED = re.compile(r"[a-z]+(?:-[a-z]+)*\.[A-Z]{2}")
_WILDCARD = re.compile(r"(?:^|(?<=\s))[*?]|\*(?=\S)")
_DATES = (
    "write submittedDate:[202001010000 TO 202112312359]; a date is YYYYMMDDHHMMSS or a prefix,"
    " digits only, without *"
)


def parse_query(text: str) -> Node:
    """Parse a query. Raises InvalidQuery if arXiv would reject or misinterpret it."""
    try:
        node = _parse(text)
    except InvalidQuery:
        if reference := _describe_reference(text):
            raise InvalidQuery(reference) from None
        raise
    if _format(node)[1] > MAX_DEPTH:
        raise InvalidQuery(f"operators alternate more than {MAX_DEPTH} times")
    return node


def _parse(text: str) -> Node:
    parser = _Parser(text)
    node = parser.parse_expression(None, "at the beginning")
    if parser.lexeme:
        raise InvalidQuery("a closing parenthesis has no opening one")
    return node


class _Parser:
    """Recursive descent parser; `lexeme` is the next one, empty at the end."""

    def __init__(self, text: str) -> None:
        self.matches = _TOKEN.finditer(straighten_quotes(convert_markup(remove_invisible(text))))
        self.depth = 0
        self.terms = 0
        self.advance()

    def advance(self) -> None:
        self.match = next(self.matches, None)
        self.lexeme = self.match[0] if self.match else ""
        if self.match and self.match["word"]:
            _check_spelling(self.match)

    def parse_expression(self, field: str | None, where: str) -> Node:
        """Parse up to the end or a closing parenthesis; `field` is the default for terms."""
        nodes = [self.parse_operand(field, where)]
        operators: list[Operator] = []
        while self.lexeme not in {"", ")"}:
            operators.append(self.parse_operator())
            nodes.append(self.parse_operand(field, f"after {operators[-1]}"))
        return join_nodes(nodes, operators)

    def parse_operator(self) -> Operator:
        lexeme = self.lexeme
        self.advance()
        if lexeme == "AND" and self.lexeme == "NOT":
            lexeme = "ANDNOT"
            self.advance()
        if lexeme in _OPERATORS:
            return _OPERATORS[lexeme]
        if lexeme.upper() in _OPERATORS:
            raise InvalidQuery(
                f"write {lexeme.upper()}, not {lexeme}, which arXiv searches as a word"
            )
        raise InvalidQuery(
            f"an operator is missing before {shorten(lexeme)}, where arXiv would assume OR;"
            " write AND, OR or ANDNOT, or a phrase in double quotes"
        )

    def parse_operand(self, field: str | None, where: str) -> Node:
        lexeme, match = self.lexeme, self.match
        if match is None or lexeme == ")" or lexeme.upper() in _OPERATORS:
            before = f", before {lexeme}" if match else ""
            hint = "; put it in quotes to search for the word" if lexeme.isalpha() else ""
            raise InvalidQuery(f"a term is missing {where}{before}{hint}")
        self.advance()
        if lexeme == "(":
            return self.parse_group(field)
        if match["first"]:
            return self.create_term("submittedDate", _parse_range(match["first"], match["last"]))
        if fielded := _FIELD.fullmatch(lexeme):
            return self.parse_fielded_term(*fielded.groups())
        if field is None and _DOTTED.fullmatch(lexeme):
            raise InvalidQuery(
                f"{shorten(lexeme)} has no field; write cat:{shorten(lexeme)} for the category,"
                " or put it in quotes to search for the word"
            )
        field = field or "all"
        return self.create_term(field, _clean_token(field, lexeme))

    def parse_group(self, field: str | None) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidQuery(f"parentheses are nested deeper than {MAX_DEPTH}")
        node = self.parse_expression(field, "after (")
        if self.lexeme != ")":
            raise InvalidQuery("an opening parenthesis is not closed")
        self.advance()
        self.depth -= 1
        return node

    def parse_fielded_term(self, name: str, value: str) -> Node:
        """Parse the word, phrase or group after a field."""
        field = "ti" if name == "title" else name
        if name == "lastUpdatedDate":
            raise InvalidQuery(
                "arXiv does not support lastUpdatedDate: it silently searches submittedDate instead"
            )
        if field not in FIELDS:
            raise InvalidQuery(_describe_unknown_field(name))
        if field == "submittedDate":
            raise InvalidQuery(_DATES)
        if (other := _FIELD.fullmatch(value)) and other[1] in {*FIELDS, "title", "lastUpdatedDate"}:
            raise InvalidQuery(f"{name}: and {other[1]}: apply to the same value")
        if not value:
            value = self.lexeme
            if value in {"", ")"} or value in _OPERATORS or _FIELD.fullmatch(value):
                raise InvalidQuery(f"{name}: has no value")
            self.advance()
            if value == "(":
                return self.parse_group(field)
        return self.create_term(field, _clean_token(field, value))

    def create_term(self, field: str, value: str) -> Node:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise InvalidQuery(f"it has more than {MAX_TERMS} terms")
        return Term(field, spell_category(value) if field == "cat" else value)


def _check_spelling(token: re.Match[str]) -> None:
    """Reject a word with a spelling of other query languages."""
    if _PLUS_TERM.match(token.string, token.start()):
        word = shorten(token[0])
        raise InvalidQuery(f"write {word[1:] or 'the term'}, with AND between terms, not {word}")
    if problem := find_misspelling(token, _FIELD_NAMES, "ANDNOT {} after what to find"):
        raise InvalidQuery(problem)


def _describe_reference(text: str) -> str | None:
    """Return how to find a paper if the query consists of its identifier or DOI."""
    reference = find_paper_reference(text)
    if isinstance(reference, ArxivId):
        name, version = reference
        return f"it is the identifier of a paper; use id_list={name}{f'v{version}' * bool(version)}"
    return reference and f'it is the DOI of a paper; write doi:"{reference}"'


def _describe_unknown_field(name: str) -> str:
    names = ", ".join(f"{field} ({meaning})" for field, meaning in FIELDS.items())
    similar = _SIMILAR_NAMES.get(name.lower())
    hint = f"Write {similar}:" if similar else "Put a word with a colon in quotes"
    return f"{shorten(name)}: is not a field; arXiv's fields are {names}. {hint}"


def _clean_token(field: str, lexeme: str) -> str:
    """Return the value of a word or phrase. Raises InvalidQuery."""
    if lexeme.startswith('"'):
        if len(lexeme) == 1 or not lexeme.endswith('"'):
            raise InvalidQuery(f"the quotes that open {shorten(lexeme)} are not closed")
        if lexeme.endswith('\\"'):
            raise InvalidQuery(f"a phrase cannot contain quotes, as in {shorten(lexeme)}")
    # DOIs contain underscores; elsewhere clean_value replaces them by spaces
    parts = lexeme.split("_") if field == "doi" else [lexeme]
    value = "_".join(map(clean_value, parts))
    if not value.strip("_"):
        raise InvalidQuery(f"{field}:{shorten(lexeme)} has no characters that arXiv can search for")
    if _WILDCARD.search(value):
        raise InvalidQuery(
            f"a wildcard is allowed only at the end of a word, unlike in {shorten(lexeme)}"
        )
    return value


def _parse_range(first: str, last: str) -> str:
    start, end = _parse_date(first, "0101000000"), _parse_date(last, "1231235959")
    if start > end:
        raise InvalidQuery(f"submittedDate:[{first} TO {last}] ends before it starts")
    return f"{start} TO {end}"


def _parse_date(digits: str, rest: str) -> str:
    """Complete a date to the minute; `rest` supplies the missing digits after the year."""
    year = len("YYYY")
    if len(digits) not in range(year, year + len(rest) + 1, 2):
        raise InvalidQuery(f"{shorten(digits)} is not a date: {_DATES}")
    try:
        if len(digits) == len("YYYYMM") and rest.startswith("1231"):
            digits += str(monthrange(int(digits[:year]), int(digits[year:]))[1])
        filled = digits + rest[len(digits) - year :]
        return f"{datetime.strptime(f'{filled}+0000', '%Y%m%d%H%M%S%z'):%Y%m%d%H%M}".zfill(12)
    except ValueError:
        raise InvalidQuery(f"{digits} does not exist") from None
