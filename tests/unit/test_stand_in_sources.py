"""The papers of the stand-in come out of each of arXiv's sources as they are in its API."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from demo.oai import OaiServer
from demo.papers import Paper, generate
from demo.snapshot import format_paper
from service.mirror import snapshot
from service.mirror.oai_xml import MetadataPrefix, parse_page
from service.models.mirror import MirrorRecord

PAPERS = generate(1000)


def read_oai(prefix: MetadataPrefix) -> list[MirrorRecord]:
    oai = OaiServer()
    oai.set_papers(PAPERS)
    content = oai.answer([("verb", "ListRecords"), ("metadataPrefix", prefix)])
    page = parse_page(content, verb="ListRecords", metadata_prefix=prefix)
    assert not page.invalid
    return page.records


def read_snapshot() -> list[MirrorRecord]:
    return [snapshot.parse_line(json.dumps(format_paper(paper)).encode()) for paper in PAPERS]


def flatten(text: str | None) -> str:
    return " ".join((text or "").split())


def get_fields(paper: Paper) -> dict[str, object]:
    return {
        "title": flatten(paper.title),
        "abstract": flatten(paper.abstract),
        "authors": [author.name.strip() for author in paper.authors],
        "comment": flatten(paper.comment),
        "journal": flatten(paper.journal_ref),
        "dois": list(paper.dois),
        "categories": list(paper.categories),
        "license": paper.license,
        "report_number": paper.report_number,
    }


@pytest.mark.parametrize(
    "read",
    [partial(read_oai, "arXiv"), partial(read_oai, "arXivRaw"), read_snapshot],
    ids=["arXiv", "arXivRaw", "snapshot"],
)
def test_papers_are_the_same_in_every_source(read: Callable[[], list[MirrorRecord]]) -> None:
    found = {record.arxiv_id: record for record in read()}

    assert len(found) == len(PAPERS)
    for paper in PAPERS:
        record, expected = found[paper.arxiv_id], get_fields(paper)
        fields = {name: getattr(record, name) for name in expected}
        texts = ("title", "abstract", "comment", "journal")
        assert fields | {name: flatten(fields[name]) for name in texts} == expected


def test_versions_and_submitters_are_in_the_raw_format() -> None:
    found = {record.arxiv_id: record for record in read_oai("arXivRaw")}

    for paper in PAPERS:
        record = found[paper.arxiv_id]
        assert record.submitter == paper.submitter
        assert [
            (version.submitted, version.size_kb, version.source_type or "")
            for version in record.versions
        ] == [
            (int(moment.timestamp()), upload.kilobytes, upload.source_type)
            for moment, upload in zip(paper.versions, paper.uploads, strict=True)
        ]
