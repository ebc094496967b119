"""Letters with accents in TeX, as arXiv stores them and as its servers convert them."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from re import Match

_MARKS: Final = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    ".": "\u0307",
    '"': "\u0308",
    "u": "\u0306",
    "r": "\u030a",
    "H": "\u030b",
    "v": "\u030c",
    "c": "\u0327",
    "k": "\u0328",
}
_COMMANDS: Final = {mark: command for command, mark in _MARKS.items()}
_LETTERS: Final = {
    "ł": r"{\l}",
    "Ł": r"{\L}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "ß": r"{\ss}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
}
_ACCENT: Final = re.compile(
    r"\\(?:(?P<sign>[`'^~=.\"])(?:(?P<letter>[a-zA-Z])|\{(?P<braced>[a-zA-Z])\})"
    r"|(?P<name>[urHvck])\{(?P<named>[a-zA-Z])\})"
)


def encode_accents(text: str) -> str:
    """Return the text with TeX commands instead of letters with one accent."""
    return text if text.isascii() else "".join(map(_encode_letter, text))


def _encode_letter(letter: str) -> str:
    if letter in _LETTERS:
        return _LETTERS[letter]
    decomposed = unicodedata.normalize("NFD", letter)
    base, mark = decomposed[0], decomposed[1:]
    if mark not in _COMMANDS or not base.isascii():
        return letter
    command = _COMMANDS[mark]
    return f"\\{command}{{{base}}}" if command.isalpha() else f"\\{command}{base}"


def decode_accents(text: str) -> str:
    """Return the text with letters instead of TeX commands for accents."""
    for letter, command in _LETTERS.items():
        text = text.replace(command, letter)
    return _ACCENT.sub(_decode_accent, text)


def _decode_accent(found: Match[str]) -> str:
    letter = found["letter"] or found["braced"] or found["named"]
    composed = unicodedata.normalize("NFC", letter + _MARKS[found["sign"] or found["name"]])
    return composed if len(composed) == 1 else letter
