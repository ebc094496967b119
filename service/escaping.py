"""Escapes for characters that are invisible, or that control a terminal or the order of text."""

import json
from unicodedata import category

# controls, format characters (such as U+202E), lone surrogates, line and paragraph separators
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_hidden(character: str) -> bool:
    r"""Return whether a character must not reach a log or a terminal as it is, such as `\x1b`."""
    return category(character) in _HIDDEN


def escape_hidden(text: str) -> str:
    r"""Return the text on one line, with hidden characters as in Python: `\n`, `\x9b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if is_hidden(character) else character
        for character in text
    )


def escape_hidden_in_json(text: str) -> str:
    r"""Return JSON that means the same, with hidden characters as `\u202e`; line breaks remain."""
    if text.isprintable():
        return text
    return "".join(
        json.dumps(character)[1:-1] if is_hidden(character) and character != "\n" else character
        for character in text
    )
