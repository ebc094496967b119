"""The files in ARXIV_INDEX_DIR."""

from pathlib import Path

from service.search_index import state


def test_only_indexes_that_are_not_in_use_are_removed(tmp_path: Path) -> None:
    for name in ("papers-0", "papers-1", "postgres", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()

    state.remove_other_directories(tmp_path, "papers-1")

    assert {path.name for path in tmp_path.iterdir()} == {"papers-1", "postgres", "lost+found"}
