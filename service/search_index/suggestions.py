"""Suggestions while a query is typed: its last word is the beginning of a word."""

from collections import Counter
from collections.abc import Sequence
from heapq import nlargest
from operator import attrgetter
from typing import TypeVar

from msgspec import Struct
from tantivy import Query, Searcher

from ..models.filters import PaperFilter
from ..models.records import PaperVersion
from ..models.responses import SuggestedAuthor, SuggestedTerm
from .analysis import split_words
from .paper_index import count_papers, rank_papers
from .queries import match_all, match_any, restrict
from .schema import NAME_SEPARATOR, SCHEMA

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

LATEST = PaperFilter()

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
    others = restrict(_match_titles(words[:-1]), LATEST) if words[:-1] else None
    found = searcher.terms_with_prefix("title", words[-1], others, MAX_COMPLETIONS)
    return [word for word, _ in found]


def _count_terms(
    searcher: Searcher, words: Sequence[str], completions: Sequence[str]
) -> list[SuggestedTerm]:
    texts = [[*words[:-1], completion] for completion in completions]
    terms = [SuggestedTerm(" ".join(text), _count(searcher, _match_titles(text))) for text in texts]
    return _select(terms, MAX_TERMS)


def _list_authors(searcher: Searcher, prefix: str) -> list[SuggestedAuthor]:
    keys = searcher.terms_with_prefix("author_name", prefix, limit=MAX_NAMES)
    # a name is there twice if it begins with the prefix in both orders
    counts = {key.partition(NAME_SEPARATOR)[2]: count for key, count in keys}
    names: Counter[str] = Counter()
    for name, count in counts.items():
        names[_fold(name)] += count
    authors = [_count_author(searcher, name) for name, _ in names.most_common(2 * MAX_AUTHORS)]
    return _select(authors, MAX_AUTHORS)


def _count_author(searcher: Searcher, name: str) -> SuggestedAuthor:
    """Return the author with this folded name."""
    prefix = f"{name}{NAME_SEPARATOR}"
    spellings = searcher.terms_with_prefix("author_name", prefix, None, MAX_SPELLINGS)
    # other names have the same words in another order
    keys = [key for key, _ in spellings if _fold(key.removeprefix(prefix)) == name]
    papers = Query.term_set_query(SCHEMA, "author_name", keys)
    return SuggestedAuthor(keys[0].removeprefix(prefix), _count(searcher, papers))


def _fold(name: str) -> str:
    return " ".join(split_words(name))


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
