"""Text to words, the same for papers and queries.

Words are in lower case and without accents; TeX is resolved. `AdS/CFT`, `GPT-4` and `f(R)` are
several consecutive words. A letter with `++`, `*` or `#` is a word as written: `C++`, `A*`, `C#`.
Each Chinese, Japanese or Korean character is a word.
"""

import re
import string
import unicodedata
from collections.abc import Iterable

import tantivy

from ..metadata import tex
from ..metadata.unicode_text import INVISIBLE

WHITESPACE, ENGLISH = "whitespace", "english"
"""The analyzers of the index: for exact words, and for their stems."""

# scripts without spaces between words; a query for a part of a text is a phrase
_CJK = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
# scripts whose vowel signs are not letters for Python
_INDIC = "\u0900-\u0963\u0966-\u0dff\u0e01-\u0edf"
_SYMBOL = r"(?<![^\W_])[a-z](?:\+\+|[*#])"
_WORD = re.compile(rf"{_SYMBOL}|[{_CJK}]|(?:[^\W_{_CJK}]|[{_INDIC}])+")
_ASCII_WORD = re.compile(rf"{_SYMBOL}|[a-z0-9]+")
_SUPERSCRIPT = re.compile(r"\^ ?\{?(?=[*+])")
_MARKS = re.compile(f"[\u0300-\u036f{INVISIBLE}]+")
_LETTERS = str.maketrans("øØłŁđĐħĦıȷðÐŋŊς", "oOlLdDhHijdDnN\u03c3") | str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
)
_TO_SPACES = str.maketrans(dict.fromkeys([*string.punctuation, *map(chr, range(33)), "\x7f"], " "))


def fold_text(text: str) -> str:
    """Return a text in lower case, without TeX, accents and invisible characters."""
    text = tex.strip_tex(text)
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFC", text).translate(_LETTERS).lower()
        return text.translate(_LETTERS)  # the lower case of some letters is another one of these
    return text.lower()


def split_text(text: str) -> str:
    """Return the words of a text with a space between them."""
    text = fold_text(text)
    if not text.isascii():
        return " ".join(_WORD.findall(_SUPERSCRIPT.sub("", text)))
    if "*" in text or "++" in text or "#" in text:
        return " ".join(_ASCII_WORD.findall(_SUPERSCRIPT.sub("", text)))
    return text.translate(_TO_SPACES)


def split_words(text: str) -> list[str]:
    """Return the words of a text."""
    return split_text(text).split()


def stem_words(words: Iterable[str]) -> list[str]:
    """Return the English stem of each word."""
    return ANALYZERS[ENGLISH].analyze(" ".join(words))


ANALYZERS = {
    WHITESPACE: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build(),
    ENGLISH: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    .filter(tantivy.Filter.stemmer("english"))
    .build(),
}
