"""A search index of the papers of the stand-in, without PostgreSQL."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from msgspec import structs

from demo.papers import Paper
from service.search_index import state
from service.search_index.schema import FORMAT, IndexedPaper
from service.search_index.state import IndexState
from service.search_index.synced_index import Writer

DIRECTORY = "papers-1"


def create_row(paper: Paper) -> IndexedPaper:
    """The latest version of a paper as it is stored."""
    return IndexedPaper(
        arxiv_id=paper.arxiv_id,
        version=paper.version,
        title=paper.title,
        authors=[author.name for author in paper.authors],
        affiliations=None,
        abstract=paper.abstract,
        journal=paper.journal_ref,
        comment=paper.comment,
        published=to_seconds(paper.submitted),
        updated=to_seconds(paper.updated),
        dois=list(paper.dois),
        primary_category=paper.categories[0],
        categories=list(paper.categories),
        links=None,
        withdrawn=False,
        timestamp=0,
        report_number=paper.report_number,
    )


def to_seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def create_versions(paper: Paper) -> list[IndexedPaper]:
    """All versions of a paper; the earlier ones have another title."""
    row = create_row(paper)
    earlier = [
        structs.replace(row, version=version, title="Superseded preliminary results")
        for version in range(1, paper.version)
    ]
    return [*earlier, row]


def build_index(root: Path, papers: Iterable[Paper]) -> None:
    """Build an index that PaperIndex opens."""
    writer = Writer.create(root / DIRECTORY)
    writer.add(create_versions(paper) for paper in papers)
    count = writer.finish()
    built = IndexState(
        format=FORMAT, database="x", timeline=1, position=1, directory=DIRECTORY, papers=count
    )
    state.write_state(root, built)
