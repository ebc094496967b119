"""Rows -> bibliographic references, which BibTeX, RIS and Atom serialize."""

from datetime import datetime
from typing import Literal
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from msgspec import Struct, convert
from msgspec.structs import asdict

from .. import timestamps
from ..metadata.arxiv_ids import format_abs_url, format_versioned_id
from ..metadata.person_names import split_author_text, split_authors
from ..models.records import PaperRow, QueryRow, ResultRow


class Reference(Struct, frozen=True, kw_only=True):
    """A paper, or a recorded search. Times are in UTC."""

    key: str
    """Unique in a file: 2101.00001v2, query42."""
    uri: str
    """Permanent identifier, independent of the address of the service."""
    url: str | None = None
    kind: Literal["paper", "search"]
    title: str
    authors: list[str] = []
    group_authors: list[str] = []
    """Those of the authors that are known to be groups."""
    abstract: str | None = None
    journal: str | None = None
    comment: str | None = None
    published: datetime | None = None
    updated: datetime | None = None
    cited: datetime | None = None
    """The date in a citation: of the cited version, or of the search."""
    dois: list[str] = []
    arxiv_id: str | None = None
    primary_category: str | None = None
    categories: list[str] = []

    @property
    def doi(self) -> str | None:
        """The DOI to cite: the journal's, otherwise the one that arXiv registers for the paper."""
        own = f"10.48550/arXiv.{self.arxiv_id}" if self.arxiv_id else None
        return next(iter(self.dois), own)

    @classmethod
    def from_paper(cls, paper: PaperRow, found: int | None = None) -> "Reference":
        """Convert a paper; `found` (Unix seconds) replaces arXiv's dates.

        Feed readers sort by `published`: a new version with the date of version 1 would be hidden
        among older entries.
        """
        name = format_versioned_id(paper.arxiv_id, paper.version)
        fields = asdict(paper) | {
            "key": name,
            "uri": f"http://arxiv.org/abs/{quote(name)}",
            "url": format_abs_url(paper.arxiv_id, paper.version),
            "kind": "paper",
            "published": timestamps.to_datetime(paper.published if found is None else found),
            "updated": timestamps.to_datetime(paper.updated if found is None else found),
            "cited": timestamps.to_datetime(_get_version_date(paper)),
        }
        return convert(fields, cls)

    @classmethod
    def from_result(cls, result: ResultRow, base_url: str) -> "Reference":
        """Convert a result whose paper is not stored."""
        name = format_versioned_id(result.arxiv_id, result.version)
        number = f"{result.query_id}.{result.result_number}"
        urn = _create_urn(number, result.title)
        authors = split_authors(split_author_text(result.author))
        return cls(
            key=name or f"query{number}",
            uri=f"http://arxiv.org/abs/{quote(name)}" if name else urn,
            url=format_abs_url(result.arxiv_id, result.version)
            or f"{base_url}queries/{result.query_id}#{result.result_number}",
            kind="paper",
            title=result.title,
            authors=authors.names,
            group_authors=authors.groups,
            journal=result.journal,
            updated=timestamps.to_datetime(result.timestamp),
            arxiv_id=result.arxiv_id,
        )

    @classmethod
    def from_query(cls, query: QueryRow, base_url: str) -> "Reference":
        """Convert a recorded search."""
        return cls(
            key=f"query{query.query_id}",
            uri=_create_urn(f"{query.query_id}", f"{query.timestamp} {query.query}"),
            url=f"{base_url}queries/{query.query_id}",
            kind="search",
            title=query.heading,
            comment=f"status {query.status}, {query.outcome}: {query.num_results} papers match,"
            f" {query.num_entries} are stored",
            published=timestamps.to_datetime(query.timestamp),
            updated=timestamps.to_datetime(query.timestamp),
            cited=timestamps.to_datetime(query.timestamp),
        )


def _get_version_date(paper: PaperRow) -> int | None:
    is_first = paper.version == 1
    return paper.published if paper.updated is None and is_first else paper.updated


def _create_urn(number: str, text: str) -> str:
    return uuid5(NAMESPACE_URL, f"arxiv-gateway {number} {text}").urn
