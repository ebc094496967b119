"""The stand-in writes its papers in the form of the snapshot on Kaggle."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.__main__ import main
from demo.papers import Author, Paper, generate
from demo.snapshot import format_paper, write_snapshot
from tests.support.captures import TEST_DATA

SNAPSHOT = TEST_DATA / "data" / "kaggle" / "snapshot_first150.jsonl"
PAPER = Paper(
    arxiv_id="0704.0001",
    title="Calculation of prompt diphoton production cross sections at Tevatron and LHC energies",
    abstract="  First paragraph.\n  Second one, by Müller.\n",
    authors=(Author("C. Balázs", ("École",)), Author("C. -P. Yuan Jr.")),
    categories=("hep-ph", "hep-ex"),
    versions=(datetime(2007, 4, 2, 19, 18, 42, tzinfo=UTC),),
    dois=("10.5555/a", "10.5555/b"),
    submitter="Pavel Nadolsky",
    changed=date(2008, 11, 26),
)


def write(*papers: Paper) -> list[dict[str, Any]]:
    file = io.StringIO()
    write_snapshot(papers, file)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_paper_has_the_forms_of_the_snapshot() -> None:
    [line] = write(replace(PAPER, arxiv_id="0704.0003"))

    assert line == {
        "id": "0704.0003",
        "submitter": "Pavel Nadolsky",
        "authors": r"C. Bal\'azs (\'Ecole), C.-P. Yuan Jr.",
        "title": "Calculation of prompt diphoton production cross sections at Tevatron and LHC\n"
        "  energies",
        "comments": None,
        "journal-ref": None,
        "doi": "10.5555/a 10.5555/b",
        "report-no": None,
        "categories": "hep-ph hep-ex",
        "license": None,
        "abstract": '  First paragraph.\n  Second one, by M\\"uller.\n',
        "versions": [{"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"}],
        "update_date": "2008-11-26",
        "authors_parsed": [["Balázs", "C.", "", "École"], ["Yuan", "C. -P.", "Jr."]],
    }


@pytest.mark.skipif(not SNAPSHOT.is_file(), reason=f"the snapshot is missing: {SNAPSHOT}")
def test_line_has_the_keys_and_the_types_of_real_ones() -> None:
    real = [json.loads(line) for line in SNAPSHOT.read_text(encoding="utf-8").splitlines()]
    lines = [format_paper(paper) for paper in generate(300)]

    assert {tuple(line) for line in lines} == {tuple(line) for line in real}
    for key in real[0]:
        kinds = {type(line[key]) for line in lines}
        assert kinds <= {type(line[key]) for line in real} | {type(None)}
    assert all(str(line["abstract"]).startswith("  ") for line in lines)
    assert all(str(line["abstract"]).endswith("\n") for line in lines)
    assert any("\n  " in str(line["title"]) for line in lines)


def test_command_writes_the_papers(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.jsonl"
    main(["--papers", "30", "--write-snapshot", str(path)])

    ids = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert ids == [paper.arxiv_id for paper in generate(30)]
