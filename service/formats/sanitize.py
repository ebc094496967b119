"""Removal of characters that a format cannot contain."""

import re

# Control characters except white space, lone surrogates, non-characters: invalid in XML or UTF-8.
_INVALID = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def to_single_line(text: str | None) -> str:
    """Return the text on one line, without control characters and lone surrogates."""
    return " ".join(_INVALID.sub("", text).split()) if text else ""
