"""Full text search: what a person types as PostgreSQL's tsquery, and its marks as HTML.

The language: words are ANDed; `"a phrase"`; `-word`, `-"a phrase"` or `NOT word` excludes; `OR`
between alternatives, and AND binds closer; parentheses; `word*` for all that begins so; `title:`,
`author:`, `abstract:` and `note:` before a word, a phrase or a group. Quotes make all this literal.
"""

import re
import unicodedata
from functools import lru_cache
from html import escape
from typing import NamedTuple, NoReturn

from .errors import InvalidParameter

MAX_DEPTH = 20
"""Parentheses within each other."""
MAX_WORDS = 60
"""In one query, those of phrases too: PostgreSQL looks for each."""
MIN_PREFIX = 3
"""Characters; a shorter one stands for too many words."""
MAX_WORD = 2000
"""Bytes; PostgreSQL cannot search for a word of 2,047."""
MAX_EXCERPT = 60
"""Characters of a query that a message repeats."""

FIELDS = {
    "title": "A",
    "ti": "A",
    "author": "B",
    "au": "B",
    "abstract": "C",
    "abs": "C",
    "note": "D",
}
"""The weights in the tsvector of a paper."""

START, STOP = "\x02", "\x03"
"""Around each match in a headline: XML has no such characters, so no feed brings them."""

_MATCH = re.compile(f"[{START}{STOP}]")


# Folding: the same as the function `fold` of the database, character for character

_ACCENTS = re.compile("[\u0300-\u036f]+")
_MARKS = "[\u0300-\u036f\u3099\u309a]"
_PIECES = re.compile(
    f"[\0-\x7f]+(?!{_MARKS})|(?:[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|.){_MARKS}*",
    re.DOTALL,
)
"""Plain characters, or one with its marks; a syllable of Hangul may be written in two or three."""
_LETTERS = str.maketrans("øØłŁđĐħĦı", "oOlLdDhHi")
_SIGNS = str.maketrans("<>&/-+~.", " " * 8)
"""PostgreSQL takes <x> for a tag, AdS/CFT for a file, -4 for a number, Phys.Rev for a host."""
_SYMBOLS = re.compile(
    "[\u0080-\u00bf\u00d7\u00f7\u02b9-\u02ff\u1680\u2000-\u2bff\u2e00-\u2e7f\u3000-\u3020\u3030"
    "\ue000-\uf8ff\ufe00-\ufe6f\ufeff\ufff9-\uffff\U0001f000-\U0001faff]"
)
"""Letters to PostgreSQL where the locale is C."""


def unaccent_text(text: str) -> str:
    """The words of a text as they are searched: without accents, hyphens and symbols."""
    if not text.isascii():
        bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
        text = _SYMBOLS.sub(" ", unicodedata.normalize("NFC", bare).translate(_LETTERS))
    return text.translate(_SIGNS)


# Reading


class _Part(NamedTuple):
    """Some of a tsquery."""

    text: str
    finds: bool = True
    """Whether papers need a word of it; else nearly every paper matches."""
    finds_negated: bool = False
    """The same of its negation."""
    operator: str = ""
    """Between its own parts, where it has several."""
    sought: tuple[tuple[str, str], ...] = ()
    """The label and the text of each operand that is not negated."""


_QUOTES = str.maketrans("“”„‟«»", '"' * 6)
_PIECE = re.compile(
    r"\s*(?:(?P<mark>[()])"
    r'|(?P<phrase>"[^"]*"?)'  # its end may be missing
    r'|(?P<operator>AND|OR|NOT)(?=[\s()"]|$)'
    r"|(?<![^\s(:])(?P<minus>-)(?=[^\s)-])"
    rf"|(?P<field>(?i:{'|'.join(FIELDS)})):"
    r"|(?P<unknown>[A-Za-z]\w*):(?=[^\s)/]|/(?!/))"
    # a parenthesis right after a letter belongs to the word, as in SU(2)
    r'|(?P<word>[^\s"()](?:[^\s"()]|\([^\s"()]*\))*))'
)


