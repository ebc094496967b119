"""Papers that are stored as a search would store them."""

from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from service.db.pool import DatabasePools
from service.db.records import RecordStore, create_record
from service.models.arxiv import ArxivResponse, Entry
from service.models.records import Record

NOON = 1_795_464_900


def create_paper(number: int, title: str, summary: str = "", **changes: Any) -> Entry:
    """The entry of a paper with this title."""
    date = datetime(2026, 11, 23, tzinfo=UTC)
    plain = Entry(
        arxiv_id=f"2611.{number:05}",
        version=1,
        authors=["A. N. Other"],
        affiliations=[[]],
        title=title,
        journal=None,
        summary=summary,
        comment=None,
        published=date,
        updated=date,
        dois=[],
        primary_category="cs.SE",
        categories=["cs.SE"],
        links=[],
    )
    changes = {"affiliations": [[] for _ in changes.get("authors", [[]])], **changes}
    return structs.replace(plain, **changes)


async def store_papers(url: str, *papers: Entry) -> None:
    """Record a search that found these papers."""
    async with DatabasePools(url) as pools:
        await RecordStore(pools).insert(create_search_record(*papers))


def create_search_record(*entries: Entry, timestamp: int = NOON) -> Record:
    """Create the record of a search that found these papers."""
    return create_record(
        ArxivResponse(
            timestamp=timestamp,
            status=200,
            num_results=len(entries),
            query="search_query=x",
            entries=list(entries),
        )
    )
