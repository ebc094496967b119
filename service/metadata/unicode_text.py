"""Unicode characters that people paste without seeing a difference."""

import re

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's property Default_Ignorable_Code_Point, as ranges of a regular expression: soft hyphens,
zero-width spaces, marks of direction, byte order marks, variation selectors. The SQL function
`unaccent_text` has the same ranges."""
MARKS = re.compile(f"[\u0300-\u036f{INVISIBLE}]+")
"""Accents as combining characters, and invisible characters."""
BASE_LETTERS = str.maketrans("øØłŁđĐħĦıȷðÐŋŊ", "oOlLdDhHijdDnN") | str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
)
"""What is written without accents for letters that Unicode does not decompose. The SQL function
`unaccent_text` has the same letters."""
XML_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
"""The characters that production 2 of XML 1.0 leaves out, as ranges of a regular expression."""
_IGNORABLE = re.compile(f"[{INVISIBLE}]+")
_WIDE_PUNCTUATION = str.maketrans("：，；、。", ":,;,.")  # noqa: RUF001
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»❝❞＂〝〞〟「」『』", '"'))  # noqa: RUF001
_SINGLE_QUOTED = re.compile(
    r'"[^"]*"?'  # a phrase may contain single quotes
    # an apostrophe has a letter on both sides
    r"|(?<!\w)[‘‚‛‹›＇](?P<text>(?:[^‘’‚‛‹›＇\"]|(?<=\w)[’＇](?=\w))+)[‘’‹›＇](?!\w)"  # noqa: RUF001
)


def remove_invisible(text: str) -> str:
    """Return the text without characters that are displayed as nothing, not even as a space."""
    return text if text.isascii() else _IGNORABLE.sub("", text)


def narrow_punctuation(text: str) -> str:
    """Return the text with ASCII punctuation instead of that of East Asian keyboards."""
    return text if text.isascii() else text.translate(_WIDE_PUNCTUATION)


def straighten_quotes(text: str) -> str:
    """Return the text with straight double quotes instead of typographic quotes.

    Single quotes are replaced in pairs around words. An apostrophe stays.
    """
    if text.isascii():
        return text
    return _SINGLE_QUOTED.sub(_straighten_pair, text.translate(_DOUBLE_QUOTES))


def _straighten_pair(match: re.Match[str]) -> str:
    return match[0] if match["text"] is None else f'"{match["text"]}"'
