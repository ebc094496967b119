"""Captured responses of arXiv, stored beside the project. Tests skip without them."""

import csv
from pathlib import Path

import pytest

from tests.support.process import ROOT

FEEDS = ROOT.parent / "shared" / "feeds"

CAPTURES = sorted(FEEDS.glob("*.xml"))
captured = pytest.mark.parametrize(
    "path",
    CAPTURES
    or [pytest.param(FEEDS, marks=pytest.mark.skip(reason=f"captured feeds are missing: {FEEDS}"))],
    ids=lambda path: path.stem,
)


def catalogued(path: Path) -> dict[str, str]:
    with (path.parent / "manifest.csv").open(encoding="utf-8", newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["file"] == path.name]
    return row
