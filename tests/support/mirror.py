"""A mirror with the papers of the stand-in for arXiv."""

from collections.abc import Iterable
from datetime import UTC, datetime
from time import time

from demo.papers import Paper
from service.db.mirror import MirrorStore
from service.db.pool import DatabasePools
from service.metadata.withdrawal import is_withdrawn
from service.models.mirror import MirrorRecord, Source, SyncState, VersionRecord

DAY = 86_400


async def fill_mirror(
    url: str, papers: Iterable[Paper], *, set_spec: str = "", synced_at: int | None = None
) -> None:
    """Store the latest versions of papers, and a sync that is complete, by default now."""
    now = int(time())
    state = SyncState(
        set_spec=set_spec,
        covered_from=datetime(2005, 9, 16, tzinfo=UTC).date(),
        covered_until=datetime.fromtimestamp(synced_at or now, UTC).date(),
        synced_at=synced_at or now,
    )
    async with DatabasePools(url) as pools:
        await MirrorStore(pools).save(list(map(create_record, papers)), state)


def create_record(paper: Paper) -> MirrorRecord:
    """What OAI-PMH would have of a paper, in the form of the API."""
    affiliations = [list(author.affiliations) for author in paper.authors]
    updated = int(paper.updated.timestamp())
    return MirrorRecord(
        source=Source.ARXIV_RAW,
        arxiv_id=paper.arxiv_id,
        datestamp=updated // DAY * DAY,
        version=paper.version,
        title=paper.title,
        authors=[author.name for author in paper.authors],
        affiliations=affiliations if any(affiliations) else None,
        abstract=paper.abstract,
        comment=paper.comment,
        journal=paper.journal_ref,
        dois=list(paper.dois),
        primary_category=paper.categories[0],
        categories=list(paper.categories),
        published=int(paper.submitted.timestamp()),
        updated=updated,
        withdrawn=is_withdrawn(paper.comment),
        report_number=paper.report_number,
        submitter=paper.authors[0].name,
        license="http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        versions=[
            VersionRecord(number, int(moment.timestamp()), 12)
            for number, moment in enumerate(paper.versions, 1)
        ],
    )
