"""Letters with accents and Greek ones in TeX, as arXiv stores them and its servers convert them."""

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
_GREEK: Final = {
    "alpha": "\u03b1",
    "beta": "\u03b2",
    "gamma": "\u03b3",
    "delta": "\u03b4",
    "epsilon": "\u03b5",
    "zeta": "\u03b6",
    "eta": "\u03b7",
    "theta": "\u03b8",
    "iota": "\u03b9",
    "kappa": "\u03ba",
    "lambda": "\u03bb",
    "mu": "\u03bc",
    "nu": "\u03bd",
    "xi": "\u03be",
    "pi": "\u03c0",
    "rho": "\u03c1",
    "sigma": "\u03c3",
    "tau": "\u03c4",
    "phi": "\u03d5",
    "varphi": "\u03c6",
    "chi": "\u03c7",
    "psi": "\u03c8",
    "omega": "\u03c9",
    "Gamma": "\u0393",
    "Delta": "\u0394",
    "Theta": "\u0398",
    "Lambda": "\u039b",
    "Xi": "\u039e",
    "Pi": "\u03a0",
    "Sigma": "\u03a3",
    "Phi": "\u03a6",
    "Psi": "\u03a8",
    "Omega": "\u03a9",
}
_GREEK_COMMANDS: Final = {letter: command for command, letter in _GREEK.items()}
_GREEK_COMMAND: Final = re.compile(rf"\\({'|'.join(_GREEK)})(?![a-zA-Z0-9])(?:\{{\}}| )?")
_GREEK_LETTER: Final = re.compile(rf"([{''.join(_GREEK.values())}])(?=(.?))", re.DOTALL)
_OTHER_LETTER: Final = re.compile(r"[^\x00-\x7f]")
_ENDS_COMMAND: Final = frozenset({"", *"$_^,;:)}"})
"""What may follow a command directly."""
_ACCENT: Final = re.compile(
    r"\\(?:(?P<sign>[`'^~=.\"])(?:(?P<letter>[a-zA-Z])|\{(?P<braced>[a-zA-Z])\})"
    r"|(?P<name>[urHvck])\{(?P<named>[a-zA-Z])\})"
)


def encode_tex(text: str) -> str:
    """Return the text with TeX commands instead of letters with one accent and Greek ones."""
    if text.isascii():
        return text
    text = _OTHER_LETTER.sub(lambda found: _encode_letter(found[0]), text)
    return _GREEK_LETTER.sub(_encode_greek, text)


def _encode_greek(found: Match[str]) -> str:
    letter, following = found.groups()
    separator = "" if following in _ENDS_COMMAND else "{}" if following == " " else " "
    return f"\\{_GREEK_COMMANDS[letter]}{separator}"


def _encode_letter(letter: str) -> str:
    if letter in _LETTERS:
        return _LETTERS[letter]
    decomposed = unicodedata.normalize("NFD", letter)
    base, mark = decomposed[0], decomposed[1:]
    if mark not in _COMMANDS or not base.isascii():
        return letter
    command = _COMMANDS[mark]
    return f"\\{command}{{{base}}}" if command.isalpha() else f"\\{command}{base}"


def decode_tex(text: str) -> str:
    """Return the text with letters instead of TeX commands; as on arXiv, a space after is lost."""
    if "\\" not in text:
        return text
    text = _GREEK_COMMAND.sub(lambda found: _GREEK[found[1]], text)
    for letter, command in _LETTERS.items():
        text = text.replace(command, letter)
    return _ACCENT.sub(_decode_accent, text)


def _decode_accent(found: Match[str]) -> str:
    letter = found["letter"] or found["braced"] or found["named"]
    composed = unicodedata.normalize("NFC", letter + _MARKS[found["sign"] or found["name"]])
    return composed if len(composed) == 1 else letter
