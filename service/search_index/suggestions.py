"""Suggestions while a query is typed: its last word is the beginning of a word."""

from collections.abc import Sequence
from heapq import nlargest
from itertools import islice
from operator import attrgetter
from threading import Lock
from typing import TypeVar

from cachetools import TTLCache
from msgspec import Struct
from tantivy import Query, Searcher

from ..models.filters import PaperFilter
from ..models.records import PaperVersion
from ..models.responses import SuggestedAuthor, SuggestedTerm
from .analysis import split_words
from .paper_index import count_papers, rank_papers
from .queries import match_all, match_any, restrict
from .schema import NAME_SEPARATOR, SCHEMA, fold_name

MIN_LETTERS = 2
"""Shorter queries have no suggestions."""
MAX_TERMS, MAX_AUTHORS, MAX_TITLES = 10, 10, 5
MAX_COMPLETIONS = 50
"""The most frequent completions of the last word, of which titles have one."""
MAX_NAMES = 200
"""The most frequent names, several of which may be spellings of one."""
MAX_SPELLINGS = 100
"""Of one name."""
COMPLETE = 3.0
"""By how much the last word itself counts more in a title than its completions."""

MAX_CACHED_PREFIX = 3
"""Letters of a prefix; longer ones have few terms."""
CACHED_PREFIXES, CACHE_SECONDS = 2000, 600

LATEST = PaperFilter()
_frequent_terms: TTLCache[tuple[str, str], list[str]] = TTLCache(CACHED_PREFIXES, CACHE_SECONDS)
_lock = Lock()

Counted = TypeVar("Counted", SuggestedTerm, SuggestedAuthor)


class FoundSuggestions(Struct, frozen=True):
    """What the index suggests; titles as the keys of their papers."""

    terms: list[SuggestedTerm]
    authors: list[SuggestedAuthor]
    titles: list[PaperVersion]


def find_suggestions(q: str, searcher: Searcher) -> FoundSuggestions:
    """Return suggestions from the latest versions of papers."""
    words = split_words(q)
    if len("".join(words)) < MIN_LETTERS:
        return FoundSuggestions([], [], [])
    completions = _list_completions(searcher, words)
    return FoundSuggestions(
        _count_terms(searcher, words, completions[: 2 * MAX_TERMS]),
        _list_authors(searcher, " ".join(words)),
        _find_titles(searcher, words, completions),
    )


def _list_completions(searcher: Searcher, words: Sequence[str]) -> list[str]:
    """Return the words of titles that begin with the last word and occur with the others."""
    others, last = words[:-1], words[-1]
    if not others:
        return _list_frequent(searcher, "title", last, MAX_COMPLETIONS)
    if len(last) == 1:
        frequent = _list_frequent(searcher, "title", last, MAX_COMPLETIONS)
        if len(frequent) == MAX_COMPLETIONS:  # a tenth of all words take too long to intersect
            return frequent
    latest = restrict(_match_titles(others), LATEST)
    return [word for word, _ in searcher.terms_with_prefix("title", last, latest, MAX_COMPLETIONS)]


def _list_frequent(searcher: Searcher, field: str, prefix: str, limit: int) -> list[str]:
    """Return the most frequent terms with a prefix.

    A short prefix takes long if there are many terms, but their most frequent ones hardly change.
    Their numbers of papers are therefore counted again.
    """
    key = field, prefix
    with _lock:
        terms = _frequent_terms.get(key)
    if terms is None:
        terms = [term for term, _ in searcher.terms_with_prefix(field, prefix, None, limit)]
        if len(terms) == limit and len(prefix) <= MAX_CACHED_PREFIX:
            with _lock:
                _frequent_terms[key] = terms
    return terms


def _count_terms(
    searcher: Searcher, words: Sequence[str], completions: Sequence[str]
) -> list[SuggestedTerm]:
    texts = [[*words[:-1], completion] for completion in completions]
    terms = [SuggestedTerm(" ".join(text), _count(searcher, _match_titles(text))) for text in texts]
    return _select(terms, MAX_TERMS)


def _list_authors(searcher: Searcher, prefix: str) -> list[SuggestedAuthor]:
    keys = _list_frequent(searcher, "author_name", prefix, MAX_NAMES)
    # the most frequent first, each once in whatever order and spelling its key has
    names = dict.fromkeys(fold_name(key.partition(NAME_SEPARATOR)[2]) for key in keys)
    authors = [_count_author(searcher, name) for name in islice(names, 2 * MAX_AUTHORS)]
    return _select(authors, MAX_AUTHORS)


def _count_author(searcher: Searcher, name: str) -> SuggestedAuthor:
    """Return the author with this folded name."""
    prefix = f"{name}{NAME_SEPARATOR}"
    spellings = searcher.terms_with_prefix("author_name", prefix, None, MAX_SPELLINGS)
    # other names have the same words in another order
    names = [key.removeprefix(prefix) for key, _ in spellings]
    names = [spelling for spelling in names if fold_name(spelling) == name]
    if not names:  # since it was cached, its papers have been changed
        return SuggestedAuthor(name, 0)
    papers = match_any([_match_name(f"{prefix}{spelling}") for spelling in names])
    return SuggestedAuthor(names[0], _count(searcher, papers))


def _match_name(key: str) -> Query:
    return Query.term_query(SCHEMA, "author_name", key, index_option="basic")


def _find_titles(
    searcher: Searcher, words: Sequence[str], completions: Sequence[str]
) -> list[PaperVersion]:
    if not completions:
        return []
    last = [_match_title(word) for word in completions]
    last.append(Query.boost_query(_match_title(words[-1]), COMPLETE))
    query = match_all([*map(_match_title, words[:-1]), match_any(last)])
    return rank_papers(searcher, restrict(query, LATEST), MAX_TITLES)


def _match_titles(words: Sequence[str]) -> Query:
    return match_all(map(_match_title, words))


def _match_title(word: str) -> Query:
    return Query.term_query(SCHEMA, "title", word)


def _count(searcher: Searcher, query: Query) -> int:
    return count_papers(searcher, restrict(query, LATEST))


def _select(found: Sequence[Counted], limit: int) -> list[Counted]:
    """Return those with the most papers, and none without a paper in its latest version."""
    return [each for each in nlargest(limit, found, attrgetter("papers")) if each.papers]
