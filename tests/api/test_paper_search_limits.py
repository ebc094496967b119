"""Requests and events that must not cost the search index."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from service.db.paper_source import StandbyBehind
from service.lists import encode_cursor
from service.search_index import state
from service.search_index.synced_index import SyncedIndex
from service.settings import Settings
from tests.api.test_paper_lists import create_papers, paper, store
from tests.conftest import Gateway, Serve
from tests.support.indexing import papers_are_indexed

LIST_ID = "/papers?q=quantum"


async def is_kept(client: Gateway, folder: Path, before: state.IndexState | None) -> bool:
    """Whether the same index answers, and no other one is to be built."""
    response = await client.get(LIST_ID)
    after = state.read_state(folder)
    same = before is not None and after is not None and before.directory == after.directory
    return response.status_code == 200 and same and not state.is_rebuild_requested(folder)


@pytest.mark.parametrize("rank", [-1, -200, -201, -(2**40), 2**31 - 1, 2**31, 2**62])
@pytest.mark.parametrize("generation", [0, None])
async def test_forged_cursor_selects_another_page_at_most(
    gateway: Serve,
    settings: Callable[..., Settings],
    db: psycopg.Connection,
    rank: int,
    generation: int | None,
) -> None:
    folder = settings().index_path
    store(db, create_papers())
    async with gateway() as client:
        await client.get(LIST_ID)
        before = state.read_state(folder)
        if generation is None:
            generation = state.read_generation(folder)
        cursor = encode_cursor((generation, rank, "2611.00001", 1), LIST_ID)
        response = await client.get(LIST_ID, params={"q": "quantum", "after": cursor})

        assert response.status_code == (200 if 0 <= rank < 2**31 else 400), response.text
        assert await is_kept(client, folder, before)


@pytest.mark.parametrize("author", ["Smith, -", "-, Smith", "A Smith, B Jones, -"])
async def test_names_without_letters_are_ignored_in_filters(
    gateway: Serve, db: psycopg.Connection, author: str
) -> None:
    store(db, create_papers())
    async with gateway() as client:
        assert (await client.get("/papers", params={"author": author})).status_code == 200


async def test_very_long_words_are_not_corrected(gateway: Serve, db: psycopg.Connection) -> None:
    store(db, create_papers())
    async with gateway() as client:
        await client.get(LIST_ID)
        started = monotonic()
        response = await client.get("/papers", params={"q": "x" * 1900})

        assert response.json()["total"] == 0
        assert "did_you_mean" not in response.json()
        assert monotonic() - started < 10


async def test_index_is_built_again_after_its_directory_was_deleted(
    gateway: Serve, settings: Callable[..., Settings], db: psycopg.Connection, database: str
) -> None:
    folder = settings().index_path
    store(db, create_papers())
    async with gateway() as client:
        assert (await client.get(LIST_ID)).status_code == 200
        folder.rename(folder.with_name("deleted"))  # at once: the indexer adds files
        await papers_are_indexed(database, folder)

        assert (await client.get(LIST_ID)).json()["total"] == 90


async def test_change_by_a_transaction_that_waited_for_a_later_one_is_indexed(
    gateway: Serve, db: psycopg.Connection, database: str
) -> None:
    store(db, create_papers())
    async with gateway() as client:
        with psycopg.connect(database) as earlier:
            earlier.execute("select pg_current_xact_id()")
            db.execute("update papers set title = 'Second' where arxiv_id = '2611.00001'")
            assert (await client.get("/papers?q=title:second")).json()["total"] == 1
            earlier.execute("update papers set title = 'Third' where arxiv_id = '2611.00001'")
            earlier.commit()

        assert (await client.get("/papers?q=title:third")).json()["total"] == 1


async def test_rebuild_goes_on_if_the_index_in_use_cannot_be_updated_meanwhile(
    gateway: Serve,
    settings: Callable[..., Settings],
    db: psycopg.Connection,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = settings().index_path
    store(db, create_papers())
    async with gateway() as client:
        await client.get(LIST_ID)
        before = state.read_state(folder)
        assert before
        sync = SyncedIndex.sync

        async def fail(index: SyncedIndex) -> Any:
            if state.is_rebuild_requested(folder) and index.state.directory == before.directory:
                fail_count.append(1)
                if len(fail_count) > 1:  # the update before the build succeeds
                    raise StandbyBehind("the standby is behind")
            return await sync(index)

        fail_count: list[int] = []
        monkeypatch.setattr(SyncedIndex, "sync", fail)
        state.request_rebuild(folder)
        async with asyncio.timeout(60):
            while (after := state.read_state(folder)) is None or after == before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        store(db, [paper(4000, title="Quantum leap")])
        await papers_are_indexed(database, folder)