def build_tsquery(q: str) -> str:
    """The text for `to_tsquery`, folded already. Raises BadInput with what is wrong and where.

    What holds no word, such as a lone dash, is left out. A colon makes a field only after a name:
    `3:1`, `http://arxiv.org` and the word before `: ` are words.
    """
    return _read(q).text


def build_word_tsqueries(text: str) -> list[str]:
    """The text for `to_tsquery` of each word of a text, wherever it stands; none where none is."""
    return [_quoted([word], "") for word in _found(text)]


def build_highlight_tsquery(q: str, field: str) -> str:
    """The text for `to_tsquery` with which to mark this field: what the query looks for in it.

    `ts_headline` minds neither fields nor exclusions. Empty where nothing is looked for there.
    """
    found = _read(q).sought
    return " | ".join(dict.fromkeys(text for label, text in found if label in {"", FIELDS[field]}))


@lru_cache(maxsize=64)
def _read(q: str) -> _Part:
    """The query, read once for its tsquery and for the marks in each field."""
    if "\0" in q:
        _refuse("it holds a NUL character")
    parser = _Parser(q)
    part = parser.alternatives("")
    if parser.kind:
        _refuse(f"the ) at character {parser.place} has no ( before it")
    if part is None:
        _refuse("there is no word in it to search for")
    if not part.finds:
        _refuse("it would find nearly everything: say what to find, not only what to leave out")
    return part


class _Parser:
    """Recursive descent; `kind` and `text` are the next piece's, and empty at the end."""

    def __init__(self, q: str) -> None:
        self.found = _PIECE.finditer(q.translate(_QUOTES))
        self.depth = 0
        self.words = 0
        self.advance()

    def advance(self) -> None:
        piece = next(self.found, None)
        self.kind = (piece and piece.lastgroup) or ""
        self.text = piece[self.kind] if piece else ""
        self.place = piece.start(self.kind) + 1 if piece else 0

    def alternatives(self, label: str) -> _Part | None:
        """Parts up to the end or to a closing parenthesis; `label` is that of the field around."""
        parts = [] if self.text in {"", ")"} else [self.together(label)]
        while self.kind == "operator":  # only OR ends what belongs together
            self.advance()
            parts.append(self.together(label))
        return _joined(parts, "|")

    def together(self, label: str) -> _Part | None:
        parts = [self.operand(label)]
        while self.text not in {"", ")"} and (self.kind, self.text) != ("operator", "OR"):
            if (self.kind, self.text) == ("operator", "AND"):
                self.advance()
            parts.append(self.operand(label))
        return _joined(parts, "&")

    def operand(self, label: str) -> _Part | None:
        is_negated = False
        while self.kind == "minus" or (self.kind, self.text) == ("operator", "NOT"):
            is_negated = not is_negated
            self.advance()
        if self.kind == "field":
            field, label = self.text, FIELDS[self.text.lower()]
            self.advance()
            if self.kind in {"", "operator", "field", "minus"} or self.text == ")":
                _refuse(
                    f"{field}: has no value; put it in quotes to search for the word,"
                    f" and write -{field}:word to exclude one"
                )
        part = self.term(label)
        return _negated(part) if part and is_negated else part

    def term(self, label: str) -> _Part | None:
        """A group, a phrase or a word."""
        kind, text, place = self.kind, self.text, self.place
        if kind == "unknown":
            _refuse(
                f"there is no field {_short(text)}: a paper has title, author, abstract and note"
                " (comment and journal reference); put it in quotes to search for it as it is"
            )
        if kind in {"", "operator"} or text == ")":
            before = f"before {text} at character {place}" if kind else "at the end"
            hint = "; in quotes it is a word" if kind == "operator" else ""
            _refuse(f"a word is missing {before}{hint}")
        self.advance()
        if text == "(":
            return self.group(label, place)
        self.words += max(1, len(_found(text)))
        if self.words > MAX_WORDS:
            _refuse(f"it has more than {MAX_WORDS} words")
        if kind == "word":
            return _words(text.rstrip("*"), label, is_prefix=text.endswith("*"))
        if len(text) == 1 or not text.endswith('"'):
            _refuse(f"the quote at character {place} is not closed")
        return _words(text[1:-1], label, is_prefix=False)

    def group(self, label: str, place: int) -> _Part | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            _refuse(f"parentheses are nested deeper than {MAX_DEPTH}")
        part = self.alternatives(label)
        if self.text != ")":
            _refuse(f"the ( at character {place} is not closed")
        self.advance()
        self.depth -= 1
        return part


