"""Earlier states of the search index stay open for a while, so that pages fit together."""

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from service.search_index import paper_index, state
from service.search_index.paper_index import PaperIndex
from service.search_index.schema import FORMAT
from service.search_index.state import IndexState
from service.search_index.synced_index import Writer
from tests.unit.test_heap import create_paper


def build(root: Path, directory: str) -> None:
    """Build an index of one paper, which replaces the one before."""
    writer = Writer.create(root / directory)
    writer.add([[create_paper(1)]])
    papers = writer.finish()
    built = IndexState(
        format=FORMAT, database="x", timeline=1, position=1, directory=directory, papers=papers
    )
    state.write_state(root, built)
    state.remove_other_directories(root, directory)


def is_mapped(directory: str) -> bool:
    return directory in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
async def test_files_of_earlier_states_are_released_although_nobody_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0
    monkeypatch.setattr(paper_index, "monotonic", lambda: now)
    monkeypatch.setattr(paper_index, "SNAPSHOT_SECONDS", 0.1)
    build(tmp_path, "papers-earlier")
    async with PaperIndex(tmp_path) as index:
        generation = (await index.open_snapshot()).generation
        index.keep_snapshot(await index.open_snapshot())
        build(tmp_path, "papers-later")
        later = (await index.open_snapshot()).generation
        assert (await index.open_snapshot(generation)).generation == generation != later
        assert is_mapped("papers-earlier")
        now = 1
        end = monotonic() + 60
        while is_mapped("papers-earlier"):
            assert monotonic() < end
            await asyncio.sleep(0.05)
        assert (await index.open_snapshot(generation)).generation == later
