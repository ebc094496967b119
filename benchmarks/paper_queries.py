"""A hundred searches for papers, in the query languages of the engines that are compared."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from benchmarks.paper_corpus import Corpus
from service import timestamps
from service.metadata.categories import select_categories
from service.models.filters import PaperFilter

THINGS = (("dark", "matter"), ("black", "hole"), ("neural", "network"), ("random", "walk"))
"""Consecutive words in the vocabulary of the generated papers."""


class Search(NamedTuple):
    """A search for papers."""

    kind: str
    q: str | None = None
    fts5: str | None = None
    """The same for SQLite; None if there is a filter, which the other engines lack."""
    tsquery: str | None = None
    """The same for PostgreSQL."""
    author: str | None = None
    category: str | None = None
    since: int | None = None
    """The first year."""

    @property
    def is_plain(self) -> bool:
        """Whether the search has no filter."""
        return self.fts5 is not None

    @property
    def params(self) -> dict[str, str]:
        """The parameters of `/papers`."""
        since = f"{self.since}-01-01" if self.since else None
        values = {"q": self.q, "author": self.author, "category": self.category, "since": since}
        return {name: value for name, value in values.items() if value}

    @property
    def filters(self) -> PaperFilter:
        """The same for the function that builds queries of tantivy."""
        selection = select_categories([self.category]) if self.category else None
        start = datetime(self.since, 1, 1, tzinfo=UTC).timestamp() if self.since else None
        return PaperFilter(
            q=self.q,
            author=self.author,
            category=selection.names if selection else None,
            archive=selection.archives if selection else None,
            since=timestamps.EARLIEST if start is None else int(start),
        )


def create_searches(corpus: Corpus) -> list[Search]:
    """Create a hundred searches of all kinds; the same corpus gives the same searches."""
    random = Random(100)  # noqa: S311 - not used for security

    def draw(first: int, last: int) -> str:
        """Return a word of this frequency, without a hyphen or a space."""
        words = corpus.words[min(first, len(corpus.words) // 4) : last]
        return random.choice([word for word in words if word.isalpha()])

    def rare() -> str:
        return draw(5000, 50_000)

    def medium() -> str:
        return draw(300, 3000)

    def common() -> str:
        return draw(30, 150)

    def surname() -> str:
        return random.choice(corpus.names[:2000]).split()[-1]

    def category() -> str:
        return random.choice(("hep-th", "cs.LG", "quant-ph", "math", "cs"))

    def year() -> int:
        return random.choice((2000, 2015, 2022, 2025))

    kinds: list[tuple[int, Callable[[], Search]]] = [
        (8, lambda: match_all("rare word", rare())),
        (8, lambda: match_all("medium word", medium())),
        (8, lambda: match_all("common word", common())),
        (10, lambda: match_all("two words", common(), random.choice((common, medium))())),
        (8, lambda: match_all("three words", common(), common(), medium())),
        (4, lambda: match_phrase(*random.choice(THINGS))),
        (5, lambda: match_phrase(*_find_phrase(random, corpus))),
        (7, lambda: match_author(surname())),
        (6, lambda: match_field(random.choice(("title", "abstract", "note")), common())),
        (7, lambda: match_prefix(random.choice((rare, medium, common))())),
        (6, lambda: match_without(common(), random.choice((common, medium))())),
        (6, lambda: match_any(medium(), random.choice((common, medium))())),
        (5, lambda: _filter(match_all("", common()), category=category())),
        (4, lambda: _filter(match_all("", common(), medium()), since=year())),
        (3, lambda: Search("filters", category=category(), since=year())),
        (3, lambda: _filter(match_all("", common()), author=surname())),
    ]
    everywhere = [match_all("word of all papers", word) for word in corpus.words[:2]]
    return [*everywhere, *_repeat(kinds)]


def _repeat(kinds: list[tuple[int, Callable[[], Search]]]) -> Iterator[Search]:
    for number, create in kinds:
        for _ in range(number):
            yield create()


def _find_phrase(random: Random, corpus: Corpus) -> list[str]:
    """Return consecutive words of some papers, of which at least one is not a common one."""
    common = set(corpus.words[:30])
    while True:
        words = random.choice(corpus.phrases).split()
        if all(map(str.isalpha, words)) and not common.issuperset(words):
            return words


def match_all(kind: str, *words: str) -> Search:
    """Match all words."""
    fts5 = " AND ".join(f'"{word}"' for word in words)
    return Search(kind, " ".join(words), fts5, " & ".join(words))


def match_phrase(*words: str) -> Search:
    """Match consecutive words."""
    text = f'"{" ".join(words)}"'
    return Search("phrase", text, text, " <-> ".join(words))


def match_author(name: str) -> Search:
    """Match a surname."""
    return Search("author", f"author:{name}", f'author : "{name}"', f"{name}:B")


def match_field(field: str, word: str) -> Search:
    """Match a word in one field."""
    label = {"title": "A", "abstract": "C", "note": "D"}[field]
    return Search("field", f"{field}:{word}", f'{field} : "{word}"', f"{word}:{label}")


def match_prefix(word: str) -> Search:
    """Match the first four letters of a word."""
    return Search("prefix", f"{word[:4]}*", f'"{word[:4]}" *', f"{word[:4]}:*")


def match_without(word: str, excluded: str) -> Search:
    """Match the first word without the second."""
    return Search(
        "exclusion", f"{word} -{excluded}", f'"{word}" NOT "{excluded}"', f"{word} & !{excluded}"
    )


def match_any(*words: str) -> Search:
    """Match one of the words."""
    fts5 = " OR ".join(f'"{word}"' for word in words)
    return Search("alternatives", " OR ".join(words), fts5, " | ".join(words))


def _filter(
    search: Search,
    author: str | None = None,
    category: str | None = None,
    since: int | None = None,
) -> Search:
    return Search("filters", search.q, author=author, category=category, since=since)
