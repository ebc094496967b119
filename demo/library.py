"""The stand-in's shelf of papers, searchable by every field of arXiv's search language."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from demo.query import Not, Pair, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from demo.papers import Paper
    from demo.query import Tree

Hits = dict[int, int]
"""Numbers of papers, each with its score."""


class UnansweredError(RuntimeError):
    """A query that arXiv's server can read but fails to answer."""


_WORD: Final = re.compile(r"\w+")
_PLAIN: Final = str.maketrans("øłđ", "old")  # letters with no accent to take away


def folded(text: str) -> list[str]:
    """Split a text into words without case or accents; an underscore splits nothing."""
    text = text.casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).translate(_PLAIN)
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return _WORD.findall(text)


class Text:
    """An inverted index of one field of text."""

    def __init__(self, texts: Iterable[str], weight: int) -> None:
        """Index the texts, of which the n-th belongs to paper n."""
        self.weight = weight
        self.lines: list[str] = []
        self.papers: defaultdict[str, set[int]] = defaultdict(set)
        for number, text in enumerate(texts):
            words = folded(text)
            self.lines.append(f" {' '.join(words)} ")
            for word in words:
                self.papers[word].add(number)

    def find(self, value: str) -> Hits:
        """Find the papers that have these words next to each other, in this order."""
        words = folded(value)
        phrase = f" {' '.join(words)} "
        counts = ((n, self.lines[n].count(phrase)) for n in self.candidates(words))
        return {number: count * self.weight for number, count in counts if count}

    def candidates(self, words: Sequence[str]) -> set[int]:
        """Find the papers that have all these words somewhere."""
        found = [self.papers.get(word, set()) for word in words]
        return set.intersection(*found) if found else set()


class Library:
    """Papers, and the answer to which of them a query finds."""

    def __init__(self, papers: Sequence[Paper]) -> None:
        """Index the papers once; searches are then a matter of sets."""
        self.papers = papers
        self.numbers = {paper.arxiv_id: number for number, paper in enumerate(papers)}
        self._titles = Text((paper.title for paper in papers), weight=5)
        self._abstracts = Text((paper.abstract for paper in papers), weight=1)
        self._comments = Text((paper.comment or "" for paper in papers), weight=1)
        self._journals = Text((paper.journal_ref or "" for paper in papers), weight=2)
        self._reports = Text((paper.report_number or "" for paper in papers), weight=2)
        self._names = [[set(folded(author.name)) for author in paper.authors] for paper in papers]
        self._authors = Text(
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
            "au": self._by_author,
            "cat": self._by_category,
            "id": self._by_id,
            "doi": self._by_doi,
            "submittedDate": self._by_date,
            # a load asks for one word again and again; what is found is never changed
            "all": lru_cache(maxsize=64)(self._anywhere),
        }

    def find(self, tree: Tree) -> Hits:
        """Find the papers a query asks for."""
        match tree:
            case Term(field, value):
                return self._finders[field](value)
            case Not(Term() as term):
                return dict.fromkeys(set(range(len(self.papers))) - self.find(term).keys(), 0)
            case Not():
                message = "the server negates single terms, never groups"
                raise UnansweredError(message)
            case Pair(left, "AND", right):
                some, others = self.find(left), self.find(right)
                return {number: some[number] + others[number] for number in some.keys() & others}
            case Pair(left, "OR", right):
                return _sum(self.find(left), self.find(right))
            case Pair(left, _, right):
                some, others = self.find(left), self.find(right)
                return {number: score for number, score in some.items() if number not in others}

    def _anywhere(self, value: str) -> Hits:
        if not value:
            return dict.fromkeys(range(len(self.papers)), 0)
        return _sum(
            self._titles.find(value),
            self._by_author(value),
            self._abstracts.find(value),
            self._comments.find(value),
            self._journals.find(value),
            self._reports.find(value),
            self._by_id(value),
            self._by_doi(value),
            dict.fromkeys(self._categories.get(value, ()), 1),
            dict.fromkeys(self._years.get(value, ()), 1),
        )

    def _by_author(self, value: str) -> Hits:
        """Look for all the words in one author's name, in any order."""
        words = folded(value)
        wanted = set(words)
        return {
            number: self._authors.weight
            for number in self._authors.candidates(words)
            if any(wanted <= name for name in self._names[number])
        }

    def _by_category(self, value: str) -> Hits:
        """Match a category spelt as arXiv spells it; `*` stands for any rest."""
        names = [name for name in self._categories if fnmatchcase(name, value)]
        return _sum(*(dict.fromkeys(self._categories[name], 1) for name in names))

    def _by_id(self, value: str) -> Hits:
        bare, _, version = value.rpartition("v")
        number = self.numbers.get(value)
        if number is None and bare in self.numbers:
            number = self.numbers[bare]
            number = number if version == str(self.papers[number].version) else None
        return {} if number is None else {number: 9}

    def _by_doi(self, value: str) -> Hits:
        return dict.fromkeys(self._dois.get(value.casefold(), ()), 9)

    def _by_date(self, value: str) -> Hits:
        """Compare the first version, to the minute; both ends are included."""
        try:
            first, last = (
                datetime.strptime(date, "%Y%m%d%H%M").replace(tzinfo=UTC)
                for date in value.split(" TO ")
            )
        except ValueError as error:
            raise UnansweredError(value) from error
        return {
            number: 1
            for number, paper in enumerate(self.papers)
            if first <= paper.submitted.replace(second=0) <= last
        }


def _sum(*found: Hits) -> Hits:
    total: Hits = {}
    for hits in found:
        for number, score in hits.items():
            total[number] = total.get(number, 0) + score
    return total
