"""An index of papers that can be searched by every field of arXiv's query language."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from demo.query import BinaryOp, Not, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from demo.papers import Paper
    from demo.query import Node

Hits = dict[int, int]
"""Paper numbers with their scores."""


class UnsupportedQueryError(RuntimeError):
    """A query that arXiv's server can parse but fails to execute."""


_WORD: Final = re.compile(r"\w+")
_PLAIN: Final = str.maketrans("øłđ", "old")  # letters that do not decompose


def split_words(text: str) -> list[str]:
    """Split a text into words, without case and accents; underscores do not separate words."""
    text = text.casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).translate(_PLAIN)
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return _WORD.findall(text)


class TextIndex:
    """An inverted index of one text field."""

    def __init__(self, texts: Iterable[str], weight: int) -> None:
        """Index the texts; the n-th text belongs to paper n."""
        self.weight = weight
        self.lines: list[str] = []
        self.papers: defaultdict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(texts):
            words = split_words(text)
            self.lines.append(f" {' '.join(words)} ")
            for word in words:
                self.papers[word].add(number)

    def find(self, value: str) -> Hits:
        """Find the papers that contain the value as a phrase."""
        words = split_words(value)
        phrase = f" {' '.join(words)} "
        counts = ((n, self.lines[n].count(phrase)) for n in self.find_candidates(words))
        return {number: count * self.weight for number, count in counts if count}

    def find_candidates(self, words: Sequence[str]) -> set[int]:
        """Find the papers that contain all these words."""
        sets = [self.papers.get(word, set()) for word in words]
        return set.intersection(*sets) if sets else set()


class Library:
    """Papers with an index for each field of the query language."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        """Index the papers."""
        self.papers = papers
        self.numbers = {paper.arxiv_id: number for number, paper in enumerate(papers)}
        self._titles = TextIndex((paper.title for paper in papers), weight=5)
        self._abstracts = TextIndex((paper.abstract for paper in papers), weight=1)
        self._comments = TextIndex((paper.comment or "" for paper in papers), weight=1)
        self._journals = TextIndex((paper.journal_ref or "" for paper in papers), weight=2)
        self._reports = TextIndex((paper.report_number or "" for paper in papers), weight=2)
        self._author_names = [
            [set(split_words(author.name)) for author in paper.authors] for paper in papers
        ]
        self._authors = TextIndex(
            (" ".join(author.name for author in paper.authors) for paper in papers), weight=3
        )
        self._categories: defaultdict[str, list[int]] = defaultdict(list)
        self._dois: defaultdict[str, list[int]] = defaultdict(list)
        self._years: defaultdict[str, list[int]] = defaultdict(list)
        for number, paper in enumerate(papers):
            self._years[str(paper.submitted.year)].append(number)
            for category in paper.categories:
                self._categories[category].append(number)
            for doi in paper.dois:
                self._dois[doi.casefold()].append(number)
        self._finders: dict[str, Callable[[str], Hits]] = {
            "ti": self._titles.find,
            "abs": self._abstracts.find,
            "co": self._comments.find,
            "jr": self._journals.find,
            "rn": self._reports.find,
            "au": self._find_by_author,
            "cat": self._find_by_category,
            "id": self._find_by_id,
            "doi": self._find_by_doi,
            "submittedDate": self._find_by_date,
            # load tests repeat the same word; the result is never modified
            "all": lru_cache(maxsize=64)(self._find_in_all_fields),
        }

    def find(self, tree: Node) -> Hits:
        """Find the papers that match a query."""
        match tree:
            case Term(_, ""):
                return dict.fromkeys(range(len(self.papers)), 0)
            case Term(field, value, quoted):
                _check_value(field, value, quoted=quoted)
                return self._finders[field](value)
            case Not(Term() as term):
                return dict.fromkeys(set(range(len(self.papers))) - self.find(term).keys(), 0)
            case Not():
                message = "the server negates single terms only, not groups"
                raise UnsupportedQueryError(message)
            case BinaryOp(left, "AND", right):
                left_hits, right_hits = self.find(left), self.find(right)
                return {
                    number: left_hits[number] + right_hits[number]
                    for number in left_hits.keys() & right_hits
                }
            case BinaryOp(left, "OR", right):
                return _add_scores(self.find(left), self.find(right))
            case BinaryOp(left, _, right):
                left_hits, right_hits = self.find(left), self.find(right)
                return {
                    number: score for number, score in left_hits.items() if number not in right_hits
                }

    def _find_in_all_fields(self, value: str) -> Hits:
        return _add_scores(
            self._titles.find(value),
            self._find_by_author(value),
            self._abstracts.find(value),
            self._comments.find(value),
            self._journals.find(value),
            self._reports.find(value),
            self._find_by_id(value),
            self._find_by_doi(value),
            dict.fromkeys(self._categories.get(value, ()), 1),
            dict.fromkeys(self._years.get(value, ()), 1),
        )

    def _find_by_author(self, value: str) -> Hits:
        """Find papers of which one author's name contains all words, in any order."""
        words = split_words(value)
        name_words = set(words)
        return {
            number: self._authors.weight
            for number in self._authors.find_candidates(words)
            if any(name_words <= name for name in self._author_names[number])
        }

    def _find_by_category(self, value: str) -> Hits:
        """Find papers by category, case-sensitively; `*` matches any characters."""
        names = [name for name in self._categories if fnmatchcase(name, value)]
        return _add_scores(*(dict.fromkeys(self._categories[name], 1) for name in names))

    def _find_by_id(self, value: str) -> Hits:
        base, _, version = value.rpartition("v")
        number = self.numbers.get(value)
        if number is None and base in self.numbers:
            number = self.numbers[base]
            number = number if version == str(self.papers[number].version) else None
        return {} if number is None else {number: 9}

    def _find_by_doi(self, value: str) -> Hits:
        return dict.fromkeys(self._dois.get(value.casefold(), ()), 9)

    def _find_by_date(self, value: str) -> Hits:
        """Find papers whose first version was submitted in a range, which includes both minutes."""
        try:
            first, last = (
                datetime.strptime(date, "%Y%m%d%H%M").replace(tzinfo=UTC)
                for date in map(str.strip, value.split("TO"))
            )
        except ValueError as error:
            raise UnsupportedQueryError(value) from error
        return {
            number: 1
            for number, paper in enumerate(self.papers)
            if first <= paper.submitted.replace(second=0) <= last
        }


def _check_value(field: str, value: str, *, quoted: bool) -> None:
    """Raise UnsupportedQueryError for values that make the server fail."""
    starts_with_wildcard = value.startswith(("*", "?"))
    if starts_with_wildcard and (field in ("all", "doi") or (field == "id" and not quoted)):
        message = "the server cannot search for a leading wildcard in this field"
        raise UnsupportedQueryError(message)
    if field in ("all", "au") and not quoted and not value.strip(";"):
        message = "the server splits authors at semicolons and finds none"
        raise UnsupportedQueryError(message)


def _add_scores(*hits_of_terms: Hits) -> Hits:
    total: Hits = {}
    for hits in hits_of_terms:
        for number, score in hits.items():
            total[number] = total.get(number, 0) + score
    return total