def _found(text: str) -> list[str]:
    return [word for word in unaccent_text(text).split() if any(map(str.isalnum, word))]


def _words(text: str, label: str, *, is_prefix: bool) -> _Part | None:
    """Words that follow each other, as one operand; None where there is none."""
    words = _found(text)
    if not words:
        return None
    if any(len(word.encode()) > MAX_WORD for word in words):
        _refuse(f"{_short(text)} is too long for a word")
    quoted = _quoted(words, label)
    if is_prefix:
        if len(words[-1]) < MIN_PREFIX:
            _refuse(f"{_short(text)}* needs {MIN_PREFIX} letters before the *")
        quoted = _quoted(words[-1:], f"*{label}")
        if before := words[:-1]:
            quoted = f"({_quoted(before, label)} <-> {quoted})"
    return _Part(quoted, sought=((label, quoted),))


def _quoted(words: list[str], label: str) -> str:
    text = " ".join(words).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}':{label}" if label else f"'{text}'"


def _negated(part: _Part) -> _Part:
    text = f"!({part.text})" if part.operator else f"!{part.text}"
    return _Part(text, finds=part.finds_negated, finds_negated=part.finds)


def _joined(parts: list[_Part | None], operator: str) -> _Part | None:
    """Parts with an operator between them; those without words are left out."""
    held = [part for part in parts if part]
    if len(held) < 2:  # noqa: PLR2004 - nothing to join
        return held[0] if held else None
    texts = [part.text if part.operator in {"", operator} else f"({part.text})" for part in held]
    every, some = (any, all) if operator == "&" else (all, any)
    return _Part(
        f" {operator} ".join(texts),
        finds=every(part.finds for part in held),
        finds_negated=some(part.finds_negated for part in held),
        operator=operator,
        sought=sum((part.sought for part in held), ()),
    )


def _refuse(reason: str) -> NoReturn:
    raise InvalidParameter("q", reason)


def _short(text: str) -> str:
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."


# Highlights


def highlight_matches(original: str, headline: str) -> str:
    """The original as HTML with <mark> around the matches that its folded headline shows.

    Without marks where the two do not belong to each other: PostgreSQL's Unicode may be newer.
    """
    texts = _MATCH.split(headline)
    folded, starts, ends = _walked(original)
    if folded != "".join(texts):
        return escape(original)
    html, place, done = [], 0, 0
    for text, match in zip(texts[::2], texts[1::2], strict=False):
        first = place + len(text)
        place = first + len(match)
        # two matches may share a character, as in ½
        start, end = max(done, starts[first]), ends[place - 1]
        if start < end:
            html += [escape(original[done:start]), "<mark>", escape(original[start:end]), "</mark>"]
            done = end
    return "".join([*html, escape(original[done:])])


def _walked(original: str) -> tuple[str, list[int], list[int]]:
    """The folded text, and where in the original each of its characters starts and ends."""
    folded = ""
    starts: list[int] = []
    ends: list[int] = []
    for piece in _PIECES.finditer(original):
        text = unaccent_text(piece[0])
        folded += text
        if piece[0].isascii():
            starts += range(piece.start(), piece.end())
            ends += range(piece.start() + 1, piece.end() + 1)
        else:
            starts += [piece.start()] * len(text)
            ends += [piece.end()] * len(text)
    return folded, starts, ends
