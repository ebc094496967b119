"""Generated papers in the number and with the frequencies of arXiv's: words, names, categories.

The same seed generates the same papers, oldest first. They are generated one after the other, so
that millions of them need no memory.
"""

# ruff: noqa: PLR2004, SIM905 - probabilities and word lists are data here

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

import psycopg

from demo.papers import (
    ADJECTIVES,
    COLLABORATIONS,
    COMMENTS,
    FAMILY,
    FIVE_DIGITS,
    GIVEN,
    NEW_IDS,
    QUALITIES,
    SUBJECTS,
)

WORDS = 500_000
"""Different words, of which most occur in few papers."""
NAMES = 400_000
"""Different authors."""
PHRASE_WORDS = 3
"""Texts consist of phrases that other texts contain too."""
TITLE_PHRASES, ABSTRACT_PHRASES, SENTENCE_PHRASES = 3, 50, 8
VERSION_SECONDS = 1_000_000
FIRST_MONTH = (1991 * 12) + 7
LAST_MONTH = (2026 * 12) + 9
GROWTH = 1 / 2.6
"""The number of papers until a time grows with its power of 2.6."""
COLLABORATION_PAPERS = 2000
"""One of so many papers has about a thousand authors or more."""

STOP_WORDS = tuple(
    "the of and in a to we is for that with on this are by as an be from which can at it our show"
    " these results model using or not between also has have two study system such based one method"
    " data both their field time its problem number energy than".split()
)
"""In the order of their frequency in abstracts."""
COMMON_WORDS = tuple(
    "quantum theory models systems state states new different high large order first phase analysis"
    " space group function structure general approach present mass equation equations solution spin"
    " learning network networks light dynamics information random properties dark matter galaxies"
    " distribution density observed measurements magnetic temperature simulations local symmetry"
    " algorithm performance training image language neural graph algebra operator bound interaction"
    " scattering emission spectrum gauge string black hole gravity cosmological neutrino electron"
    " particle optical laser coupling critical lattice boundary finite measure proof conjecture"
    " polynomial manifold curvature entropy noise signal detection estimation optimization robust"
    " stochastic topological superconducting entanglement transition decay galaxy star stellar"
    " planet survey".split()
)
AUTHOR_NUMBERS = (1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7, 8)
ENDINGS = ("", "s", "ed", "ing", "ation", "al", "ity", "ly")
ONSETS = (
    "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr pl pr qu sc sh sl sp st str th"
    " tr b c d f g h l m n p r s t".split()
)
VOWELS = "a e i o u a e i o ai ea ou io".split()
CODAS = ("", "", "", "", "", "", "n", "r", "l", "s", "t", "m", "nd")

CATEGORIES = {
    "cs.LG": 72, "cs.CV": 60, "cs.CL": 34, "cs.AI": 20, "cs.RO": 18, "cs.CR": 14, "cs.IT": 18,
    "cs.SE": 12, "cs.DS": 10, "cs.NI": 9, "cs.HC": 8, "cs.DC": 8, "cs.IR": 7, "cs.SI": 6,
    "cs.LO": 6,
    "stat.ML": 14, "stat.ME": 14, "math.ST": 10, "eess.SP": 14, "eess.IV": 9, "eess.SY": 16,
    "math.AP": 27, "math.CO": 25, "math.PR": 24, "math.AG": 21, "math.NT": 20, "math.NA": 20,
    "math.OC": 20, "math.DG": 16, "math.DS": 14, "math.FA": 11, "math.GR": 9, "math.RT": 9,
    "math-ph": 12, "hep-th": 45, "hep-ph": 62, "hep-ex": 16, "hep-lat": 10, "gr-qc": 28,
    "astro-ph": 40, "astro-ph.GA": 30, "astro-ph.CO": 26, "astro-ph.HE": 26, "astro-ph.SR": 20,
    "astro-ph.EP": 14, "astro-ph.IM": 8, "cond-mat.mes-hall": 28, "cond-mat.mtrl-sci": 30,
    "cond-mat.str-el": 26, "cond-mat.stat-mech": 20, "cond-mat.supr-con": 18,
    "cond-mat.soft": 15, "cond-mat.quant-gas": 9, "quant-ph": 58, "nucl-th": 18, "nucl-ex": 7,
    "physics.optics": 22, "physics.flu-dyn": 16, "physics.ins-det": 10, "physics.atom-ph": 10,
    "physics.chem-ph": 9, "physics.plasm-ph": 9, "physics.soc-ph": 7, "physics.bio-ph": 5,
    "nlin.CD": 6, "nlin.SI": 4, "q-bio.PE": 5, "q-bio.NC": 5, "q-bio.QM": 4, "econ.TH": 3,
    "q-fin.ST": 2, "q-fin.MF": 2,
}  # fmt: skip
"""Primary categories, with the number of papers of 1,400 in each."""
OLD_ARCHIVES = {
    "astro-ph", "cond-mat", "cs", "gr-qc", "hep-ex", "hep-lat", "hep-ph", "hep-th", "math",
    "math-ph", "nlin", "nucl-ex", "nucl-th", "physics", "q-bio", "quant-ph",
}  # fmt: skip
"""The archives whose names begin ids before April 2007."""
JOURNALS = tuple(journal for subject in SUBJECTS for journal in subject.journals)


