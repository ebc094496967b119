"""`/results`: what all searches found, by pages or as files."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from service import openapi, timestamps
from service.handlers import references
from service.handlers.filters import Order
from service.handlers.listing import Listed
from service.models import Asked, Reference, Result, ResultFilter, StoredResult
from service.parts import Parts
from service.problems import AnyRequest
from service.store.archive import RESULTS, Archive

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


class StoredResults:
    """Results as they are stored, with Unix seconds."""

    name = "results"
    file = "results"
    columns = StoredResult.__struct_fields__

    def __init__(self, archive: Archive, request: AnyRequest) -> None:
        """Answer this request from this archive."""
        self._archive = archive
        self._request = request
        self._told: set[str] = set()

    def shown(self, rows: Sequence[StoredResult]) -> Sequence[StoredResult | Result]:
        """The rows."""
        return rows

    async def references(self, rows: Sequence[StoredResult]) -> list[Reference]:
        """The papers, each once in a file however many searches found it."""
        names = {(row.arxiv_id, row.version or 0) for row in rows if row.arxiv_id}
        papers = await self._archive.papers_of(names)
        base, told = str(self._request.base_url), []
        for row in rows:
            paper = papers.get((row.arxiv_id or "", row.version or 0))
            reference = references.of_paper(paper) if paper else references.of_result(row, base)
            if reference.key not in self._told:
                self._told.add(reference.key)
                told.append(reference)
        return told


class Results(StoredResults):
    """Results as the frontend answers them, with times in a zone."""

    columns = Result.__struct_fields__

    def __init__(self, archive: Archive, request: AnyRequest, tz: tzinfo) -> None:
        """Answer this request from this archive, in this zone."""
        super().__init__(archive, request)
        self._tz = tz

    def shown(self, rows: Sequence[StoredResult]) -> list[StoredResult | Result]:
        """The rows with their times in the zone."""
        return [*shown(rows, self._tz)]


async def again(request: AnyRequest) -> Response[Any] | None:
    """The same list as for the same query string before: what it says need not be read again."""
    read = request.app.state["read"].get(request.scope["query_string"])
    return await _answer(request, *read) if read else None


@get(
    "/results",
    before_request=again,
    responses=openapi.listed([EXAMPLE]) | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.InAllFormats,
    tags=["frontend"],
)
async def list_results(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    asked_results: NamedDependency[Asked[ResultFilter]],
    order: Order = "oldest",
) -> Response[Any]:
    """What the searches found that match, in the order of time.

    JSON comes by pages; past the last one they are empty. `Link` leads to the next page, which is
    as near at any depth. The other formats hold all that matches, unless a page is asked for; in
    BibTeX, RIS and Atom each paper stands once.
    """
    read = parts, asked_results, order
    answer = await _answer(request, *read)
    request.app.state["read"].keep(request.scope["query_string"], read)
    return answer


async def _answer(
    request: AnyRequest, parts: Parts, asked: Asked[ResultFilter], order: Order
) -> Response[Any]:
    view = Results(parts.archive, request, parts.settings.zone)
    newest = order == "newest"
    listed = Listed(request, parts.archive, RESULTS, asked, view, newest=newest)
    return await listed.answer()


def shown(rows: Sequence[StoredResult], tz: tzinfo) -> list[Result]:
    """Stored results as clients see them, with the time in this zone."""
    clock = timestamps.Clock(tz)
    return [
        Result(
            row.author,
            row.title,
            row.journal,
            row.query_id,
            clock(row.timestamp),
            row.result_number,
            row.arxiv_id,
            row.version,
        )
        for row in rows
    ]
