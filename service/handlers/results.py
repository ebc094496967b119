"""`/results`: the papers that all searches found, by pages."""

from datetime import tzinfo

from litestar import get
from litestar.di import NamedDependency

from service import openapi, timestamps
from service.handlers.parameters import ItemsPerPage, Page
from service.models import Result, StoredResult
from service.settings import Settings
from service.store import Store

EXAMPLE = Result(
    author="Emmy Noether, Felix Klein",
    title="Invariants of any differential expressions",
    journal="Nachr. Ges. Wiss. Goettingen 1918",
    query_id=42,
    timestamp="2026-11-23T20:15:00",
    result_number=0,
    arxiv_id="2611.00001",
    version=2,
)


@get("/results", responses=openapi.answer([EXAMPLE]) | openapi.STORE_PROBLEMS, tags=["frontend"])
async def list_results(
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    page: Page = 0,
    items_per_page: ItemsPerPage = None,
) -> list[Result]:
    """One page of all stored results, in the order of their searches; past the last it is empty."""
    found = await store.results(page, items_per_page or settings.items_per_page)
    return shown(found, settings.zone)


def shown(found: list[StoredResult], tz: tzinfo) -> list[Result]:
    """Stored results as clients see them, with the time in this zone."""
    return [
        Result(
            author=result.author,
            title=result.title,
            journal=result.journal,
            query_id=result.query_id,
            timestamp=timestamps.to_iso(result.timestamp, tz),
            result_number=result.result_number,
            arxiv_id=result.arxiv_id,
            version=result.version,
        )
        for result in found
    ]