class GeneratedPaper(NamedTuple):
    """The columns of a version of a paper in the table `papers`."""

    arxiv_id: str
    version: int
    timestamp: int
    first_timestamp: int
    title: str
    authors: list[str]
    abstract: str
    journal: str | None
    comment: str | None
    published: int
    updated: int
    dois: list[str]
    primary_category: str
    categories: list[str]
    group_authors: list[str]


class Corpus:
    """A vocabulary, names and categories, from which papers are generated."""

    def __init__(self, seed: int = 1, words: int = WORDS, names: int = NAMES) -> None:
        self._seed = seed
        random = Random(seed)  # noqa: S311 - not used for security
        self.words = create_vocabulary(random, words)
        """The words, the most frequent first."""
        self.names = _create_names(random, names)
        """The authors, the most frequent first."""
        self.phrases = _create_phrases(random, self.words)
        """Of these, texts consist."""
        weights = [1 / (rank + 50) for rank in range(names)]
        self._names = _repeat(self.names, weights, 5 * names)
        self._categories = _repeat(CATEGORIES, CATEGORIES.values(), 4096)

    def generate(self, count: int, versions: float = 1) -> Iterator[GeneratedPaper]:
        """Generate this number of papers, each in this number of versions on average."""
        random = Random(f"{self._seed} papers")  # noqa: S311 - not used for security
        # of its own, so that the papers do not depend on the number of versions
        version_random = Random(f"{self._seed} versions")  # noqa: S311
        numbers: Counter[str] = Counter()
        for number in range(count):
            month = FIRST_MONTH + (LAST_MONTH - FIRST_MONTH) * ((number + 0.5) / count) ** GROWTH
            paper = self._generate_paper(random, number, month, numbers)
            yield paper
            while version_random.random() < 1 - 1 / versions:
                title = f"{paper.title} {version_random.choice(self.phrases)}"
                paper = paper._replace(
                    version=paper.version + 1, title=title, updated=paper.updated + VERSION_SECONDS
                )
                yield paper

    def _generate_paper(
        self, random: Random, number: int, month: float, numbers: Counter[str]
    ) -> GeneratedPaper:
        published = _convert_month(month)
        categories = self._draw_categories(random)
        authors = self._draw_authors(random, number)
        phrases = random.choices(self.phrases, k=TITLE_PHRASES + ABSTRACT_PHRASES)
        chance = random.random()
        return GeneratedPaper(
            arxiv_id=_create_id(categories[0], published, numbers),
            version=1,
            timestamp=published,
            first_timestamp=published,
            title=" ".join(phrases[:TITLE_PHRASES]).capitalize(),
            authors=authors,
            abstract=_join_sentences(phrases[TITLE_PHRASES:]),
            journal=f"{JOURNALS[number % len(JOURNALS)]} {number % 300}, {number % 999}"
            if chance < 0.4
            else None,
            comment=random.choice(COMMENTS).format(
                number=number % 60, few=number % 9, journal=JOURNALS[number % len(JOURNALS)]
            )
            if random.random() < 0.8
            else None,
            published=published,
            updated=published,
            dois=[f"10.{1000 + number % 900}/j.{number}"] if chance < 0.43 else [],
            primary_category=categories[0],
            categories=categories,
            group_authors=[name for name in authors if name.endswith("Collaboration")],
        )

    def _draw_categories(self, random: Random) -> list[str]:
        number = 1 + int(random.expovariate(1.2))
        return list(dict.fromkeys(random.choices(self._categories, k=min(number, 5))))

    def _draw_authors(self, random: Random, number: int) -> list[str]:
        if number % COLLABORATION_PAPERS == COLLABORATION_PAPERS - 1:
            names = random.choices(self._names, k=random.randint(1000, 3000))
            return [f"{random.choice(COLLABORATIONS)} Collaboration", *dict.fromkeys(names)]
        return list(dict.fromkeys(random.choices(self._names, k=random.choice(AUTHOR_NUMBERS))))


