"""`/read-results`: the papers that all searches found, as they are stored, by pages."""

from litestar import get
from litestar.di import NamedDependency

from service import openapi
from service.handlers.parameters import ItemsPerPage, Page
from service.models import StoredResult
from service.settings import Settings
from service.store import Store


@get("/read-results", responses=openapi.BACKEND_PROBLEMS, tags=["backend"])
async def read_results(
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    page: Page = 0,
    items_per_page: ItemsPerPage = None,
) -> list[StoredResult]:
    """One page of all stored results, in the order of their searches, with Unix seconds."""
    return await store.results(page, items_per_page or settings.items_per_page)
