"""Waits until the search index has what is in PostgreSQL."""

import asyncio
from pathlib import Path
from time import monotonic, sleep

import psycopg
import tantivy

from service.search_index import state
from service.search_index.schema import open_index
from tests.support.process import Service

TIMEOUT = 60.0


def wait_until_indexed(url: str, folder: Path) -> None:
    """Return as soon as the index in the folder equals the table; fail after some time."""
    deadline = monotonic() + TIMEOUT
    while not _is_known(url, folder):
        assert monotonic() < deadline, state.read_status(folder)
        sleep(0.02)


async def papers_are_indexed(url: str, folder: Path) -> None:
    """Do the same without blocking the event loop."""
    deadline = monotonic() + TIMEOUT
    while not await asyncio.to_thread(_is_known, url, folder):
        assert monotonic() < deadline, state.read_status(folder)
        await asyncio.sleep(0.02)


def wait_until_searchable(instance: Service) -> None:
    """Return as soon as a running instance has an index; fail after some time."""
    deadline = monotonic() + TIMEOUT
    while (health := instance.get("/health/ready").json())["index"]["papers"] is None:
        assert monotonic() < deadline, health
        sleep(0.02)


def _is_known(url: str, folder: Path) -> bool:
    """Whether the index equals the table, and services know of its last commit."""
    if not is_indexed(url, folder):
        return False
    current = state.read_state(folder)  # only now: the last commit may have been a moment ago
    try:
        committed = (folder / current.directory / "meta.json").stat().st_mtime if current else 0
    except OSError:  # replaced meanwhile
        return False
    return committed < (state.read_sync_time(folder) or 0)


def is_indexed(url: str, folder: Path) -> bool:
    """Whether each version in the table is in the index as it was last changed, and no other."""
    current = state.read_state(folder)
    if current is None:
        return False
    with psycopg.connect(url) as conn:
        statement = "select arxiv_id, version, coalesce(changed::text::bigint, 0) from papers"
        rows = conn.execute(statement).fetchall()
    try:
        searcher = open_index(folder / current.directory).searcher()
    except (ValueError, OSError):  # replaced meanwhile
        return False
    hits = searcher.search(tantivy.Query.all_query(), limit=searcher.num_docs + 1).hits
    documents = [searcher.doc(address).to_dict() for _, address in hits]
    indexed = [(each["arxiv_id"][0], each["version"][0], each["changed"][0]) for each in documents]
    return sorted(rows) == sorted(indexed)