def create_vocabulary(random: Random, number: int) -> list[str]:
    """Return different words, the most frequent first: English words, then invented ones."""
    english = [*ADJECTIVES, *QUALITIES]
    for subject in SUBJECTS:
        english += [*subject.things, *subject.methods]
    random.shuffle(english)
    # a dict keeps the order
    words = dict.fromkeys([*STOP_WORDS, *COMMON_WORDS, *english])
    while len(words) < number:
        stem = _create_stem(random)
        # related words are about equally frequent
        words.update(dict.fromkeys(stem + ending for ending in random.sample(ENDINGS, 3)))
        if random.random() < 0.02:
            words[f"{stem}-{random.choice(STOP_WORDS)}"] = None
    return list(words)[:number]


def _create_phrases(random: Random, words: list[str]) -> list[str]:
    """Return phrases in which the frequency of a word is inversely proportional to its rank."""
    table = _repeat(words, [1 / rank for rank in range(1, len(words) + 1)], 8 * len(words))
    random.shuffle(table)
    columns = [table[start::PHRASE_WORDS] for start in range(PHRASE_WORDS)]
    return [" ".join(phrase) for phrase in zip(*columns, strict=False)]


def _repeat(values: Iterable[str], weights: Iterable[float], length: int) -> list[str]:
    """Return about this number of values, each as often as its weight demands."""
    weights = list(weights)
    scale, total = length / sum(weights), 0.0
    table: list[str] = []
    for value, weight in zip(values, weights, strict=True):
        total += weight * scale
        table += [value] * (round(total) - len(table))
    return table


def _create_stem(random: Random) -> str:
    return "".join(
        random.choice(ONSETS) + random.choice(VOWELS) + random.choice(CODAS)
        for _ in range(random.choice((1, 2, 2, 3)))
    )


def _create_names(random: Random, number: int) -> list[str]:
    """Return different names; some surnames and given names are much more frequent."""
    surnames = [*FAMILY, *(_create_stem(random).capitalize() for _ in range(number // 10))]
    given = [*GIVEN, *(_create_stem(random).capitalize() for _ in range(number // 100))]
    names: dict[str, None] = {}
    while len(names) < number:
        surname = surnames[int(len(surnames) ** random.random()) - 1]
        first = given[int(len(given) ** random.random()) - 1]
        if random.random() < 0.5:
            first = f"{first[0]}. {chr(65 + int(26 * random.random()))}."
        names[f"{first} {surname}"] = None
    return list(names)


def _convert_month(month: float) -> int:
    """Return Unix seconds for a number of months since the year 0."""
    year, index = divmod(int(month), 12)
    start = datetime(year, index + 1, 1, tzinfo=UTC)
    return int(start.timestamp() + (month % 1) * 28 * 86400)


def _create_id(category: str, published: int, numbers: Counter[str]) -> str:
    day = datetime.fromtimestamp(published, UTC)
    if day < NEW_IDS:
        archive = category.partition(".")[0]
        prefix, digits = f"{archive if archive in OLD_ARCHIVES else 'math'}/{day:%y%m}", 3
    else:
        prefix, digits = f"{day:%y%m}.", 4 if day < FIVE_DIGITS else 5
    numbers[prefix] += 1
    return f"{prefix}{numbers[prefix]:0{digits}}"


def _join_sentences(phrases: list[str]) -> str:
    starts = range(0, len(phrases), SENTENCE_PHRASES)
    sentences = (" ".join(phrases[start : start + SENTENCE_PHRASES]) for start in starts)
    return ". ".join(map(str.capitalize, sentences)) + "."


def copy_papers(conn: psycopg.Connection, papers: Iterable[GeneratedPaper]) -> None:
    """Copy papers into the table `papers`."""
    columns = ", ".join(GeneratedPaper._fields)
    with conn.cursor().copy(f"copy papers ({columns}) from stdin".encode()) as copy:
        for paper in papers:
            copy.write_row(paper)
