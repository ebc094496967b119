"""Full-text search for papers in SQLite, and in PostgreSQL as the service did it before."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import psycopg

from benchmarks.paper_corpus import GeneratedPaper
from benchmarks.paper_queries import Search

MAX_RANKED, MAX_COUNTED = 20_000, 100_000
"""Of how many matches the former service ranked and counted the newest."""
RESTORE_SQL = """
create function paper_words(title text, author text, abstract text, note text) returns tsvector
    language sql immutable parallel safe cost 1000
    return
        setweight(to_tsvector('arxiv'::regconfig, coalesce(unaccent_text(title), '')), 'A')
        || setweight(to_tsvector('arxiv'::regconfig, coalesce(unaccent_text(author), '')), 'B')
        || setweight(to_tsvector('arxiv'::regconfig, coalesce(unaccent_text(abstract), '')), 'C')
        || setweight(to_tsvector('arxiv'::regconfig, coalesce(unaccent_text(note), '')), 'D');
alter table papers add column words tsvector not null generated always as (
    paper_words(
        title, join_names(authors), abstract, coalesce(comment, '') || ' ' || coalesce(journal, '')
    )
) stored;
create index on papers using gin (words);
create index on papers using gin (categories);
"""
RANK_SQL = """
with found as (
    select arxiv_id, version, words
    from papers
    where words @@ to_tsquery('arxiv', %(words)s)
    order by coalesce(published, 0) desc, arxiv_id desc, version desc
    limit %(max_ranked)s
)
select arxiv_id,
    -ts_rank_cd('{0.1, 0.3, 0.6, 1.0}', words, to_tsquery('arxiv', %(words)s), 1) as distance
from found
order by distance, arxiv_id, version
limit 10
"""
COUNT_SQL = """
with found as (
    select published, categories
    from papers
    where words @@ to_tsquery('arxiv', %(words)s)
    order by coalesce(published, 0) desc
    limit %(max_counted)s
)
select 'total', count(*) from found
union all (select category, count(*) from found, unnest(categories) as category group by 1)
union all (
    select extract(year from to_timestamp(published))::text, count(*) from found group by 1
)
"""


class FormerSearch:
    """PostgreSQL's full-text search, in the database of the service."""

    def __init__(self, url: str) -> None:
        self._conn = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()

    def restore(self) -> None:
        """Add the column and the indexes that the service had."""
        self._conn.execute(RESTORE_SQL)
        self._conn.execute("vacuum (analyze) papers")

    def search(self, search: Search) -> list[str]:
        """Return the ids of the first ten papers; count matches, categories and years."""
        values = {"words": search.tsquery, "max_ranked": MAX_RANKED, "max_counted": MAX_COUNTED}
        rows = self._conn.execute(RANK_SQL, values).fetchall()
        self._conn.execute(COUNT_SQL, values).fetchall()
        return [arxiv_id for arxiv_id, _ in rows]


class SqliteSearch:
    """SQLite's FTS5 with its ranking, without counts by category and year."""

    def __init__(self, path: Path, papers: Iterable[GeneratedPaper]) -> None:
        """Store papers in a new database."""
        self._conn = sqlite3.connect(path)
        self._conn.execute("pragma journal_mode = off")
        self._conn.execute("pragma cache_size = -200000")
        self._conn.execute(
            "create virtual table papers using fts5"
            " (title, author, abstract, note, content='', tokenize='porter unicode61')"
        )
        self._conn.executemany(
            "insert into papers (title, author, abstract, note) values (?, ?, ?, ?)",
            (
                (
                    paper.title,
                    ", ".join(paper.authors),
                    paper.abstract,
                    f"{paper.comment or ''} {paper.journal or ''}",
                )
                for paper in papers
            ),
        )
        self._conn.commit()

    def close(self) -> None:
        """Close the database."""
        self._conn.close()

    def search(self, search: Search) -> int:
        """Fetch the first ten papers, and return the number of matches."""
        ranking = (
            "select rowid from papers where papers match ?"
            " order by bm25(papers, 3, 2, 1, 0.5) limit 10"
        )
        self._conn.execute(ranking, (search.fts5,)).fetchall()
        statement = "select count(*) from papers where papers match ?"
        [(count,)] = self._conn.execute(statement, (search.fts5,)).fetchall()
        return int(count)
