"""`/papers`: the papers that any search found, by their words or by their identifier."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import tzinfo
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.spec import Example
from litestar.params import PathParameter
from msgspec import Struct, structs

from .. import arxiv_query, openapi
from ..context import Context
from ..db.reader import PAPERS, RANKED, ListDefinition
from ..errors import NotFound
from ..formats import Reference, select_format
from ..highlights import format_highlights
from ..lists import ROW_BYTES
from ..middleware.response_budget import reserve_memory
from ..models import describe
from ..models.filters import PaperFilter
from ..models.records import PaperRow, SimilarPaperRow
from ..models.responses import (
    Facets,
    FoundPaper,
    Paper,
    PaperWithVersions,
    SimilarPaper,
    Suggestions,
)
from ..paper_search import MAX_SUGGESTED_LENGTH
from ..papers import select_order, select_version
from ..problems import AnyRequest
from .pagination import ListResponse, ListView
from .params import FormatName, ListQuery, PapersQuery, SimilarQuery, param

_PAPERS = openapi.list_with_optional_fields(FoundPaper)
_SIMILAR_PAPERS = openapi.list_with_optional_fields(SimilarPaper)


class Papers(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page of papers; only the first page has the counts."""

    papers: Annotated[_PAPERS, describe("the papers on this page")]  # type: ignore[valid-type]
    total: Annotated[int | None, describe("number of matching papers", 2)] = None
    total_is_exact: Annotated[
        bool | None, describe("always true", True)  # noqa: FBT003
    ] = None
    facets: Annotated[Facets | None, describe("counts of the papers in `total`")] = None
    warnings: Annotated[
        list[str] | None,
        describe(
            "present if nothing matches and the filters contain a likely mistake",
            ["q: cs.AI is searched as a word; use category=cs.AI"],
        ),
    ] = None
    did_you_mean: Annotated[
        list[str] | None,
        describe(
            "present if nothing matches because of misspelled words: up to three corrected values"
            " of `q` that find papers, the best first",
            ["title:invariants"],
        ),
    ] = None


class SimilarPapers(Struct, frozen=True):
    """Papers that are similar to one."""

    papers: Annotated[
        _SIMILAR_PAPERS,  # type: ignore[valid-type]
        describe("the papers, the most similar first"),
    ]


ArxivIdPath = Annotated[
    str,
    PathParameter(
        description="arXiv identifier of the old or new style, with or without a version; also as"
        " a DOI or as the URL of the paper at arXiv",
        examples=[Example(value="hep-th/9901001v1")],
    ),
]


def create_view(
    tz: tzinfo, file_name: str = "papers", *, ranked: bool = False, q: str | None = None
) -> ListView[Any]:
    """Present papers with times in a zone; with `q`, with what this query matches in them."""

    def convert_rows(rows: Iterable[PaperRow]) -> list[Paper]:
        if q is None:
            return [Paper.from_row(row, tz) for row in rows]
        return [FoundPaper.from_row(row, tz, highlights=format_highlights(row, q)) for row in rows]

    async def create_references(rows: Iterable[PaperRow]) -> list[Reference]:
        return [Reference.from_paper(row) for row in rows]

    columns = (Paper if q is None else FoundPaper).__struct_fields__
    definition: ListDefinition[Any] = RANKED if ranked else PAPERS
    return ListView(definition, "papers", file_name, columns, convert_rows, create_references)


@get(
    "/papers",
    summary="Search the stored papers",
    responses=openapi.describe_json(Papers, "The matching papers.")
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"list_query": Provide(PapersQuery, sync_to_thread=False)},
)
async def list_papers(
    request: AnyRequest, context: NamedDependency[Context], list_query: NamedDependency[PapersQuery]
) -> Response[Any]:
    """Return the papers that any search found, selected by a full-text query and by filters.

    Pages of a full-text query are sorted by relevance. The first page in JSON has the number of
    matches, in total, by category and by year. The other formats contain all matching papers,
    newest first, unless a page is requested.
    """
    filters = list_query.build_filter(context.settings.zone)
    list_format = select_format(list_query.format, request.headers.get("accept"))
    is_json = list_format.name == "json"
    is_page = is_json or list_query.page is not None or list_query.items_per_page is not None
    order = select_order(list_query.order, is_full_text=bool(filters.q), is_page=is_page)
    # rows in JSON have highlights, which are empty without a query
    q = filters.q or "" if is_json else None
    view = create_view(context.settings.zone, ranked=order == "relevance", q=q)
    response = ListResponse(request, context, view, replace(list_query, order=order), filters)
    if not is_json:
        return await response.respond()
    page = await context.papers.fetch_page(
        response.reader, list_query.author, list_query.title, list_query.journal
    )
    matches = page.matches
    content = Papers(
        papers=msgspec.Raw(await response.serialize(page.rows)),
        total=matches.total,
        total_is_exact=None if matches.total is None else True,
        facets=matches.facets,
        warnings=matches.warnings,
        did_you_mean=matches.did_you_mean,
    )
    return response.create_response(msgspec.json.encode(content), page.links)


