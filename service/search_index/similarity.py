"""Papers that share significant words with a paper."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tantivy import Occur, Query, Searcher

from ..models.filters import PaperFilter
from ..models.records import PaperRow
from .analysis import split_words, stem_words
from .queries import match_any, match_paper, restrict
from .schema import SCHEMA

MAX_TERMS = 25
"""Significant words of a paper."""
TITLE_WEIGHT = 3
"""A word in a title counts as so many in the abstract."""
MAX_SHARE = 0.1
"""Of papers that have a significant word; stop words are in more."""
MIN_LIMIT, SMALL_SHARE = 10, 2 / 3
"""In a small collection, a significant word may be in so many papers, or in this share of them."""


class SignificantWord(NamedTuple):
    """A word that distinguishes a paper from most others."""

    stem: str
    word: str
    """The form that the paper has most often."""
    frequency: int
    significance: float


def find_significant_words(paper: PaperRow, searcher: Searcher) -> list[SignificantWord]:
    """Return the words of a paper that are frequent in it and rare elsewhere, best first."""
    title, abstract = split_words(paper.title), split_words(paper.abstract or "")
    forms: dict[str, Counter[str]] = {}
    for words, weight in (title, TITLE_WEIGHT), (abstract, 1):
        for word, stem in zip(words, stem_words(words), strict=True):
            forms.setdefault(stem, Counter())[word] += weight
    versions, papers = searcher.doc_freq("arxiv_id", paper.arxiv_id), searcher.num_docs
    limit = max(MAX_SHARE * papers, min(MIN_LIMIT, SMALL_SHARE * papers))
    found = []
    for stem, counts in forms.items():
        frequencies = [searcher.doc_freq(field, stem) for field in ("title_stem", "abstract_stem")]
        # a word that only this paper has does not find others
        if max(frequencies) <= limit and sum(frequencies) > versions:
            [(word, _)], count = counts.most_common(1), counts.total()
            rarity = math.log(1 + papers / max(frequencies))
            found.append(SignificantWord(stem, word, count, _compute_weight(count) * rarity))
    return sorted(found, key=lambda each: (-each.significance, each.stem))[:MAX_TERMS]


def _compute_weight(count: int) -> float:
    return 1 + math.log(count)


def build_similar_query(
    arxiv_id: str, words: Sequence[SignificantWord], filters: PaperFilter
) -> Query:
    """Return a query for other papers that have some of these words, rare ones counting more."""
    clauses = [
        Query.boost_query(Query.term_query(SCHEMA, field, word.stem), boost * weight)
        for word in words
        for weight in [_compute_weight(word.frequency)]
        for field, boost in (("title_stem", TITLE_WEIGHT), ("abstract_stem", 1))
    ]
    others = [(Occur.Must, match_any(clauses)), (Occur.MustNot, match_paper(arxiv_id))]
    return restrict(Query.boolean_query(others), filters)


def list_shared_words(paper: PaperRow, words: Sequence[SignificantWord]) -> list[str]:
    """Return those of the words that a paper has, in the same order."""
    stems = {*stem_words(split_words(f"{paper.title} {paper.abstract or ''}"))}
    return [each.word for each in words if each.stem in stems]
