"""`/papers`: every paper that any search found, by id, by its words, and by what it is."""

from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import PathParameter
from msgspec import defstruct, structs

from .. import arxiv_query, formats, full_text, openapi, timestamps
from ..context import Context
from ..db.reader import MAX_COUNTED, PAPERS, RANKED
from ..errors import InvalidParameter, NotFound
from ..formats import references
from ..models.arxiv import Link
from ..models.filters import ListQuery, PageParams, PaperFilter
from ..models.records import Count, PaperRow, RankedPaperRow
from ..models.responses import (
    FacetCount,
    Facets,
    FoundPaper,
    Paper,
    Papers,
    PaperWithVersions,
    Reference,
)
from ..problems import AnyRequest
from .filters import FormatName, PaperOrder
from .pagination import ListResponse

EXAMPLE = Paper(
    arxiv_id="2611.00001",
    version=2,
    title="Invariants of any differential expressions",
    authors=["Emmy Noether", "Felix Klein"],
    affiliations=[["Goettingen"], []],
    abstract="We study what stays the same.",
    journal="Nachr. Ges. Wiss. Goettingen 1918",
    comment="18 pages",
    published="2026-11-02T09:17:46",
    updated="2026-11-20T12:31:55",
    dois=["10.1000/182"],
    primary_category="math.DG",
    categories=["math.DG", "math-ph"],
    links=[Link("https://arxiv.org/abs/2611.00001v2", "alternate", None, "text/html")],
    withdrawn=False,
    timestamp="2026-11-23T20:15:00",
)
WITH_VERSIONS = PaperWithVersions(**structs.asdict(EXAMPLE), versions=[1, 2])
FOUND = FoundPaper(
    **structs.asdict(EXAMPLE),
    highlights={"title": "<mark>Invariants</mark> of any differential expressions"},
)
FOUND_PAPERS = Papers(
    papers=[FOUND],
    total=1,
    total_is_exact=True,
    facets=Facets(category=[FacetCount("math.DG", 1)], year=[FacetCount("2026", 1)]),
)
PICKED = defstruct(
    "FoundPapers",
    [("papers", openapi.rows(FoundPaper))],
    bases=(Papers,),
    frozen=True,
    kw_only=True,
)
"""The same with those columns alone that `fields` picks."""


class StoredPapers:
    """Papers as clients see them, with times in a zone."""

    name = "papers"
    file = "papers"
    columns = Paper.__struct_fields__

    def __init__(self, tz: tzinfo) -> None:
        """Show the time of this zone."""
        self._tz = tz

    def shown(self, rows: Sequence[PaperRow]) -> Sequence[Paper]:
        """The rows with their times in the zone."""
        return [_shown(row, self._tz) for row in rows]

    async def references(self, rows: Sequence[PaperRow]) -> list[Reference]:
        """The papers."""
        return [references.of_paper(row) for row in rows]


class FoundPapers(StoredPapers):
    """The same with the words that match marked."""

    columns = FoundPaper.__struct_fields__

    def shown(self, rows: Sequence[PaperRow]) -> Sequence[Paper]:
        """The rows with their times in the zone, and with their highlights."""
        return [
            FoundPaper(**structs.asdict(_shown(row, self._tz)), highlights=_highlights(row))
            for row in rows
        ]


@get(
    "/papers",
    responses=openapi.answer(FOUND_PAPERS, kind=PICKED)
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.InAllFormats,
    tags=["frontend"],
)
async def list_papers(
    request: AnyRequest,
    context: NamedDependency[Context],
    asked_papers: NamedDependency[ListQuery[PaperFilter]],
    order: PaperOrder = None,
) -> Response[Any]:
    """Papers that any search found and that match, whatever search it was.

    Pages of a search with `q` begin with the best; of more than 20,000 that match the newest are
    ranked. The first page in JSON tells how many match, of each category and of each year. The
    other formats hold all that matches, the newest first, unless a page is asked for.
    """
    wanted, listing = asked_papers.wanted, asked_papers.listing
    is_json = formats.choose(listing.format, request.headers.get("accept")).name == "json"
    is_page = is_json or listing.page is not None or listing.items_per_page is not None
    order = order or ("relevance" if wanted.is_full_text and is_page else "newest")
    if order == "relevance" and not wanted.is_full_text:
        raise InvalidParameter("order", "relevance is for q: without it, take newest or oldest")
    if order == "relevance" and not is_page:
        raise InvalidParameter(
            "order", "relevance is for pages: give items_per_page, or take newest"
        )
    kind: Any = RANKED if order == "relevance" else PAPERS
    view = (FoundPapers if is_json else StoredPapers)(context.settings.zone)
    if not (is_json and "highlights" in (listing.fields or "highlights")):
        wanted = structs.replace(wanted, mark_title="", mark_author="", mark_abstract="")
    asked = ListQuery(wanted, listing)
    newest = order == "newest"
    listed: ListResponse[Any] = ListResponse(
        request, context.reader, kind, asked, view, newest=newest
    )
    if not is_json:
        return await listed.answer()
    page = await listed.page()
    found: dict[str, Any] = {"papers": msgspec.Raw(await listed.file(page.rows))}
    if not (listing.after or listing.page):
        found |= _counted(await context.reader.count_papers(wanted, context.settings.zone))
    return listed.response(msgspec.json.encode(found), page.links)


