"""The query language of `/papers?q=`, parsed to a tree.

Words are combined with AND; `"a phrase"`; `-word`, `-"a phrase"`, `NOT word` or `ANDNOT word`
excludes; `OR` between alternatives, with a lower precedence than AND; parentheses; `word*` for a
prefix; `title:`, `author:`, `abstract:` and `note:` before a word, a phrase or a group. Quotes make
all of these literal. An upper-case letter before `*` is a word as written: `A*`. The identifier,
the DOI or the URL of a paper, as the whole query, refers to this paper.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, NoReturn, get_args

from .errors import InvalidParameter
from .metadata import tex
from .metadata.arxiv_ids import ArxivId, find_paper_reference
from .metadata.person_names import format_given_first
from .metadata.unicode_text import INVISIBLE, straighten_quotes
from .query_spelling import find_misspelling, shorten
from .search_index.analysis import split_words

MAX_LENGTH = 2000  # characters of a query
MAX_DEPTH = 20  # nested parentheses
MAX_WORDS = 60  # words per query including those of phrases: the index looks up each one
MIN_PREFIX, MAX_PREFIX = 3, 100  # letters; a shorter prefix matches too many words
MAX_PREFIXES = 10  # words with * per query: each is compared with all words of the index

Field = Literal["title", "author", "abstract", "note"]
SEARCHED_FIELDS: tuple[Field, ...] = get_args(Field)
"""The fields in which words without a field are searched."""

_FIELDS: dict[str, Field] = {
    "title": "title",
    "ti": "title",
    "author": "author",
    "au": "author",
    "abstract": "abstract",
    "abs": "abstract",
    "note": "note",
}
_ALTERNATIVES = {
    **dict.fromkeys(("cat", "category"), "use the parameter category, outside of q"),
    **dict.fromkeys(("date", "submitteddate", "year"), "use since and until, outside of q"),
    **dict.fromkeys(("co", "comment", "jr", "journal"), "write note:"),
    "all": "omit it, because words without a field are searched in all of them",
}
"""What to write instead of a field that other query languages have."""


class Words(NamedTuple):
    """Consecutive words, as `split_words` returns them."""

    words: tuple[str, ...]
    field: Field | None
    is_exact: bool
    """Whether they are quoted; other words match all words with the same stem."""
    is_prefix: bool
    """Whether the last word is the beginning of a word."""
    position: int
    """The number of their first character in the query, from 1."""
    end: int
    """The number of their last character in the query."""
    distances: tuple[int, ...] = ()
    """By how many letters each word may differ; words are not corrected without them."""

    @property
    def searched_fields(self) -> tuple[Field, ...]:
        """The fields in which the words may be."""
        return (self.field,) if self.field else SEARCHED_FIELDS


class Not(NamedTuple):
    """Papers that do not match the operand."""

    operand: "Node"


class And(NamedTuple):
    """Papers that match all operands."""

    operands: tuple["Node", ...]


class Or(NamedTuple):
    """Papers that match at least one operand."""

    operands: tuple["Node", ...]


class Reference(NamedTuple):
    """One paper by its identifier, in one or in any version, or by its DOI."""

    arxiv_id: str | None = None
    version: int | None = None
    doi: str | None = None


Node = Words | Not | And | Or
Query = Node | Reference

# without white space before the tokens: at each blank, it would be scanned to its end again
_TOKEN = re.compile(
    r"(?P<mark>[()])"
    r'|(?P<phrase>"[^"]*"?)'  # the closing quote may be missing
    r'|(?P<operator>ANDNOT|AND|OR|NOT)(?=[\s()"]|$)'
    r"|(?<![^\s(:])(?P<minus>-)(?=[^\s)-])"
    # a + requires a word, as does none
    rf"|(?:(?<![^\s(])\+)?(?:(?P<field>(?i:{'|'.join(_FIELDS)})):"
    r"|(?P<unknown>[A-Za-z]\w*):(?=[^\s)/]|/(?!/)))"
    # a parenthesis after a letter belongs to the word, as in SU(2)
    r'|(?P<word>[^\s"()](?:[^\s"()]|\([^\s"()]*\))*)'
)
_VISIBLE = re.compile(f"[^{INVISIBLE}]")
_FORBIDDEN = re.compile("(\0)|[\ud800-\udfff]")


@lru_cache(maxsize=64)
def parse_query(q: str) -> Query:
    """Return the tree of a query. Raises InvalidParameter.

    Tokens without letters or digits, such as a single dash, are ignored. A colon follows a field
    only after a name: `3:1`, `http://arxiv.org` and a word before `: ` are words.
    """
    if len(q) > MAX_LENGTH:
        _reject(f"it is longer than {MAX_LENGTH} characters", MAX_LENGTH + 1)
    if match := _FORBIDDEN.search(q):
        _reject(f"a {'NUL' if match[1] else 'surrogate'} is not allowed", match.start() + 1)
    text, offsets = _convert_characters(q)
    return _find_reference(text) or _Parser(text, offsets).parse()


def find_terms(query: Query, field: Field) -> list[Words]:
    """Return the words that a query searches for in this field."""
    return [words for words in iterate_words(query) if words.field in {None, field}]


def iterate_words(query: Query) -> Iterator[Words]:
    """Yield the words that a query searches for, not those that it excludes."""
    match query:
        case Words():
            yield query
        case And(operands) | Or(operands):
            for operand in operands:
                yield from iterate_words(operand)


def _convert_characters(q: str) -> tuple[str, Sequence[int]]:
    """Return the text with plain characters, and the offset of each one in the query."""
    if q.isascii() and "\\" not in q:
        return q, range(len(q) + 1)
    visible = [match.start() for match in _VISIBLE.finditer(q)]
    text, offsets = tex.convert_markup_with_offsets("".join(q[offset] for offset in visible))
    visible.append(len(q))
    return straighten_quotes(text), [visible[offset] for offset in offsets]


def _find_reference(text: str) -> Reference | None:
    match find_paper_reference(text):
        case None:
            return None
        case str(doi):
            return Reference(doi=doi)
        case ArxivId(name, version):
            return Reference(name, version)


class _Parser:
    """Recursive descent parser; `kind` and `text` describe the next token, empty at the end."""

    def __init__(self, text: str, offsets: Sequence[int]) -> None:
        self.matches = _TOKEN.finditer(text)
        self.offsets = offsets
        self.depth = 0
        self.words = self.prefixes = 0
        self.advance()

    def advance(self) -> None:
        match = next(self.matches, None)
        self.kind = (match and match.lastgroup) or ""
        self.text = match[self.kind] if match else ""
        start, end = match.span(self.kind) if match else (-1, -1)
        self.position, self.end = self.offsets[start] + 1, self.offsets[end]
        if match and self.kind == "word" and (problem := find_misspelling(match, _FIELDS, "-{}")):
            self.reject(problem)

    def reject(self, reason: str) -> NoReturn:
        _reject(reason, self.position)

    def parse(self) -> Node:
        node = self.parse_or(None)
        if self.kind:
            self.reject("the ) has no ( before it")
        if node is None:
            raise InvalidParameter("q", "it does not contain a word to search for")
        if excluded := _find_unrestricted(node):
            _reject(
                "it would match nearly every paper; add what to find, not only what to exclude",
                excluded.position,
            )
        return node

    def parse_or(self, field: Field | None) -> Node | None:
        """Parse up to the end or a closing parenthesis; `field` is the enclosing one."""
        nodes = [] if self.text in {"", ")"} else [self.parse_and(field)]
        while self.kind == "operator":  # parse_and stops only at OR
            self.advance()
            nodes.append(self.parse_and(field))
        return _combine(nodes, Or)

    def parse_and(self, field: Field | None) -> Node | None:
        nodes = [self.parse_operand(field)]
        while self.text not in {"", ")"} and (self.kind, self.text) != ("operator", "OR"):
            if self.kind == "operator" and self.text == "AND":
                self.advance()
            elif self.kind == "operator" and self.text == "ANDNOT":
                self.text = "NOT"
            nodes.append(self.parse_operand(field))
        return _combine(nodes, And)

    def parse_operand(self, field: Field | None) -> Node | None:
        is_negated = False
        while self.kind == "minus" or (self.kind, self.text) == ("operator", "NOT"):
            is_negated = not is_negated
            self.advance()
        if self.kind == "field":
            field = self.parse_field()
        node = self.parse_term(field)
        if node is None or not is_negated:
            return node
        return node.operand if isinstance(node, Not) else Not(node)

    def parse_field(self) -> Field:
        name, position = self.text, self.position
        self.advance()
        if self.kind in {"", "operator", "field", "minus"} or self.text == ")":
            _reject(
                f"{name}: has no value; put it in quotes to search for the word,"
                f" and write -{name}:word to exclude one",
                position,
            )
        return _FIELDS[name.lower()]

    def parse_term(self, field: Field | None) -> Node | None:
        """Parse a group, a phrase or a word."""
        if self.kind == "unknown":
            self.reject_field()
        if self.kind in {"", "operator"} or self.text == ")":
            place = f"before {self.text}" if self.kind else "at the end"
            hint = "; put it in quotes to search for the word" if self.kind == "operator" else ""
            self.reject(f"a word is missing {place}{hint}")
        if self.text == "(":
            return self.parse_group(field)
        node = self.parse_phrase(field) if self.kind == "phrase" else self.parse_word(field)
        self.advance()
        return node

    def reject_field(self) -> NoReturn:
        hint = _ALTERNATIVES.get(self.text.lower(), "put it in quotes to search for the text")
        self.reject(
            f"{shorten(self.text)} is not a field: a paper has title, author, abstract and note"
            f" (comment and journal reference); {hint}"
        )

    def parse_group(self, field: Field | None) -> Node | None:
        position = self.position
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.reject(f"parentheses are nested deeper than {MAX_DEPTH}")
        self.advance()
        node = self.parse_or(field)
        if self.text != ")":
            _reject("the ( is not closed", position)
        self.advance()
        self.depth -= 1
        return node

    def parse_phrase(self, field: Field | None) -> Words | None:
        if len(self.text) == 1 or not self.text.endswith('"'):
            self.reject("the quote is not closed")
        phrase = self.text[1:-1]
        if field == "author":
            phrase = format_given_first(phrase)
        return self.create_words(split_words(phrase), field, is_exact=True)

    def parse_word(self, field: Field | None) -> Words | None:
        text = self.text.rstrip("*")
        written, words = split_words(self.text), split_words(text)
        if not words or text == self.text or _ends_with_symbol(written, text):
            return self.create_words(written, field)
        if _is_character(words[-1]):  # a phrase of characters is a prefix
            return self.create_words(words, field)
        if len(words[-1].rstrip("+*#")) < MIN_PREFIX:
            self.reject(
                f"{shorten(text)}* needs {MIN_PREFIX} letters before the *;"
                f' put it in quotes to search for the word: "{shorten(text)}*"'
            )
        if len(words[-1]) > MAX_PREFIX:
            self.reject(f"a word with * has at most {MAX_PREFIX} letters")
        self.prefixes += 1
        if self.prefixes > MAX_PREFIXES:
            self.reject(f"it has more than {MAX_PREFIXES} words with *")
        return self.create_words(words, field, is_prefix=True)

    def create_words(
        self,
        words: list[str],
        field: Field | None,
        *,
        is_exact: bool = False,
        is_prefix: bool = False,
    ) -> Words | None:
        """Return an operand for consecutive words; None if there are none."""
        self.words += max(1, len(words))
        if self.words > MAX_WORDS:
            self.reject(f"it has more than {MAX_WORDS} words")
        if not words:
            return None
        return Words(tuple(words), field, is_exact, is_prefix, self.position, self.end)


def _ends_with_symbol(words: list[str], before_star: str) -> bool:
    r"""Return whether the star belongs to the last word, as in A* or K^*, unlike that of a*."""
    return words[-1].endswith("*") and not before_star[-1].islower()


def _is_character(word: str) -> bool:
    """Return whether the word is a character of a script without spaces between words."""
    return len(word) == 1 and len(split_words(word + word)) > 1


def _combine(nodes: list[Node | None], operator: type[And] | type[Or]) -> Node | None:
    """Combine the nodes that contain words."""
    present = [node for node in nodes if node]
    if len(present) < 2:  # noqa: PLR2004 - nothing to combine
        return present[0] if present else None
    operands: list[Node] = []
    for node in present:
        operands += node.operands if isinstance(node, operator) else [node]
    return operator(tuple(operands))


def _find_unrestricted(node: Node, *, is_negated: bool = False) -> Words | None:
    """Return excluded words due to which nearly every paper matches; None if few papers match."""
    match node:
        case Words():
            return node if is_negated else None
        case Not(operand):
            return _find_unrestricted(operand, is_negated=not is_negated)
        case And(operands) | Or(operands):
            found = [_find_unrestricted(operand, is_negated=is_negated) for operand in operands]
            if None in found and isinstance(node, And) != is_negated:
                return None  # one operand restricts all of them
            return next(filter(None, found), None)


def _reject(reason: str, position: int) -> NoReturn:
    raise InvalidParameter("q", f"at character {position}: {reason}")
