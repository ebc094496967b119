"""Words of the filters of `/results` as PostgreSQL's tsquery.

Texts are normalized as by the database function `unaccent_text`, character by character.
"""

import re
import unicodedata

from .metadata import tex
from .metadata.unicode_text import BASE_LETTERS, MARKS

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
        text = MARKS.sub("", unicodedata.normalize("NFKD", text))
        text = _SYMBOLS.sub(" ", unicodedata.normalize("NFC", text).translate(BASE_LETTERS))
    return text.translate(_SIGNS)


def build_word_tsqueries(text: str) -> list[str]:
    """Return text for `to_tsquery` for each word of a text; none for signs alone."""
    words = (word for word in unaccent_text(text).split() if any(map(str.isalnum, word)))
    return [_quote(word) for word in words]


def _quote(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
