"""The benchmarks of searches for papers, in a small form: that they compare like with like."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from benchmarks import importing, measuring, paper_search, paper_writing
from benchmarks.measuring import Bench
from benchmarks.paper_baselines import FormerSearch, SqliteSearch
from benchmarks.paper_corpus import Corpus, GeneratedPaper, copy_papers
from benchmarks.paper_queries import Search, create_searches
from benchmarks.paper_topics import TOPICS, compute_reciprocal_rank, create_topics
from service.mirror.snapshot import parse_line
from service.search_index.queries import build_query
from service.search_index.schema import IndexedPaper, create_documents, create_index

COUNT = 600


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(words=4000, names=2000)


@pytest.fixture(scope="module")
def papers(corpus: Corpus) -> list[GeneratedPaper]:
    return list(corpus.generate(COUNT))


@pytest.fixture(scope="module")
def count_in_index(
    papers: list[GeneratedPaper], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Search], int]:
    index = create_index(tmp_path_factory.mktemp("index"))
    writer = index.writer(30_000_000, 1)
    for paper in papers:
        values = paper._asdict() | {"affiliations": None, "links": None, "withdrawn": False}
        del values["first_timestamp"]
        for document in create_documents([IndexedPaper(**values)]):
            writer.add_document(document)
    writer.commit()
    index.reload()
    searcher = index.searcher()
    total = {"total": {"value_count": {"field": "sort_key"}}}
    return lambda search: int(
        searcher.aggregate(build_query(search.filters), total)["total"]["value"]
    )


def test_hundred_searches_are_the_same_in_every_run(corpus: Corpus) -> None:
    searches = create_searches(corpus)

    assert len(searches) == 100
    assert searches == create_searches(corpus)
    assert len({search.kind for search in searches}) >= 12
    assert Counter(search.is_plain for search in searches)[False] == 15


def test_engines_find_the_same_papers(
    corpus: Corpus,
    papers: list[GeneratedPaper],
    count_in_index: Callable[[Search], int],
    db: psycopg.Connection,
    tmp_path: Path,
) -> None:
    copy_papers(db, papers)
    db.commit()
    plain = [search for search in create_searches(corpus) if search.is_plain]
    with closing(SqliteSearch(tmp_path / "sqlite", papers)) as sqlite:
        counts = [(count_in_index(search), sqlite.search(search)) for search in plain]
    with closing(FormerSearch(db.info.dsn)) as former:
        former.restore()
        found = [former.search(search) for search in plain]

    # engines differ in how they stem some words, and SQLite in what a prefix is
    assert sum(ours == theirs for ours, theirs in counts) > 0.7 * len(counts)
    assert sum(ours > 0 for ours, _ in counts) > 0.8 * len(counts)
    agreeing = [bool(ids) == bool(ours) for ids, (ours, _) in zip(found, counts, strict=True)]
    assert sum(agreeing) > 0.9 * len(counts)


def test_filters_are_those_of_the_parameters(count_in_index: Callable[[Search], int]) -> None:
    by_category = count_in_index(Search("", category="cs"))
    by_year = count_in_index(Search("", category="cs", since=2020))

    assert 0 < by_year < by_category < COUNT
    assert Search("", q="energy", category="cs", since=2020).params == {
        "q": "energy",
        "category": "cs",
        "since": "2020-01-01",
    }


def test_answers_of_topics_mention_their_words_in_the_title(corpus: Corpus) -> None:
    topics = create_topics(corpus)

    assert len(topics) == TOPICS
    for topic in topics:
        for paper in topic.answers:
            assert set(topic.words) <= set(paper.title.lower().split())
        for paper in topic.distractors:
            text = f"{paper.abstract} {paper.comment}".lower().replace(".", " ").replace(";", " ")
            assert set(topic.words) <= set(text.split())
    ids = [paper.arxiv_id for each in topics for paper in (*each.answers, *each.distractors)]
    assert len(set(ids)) == len(ids)


def test_reciprocal_rank_is_that_of_the_first_answer(corpus: Corpus) -> None:
    topic = create_topics(corpus)[0]
    first, second, _ = (paper.arxiv_id for paper in topic.answers)

    assert compute_reciprocal_rank(topic, [first, second]) == 1
    assert compute_reciprocal_rank(topic, ["2101.00001", second, first]) == 0.5
    assert compute_reciprocal_rank(topic, ["2101.00001"]) == 0


@pytest.mark.thorough
def test_part_measures_everything_with_few_papers(
    server: str, arxiv_server: tuple[object, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper_search, "Corpus", partial(Corpus, words=4000, names=2000))
    monkeypatch.setattr(paper_search, "PAPERS", COUNT)
    monkeypatch.setattr(paper_search, "CLIENT_SECONDS", 1)
    monkeypatch.setattr(paper_search, "CLIENT_ROUNDS", 1)
    monkeypatch.setattr(paper_writing, "SEARCHES", 3)
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("drop database if exists papers")
        try:
            rows = list(paper_search.measure_paper_search(Bench(server, arxiv_server[1], tmp_path)))
        finally:
            conn.execute("drop database if exists papers with (force)")

    names = " ".join(row.measure for row in rows)
    assert all(row.seen for row in rows if "wrk" not in row.detail)
    for measured in ("building the index", "maximum", "clients", "memory", "recording", "rank"):
        assert measured in names


@pytest.mark.thorough
def test_import_is_measured_with_few_lines(
    server: str, arxiv_server: tuple[object, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "Corpus", partial(Corpus, words=4000, names=2000))
    monkeypatch.setattr(importing, "LINES", COUNT)
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("drop database if exists import")
        try:
            rows = list(importing.measure_import(Bench(server, arxiv_server[1], tmp_path)))
        finally:
            conn.execute("drop database if exists import with (force)")

    assert [len(row.seen) for row in rows] == [1, 1, 1]


def test_lines_of_a_generated_snapshot_can_be_read(papers: list[GeneratedPaper]) -> None:
    for paper in papers[:200]:
        record = parse_line(importing.create_line(paper))
        assert (record.arxiv_id, record.title) == (paper.arxiv_id, paper.title)
        assert (record.authors, record.abstract) == (paper.authors, paper.abstract)
        assert (record.published, record.categories) == (paper.published, paper.categories)
