"""The stored papers: what a list of them contains, and one paper with its versions."""

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from typing import Literal

from msgspec import Struct

from .corrections import suggest_list_corrections
from .db.reader import RecordReader
from .errors import IndexUnavailable, InvalidParameter
from .lists import ListReader
from .metadata.categories import get_title
from .models.filters import PaperFilter, Position
from .models.records import PaperRow
from .models.responses import FacetCount, Facets, PaperWithVersions
from .paper_search import PaperSearch

PaperOrder = Literal["relevance", "oldest", "newest"]


class PaperMatches(Struct, frozen=True):
    """What is known of all papers of a list, beside those on one page."""

    total: int | None = None
    facets: Facets | None = None
    warnings: list[str] | None = None
    """Likely mistakes in filters that no paper matches."""
    did_you_mean: list[str] | None = None
    """Corrections of a query that no paper matches."""


class PaperPage(Struct, frozen=True):
    """A page of a list of papers."""

    rows: list[PaperRow]
    links: dict[str, str]
    """The paths of other pages by relation."""
    matches: PaperMatches


class PaperService:
    """Combines the search index and PostgreSQL; times are in the zone."""

    def __init__(self, reader: RecordReader, paper_search: PaperSearch, zone: tzinfo) -> None:
        self._reader = reader
        self._paper_search = paper_search
        self._zone = zone

    async def fetch_page(
        self,
        papers: ListReader[PaperRow],
        author: str | None,
        title: str | None,
        journal: str | None,
    ) -> PaperPage:
        """Return a page of a list; only the first one has what is known of all matches.

        The texts are those of the filters as they were typed, which warnings refer to. Raises
        ServiceError.
        """
        filters = papers.selection.filters
        assert isinstance(filters, PaperFilter)  # noqa: S101 - of a list of papers
        if papers.position != Position():
            rows, links = await papers.fetch_page()
            return PaperPage(rows, links, PaperMatches())
        (rows, links), matches = await asyncio.gather(papers.fetch_page(), self._count(filters))
        if matches.total == 0:
            warnings = suggest_list_corrections(filters.q, author, title, journal)
            corrections = await self._paper_search.correct_spelling(filters) if filters.q else []
            matches = PaperMatches(0, matches.facets, warnings or None, corrections or None)
        return PaperPage(rows, links, matches)

    async def _count(self, filters: PaperFilter) -> PaperMatches:
        """Return the counts; nothing if all papers are listed without an index."""
        try:
            counts = await self._paper_search.count(filters, self._zone)
        except IndexUnavailable:
            if filters.is_empty:
                return PaperMatches()
            raise
        facets: dict[str, list[FacetCount]] = {"total": [], "category": [], "year": []}
        for count in counts:
            facets[count.facet].append(FacetCount(count.value, count.count, get_title(count.value)))
        total = facets.pop("total")[0].count
        return PaperMatches(total, Facets(**facets))

    async def fetch_with_versions(
        self, row: PaperRow, versions: Sequence[PaperRow]
    ) -> PaperWithVersions:
        """Return one version of a paper with everything that is known of it.

        `versions` are the stored versions of the paper. Raises ServiceError.
        """
        details, announcements = await asyncio.gather(
            self._reader.fetch_details((row.arxiv_id, row.version)),
            self._reader.fetch_announcements(row.arxiv_id),
        )
        numbers = sorted(each.version for each in versions if each.version)
        return PaperWithVersions.create(row, details, numbers, announcements, self._zone)


def select_version(versions: Sequence[PaperRow], version: int | None) -> PaperRow | None:
    """Return a version of a paper, or the latest one, which is the first; None without it."""
    return next((row for row in versions if version in {None, row.version}), None)


def select_order(
    order: PaperOrder | None, *, is_full_text: bool, is_page: bool = True
) -> PaperOrder:
    """Return the order of a list of papers: the one requested, or the default.

    Raises InvalidParameter if papers cannot be listed by relevance.
    """
    if order == "relevance" and not is_full_text:
        raise InvalidParameter("order", "relevance requires q; use newest or oldest")
    if order == "relevance" and not is_page:
        raise InvalidParameter("order", "relevance requires items_per_page; or use newest")
    return order or ("relevance" if is_full_text and is_page else "newest")
