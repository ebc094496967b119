"""Full text search: the parameter `q` to PostgreSQL's tsquery, and highlights as HTML.

The language: words are combined with AND; `"a phrase"`; `-word`, `-"a phrase"`, `NOT word` or
`ANDNOT word` excludes; `OR` between alternatives, with a lower precedence than AND; parentheses;
`word*` for a prefix; `title:`, `author:`, `abstract:` and `note:` before a word, a phrase or a
group. Quotes make all of these literal.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import NamedTuple, NoReturn

from .errors import InvalidParameter
from .metadata import tex
from .metadata.arxiv_ids import ArxivId, find_paper_reference
from .metadata.person_names import format_given_first
from .metadata.unicode_text import INVISIBLE, remove_invisible, straighten_quotes
from .query_spelling import find_misspelling, shorten

MAX_LENGTH = 2000  # characters of a query
MAX_DEPTH = 20  # nested parentheses
MAX_WORDS = 60  # words per query including those of phrases: PostgreSQL looks up each one
MIN_PREFIX = 3  # characters; a shorter prefix matches too many words
MAX_WORD = 2000  # bytes; PostgreSQL does not support words of 2,047 bytes or more

FIELDS = {
    "title": "A",
    "ti": "A",
    "author": "B",
    "au": "B",
    "abstract": "C",
    "abs": "C",
    "note": "D",
}
"""The weights in a paper's tsvector."""
_ALTERNATIVES = {
    **dict.fromkeys(("cat", "category"), "use the parameter category, outside of q"),
    **dict.fromkeys(("date", "submitteddate", "year"), "use since and until, outside of q"),
    **dict.fromkeys(("co", "comment", "jr", "journal"), "write note:"),
    "all": "omit it, because words without a field are searched in all of them",
}
"""What to write instead of a field that other query languages have."""

START, STOP = "\x02", "\x03"
"""Enclose each match in a headline. XML does not allow them, so no feed contains them."""

_MATCH = re.compile(f"[{START}{STOP}]")


# Normalization: identical to the database function `unaccent_text`, character by character

_REMOVED = re.compile(f"[\u0300-\u036f{INVISIBLE}]+")
_MARKS = f"[\u0300-\u036f\u3099\u309a{INVISIBLE}]"
_CHARACTERS = re.compile(
    f"[\0-\x7f]+(?!{_MARKS})|(?:[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|.){_MARKS}*",
    re.DOTALL,
)
"""A run of ASCII, or one character with its combining marks or Hangul letters."""
_LETTERS = str.maketrans("øØłŁđĐħĦıȷðÐŋŊ", "oOlLdDhHijdDnN") | str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
)
_SIGNS = str.maketrans("<>&/-+~.", " " * 8)
"""PostgreSQL parses <x> as a tag, AdS/CFT as a file, -4 as a number and Phys.Rev as a host."""
_SYMBOLS = re.compile(
    "[\u0080-\u00bf\u00d7\u00f7\u02b9-\u02ff\u1680\u2000-\u2bff\u2e00-\u2e7f\u3000-\u3020\u3030"
    "\ue000-\uf8ff\ufe00-\ufe6f\ufeff\ufff9-\uffff\U0001f000-\U0001faff]"
)
"""PostgreSQL treats them as letters in the locale C."""


def unaccent_text(text: str) -> str:
    """Remove accents, TeX, invisible characters, hyphens and symbols, as in the indexed text."""
    text = tex.strip_tex(text)
    if not text.isascii():
        text = _REMOVED.sub("", unicodedata.normalize("NFKD", text))
        text = _SYMBOLS.sub(" ", unicodedata.normalize("NFC", text).translate(_LETTERS))
    return text.translate(_SIGNS)


# Parsing


class _Part(NamedTuple):
    """A part of a tsquery."""

    text: str
    is_selective: bool = True
    """Whether matching papers contain one of its words; otherwise nearly every paper matches."""
    is_negation_selective: bool = False
    operator: str = ""
    """The operator between its operands, if it has several."""
    positive: tuple[tuple[str, str], ...] = ()
    """The label and text of each operand that is not negated."""


# without white space before the tokens: at each blank, it would be scanned to its end again
_TOKEN = re.compile(
    r"(?P<mark>[()])"
    r'|(?P<phrase>"[^"]*"?)'  # the closing quote may be missing
    r'|(?P<operator>ANDNOT|AND|OR|NOT)(?=[\s()"]|$)'
    r"|(?<![^\s(:])(?P<minus>-)(?=[^\s)-])"
    # a + requires a word, as does none
    rf"|(?:(?<![^\s(])\+)?(?:(?P<field>(?i:{'|'.join(FIELDS)})):"
    r"|(?P<unknown>[A-Za-z]\w*):(?=[^\s)/]|/(?!/)))"
    # a parenthesis after a letter belongs to the word, as in SU(2)
    r'|(?P<word>[^\s"()](?:[^\s"()]|\([^\s"()]*\))*)'
)


