"""Operators and fields in spellings of other query languages, which would be searched as words."""

import re
from collections.abc import Collection
from urllib.parse import unquote, unquote_plus

MAX_EXCERPT = 60  # characters of a query quoted in an error message

_ENCODED = re.compile(r"%(?:2[0289B]|3A|5[BD])", re.IGNORECASE)
"""A percent-encoded character that has a meaning in a query."""
_PLUS_OPERATOR = re.compile(r"(?:^|\+)(?:ANDNOT|AND|OR|NOT)(?=\+|$)")
_SYMBOLS = {"&&": "AND", "||": "OR"}
_OMITTED = {'"': '"..."', "(": "(...)"}
_REQUEST = "search_query="
_EXCLUDED = re.compile(r'(?P<field>\w+:)?[-!\u2010-\u2015\u2212](?=[^\W_]|["(])')
_FIELD_SIGN = re.compile(r"(\w+)[=\uff1a](?=\S)")
_SPLIT_OPERATOR = re.compile(r"(?!ANDNOT)(?i:and[-_]?not)")
_INNER_FIELD = re.compile(r"[^\w:.](\w+):")


def find_misspelling(token: re.Match[str], fields: Collection[str], exclusion: str) -> str | None:
    """Return the problem of an unquoted word and the correct spelling, or None.

    `fields` are in lower case; `exclusion` has a placeholder for what is excluded.
    """
    word = token[0]
    if _REQUEST in word:
        query = unquote_plus(word.partition(_REQUEST)[2].partition("&")[0])
        return f"write only the query, {shorten(query)}, without {_REQUEST}"
    problem = _find_encoding(word) or _find_operator(word) or _find_field(word, fields)
    if match := _EXCLUDED.match(token.string, token.start()):
        rest = shorten((match["field"] or "") + token.string[match.end() : token.end()])
        if not rest or rest.endswith(":"):
            rest += _OMITTED.get(token.string[token.end() : token.end() + 1], "")
        problem = f"write {exclusion.format(rest)}, not {shorten(word)}"
    return problem and f"{problem}; put it in quotes to search for the text"


def shorten(text: str) -> str:
    """Return the beginning of a text, for an error message."""
    return text if len(text) <= MAX_EXCERPT else f"{text[:MAX_EXCERPT]}..."


def _find_encoding(word: str) -> str | None:
    if _ENCODED.search(word):
        return f"it is percent-encoded twice: write {_decode(unquote(word))}"
    if "+" in word and _PLUS_OPERATOR.search(word):
        return f"a + is not a space here: write {_decode(word)}"
    return None


def _decode(word: str) -> str:
    return shorten(word.replace("+", " ").strip() if _PLUS_OPERATOR.search(word) else word)


def _find_operator(word: str) -> str | None:
    if word == "|":
        return "write OR, not |"
    if _SPLIT_OPERATOR.fullmatch(word):
        return f"write ANDNOT, not {word}"
    return next((f"write {_SYMBOLS[sign]}, not {sign}" for sign in _SYMBOLS if sign in word), None)


def _find_field(word: str, fields: Collection[str]) -> str | None:
    match = _FIELD_SIGN.match(word)
    if match and match[1].lower() in fields:
        return f"write {match[1]}:{shorten(word[match.end() :])}, not {shorten(word)}"
    names = (name for name in _INNER_FIELD.findall(word) if name.lower() in fields)
    return next((f"write a space before {name}: in {shorten(word)}" for name in names), None)
