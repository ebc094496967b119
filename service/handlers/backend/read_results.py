"""`/read-results`: the papers that all searches found, as they are stored, by pages."""

from litestar import get
from litestar.di import NamedDependency

from service import openapi
from service.handlers.parameters import ItemsPerPage, Page
from service.models import StoredResult
from service.settings import Settings
from service.store import Store

EXAMPLE = StoredResult(
    author="Emmy Noether, Felix Klein",
    title="Invariants of any differential expressions",
    journal="Nachr. Ges. Wiss. Goettingen 1918",
    query_id=42,
    timestamp=1_795_464_900,
    result_number=0,
    arxiv_id="2611.00001",
    version=2,
)
RESPONSES = openapi.answer([EXAMPLE]) | openapi.BACKEND_PROBLEMS


@get("/read-results", responses=RESPONSES, tags=["backend"])
async def read_results(
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    page: Page = 0,
    items_per_page: ItemsPerPage = None,
) -> list[StoredResult]:
    """One page of all stored results, in the order of their searches, with Unix seconds."""
    return await store.results(page, items_per_page or settings.items_per_page)
