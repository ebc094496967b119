"""Matches of a query in the texts of a paper, as HTML."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from html import escape
from typing import Any

from .models.records import PaperRow
from .paper_query import SEARCHED_FIELDS, Words, find_terms, parse_query
from .search_index.analysis import locate_words, split_words, stem_words

_NAME_END = "\x1f"
"""Between two names; not a part of any word."""

_GROUP_SIZE = 100
"""Names that are examined together. Words are located only in groups with matches."""

Span = tuple[int, int]


def highlight(text: str, terms: Sequence[Words]) -> str | None:
    """Return the text as HTML with <mark> around words that match, or None if none do.

    Unquoted words match all words with the same stem.
    """
    matches = [*_find_matches(text, terms)]
    if not matches:
        return None
    words = locate_words(text)
    if _NAME_END in text:
        matches = [match for match in matches if not _is_divided(text, words[match])]
    places = {place for match in matches for place in range(match.start, match.stop)}
    return _mark(text, [words[place] for place in sorted(places)])


def highlight_names(names: Sequence[str], terms: Sequence[Words]) -> list[str] | None:
    """Return names as HTML like `highlight`.

    Words match exactly, and several words match within one name.
    """
    exact = [term._replace(is_exact=True) for term in terms]
    texts = [
        _NAME_END.join(names[start : start + _GROUP_SIZE])
        for start in range(0, len(names), _GROUP_SIZE)
    ]
    html = [highlight(text, exact) for text in texts]
    if not any(html):
        return None
    shown = (marked or escape(text) for marked, text in zip(html, texts, strict=True))
    return _NAME_END.join(shown).split(_NAME_END)


def find_highlights(row: PaperRow, q: str) -> dict[str, Any]:
    """Return what a query matches in a paper, as HTML by field; a list of names for `authors`.

    Raises InvalidParameter.
    """
    if not q:
        return {}
    query = parse_query(q)
    title, authors, abstract, note = (find_terms(query, field) for field in SEARCHED_FIELDS)
    found = {
        "title": highlight(row.title, title),
        "authors": highlight_names(row.authors, authors),
        "abstract": highlight(row.abstract or "", abstract),
        "comment": highlight(row.comment or "", note),
        "journal": highlight(row.journal or "", note),
    }
    return {name: html for name, html in found.items() if html}


def format_highlights(row: PaperRow, q: str) -> dict[str, str]:
    """Return what a query matches in a paper, as HTML by field. Raises InvalidParameter."""
    highlights = find_highlights(row, q)
    if names := highlights.get("authors"):
        highlights["authors"] = ", ".join(names)
    return highlights


def _is_divided(text: str, spans: Sequence[Span]) -> bool:
    """Return whether consecutive words belong to different names."""
    return _NAME_END in text[spans[0][0] : spans[-1][1]]


class _TextWords:
    """The words of a text by the forms in which terms may match them."""

    def __init__(self, text: str) -> None:
        self.exact = split_words(text)

    @cached_property
    def stems(self) -> list[str]:
        return stem_words(self.exact)

    @cached_property
    def exact_places(self) -> dict[str, list[int]]:
        return _index_places(self.exact)

    @cached_property
    def stem_places(self) -> dict[str, list[int]]:
        return _index_places(self.stems)


def _index_places(words: Iterable[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word, []).append(place)
    return places


def _find_matches(text: str, terms: Iterable[Words]) -> Iterator[slice]:
    """Yield the range of words of each match."""
    words = _TextWords(text)
    for term in terms:
        count = len(term.words)
        yield from (slice(place, place + count) for place in _find_places(words, term))


def _find_places(words: _TextWords, term: Words) -> Iterable[int]:
    if term.is_prefix:
        return _find_prefix(words, term.words[:-1], term.words[-1])
    if term.is_exact:
        return _find_sequence(words.exact, words.exact_places, [*term.words])
    return _find_sequence(words.stems, words.stem_places, _stem(term.words))


def _find_sequence(
    words: list[str], places: dict[str, list[int]], sequence: list[str]
) -> Iterable[int]:
    found = places.get(sequence[0], [])
    if len(sequence) == 1:
        return found
    return (place for place in found if words[place : place + len(sequence)] == sequence)


def _find_prefix(words: _TextWords, preceding: tuple[str, ...], prefix: str) -> Iterator[int]:
    if not preceding:
        for word, places in words.exact_places.items():
            if word.startswith(prefix):
                yield from places
        return
    count = len(preceding)
    for place in _find_sequence(words.exact, words.exact_places, [*preceding]):
        if "".join(words.exact[place + count : place + count + 1]).startswith(prefix):
            yield place


@lru_cache(maxsize=1024)
def _stem(words: tuple[str, ...]) -> list[str]:
    return stem_words(words)


def _mark(text: str, spans: Iterable[Span]) -> str | None:
    html, done = [], 0
    for start, end in _join_spans(spans):
        html += [escape(text[done:start]), "<mark>", escape(text[start:end]), "</mark>"]
        done = end
    return "".join([*html, escape(text[done:])]) if html else None


def _join_spans(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield sorted spans without overlaps; adjacent ones become one."""
    joined: Span | None = None
    for start, end in spans:
        if joined and start <= joined[1]:
            joined = joined[0], max(joined[1], end)
            continue
        if joined:
            yield joined
        joined = start, end
    if joined:
        yield joined
