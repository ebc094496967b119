"""Corrected queries in place of one that finds nothing because of misspelled words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import structs
from tantivy import Query, Searcher

from ..errors import InvalidParameter
from ..models.filters import PaperFilter
from ..models.records import PaperRow
from ..paper_query import (
    SEARCHED_FIELDS,
    And,
    Field,
    Node,
    Or,
    Reference,
    Words,
    iterate_words,
    parse_query,
)
from .analysis import locate_words, split_words
from .paper_index import count_papers
from .queries import build_node, build_query, restrict

MAX_MISSPELLED = 3
"""Words of a query that are corrected together."""
MAX_CORRECTIONS = 3
MAX_COUNTED = 8
"""Corrected queries whose papers are counted."""
MAX_PAPERS = 30
"""Papers from which corrections are taken."""
MIN_LETTERS, MIN_LETTERS_FOR_TWO, MAX_LETTERS = 4, 8, 40
"""Of words in which one or two letters may be wrong."""


class MisspelledWord(NamedTuple):
    """A word of a query that is in none of its fields."""

    word: str
    field: Field | None
    start: int
    end: int
    """Where it is in the query."""


class _Correction(NamedTuple):
    q: str
    distance: int
    """The number of letters that it changes."""


def find_misspelled(filters: PaperFilter, searcher: Searcher) -> list[MisspelledWord]:
    """Return the words that no paper has in the fields in which they are searched."""
    q = filters.q or ""
    return [
        word
        for words in iterate_words(parse_query(q))
        if not words.is_prefix
        for word in _locate(q, words)
        if len(word.word) <= MAX_LETTERS
        and not _is_known(words._replace(words=(word.word,)), filters, searcher)
    ]


def _locate(q: str, words: Words) -> Iterator[MisspelledWord]:
    start = words.position - 1
    text = q[start : words.end]
    for word, (first, last) in zip(split_words(text), locate_words(text), strict=True):
        if word in words.words:
            yield MisspelledWord(word, words.field, start + first, start + last)


def _is_known(word: Words, filters: PaperFilter, searcher: Searcher) -> bool:
    frequency = max(searcher.doc_freq(field, word.words[0]) for field in word.searched_fields)
    if frequency > searcher.doc_freq("superseded", 1):  # saves the search for the slowest words
        return True
    query = restrict(build_node(word), PaperFilter(all_versions=filters.all_versions))
    return bool(searcher.search(query, 1, count=False).hits)


def list_distances(misspelled: Sequence[MisspelledWord]) -> list[int]:
    """Return by how many letters corrections may differ, the most likely first."""
    longest = max((len(word.word) for word in misspelled), default=0)
    if len(misspelled) > MAX_MISSPELLED or longest < MIN_LETTERS:
        return []
    return [1, 2] if longest >= MIN_LETTERS_FOR_TWO else [1]


def _limit_distance(word: str, distance: int) -> int:
    limit = (len(word) >= MIN_LETTERS) + (len(word) >= MIN_LETTERS_FOR_TWO)
    return min(distance, limit)


def build_fuzzy_query(
    filters: PaperFilter, misspelled: Sequence[MisspelledWord], distance: int
) -> Query:
    """Return a query for the papers that match if these words are replaced by similar ones."""
    distances = {each.word: _limit_distance(each.word, distance) for each in misspelled}
    tree = parse_query(filters.q or "")
    assert not isinstance(tree, Reference)  # noqa: S101 - it has no words
    return restrict(build_node(_allow_distances(tree, distances)), filters)


def _allow_distances(node: Node, distances: dict[str, int]) -> Node:
    match node:
        case Words() if distances.keys() & node.words:
            return node._replace(distances=tuple(distances.get(word, 0) for word in node.words))
        case And(operands):
            return And(tuple(_allow_distances(each, distances) for each in operands))
        case Or(operands):
            return Or(tuple(_allow_distances(each, distances) for each in operands))
    return node


def list_corrections(
    filters: PaperFilter,
    misspelled: Sequence[MisspelledWord],
    distance: int,
    papers: Iterable[PaperRow],
    searcher: Searcher,
) -> list[str]:
    """Return corrected queries that find papers, with words of these papers, best first."""
    found = Counter(_correct(filters.q or "", misspelled, distance, paper) for paper in papers)
    counts = {
        correction: _count(structs.replace(filters, q=correction.q), searcher)
        for correction, _ in found.most_common(MAX_COUNTED)
    }
    useful = [correction for correction, count in counts.items() if count]
    useful.sort(key=lambda correction: (correction.distance, -counts[correction], correction.q))
    return [correction.q for correction in useful[:MAX_CORRECTIONS]]


def _count(filters: PaperFilter, searcher: Searcher) -> int:
    try:
        return count_papers(searcher, build_query(filters))
    except InvalidParameter:  # the word would be an operator, or the query is too long
        return 0


def _correct(
    q: str, misspelled: Sequence[MisspelledWord], distance: int, paper: PaperRow
) -> _Correction:
    """Replace the words by the most similar ones of a paper."""
    total = 0
    for each in reversed(misspelled):
        limit = _limit_distance(each.word, distance)
        candidates = [
            (difference, word)
            for word in _list_words(paper, each.field)
            if abs(len(word) - len(each.word)) <= limit
            # fast, and excludes most words: a changed letter is in one word only, or in each
            and len({*word} ^ {*each.word}) <= 2 * limit
            and (difference := compute_distance(each.word, word)) <= limit
        ]
        if candidates:
            difference, word = min(candidates)
            is_capital = q[each.start].isupper()
            q = q[: each.start] + (word.capitalize() if is_capital else word) + q[each.end :]
            total += difference
    return _Correction(q, total)


def _list_words(paper: PaperRow, field: Field | None) -> set[str]:
    texts = {
        "title": paper.title,
        "author": " ; ".join(paper.authors),
        "abstract": paper.abstract,
        "note": f"{paper.comment or ''} ; {paper.journal or ''}",
    }
    return {
        word
        for name in ([field] if field else SEARCHED_FIELDS)
        for word in split_words(texts[name] or "")
    }


def compute_distance(first: str, second: str) -> int:
    """Return how many letters differ; two neighbouring letters in another order are one."""
    before: list[int] = []
    row: list[int] = [*range(len(second) + 1)]
    for i, letter in enumerate(first, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and (letter, other) == (second[j - 2], first[i - 2]):
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
