"""Text to words, the same for papers and queries.

Words are in lower case and without accents; TeX is resolved. `AdS/CFT`, `GPT-4` and `f(R)` are
several consecutive words. A letter with `++`, `*` or `#` is a word as written: `C++`, `A*`, `C#`.
Each Chinese, Japanese or Korean character is a word.
"""

import re
import string
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import tantivy

from ..metadata import tex
from ..metadata.unicode_text import BASE_LETTERS, INVISIBLE, MARKS

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
_ATTACHED = f"[\u0300-\u036f\u3099\u309a\uff9e\uff9f{INVISIBLE}]"
_CHARACTER = re.compile(
    f"[\0-\x7f]+(?!{_ATTACHED})|(?:[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?|.){_ATTACHED}*",
    re.DOTALL,
)
"""A run of ASCII, or one character with its combining marks or Hangul letters."""
_RUN = re.compile(f"[\0-\x7f]+(?!{_ATTACHED})|[\0-\x7f]?[^\0-\x7f]+")
_LETTERS = BASE_LETTERS | str.maketrans("ς", "\u03c3")
_TO_SPACES = str.maketrans(dict.fromkeys([*string.punctuation, *map(chr, range(33)), "\x7f"], " "))


def fold_text(text: str) -> str:
    """Return a text in lower case, without TeX, accents and invisible characters."""
    return _fold_characters(tex.strip_tex(text))


def _fold_characters(text: str) -> str:
    if not text.isascii():
        text = MARKS.sub("", unicodedata.normalize("NFKD", text))
        text = unicodedata.normalize("NFC", text).translate(_LETTERS).lower()
        return text.translate(_LETTERS)  # the lower case of some letters is another one of these
    return text.lower()


def split_text(text: str) -> str:
    """Return the words of a text with a space between them."""
    text = fold_text(text)
    if not text.isascii():
        return " ".join(_WORD.findall(_SUPERSCRIPT.sub("", text)))
    if "*" in text or "+" in text or "#" in text:
        return " ".join(_ASCII_WORD.findall(_SUPERSCRIPT.sub("", text)))
    return text.translate(_TO_SPACES)


def split_words(text: str) -> list[str]:
    """Return the words of a text."""
    return split_text(text).split()


def locate_words(text: str) -> list[tuple[int, int]]:
    """Return the start and the end in a text of each of its words, as `split_words` returns them.

    Words share a character that means several ones: ½ is 1 and 2.
    """
    if text.isascii() and "\\" not in text and "^" not in text:
        return [match.span() for match in _ASCII_WORD.finditer(text.lower())]
    folded = fold_text(text)
    parts = _split_parts(text, _CHARACTER)
    if "".join(fold for _, fold in parts) != folded:  # some of the characters combine
        parts = _split_parts(text, _RUN)
    offsets = _map_offsets(parts)
    for superscript in reversed([*_SUPERSCRIPT.finditer(folded)]):
        del offsets[slice(*superscript.span())]
    words = _WORD.finditer(_SUPERSCRIPT.sub("", folded))
    return [(offsets[word.start()][0], offsets[word.end() - 1][1]) for word in words]


def _split_parts(text: str, part: re.Pattern[str]) -> list[tuple[str, str]]:
    """Return the parts that are folded on their own, and what each becomes."""
    parts, position = [], 0
    for markup in tex.MARKUP.finditer(text) if "\\" in text else ():
        parts += [(each, _fold_part(each)) for each in part.findall(text, position, markup.start())]
        parts.append((markup[0], tex.strip_tex(markup[0]).lower()))
        position = markup.end()
    return parts + [(each, _fold_part(each)) for each in part.findall(text, position)]


def _fold_part(part: str) -> str:
    return part.lower() if part.isascii() else _fold_character(part)


@lru_cache(maxsize=1024)
def _fold_character(character: str) -> str:
    return _fold_characters(character)


def _map_offsets(parts: Iterable[tuple[str, str]]) -> list[tuple[int, int]]:
    """Return for each folded character where its original starts and ends."""
    offsets: list[tuple[int, int]] = []
    start = 0
    for part, fold in parts:
        end = start + len(part)
        if len(fold) == end - start and part.isascii():
            offsets += zip(range(start, end), range(start + 1, end + 1), strict=True)
        else:
            offsets += [(start, end)] * len(fold)
        start = end
    return offsets


def stem_words(words: Iterable[str]) -> list[str]:
    """Return the English stem of each word."""
    return ANALYZERS[ENGLISH].analyze(" ".join(words))


ANALYZERS = {
    WHITESPACE: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build(),
    ENGLISH: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    .filter(tantivy.Filter.stemmer("english"))
    .build(),
}
