"""Text as it can stand in a line of any file."""

import re

# Neither XML nor UTF-8 holds all of these, and nobody sees any. Those that are white space stay.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def line(text: str | None) -> str:
    """The text on one line, without control characters and halves of surrogate pairs."""
    return " ".join(_UNSEEN.sub("", text).split()) if text else ""