@get(
    "/papers/{arxiv_id:path}",
    responses=openapi.answer(WITH_VERSIONS)
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS
    | openapi.NOT_FOUND,
    operation_class=openapi.InAllFormats,
    tags=["frontend"],
)
async def show_paper(
    request: AnyRequest,
    context: NamedDependency[Context],
    arxiv_id: Annotated[
        Path,
        PathParameter(
            description="arXiv id of the new or the old style; with a version, just that one",
            examples=[Example(value="hep-th/9901001v1")],
            schema_extra={"format": None},  # of a path Litestar says that it is a URI
        ),
    ],
    format_name: FormatName = None,
) -> Response[Any]:
    """One paper in the latest version that any search found, or in the one that is named."""
    wanted = formats.choose(format_name, request.headers.get("accept"))
    # as a path, an address of arXiv's has lost one of its slashes
    text = str(arxiv_id).strip("/").replace(":/", "://")
    name, version = arxiv_query.paper(text, "arxiv_id")
    versions = await context.reader.fetch_versions(name)
    chosen = [each for each in versions if version in {None, each.version}]
    if not chosen:
        raise NotFound(_not_found(name, version, [each.version for each in versions]))
    view: Any = StoredPapers(context.settings.zone)
    view.file = references.of_paper(chosen[0]).key.replace("/", "-")
    if wanted.name == "json":
        known = sorted(each.version for each in versions if each.version)
        paper = structs.asdict(_shown(chosen[0], context.settings.zone))
        shown = PaperWithVersions(**paper, versions=known)
        return Response(shown, headers={"vary": "Accept"})
    asked = ListQuery(PaperFilter(), PageParams(format=wanted.name))
    listed = ListResponse(request, context.reader, PAPERS, asked, view)
    return listed.response(await listed.file(chosen[:1]), None)


def _not_found(name: str, version: int | None, versions: list[int]) -> str:
    if not versions:
        return f"no search has found {name} yet: /arxiv?id_list={name} asks arXiv for it"
    known = ", ".join(str(each or "one of which the number was not told") for each in versions)
    return f"no search has found version {version} of {name}, but {known}"


def _counted(counts: Sequence[Count]) -> dict[str, Any]:
    def of(facet: str) -> list[FacetCount]:
        return [FacetCount(each.value, each.count) for each in counts if each.facet == facet]

    total = of("total")[0].count
    return {
        "total": min(total, MAX_COUNTED),
        "total_is_exact": total <= MAX_COUNTED,
        "facets": Facets(category=of("category"), year=of("year")),
    }


def _shown(row: PaperRow, tz: tzinfo) -> Paper:
    return Paper(
        arxiv_id=row.arxiv_id,
        version=row.version or None,
        title=row.title,
        authors=row.authors,
        affiliations=row.affiliations,
        abstract=row.abstract,
        journal=row.journal,
        comment=row.comment,
        published=None if row.published is None else timestamps.to_iso(row.published, tz),
        updated=None if row.updated is None else timestamps.to_iso(row.updated, tz),
        dois=row.dois,
        primary_category=row.primary_category,
        categories=row.categories,
        links=msgspec.convert(row.links or [], list[Link]),
        withdrawn=row.withdrawn,
        timestamp=timestamps.to_iso(row.timestamp, tz),
    )


def _highlights(row: PaperRow) -> dict[str, str]:
    if not isinstance(row, RankedPaperRow):
        return {}
    texts = {
        "title": (row.title, row.marked_title),
        "authors": (", ".join(row.authors), row.marked_author),
        "abstract": (row.abstract, row.marked_abstract),
    }
    marked = {
        name: full_text.marked(text, headline)
        for name, (text, headline) in texts.items()
        if text and headline and full_text.START in headline
    }
    return {name: html for name, html in marked.items() if "<mark>" in html}
