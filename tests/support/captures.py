"""Test data outside the repository: captured responses of arXiv. Tests skip without them."""

import csv
import os
from pathlib import Path

import pytest

from tests.support.process import ROOT

TEST_DATA = Path(os.environ.get("GATEWAY_TEST_DATA") or ROOT.parent / "shared").resolve()
"""See CONTRIBUTING.md. The name lacks the prefix of settings, which the service would reject."""
FEEDS = TEST_DATA / "feeds"

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
