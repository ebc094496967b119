"""arXiv's query language: what a person writes in it, checked, and what arXiv writes, read.

The language has traps: no precedence (every operator takes all that follows it as its right side),
OR where an operator is missing, `all:` where a field is missing or unknown. `parse` therefore
refuses what arXiv would read in its own way without a word, and `write` leaves nothing open: one
field a term, quotes around every value, parentheses wherever operators differ.
https://info.arxiv.org/help/api/user-manual.html#query_details
"""

import re
import unicodedata
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime
from itertools import dropwhile
from typing import Literal

Operator = Literal["AND", "OR", "ANDNOT"]

MAX_DEPTH = 50
"""Parentheses within each other."""
MAX_TERMS = 200
"""In one query; arXiv's server goes deeper into itself with every one."""
MAX_EXCERPT = 60
"""Characters of a query that a message repeats."""

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
    "submittedDate": "a range of dates",
}


class InvalidQuery(ValueError):
    """A query that arXiv would refuse, or take for something else; the message says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """A value looked for in one field; of submittedDate, `YYYYMMDDHHMM TO YYYYMMDDHHMM`."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class BinaryOp:
    """Two queries joined by an operator."""

    left: "Node"
    operator: Operator
    right: "Node"


Node = Term | BinaryOp


# Values

# A quote or a backslash would end the value; arXiv reads an underscore in some fields as another
# field's words, and rewrites submittedDate:[...] even inside quotes, adding quotes of its own;
# control characters mean nothing to it.
_MEANINGLESS = re.compile(r'(?:["\\_\x00-\x1f\x7f-\x9f\s]|(?<=Date):)+')
_CATEGORY = re.compile(
    r"(?P<archive>[a-z]+(?:-[a-z]+)*)(?:\.(?P<subject>\*|[a-z]+(?:-[a-z]+)*))?",
    re.ASCII | re.IGNORECASE,
)
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols, says Unicode, that nobody can see."""


def clean_value(text: str) -> str:
    """A value without what could change the structure of the query; empty where nothing is left."""
    squeezed = _MEANINGLESS.sub(" ", text).strip()
    return squeezed if any(map(_is_visible, squeezed)) else ""


def strip_leading_wildcards(text: str) -> str:
    """A plain value without wildcards before it: arXiv cannot search for what begins with any."""
    begun = dropwhile(lambda c: c in "*? " or unicodedata.category(c) == "Cf", text)
    return clean_value("".join(begun))


def _is_visible(character: str) -> bool:
    # of the other categories, marks need a letter, separators and controls show nothing
    return unicodedata.category(character)[0] in "LNPS" and character not in _FILLERS


def parse_category(text: str) -> str | None:
    """The name of a category, or of all in an archive, in arXiv's spelling; None for any other."""
    if not (found := _CATEGORY.fullmatch(text)):
        return None
    archive, subject = found["archive"].lower(), found["subject"]
    if subject is None:
        return archive
    short = len(subject) == len("AI")
    return f"{archive}.{subject.upper() if short else subject.lower()}"


# Writing


def format_query(node: Node) -> str:
    """The query as it is sent: arXiv reads the same node, whichever way operators bind."""
    if isinstance(node, Term):
        return _term(node)
    right = format_query(node.right)
    if isinstance(node.right, BinaryOp) and not _is_chain(node.operator, node.right.operator):
        right = f"({right})"
    left = format_query(node.left)
    if isinstance(node.left, BinaryOp):
        left = f"({left})"
    return f"{left} {node.operator} {right}"


def _is_chain(operator: Operator, following: Operator) -> bool:
    """Whether `a operator (b following c)` needs no parentheses."""
    return operator == following != "ANDNOT"


def _term(term: Term) -> str:
    if term.field == "submittedDate":
        return f"submittedDate:[{term.value}]"
    if term.field == "cat" and term.value == parse_category(term.value):
        return f"cat:{term.value}"
    return f'{term.field}:"{term.value}"'


# Reading: the last operator binds first

_OPERATORS: dict[str, Operator] = {"AND": "AND", "OR": "OR", "ANDNOT": "ANDNOT", "NOT": "ANDNOT"}
"""As arXiv understands them."""


def join_nodes(nodes: list[Node], operators: list[Operator]) -> Node:
    """Trees with an operator between each two of them."""
    *others, node = nodes
    for other, operator in zip(reversed(others), reversed(operators), strict=True):
        node = BinaryOp(other, operator, node)
    return node


# Reading what arXiv writes