def build_tsquery(q: str) -> str:
    """Return normalized text for `to_tsquery`. Raises InvalidParameter.

    Tokens without letters or digits, such as a single dash, are ignored. A colon follows a field
    only after a name: `3:1`, `http://arxiv.org` and a word before `: ` are words.
    """
    return _parse(q).text


def build_word_tsqueries(text: str) -> list[str]:
    """Return text for `to_tsquery` for each word of a text."""
    return [_quote([word], "") for word in _split_words(text)]


def build_highlight_tsquery(q: str, field: str) -> str:
    """Return text for `to_tsquery` that matches what the query searches for in this field.

    `ts_headline` ignores fields and negations. The text is empty if nothing is searched for.
    """
    labels = {"", FIELDS[field]}
    return " | ".join(dict.fromkeys(text for label, text in _parse(q).positive if label in labels))


@lru_cache(maxsize=64)
def _parse(q: str) -> _Part:
    """Parse a query once for its tsquery and for the highlights of each field."""
    if len(q) > MAX_LENGTH:
        _reject(f"it is longer than {MAX_LENGTH} characters")
    if "\0" in q:
        _reject("it contains a NUL character")
    parser = _Parser(_replace_reference(tex.convert_markup(remove_invisible(q))))
    part = parser.parse_or("")
    if parser.kind:
        _reject(f"the ) at character {parser.position} has no ( before it")
    if part is None:
        _reject("it does not contain a word to search for")
    if not part.is_selective:
        _reject("it would match nearly every paper: add what to find, not only what to exclude")
    return part


def _replace_reference(q: str) -> str:
    """Return the words of a DOI, and reject the identifier of a paper."""
    reference = find_paper_reference(q)
    if isinstance(reference, ArxivId):
        name = f"{reference.name}v{reference.version}" if reference.version else reference.name
        _reject(
            f"it is the identifier of a paper, which /papers/{name} returns;"
            " put it in quotes to search for the text"
        )
    return q if reference is None else f'"{reference}"'


class _Parser:
    """Recursive descent parser; `kind` and `text` describe the next token, empty at the end."""

    def __init__(self, q: str) -> None:
        self.matches = _TOKEN.finditer(straighten_quotes(q))
        self.depth = 0
        self.words = 0
        self.advance()

    def advance(self) -> None:
        match = next(self.matches, None)
        self.kind = (match and match.lastgroup) or ""
        self.text = match[self.kind] if match else ""
        self.position = match.start(self.kind) + 1 if match else 0
        if match and self.kind == "word":
            _check_spelling(match)

    def parse_or(self, label: str) -> _Part | None:
        """Parse up to the end or a closing parenthesis; `label` is the enclosing field's."""
        parts = [] if self.text in {"", ")"} else [self.parse_and(label)]
        while self.kind == "operator":  # parse_and stops only at OR
            self.advance()
            parts.append(self.parse_and(label))
        return _combine(parts, "|")

    def parse_and(self, label: str) -> _Part | None:
        parts = [self.parse_operand(label)]
        while self.text not in {"", ")"} and (self.kind, self.text) != ("operator", "OR"):
            if self.kind == "operator" and self.text == "AND":
                self.advance()
            elif self.kind == "operator" and self.text == "ANDNOT":
                self.text = "NOT"
            parts.append(self.parse_operand(label))
        return _combine(parts, "&")

    def parse_operand(self, label: str) -> _Part | None:
        is_negated = False
        while self.kind == "minus" or (self.kind, self.text) == ("operator", "NOT"):
            is_negated = not is_negated
            self.advance()
        if self.kind == "field":
            field, label = self.text, FIELDS[self.text.lower()]
            self.advance()
            if self.kind in {"", "operator", "field", "minus"} or self.text == ")":
                _reject(
                    f"{field}: has no value; put it in quotes to search for the word,"
                    f" and write -{field}:word to exclude one"
                )
        part = self.parse_term(label)
        if not part or not is_negated:
            return part
        text = f"!({part.text})" if part.operator else f"!{part.text}"
        return _Part(text, part.is_negation_selective, part.is_selective)

    def parse_term(self, label: str) -> _Part | None:
        """Parse a group, a phrase or a word."""
        kind, text, position = self.kind, self.text, self.position
        if kind == "unknown":
            alternative = _ALTERNATIVES.get(text.lower(), "put it in quotes to search for the text")
            _reject(
                f"{shorten(text)} is not a field: a paper has title, author, abstract and note"
                f" (comment and journal reference); {alternative}"
            )
        if kind in {"", "operator"} or text == ")":
            before = f"before {text} at character {position}" if kind else "at the end"
            hint = "; put it in quotes to search for the word" if kind == "operator" else ""
            _reject(f"a word is missing {before}{hint}")
        self.advance()
        if text == "(":
            return self.parse_group(label, position)
        self.words += max(1, len(_split_words(text)))
        if self.words > MAX_WORDS:
            _reject(f"it has more than {MAX_WORDS} words")
        if kind == "word":
            return _create_part(text.rstrip("*"), label, is_prefix=text.endswith("*"))
        if len(text) == 1 or not text.endswith('"'):
            _reject(f"the quote at character {position} is not closed")
        phrase = text[1:-1]
        if label == FIELDS["author"]:
            phrase = format_given_first(phrase)
        return _create_part(phrase, label, is_prefix=False)

    def parse_group(self, label: str, position: int) -> _Part | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            _reject(f"parentheses are nested deeper than {MAX_DEPTH}")
        part = self.parse_or(label)
        if self.text != ")":
            _reject(f"the ( at character {position} is not closed")
        self.advance()
        self.depth -= 1
        return part


