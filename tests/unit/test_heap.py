"""Memory that is free is returned to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.search_index.schema import IndexedPaper
from tests.support.process import ROOT

COMMITS = """
import asyncio
import sys
from pathlib import Path

from service.search_index import synced_index
from service.search_index.synced_index import Writer
from service.search_index.threads import run_in_thread
from tests.unit.test_heap import create_paper


def read_resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 / 1024


async def main() -> None:
    synced_index.TRIM_INTERVAL = 0
    writer = Writer.create(Path(sys.argv[1]) / "index")
    writer.close()
    writer = Writer.open(Path(sys.argv[1]) / "index")
    before = read_resident()
    for number in range(30):
        await run_in_thread(writer.replace, [str(number)], [[create_paper(number)]])
        await run_in_thread(writer.commit)
    print(read_resident() - before)


asyncio.run(main())
"""


def create_paper(number: int) -> IndexedPaper:
    return IndexedPaper(
        arxiv_id=f"2101.{number:05}",
        version=1,
        title="A title",
        authors=["Emmy Noether"],
        affiliations=None,
        abstract="An abstract",
        journal=None,
        comment=None,
        published=1,
        updated=1,
        dois=[],
        primary_category="cs.DL",
        categories=["cs.DL"],
        links=None,
        withdrawn=False,
        timestamp=1,
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_commits_of_the_search_index_keep_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMITS, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 25