MAX_COLONS = 500
"""Colons, and so terms at most, of a query that is read; what is sent has fewer."""
_WRITTEN = re.compile(
    r"\s*(?:(?P<mark>[()])|(?P<operator>ANDNOT|AND|OR)(?=[\s()]|$)"
    r'|(?P<field>\w+):(?:"(?P<phrase>[^"]*)"|\[(?P<range>[0-9]+ TO [0-9]+)\]'
    r'|(?P<word>(?:[^\s"()]|\([^\s"()]*\))+)))'
)


def parse_fielded_query(text: str, *, unambiguous: bool = False) -> Node | None:
    """A query in which each term has its field, as arXiv understands it; None for any other.

    With `unambiguous`, None also where a person may understand it differently.
    """
    # no more parentheses than one around each term and one around each operator
    if text.count(":") > MAX_COLONS or text.count("(") > 2 * MAX_COLONS:
        return None
    groups: list[list[Node | Operator]] = [[]]
    place, end = 0, len(text.rstrip())
    while place < end:
        if not (found := _WRITTEN.match(text, place)):
            return None
        place = found.end()
        if found["mark"] == "(":
            groups.append([])
        elif found["mark"]:
            node = _grouped(groups.pop(), unambiguous=unambiguous)
            if node is None or not groups:
                return None
            groups[-1].append(node)
        elif found["operator"]:
            groups[-1].append(_OPERATORS[found["operator"]])
        else:
            value = found["phrase"] or found["range"] or found["word"] or ""
            groups[-1].append(Term(found["field"], " ".join(value.split())))
    return _grouped(groups[0], unambiguous=unambiguous) if len(groups) == 1 else None


def _grouped(items: list[Node | Operator], *, unambiguous: bool) -> Node | None:
    """Terms and operators in turn, as the node they stand for; None where they are not in turn."""
    nodes = [item for item in items[::2] if not isinstance(item, str)]
    operators = [item for item in items[1::2] if isinstance(item, str)]
    if len(nodes) + len(operators) != len(items) or len(nodes) != len(operators) + 1:
        return None
    if unambiguous and not all(map(_is_chain, operators, operators[1:])):
        return None
    return join_nodes(nodes, operators)


# Reading what a person writes

_PIECE = re.compile(
    r"\s*(?P<piece>[()]"
    r'|"[^"]*"?'  # a phrase; its end may be missing
    r"|submittedDate:\s*\[\s*(?P<first>[0-9]+)\s+TO\s+(?P<last>[0-9]+)\s*\]"
    r'|[^\s"()]+)'
)
_FIELD = re.compile(r"([A-Za-z]\w*):(.*)")
_DOTTED = re.compile(r"[a-z]+(?:-[a-z]+)*\.[A-Z]{2}")
_WILDCARD = re.compile(r"(?:^|(?<=\s))[*?]|\*(?=\S)")
_DATES = (
    "write submittedDate:[202001010000 TO 202112312359]; a date is YYYYMMDDHHMMSS or its beginning,"
    " digits only, and arXiv understands no * there"
)


def parse_query(text: str) -> Node:
    """Read a query strictly. Raises InvalidQuery for what arXiv would refuse or misunderstand."""
    parser = _Parser(text)
    node = parser.expression(None, "at the beginning")
    if parser.piece:
        raise InvalidQuery("a ) has no ( before it")
    if _depth(node) > MAX_DEPTH:
        raise InvalidQuery(f"different operators follow each other more than {MAX_DEPTH} times")
    return node


def _depth(node: Node) -> int:
    """Parentheses within each other, as written."""
    if isinstance(node, Term):
        return 0
    left, right = _depth(node.left), _depth(node.right)
    left += isinstance(node.left, BinaryOp)
    right += isinstance(node.right, BinaryOp) and not _is_chain(node.operator, node.right.operator)
    return max(left, right)


