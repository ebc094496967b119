"""`/arxiv`: search arXiv and record what it answers."""

from litestar import get
from litestar.di import NamedDependency

from service import openapi, timestamps
from service.arxiv import ArXiv
from service.handlers.parameters import Author, Journal, MaxResults, Title
from service.models import Receipt, Search
from service.settings import Settings
from service.store import Store

EXAMPLE = Receipt(
    query_id=42, timestamp="2026-11-23T20:15:00", status=200, num_results=214_881, num_entries=10
)


@get("/arxiv", responses=openapi.answer(EXAMPLE) | openapi.UPSTREAM_PROBLEMS, tags=["frontend"])
async def search_arxiv(
    arxiv: NamedDependency[ArXiv],
    store: NamedDependency[Store],
    settings: NamedDependency[Settings],
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    max_results: MaxResults = None,
) -> Receipt:
    """Search arXiv, record the answer with all its papers, and tell where it is recorded.

    Every parameter given must match; at least one of author, title and journal is needed.
    `status` is the HTTP status of arXiv's answer, `num_results` how many papers match in all,
    `num_entries` how many of them are now in `/results`.
    """
    limit = max_results or settings.max_results
    answer = await arxiv.search(
        Search(author=author, title=title, journal=journal, max_results=limit)
    )
    query_id = await store.save(answer)
    if answer.failure:
        answer.failure.query_id = query_id
        raise answer.failure
    return Receipt(
        query_id=query_id,
        timestamp=timestamps.to_iso(answer.timestamp, settings.zone),
        status=answer.status,
        num_results=answer.num_results,
        num_entries=len(answer.entries),
    )
