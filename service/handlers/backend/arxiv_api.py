"""`/arxiv-api`: search arXiv, record nothing."""

from litestar import get
from litestar.di import NamedDependency

from service import openapi
from service.arxiv import ArXiv
from service.handlers.parameters import Author, Journal, MaxResults, Title
from service.models import ArxivApiAnswer, Search
from service.settings import Settings


@get("/arxiv-api", responses=openapi.BACKEND_PROBLEMS | openapi.UPSTREAM_PROBLEMS, tags=["backend"])
async def ask_arxiv(
    arxiv: NamedDependency[ArXiv],
    settings: NamedDependency[Settings],
    author: Author = None,
    title: Title = None,
    journal: Journal = None,
    max_results: MaxResults = None,
) -> ArxivApiAnswer:
    """Search arXiv and return the papers with everything arXiv tells; record nothing."""
    limit = max_results or settings.max_results
    answer = await arxiv.search(
        Search(author=author, title=title, journal=journal, max_results=limit)
    )
    if answer.failure:
        raise answer.failure
    return ArxivApiAnswer(
        data=answer.entries,
        timestamp=answer.timestamp,
        status=answer.status,
        num_results=answer.num_results,
        num_entries=len(answer.entries),
        query=answer.query,
    )