class _Parser:
    """Recursive descent; `piece` is the one to be read next, empty at the end."""

    piece: str
    match: re.Match[str] | None

    def __init__(self, text: str) -> None:
        self.found = _PIECE.finditer(text)
        self.depth = 0
        self.terms = 0
        self.advance()

    def advance(self) -> None:
        self.match = next(self.found, None)
        self.piece = self.match["piece"] if self.match else ""

    def expression(self, field: str | None, where: str) -> Node:
        """Terms up to the end or to a closing parenthesis; `field` is that of terms without one."""
        nodes = [self.operand(field, where)]
        operators: list[Operator] = []
        while self.piece not in {"", ")"}:
            operators.append(self.operator())
            nodes.append(self.operand(field, f"after {operators[-1]}"))
        return join_nodes(nodes, operators)

    def operator(self) -> Operator:
        piece = self.piece
        self.advance()
        if piece == "AND" and self.piece == "NOT":
            piece = "ANDNOT"
            self.advance()
        if piece in _OPERATORS:
            return _OPERATORS[piece]
        if piece.upper() in _OPERATORS:
            raise InvalidQuery(f"write {piece.upper()}, not {piece}, or arXiv takes it for a word")
        raise InvalidQuery(
            f"an operator is missing before {_short(piece)}, and arXiv would put OR there;"
            " write AND, OR or ANDNOT, or a phrase in quotes"
        )

    def operand(self, field: str | None, where: str) -> Node:
        piece, match = self.piece, self.match
        if match is None or piece == ")" or piece.upper() in _OPERATORS:
            before = f", before {piece}" if match else ""
            hint = "; the word itself needs quotes" if piece.isalpha() else ""
            raise InvalidQuery(f"a term is missing {where}{before}{hint}")
        self.advance()
        if piece == "(":
            return self.group(field)
        if match["first"]:
            return self.term("submittedDate", _range(match["first"], match["last"]))
        if found := _FIELD.fullmatch(piece):
            return self.fielded(*found.groups())
        if field is None and _DOTTED.fullmatch(piece):
            raise InvalidQuery(
                f"{_short(piece)} has no field; write cat:{_short(piece)} for the category,"
                " or quotes around it to find the word anywhere"
            )
        field = field or "all"
        return self.term(field, _value(field, piece))

    def group(self, field: str | None) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidQuery(f"parentheses are nested deeper than {MAX_DEPTH}")
        node = self.expression(field, "after (")
        if self.piece != ")":
            raise InvalidQuery("a ( is not closed")
        self.advance()
        self.depth -= 1
        return node

    def fielded(self, name: str, value: str) -> Node:
        """What a field is written before: a word, a phrase or a group."""
        field = "ti" if name == "title" else name
        if name == "lastUpdatedDate":
            raise InvalidQuery(
                "arXiv cannot search lastUpdatedDate: it searches submittedDate instead,"
                " and does not say so"
            )
        if field not in FIELDS:
            names = ", ".join(f"{field} ({meaning})" for field, meaning in FIELDS.items())
            raise InvalidQuery(
                f"{_short(name)}: is not a field of arXiv's; it has {names}."
                " A word with a colon needs quotes"
            )
        if field == "submittedDate":
            raise InvalidQuery(_DATES)
        if (other := _FIELD.fullmatch(value)) and other[1] in {*FIELDS, "title", "lastUpdatedDate"}:
            raise InvalidQuery(f"{name}: and {other[1]}: stand before the same value")
        if not value:
            value = self.piece
            if value in {"", ")"} or value in _OPERATORS or _FIELD.fullmatch(value):
                raise InvalidQuery(f"{name}: has no value")
            self.advance()
            if value == "(":
                return self.group(field)
        return self.term(field, _value(field, value))

    def term(self, field: str, value: str) -> Node:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise InvalidQuery(f"it has more than {MAX_TERMS} terms")
        return Term(field, value)


def _value(field: str, piece: str) -> str:
    """The value in a word or a phrase."""
    if piece.startswith('"'):
        if len(piece) == 1 or not piece.endswith('"'):
            raise InvalidQuery(f"the quotes that open {_short(piece)} are not closed")
        if piece.endswith('\\"'):
            raise InvalidQuery(f"quotes cannot stand inside quotes, as in {_short(piece)}")
    # underscores belong to many a DOI; elsewhere they stand for spaces
    parts = piece.split("_") if field == "doi" else [piece]
    value = "_".join(map(clean_value, parts))
    if not value.strip("_"):
        raise InvalidQuery(f"{field}:{_short(piece)} has no characters that arXiv can search for")
    if _WILDCARD.search(value):
        raise InvalidQuery(f"a wildcard can only end a word, unlike in {_short(piece)}")
    return value


def _range(first: str, last: str) -> str:
    start, end = _date(first, "0101000000"), _date(last, "1231235959")
    if start > end:
        raise InvalidQuery(f"submittedDate:[{first} TO {last}] ends before it starts")
    return f"{start} TO {end}"


def _date(digits: str, rest: str) -> str:
    """A date filled out to the minute; `rest` is what follows the year."""
    year = len("YYYY")
    if len(digits) not in range(year, year + len(rest) + 1, 2):
        raise InvalidQuery(f"{_short(digits)} is no date: {_DATES}")
    try:
        if len(digits) == len("YYYYMM") and rest.startswith("1231"):
            digits += str(monthrange(int(digits[:year]), int(digits[year:]))[1])
        filled = digits + rest[len(digits) - year :]
        return f"{datetime.strptime(f'{filled}+0000', '%Y%m%d%H%M%S%z'):%Y%m%d%H%M}".zfill(12)
    except ValueError:
        raise InvalidQuery(f"{digits} is no date that exists") from None


def _short(text: str) -> str:
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."
