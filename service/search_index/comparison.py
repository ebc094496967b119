"""Compares an index with PostgreSQL."""

from collections.abc import AsyncGenerator, Collection, Iterable
from typing import NamedTuple

import tantivy

from ..db.paper_changes import FIRST_KEY, PaperChange, PaperKey
from ..db.paper_source import PaperSource
from .schema import SCHEMA
from .threads import run_in_thread

BATCH = 5000
"""Rows that are compared at once."""


class Difference(NamedTuple):
    """A version of a paper that differs."""

    key: PaperKey
    expected: int | None
    """The transaction that wrote it, according to PostgreSQL; None if it is not there."""
    indexed: int | None
    """The same according to the index."""


async def find_differences(
    source: PaperSource, index: tantivy.Index
) -> AsyncGenerator[Difference, None]:
    """Versions that only one of both has, or that the index has in another state.

    What changes meanwhile may be among them. Raises ValueError, OtherDatabase or SourceDiverged.
    """
    searcher = await run_in_thread(_open_searcher, index)
    after, compared, is_complete = FIRST_KEY, 0, False
    while not is_complete:
        rows, read_from = await source.fetch_keys(after, BATCH)
        is_complete = len(rows) < BATCH
        # the versions of the last paper may not be complete
        if not is_complete and rows[0].key.arxiv_id != rows[-1].key.arxiv_id:
            last_id = rows[-1].key.arxiv_id
            rows = [row for row in rows if row.key.arxiv_id != last_id]
        if rows:
            after = rows[-1].key
        indexed = await run_in_thread(_read_changes, searcher, {row.key.arxiv_id for row in rows})
        compared += len(indexed)
        for difference in _compare(rows, indexed, read_from.visible_until):
            yield difference
    if compared != searcher.num_docs:
        async for difference in _find_deleted(source, searcher):
            yield difference


async def find_current_differences(
    source: PaperSource, index: tantivy.Index, arxiv_ids: Collection[str]
) -> list[Difference]:
    """Which versions of these papers differ now."""
    searcher = await run_in_thread(_open_searcher, index)
    papers, read_from = await source.fetch_papers(arxiv_ids)
    rows = [
        PaperChange(PaperKey(paper.arxiv_id, paper.version), paper.changed, recorded)
        for paper, recorded in papers
    ]
    indexed = await run_in_thread(_read_changes, searcher, arxiv_ids)
    return _compare(rows, indexed, read_from.visible_until)


async def _find_deleted(
    source: PaperSource, searcher: tantivy.Searcher
) -> AsyncGenerator[Difference, None]:
    """Papers that PostgreSQL does not have."""
    arxiv_ids = await run_in_thread(_list_arxiv_ids, searcher)
    for start in range(0, len(arxiv_ids), BATCH):
        batch = arxiv_ids[start : start + BATCH]
        papers, _ = await source.fetch_papers(batch)
        missing = {*batch} - {row.paper.arxiv_id for row in papers}
        for key, indexed in (await run_in_thread(_read_changes, searcher, missing)).items():
            yield Difference(key, None, indexed)


def _open_searcher(index: tantivy.Index) -> tantivy.Searcher:
    index.reload()
    return index.searcher()


def _list_arxiv_ids(searcher: tantivy.Searcher) -> list[str]:
    return [arxiv_id for arxiv_id, _ in searcher.terms_with_prefix("arxiv_id", "")]


def _read_changes(searcher: tantivy.Searcher, arxiv_ids: Iterable[str]) -> dict[PaperKey, int]:
    """The indexed versions of these papers, and the transactions that wrote them."""
    query = tantivy.Query.term_set_query(SCHEMA, "arxiv_id", [*arxiv_ids])
    # the stub lacks it
    count: int = searcher.search(query, 1).count  # type: ignore[attr-defined]
    hits = searcher.search(query, count, count=False).hits if count else []
    documents = [searcher.doc(address) for _, address in hits]
    return {
        PaperKey(str(document.get_first("arxiv_id")), int(document.get_first("version") or 0)): int(
            document.get_first("changed") or 0
        )
        for document in documents
    }


def _compare(
    rows: Iterable[PaperChange], indexed: dict[PaperKey, int], visible_until: int
) -> list[Difference]:
    expected = {row.key: row.changed for row in rows if row.first_timestamp <= visible_until}
    return [
        Difference(key, expected.get(key), indexed.get(key))
        for key in sorted(expected.keys() | indexed.keys())
        if expected.get(key) != indexed.get(key)
    ]
