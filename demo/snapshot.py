"""The snapshot of arXiv's metadata on Kaggle, of generated papers."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Final

from demo.authors import format_line, split_name
from demo.tex import encode_tex

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import TextIO

    from demo.papers import Author, Paper

_WIDTH: Final = 79


def write_snapshot(papers: Iterable[Paper], file: TextIO) -> None:
    """Write a line for each paper."""
    for paper in papers:
        json.dump(format_paper(paper), file, separators=(",", ":"))
        file.write("\n")


def format_paper(paper: Paper) -> dict[str, object]:
    """Return the object in a line of the snapshot."""
    return {
        "id": paper.arxiv_id,
        "submitter": paper.submitter,
        "authors": _wrap(format_line(paper)),
        "title": _wrap(paper.title),
        "comments": paper.comment and _wrap(paper.comment),
        "journal-ref": paper.journal_ref and encode_tex(paper.journal_ref),
        "doi": " ".join(paper.dois) or None,
        "report-no": paper.report_number,
        "categories": " ".join(paper.categories),
        "license": paper.license,
        "abstract": _format_abstract(paper.abstract),
        "versions": [
            {"version": f"v{number}", "created": _format_time(created)}
            for number, created in enumerate(paper.versions, 1)
        ],
        "update_date": paper.datestamp.isoformat(),
        "authors_parsed": [_format_author(author) for author in paper.authors],
    }


def _wrap(text: str, indent: str = "  ") -> str:
    """Break a text into lines, in TeX; all but the first are indented."""
    return textwrap.fill(
        encode_tex(text.strip()),
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _format_abstract(abstract: str) -> str:
    """Indent each paragraph, but not its other lines; the last line ends, too."""
    paragraphs = abstract.strip().split("\n  ")
    return "".join(f"  {_wrap(paragraph, '')}\n" for paragraph in paragraphs)


def _format_time(moment: datetime) -> str:
    return f"{moment:%a}, {moment.day} {moment:%b %Y %H:%M:%S} GMT"


def _format_author(author: Author) -> list[str]:
    name = split_name(author.name)
    return [name.keyname, name.forenames, name.suffix, *author.affiliations]