def _check_spelling(token: re.Match[str]) -> None:
    """Reject a word with a spelling of other query languages."""
    if problem := find_misspelling(token, FIELDS, "-{}"):
        _reject(problem)


def _split_words(text: str) -> list[str]:
    return [word for word in unaccent_text(text).split() if any(map(str.isalnum, word))]


def _create_part(text: str, label: str, *, is_prefix: bool) -> _Part | None:
    """Return an operand for consecutive words; None if there are none."""
    words = _split_words(text)
    if not words:
        return None
    if any(len(word.encode()) > MAX_WORD for word in words):
        _reject(f"{shorten(text)} is too long for a word")
    quoted = _quote(words, label)
    if is_prefix:
        if len(words[-1]) < MIN_PREFIX:
            _reject(
                f"{shorten(text)}* needs {MIN_PREFIX} letters before the *;"
                f' put it in quotes to search for the word: "{shorten(text)}*"'
            )
        quoted = _quote(words[-1:], f"*{label}")
        if preceding := words[:-1]:
            quoted = f"({_quote(preceding, label)} <-> {quoted})"
    return _Part(quoted, positive=((label, quoted),))


def _quote(words: list[str], label: str) -> str:
    text = " ".join(words).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}':{label}" if label else f"'{text}'"


def _combine(parts: list[_Part | None], operator: str) -> _Part | None:
    """Combine the parts that contain words."""
    present = [part for part in parts if part]
    if len(present) < 2:  # noqa: PLR2004 - nothing to combine
        return present[0] if present else None
    texts = [part.text if part.operator in {"", operator} else f"({part.text})" for part in present]
    any_or_all, all_or_any = (any, all) if operator == "&" else (all, any)
    return _Part(
        f" {operator} ".join(texts),
        is_selective=any_or_all(part.is_selective for part in present),
        is_negation_selective=all_or_any(part.is_negation_selective for part in present),
        operator=operator,
        positive=sum((part.positive for part in present), ()),
    )


def _reject(reason: str) -> NoReturn:
    raise InvalidParameter("q", reason)


# Highlights


def highlight_matches(original: str, headline: str) -> str:
    """Return the original as HTML with <mark> around the matches in its normalized headline.

    Without marks if the texts differ: PostgreSQL's Unicode version may be newer than Python's.
    """
    texts = _MATCH.split(headline)
    normalized, starts, ends = _map_offsets(original)
    if normalized != "".join(texts):
        return escape(original)
    html, position, done = [], 0, 0
    for text, match in zip(texts[::2], texts[1::2], strict=False):
        first = position + len(text)
        position = first + len(match)
        # two matches may share a character, as in ½
        start, end = max(done, starts[first]), ends[position - 1]
        if start < end:
            html += [escape(original[done:start]), "<mark>", escape(original[start:end]), "</mark>"]
            done = end
    return "".join([*html, escape(original[done:])])


def _map_offsets(original: str) -> tuple[str, list[int], list[int]]:
    """Return the normalized text, and the start and end in the original of each character."""
    normalized = ""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _split_characters(original):
        text = unaccent_text(original[start:end])
        normalized += text
        if original[start:end].isascii() and len(text) == end - start:
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            starts += [start] * len(text)
            ends += [end] * len(text)
    return normalized, starts, ends


def _split_characters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each part that is normalized on its own."""
    position = 0
    for markup in tex.MARKUP.finditer(text):
        yield from (match.span() for match in _CHARACTERS.finditer(text, position, markup.start()))
        yield markup.span()
        position = markup.end()
    yield from (match.span() for match in _CHARACTERS.finditer(text, position))
