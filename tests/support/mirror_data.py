"""Captured data of arXiv's other sources, outside the repository. Tests skip without them."""

from pathlib import Path

import pytest

from tests.support.captures import TEST_DATA

DATA = TEST_DATA / "data"
OAI = sorted((DATA / "oai").glob("*.*ml"))
RSS = sorted((DATA / "rss").glob("*.xml"))
SNAPSHOTS = sorted((DATA / "kaggle").glob("*.jsonl"))

needs_data = pytest.mark.skipif(
    not (OAI and RSS and SNAPSHOTS), reason=f"data of arXiv's other sources are missing: {DATA}"
)


def read_lines() -> list[bytes]:
    """All lines of the captured snapshots."""
    return [line for path in SNAPSHOTS for line in path.read_bytes().splitlines()]


def read_oai(name: str) -> bytes:
    return (DATA / "oai" / f"{name}.xml").read_bytes()


def read_rss(name: str) -> bytes:
    return (DATA / "rss" / f"{name}.xml").read_bytes()


def get_format(path: Path) -> str:
    """The format of OAI-PMH of a capture."""
    return "arXivRaw" if b"<arXivRaw" in path.read_bytes() else "arXiv"
