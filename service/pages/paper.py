"""`/abs/{arxiv_id}`: a paper, at the same path as on arxiv.org."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from http import HTTPStatus
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_308_PERMANENT_REDIRECT
from msgspec import Struct

from ..arxiv_query import parse_id_parameter
from ..context import Context
from ..errors import NotFound, QueueTooLong, ServiceError, UpstreamError
from ..formats import Reference
from ..metadata.arxiv_ids import ArxivId, format_versioned_id
from ..models.arxiv import Search
from ..models.filters import PaperFilter
from ..models.records import PaperRow
from ..models.responses import PaperHistory, PaperWithVersions, SimilarPaper
from ..papers import select_version
from ..problems import AnyRequest
from ..timestamps import format_iso
from .citations import create_json_ld, list_citation_tags
from .csrf import check_token, create_token
from .forms import read_form
from .history import HistoryEntry, create_history_entry
from .page import create_page, create_problem_page, get_base_url
from .redirects import create_paper_path, redirect_to_paper

SIMILAR_PAPERS = 5
FINDING_RUNS = 10
COMPARED_FIELDS = {
    "title": "title", "authors": "authors", "abstract": "abstract", "comment": "comment",
    "journal": "journal reference", "dois": "DOI", "categories": "categories",
    "withdrawn": "withdrawal",
}  # fmt: skip
"""The fields whose changes between versions are named, with their names."""


class VersionRow(Struct, frozen=True, kw_only=True):
    """A version in the table of versions."""

    version: int
    submitted: str | None = None
    size_kb: int | None = None
    is_withdrawal: bool = False
    is_stored: bool = False
    changes: list[str] = []
    """Names of what differs from the stored version before it."""


@get("/abs/{arxiv_id:path}")
async def show_paper(
    request: AnyRequest, context: NamedDependency[Context], arxiv_id: FromPath[str]
) -> Template | Response[None]:
    """Return the page of a paper, redirect to its path, or offer to retrieve it from arXiv."""
    name, version = parse_id_parameter(arxiv_id.strip("/"), "arxiv_id")
    path = create_paper_path(name, version)
    if unquote_to_bytes(request.scope["raw_path"]) != path.encode():
        query = f"?{request.url.query}" if request.url.query else ""
        return Redirect(f"{path}{query}", status_code=HTTP_308_PERMANENT_REDIRECT)
    rows = await context.reader.fetch_versions(name, ignore_read_delay=True)
    row = select_version(rows, version)
    if row is None:
        values = await _fetch_missing_values(request, context, ArxivId(name, version), rows)
        return create_page(
            request, context, "paper_missing.html", status_code=HTTPStatus.NOT_FOUND, **values
        )
    return await _create_paper_page(request, context, row, rows)


@post("/abs/{arxiv_id:path}")
async def retrieve_paper(
    request: AnyRequest, context: NamedDependency[Context], arxiv_id: FromPath[str]
) -> Template | Response[None]:
    """Retrieve a paper from arXiv, then redirect to its page, or show why that failed.

    Raises NotFound if arXiv does not have it.
    """
    name, version = parse_id_parameter(arxiv_id.strip("/"), "arxiv_id")
    await check_token(request, context, await read_form(request))
    full_name = format_versioned_id(name, version)
    search = Search(id_list=(full_name,))
    try:
        # the mirror does not have it either
        reply = await context.search_service.search(search, source="arxiv")
    except (QueueTooLong, UpstreamError) as error:
        versions = await context.reader.fetch_versions(name, ignore_read_delay=True)
        values = await _fetch_missing_values(request, context, ArxivId(name, version), versions)
        return create_problem_page(request, context, error, "paper_missing.html", **values)
    if not reply.recorded.num_entries:
        raise NotFound(f"arXiv does not have a paper {full_name}")
    return await redirect_to_paper(context, ArxivId(name, version))


async def _fetch_missing_values(
    request: AnyRequest, context: Context, arxiv_id: ArxivId, versions: Sequence[PaperRow]
) -> dict[str, Any]:
    """Return the variables of the page of a paper, or of a version of it, that is not stored."""
    return {
        "name": arxiv_id.name,
        "version": arxiv_id.version,
        "full_name": format_versioned_id(*arxiv_id),
        "stored": [row.version for row in versions if row.version],
        "form_token": await create_token(request, context),
    }


async def _create_paper_page(
    request: AnyRequest, context: Context, row: PaperRow, rows: Sequence[PaperRow]
) -> Template:
    paper, similar, searches = await asyncio.gather(
        context.papers.fetch_with_versions(row, rows),
        _find_similar(context, row),
        _find_searches(context, row),
    )
    # an older version is another document; the latest one has two paths
    base_url = get_base_url(request, context)
    canonical = base_url + create_paper_path(
        row.arxiv_id, row.version if row is not rows[0] else None
    )
    reference = Reference.from_paper(row)
    return create_page(
        request,
        context,
        "paper.html",
        paper=paper,
        full_name=format_versioned_id(row.arxiv_id, row.version),
        latest=rows[0].version if row is not rows[0] else None,
        versions=_list_versions(paper, rows, context.settings.zone),
        similar=similar,
        searches=searches,
        canonical=canonical,
        citation_tags=list_citation_tags(reference),
        json_ld=create_json_ld(reference, canonical, paper.license),
    )


async def _find_similar(context: Context, row: PaperRow) -> list[SimilarPaper] | None:
    """Return similar papers, or None if the index cannot be used."""
    paper = row.arxiv_id, row.version
    try:
        rows = await context.paper_search.find_similar(paper, PaperFilter(), SIMILAR_PAPERS)
    except ServiceError:
        return None
    return [SimilarPaper.from_row(each, context.settings.zone) for each in rows]


async def _find_searches(context: Context, row: PaperRow) -> list[HistoryEntry] | None:
    """Return the latest searches that found a paper, or None if they cannot be read."""
    try:
        runs = await context.reader.fetch_finding_runs(row.arxiv_id, FINDING_RUNS)
    except ServiceError:
        return None
    return [create_history_entry(run, context) for run in runs]


def _list_versions(
    paper: PaperWithVersions, rows: Sequence[PaperRow], tz: tzinfo
) -> list[VersionRow]:
    """Return the versions that are known, the latest first."""
    dates = {
        row.version: None if row.updated is None else format_iso(row.updated, tz)
        for row in rows
        if row.version
    }
    history = {entry.version: entry for entry in paper.version_history}
    changes = dict(_compare_versions(rows))
    return [
        VersionRow(
            version=number,
            submitted=entry.submitted or dates.get(number),
            size_kb=entry.size_kb,
            is_withdrawal=entry.source_type == "I",
            is_stored=number in dates,
            changes=changes.get(number, []),
        )
        for number in sorted(dates.keys() | history.keys(), reverse=True)
        for entry in [history.get(number, PaperHistory(number, None, None, None))]
    ]


def _compare_versions(rows: Sequence[PaperRow]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each stored version, and what differs from the one before it."""
    for row, previous in pairwise(rows):
        yield row.version, [*_compare(row, previous)]


def _compare(row: PaperRow, previous: PaperRow) -> Iterator[str]:
    for field, name in COMPARED_FIELDS.items():
        values: list[Any] = [getattr(each, field) for each in (row, previous)]
        if values[0] != values[1]:
            yield name
