"""Topics with known answers, by which rankings are compared.

The answers mention the words of a topic in the title and repeatedly in the abstract. Distractors
mention all of them too, in passing: once in the abstract, in the comment, or side by side in a long
abstract.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from benchmarks.paper_corpus import Corpus, GeneratedPaper

TOPICS = 30
ANSWERS, DISTRACTORS = 3, 60
"""Papers per topic."""


class Topic(NamedTuple):
    """A search, and the papers that answer it."""

    words: tuple[str, ...]
    answers: list[GeneratedPaper]
    distractors: list[GeneratedPaper]


def create_topics(corpus: Corpus) -> list[Topic]:
    """Create topics of two or three words, of which some are frequent, some rare."""
    random = Random(30)  # noqa: S311 - not used for security
    count = TOPICS * (ANSWERS + DISTRACTORS)
    papers = list(corpus.generate(count))
    random.shuffle(papers)
    identified = (
        paper._replace(arxiv_id=f"2611.{number:05}") for number, paper in enumerate(papers)
    )
    return [_create_topic(random, corpus, number, identified) for number in range(TOPICS)]


def _create_topic(
    random: Random, corpus: Corpus, number: int, papers: Iterator[GeneratedPaper]
) -> Topic:
    ranks = ((30, 150), (150, 3000), (3000, 30_000))[number % 3]
    size = len(corpus.words)
    words = [word for word in corpus.words[min(ranks[0], size // 4) : ranks[1]] if word.isalpha()]
    chosen = tuple(random.sample(words, 2 + number % 2))
    answers = [_mention_prominently(random, next(papers), chosen) for _ in range(ANSWERS)]
    mention = (_mention_once, _mention_in_comment, _mention_side_by_side)
    distractors = [
        mention[index % len(mention)](random, next(papers), chosen) for index in range(DISTRACTORS)
    ]
    return Topic(chosen, answers, distractors)


def _mention_prominently(
    random: Random, paper: GeneratedPaper, words: Sequence[str]
) -> GeneratedPaper:
    title = _insert(random, paper.title, words)
    return paper._replace(title=title, abstract=_insert(random, paper.abstract, [*words] * 3))


def _mention_once(random: Random, paper: GeneratedPaper, words: Sequence[str]) -> GeneratedPaper:
    return paper._replace(abstract=_insert(random, paper.abstract, words))


def _mention_in_comment(
    random: Random, paper: GeneratedPaper, words: Sequence[str]
) -> GeneratedPaper:
    comment = f"Talk about {' '.join(words)}; {random.randint(2, 60)} pages"
    return paper._replace(comment=comment)


def _mention_side_by_side(
    random: Random, paper: GeneratedPaper, words: Sequence[str]
) -> GeneratedPaper:
    text = _insert(random, paper.abstract, [" ".join(words)])
    return paper._replace(abstract=f"{text} {paper.abstract}")


def _insert(random: Random, text: str, words: Sequence[str]) -> str:
    """Insert words at random places."""
    tokens = text.split(" ")
    for word in words:
        tokens.insert(random.randint(0, len(tokens)), word)
    return " ".join(tokens)


def compute_reciprocal_rank(topic: Topic, found: Sequence[str]) -> float:
    """Return 1 / n if the first answer is the nth paper found; 0 if there is none."""
    answers = {paper.arxiv_id for paper in topic.answers}
    return next((1 / rank for rank, name in enumerate(found, 1) if name in answers), 0.0)