@get(
    "/papers/suggest",
    summary="Complete a query that is being typed",
    responses=openapi.describe_json(Suggestions, "The suggestions.") | openapi.FRONTEND_PROBLEMS,
    operation_class=openapi.CacheableOperation,
    tags=["frontend"],
)
async def suggest_queries(
    context: NamedDependency[Context],
    q: Annotated[
        str,
        param(
            "what has been typed; its last word may be incomplete",
            "dark mat",
            max_length=MAX_SUGGESTED_LENGTH,
        ),
    ] = "",
) -> Suggestions:
    """Return words of titles, authors and papers that complete a query.

    Only latest versions are counted. Accents and case are ignored. Names begin with the query,
    given name or surname first; the spellings of one name are counted together. The lists are
    empty if the query has less than two letters or digits.
    """
    return await context.paper_search.suggest(q)


@get(
    "/papers/{arxiv_id:str}",
    summary="Get a stored paper",
    responses=openapi.describe_json(PaperWithVersions, "The paper.")
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS
    | openapi.NOT_FOUND,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
)
async def get_paper(
    request: AnyRequest,
    context: NamedDependency[Context],
    arxiv_id: ArxivIdPath,
    format_name: FormatName = None,
) -> Response[Any]:
    """Return a paper in its latest stored version, or in the version in its identifier.

    Some fields are known only if the mirror has the paper. `sources` tells where each one comes
    from.
    """
    paper_format = select_format(format_name, request.headers.get("accept"))
    row, versions = await _fetch_paper(context, arxiv_id)
    tz = context.settings.zone
    if paper_format.name == "json":
        paper = await context.papers.fetch_with_versions(row, versions)
        return Response(paper, headers={"vary": "Accept"})
    view = create_view(tz, Reference.from_paper(row).key.replace("/", "-"))
    list_query = ListQuery(context=context, format=paper_format.name)
    response = ListResponse(request, context, view, list_query, PaperFilter())
    return response.create_response(await response.serialize([row]), None)


@get(
    "/papers/{arxiv_id:str}/similar",
    summary="Get papers that are similar to a stored one",
    responses=openapi.describe_json(SimilarPapers, "The similar papers.")
    | openapi.NOT_ACCEPTABLE
    | openapi.FRONTEND_PROBLEMS
    | openapi.NOT_FOUND,
    operation_class=openapi.ListOperation,
    tags=["frontend"],
    dependencies={"similar_query": Provide(SimilarQuery, sync_to_thread=False)},
)
async def list_similar_papers(
    request: AnyRequest,
    context: NamedDependency[Context],
    arxiv_id: ArxivIdPath,
    similar_query: NamedDependency[SimilarQuery],
) -> Response[Any]:
    """Return the papers that share the most significant words with a paper, most similar first.

    Significant words are frequent in its title and abstract, and rare in other papers. The list
    is empty if the paper has none, or no other paper has them.
    """
    tz, limit = context.settings.zone, similar_query.items_per_page
    filters = similar_query.build_filter(tz)
    list_query = ListQuery(
        context=context,
        format=similar_query.format,
        fields=similar_query.fields,
        items_per_page=limit,
    )
    response = ListResponse(request, context, _create_similar_view(tz), list_query, filters)
    reserve_memory(limit * ROW_BYTES)
    row, _ = await _fetch_paper(context, arxiv_id)
    paper = row.arxiv_id, row.version
    rows = await context.paper_search.find_similar(paper, filters, limit)
    content = await response.serialize(rows)
    if response.format.name == "json":
        content = msgspec.json.encode({"papers": msgspec.Raw(content)})
    return response.create_response(content, None)


def _create_similar_view(tz: tzinfo) -> ListView[Any]:
    def convert_rows(rows: Iterable[SimilarPaperRow]) -> list[SimilarPaper]:
        return [SimilarPaper.from_row(row, tz) for row in rows]

    view = create_view(tz, "similar-papers")
    columns = SimilarPaper.__struct_fields__
    return structs.replace(view, columns=columns, convert_rows=convert_rows)


async def _fetch_paper(context: Context, text: str) -> tuple[PaperRow, list[PaperRow]]:
    """Return a paper in the latest version or the one given, and all of its stored versions.

    The slashes of the identifier are encoded. Raises InvalidParameter or NotFound.
    """
    arxiv_id, version = arxiv_query.parse_id_parameter(text.replace("%2F", "/"), "arxiv_id")
    versions = await context.reader.fetch_versions(arxiv_id)
    row = select_version(versions, version)
    if row is None:
        numbers = [each.version for each in versions]
        raise NotFound(_describe_missing(arxiv_id, version, numbers))
    return row, versions


def _describe_missing(arxiv_id: str, version: int | None, versions: list[int]) -> str:
    if not versions:
        return (
            f"no search has found {arxiv_id} yet; /arxiv?id_list={arxiv_id} retrieves it from arXiv"
        )
    stored = ", ".join(str(number or "one without a number") for number in versions)
    return f"version {version} of {arxiv_id} is not stored; the stored versions are: {stored}"
