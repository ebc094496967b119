"""The generated papers of the benchmarks have the form and the frequencies of arXiv's."""

from collections import Counter
from itertools import pairwise

import psycopg
import pytest

from benchmarks.paper_corpus import CATEGORIES, Corpus, GeneratedPaper, copy_papers
from service.metadata.arxiv_ids import find_paper_reference
from service.metadata.categories import CATEGORIES as KNOWN_CATEGORIES

COUNT = 4000


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(words=20_000, names=10_000)


@pytest.fixture(scope="module")
def papers(corpus: Corpus) -> list[GeneratedPaper]:
    return list(corpus.generate(COUNT))


def test_same_seed_generates_the_same_papers(papers: list[GeneratedPaper]) -> None:
    again = Corpus(words=20_000, names=10_000)
    other = Corpus(seed=2, words=20_000, names=10_000)

    assert list(again.generate(COUNT)) == papers
    assert next(other.generate(COUNT)) != papers[0]


def test_ids_are_valid_and_different(papers: list[GeneratedPaper]) -> None:
    assert len({paper.arxiv_id for paper in papers}) == COUNT
    assert all(find_paper_reference(paper.arxiv_id) for paper in papers)


def test_papers_become_more_frequent_from_1991_to_2026(papers: list[GeneratedPaper]) -> None:
    times = [paper.published for paper in papers]
    years = Counter(1970 + time // 31_556_952 for time in times)

    assert times == sorted(times)
    assert {min(years), max(years)} <= {*range(1991, 1997), 2026}
    assert years[2000] < years[2010] < years[2020] < years[2025]


def test_frequency_of_a_word_falls_with_its_rank(
    corpus: Corpus, papers: list[GeneratedPaper]
) -> None:
    texts = [f"{paper.title} {paper.abstract}".lower().replace(".", "") for paper in papers]
    frequencies = Counter(word for text in texts for word in set(text.split()))

    first, twentieth, thousandth = (frequencies[corpus.words[rank]] for rank in (0, 20, 1000))
    assert first > 0.98 * COUNT
    assert first > twentieth > 10 * thousandth > 0
    assert {"dark", "matter"} < set(corpus.words)


def test_papers_have_the_fields_of_arxiv(papers: list[GeneratedPaper]) -> None:
    lengths = [len(paper.abstract.split()) for paper in papers]
    frequent, rare = sorted(CATEGORIES, key=lambda name: -CATEGORIES[name])[:: len(CATEGORIES) - 1]
    primary = Counter(paper.primary_category for paper in papers)

    assert 140 < sum(lengths) / COUNT < 160
    assert CATEGORIES.keys() <= KNOWN_CATEGORIES.keys()
    assert primary[frequent] > 10 * primary[rare]
    assert all(paper.primary_category == paper.categories[0] for paper in papers)
    assert 0.40 < sum(map(bool, (paper.dois for paper in papers))) / COUNT < 0.46
    assert {len(paper.authors) for paper in papers} >= {*range(1, 9)}


def test_some_papers_have_a_thousand_authors(papers: list[GeneratedPaper]) -> None:
    most = max(papers, key=lambda paper: len(paper.authors))

    assert len(most.authors) > 900
    assert most.group_authors == most.authors[:1]


def test_versions_of_a_paper_are_consecutive_and_do_not_change_others(corpus: Corpus) -> None:
    versions = list(corpus.generate(1000, versions=1.6))
    first_versions = [paper for paper in versions if paper.version == 1]

    assert first_versions == list(corpus.generate(1000))
    assert 1.4 < len(versions) / 1000 < 1.8
    for previous, paper in pairwise(versions):
        if paper.version > 1:
            assert (paper.arxiv_id, paper.version) == (previous.arxiv_id, previous.version + 1)
            assert paper.updated > previous.updated


def test_papers_are_copied_as_they_are(db: psycopg.Connection) -> None:
    first, second = Corpus(words=1000, names=1000).generate(2)
    special = first._replace(
        title='A "title" with \\alpha,\ta tab\nand a line',
        authors=['P. "Quote" O\'Neil', "back\\slash, {brace}", ""],
    )

    copy_papers(db, [special, second])

    columns = ", ".join(GeneratedPaper._fields)
    rows = db.execute(f"select {columns} from papers order by published".encode()).fetchall()
    assert [GeneratedPaper(*row) for row in rows] == [special, second]
